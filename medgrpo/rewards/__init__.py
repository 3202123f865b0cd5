"""Rewards: what a completion is worth, by rules or by a judge."""
