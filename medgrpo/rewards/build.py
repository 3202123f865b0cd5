"""The rewards of a config, and the judge that some of them ask."""

from __future__ import annotations

from contextlib import ExitStack
from functools import reduce

from omegaconf import DictConfig

from medgrpo.config.build import build
from medgrpo.errors import RunStopped
from medgrpo.judge.client import Judge
from medgrpo.judge.usage import added, of_all_processes
from medgrpo.rewards.base import Reward
from medgrpo.rewards.rubric import RubricReward
from medgrpo.rundir import RunFolder


def open_judge(cfg: DictConfig, stack: ExitStack, folder: RunFolder | None = None) -> Judge | None:
    """The judge, if a reward or the grader asks for one, tried at once; `stack` closes it.

    What it was asked and cost is in the summary of `folder` then: by all processes, unless an error
    ends this one, and with what a run that is resumed had asked before.
    """
    if not any("judge" in node for node in (*cfg.rewards.values(), cfg.grader or {})):
        return None
    judge: Judge = build(cfg.judge)
    stack.callback(judge.close)
    judge.preflight()
    if folder is not None:
        earlier = folder.summary.get("judge") or {}

        def note_bill(kind: object, error: BaseException | None, traceback: object) -> None:
            own = judge.report()
            together = error is None or isinstance(error, RunStopped)  # a limit ends all of them
            reports = of_all_processes(own) if together else [own]
            folder.update_summary(judge=reduce(added, reports, earlier))

        stack.push(note_bill)
    return judge


def build_grader(cfg: DictConfig, judge: Judge | None) -> RubricReward | None:
    """What grades held-out answers by criteria, where the config has it."""
    return build(cfg.grader, name="grader", judge=judge) if cfg.grader else None


def build_rewards(cfg: DictConfig, judge: Judge | None) -> list[Reward]:
    """The rewards, named by their keys; one judge serves all that ask for one."""
    rewards: list[Reward] = [
        build(node, name=key, **({"judge": judge} if "judge" in node else {}))
        for key, node in cfg.rewards.items()
    ]
    return rewards
