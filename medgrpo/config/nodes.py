"""A run on several machines: which of them this is, and what its command must say."""

from __future__ import annotations

import os
from collections.abc import Iterator

from omegaconf import DictConfig

from medgrpo.config.schema import Problem
from medgrpo.errors import UserError


def node_rank() -> int:
    """Which of several machines this is, from 0: NODE_RANK, or what Slurm says. UserError."""
    said = os.environ.get("NODE_RANK") or os.environ.get("SLURM_NODEID") or "0"
    if not said.isdecimal():
        raise UserError(f"NODE_RANK (environment): {said!r} should be a number, 0 for the first")
    return int(said)


def is_first_node(cfg: DictConfig) -> bool:
    """Whether what the run does outside of its processes is done here."""
    return cfg.launch.nodes == 1 or node_rank() == 0


def node_problems(cfg: DictConfig, *, sweep: bool) -> Iterator[Problem]:
    """What a command for several machines lacks. Slurm, where it starts the jobs, knows it all."""
    by_slurm = sweep and "slurm" in cfg.hydra.launcher["_target_"].lower()
    if cfg.launch.nodes == 1 or by_slurm:
        return
    if sweep:
        yield Problem("launch.nodes", "is for one run, or a sweep with hydra/launcher=slurm")
    elif not (cfg.launch.rendezvous or "SLURM_JOB_ID" in os.environ):
        yield Problem(
            "launch.rendezvous",
            "say where the machines meet, HOST:PORT of the first, and NODE_RANK=1 and so on to "
            "the others; in a Slurm job both are known",
        )
