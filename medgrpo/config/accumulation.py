"""`${accumulation:64,4,2}` in a config: the steps that make a batch of 64 with 4 a device on 2.

`${accumulation:64,4,2,3}`: on 2 devices of 3 machines each.

A recipe states its global batch, and on more devices less is accumulated.
"""

from omegaconf import OmegaConf


def accumulation(batch: int, per_device: int, devices: int, nodes: int = 1) -> int:
    """Steps whose gradients are accumulated; ValueError where no number of them makes the batch.

    >>> accumulation(64, 4, 1), accumulation(64, 4, 4)
    (16, 4)
    """
    devices *= nodes
    steps, rest = divmod(batch, per_device * devices)
    if rest or not steps:
        raise ValueError(
            f"a batch of {batch} is no multiple of {per_device} a device on {devices}; set "
            "trainer.args.gradient_accumulation_steps, or another number of processes"
        )
    return steps


OmegaConf.register_new_resolver("accumulation", accumulation, replace=True)
