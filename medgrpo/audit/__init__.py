"""Rewards on trial: what they pay for right, wrong, empty and adversarial answers.

A policy optimises what a reward pays for and not what its author meant (Amodei et al. 2016,
arXiv:1606.06565, "Avoiding Reward Hacking"). Here the rewards of a config are asked about answers
of known worth, before a GPU is touched.
"""
