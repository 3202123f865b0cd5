"""The run, start to end, in the order in which data flows."""

from __future__ import annotations

import logging
import math
import random
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from medgrpo.config.resumed import changes, refused, settings
from medgrpo.dataset.base import SHOWN, Benchmark
from medgrpo.dataset.example import Example, as_read
from medgrpo.dataset.fit import add_prompts, fingerprint
from medgrpo.dataset.prompt import Prompt
from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import Engine
from medgrpo.evaluation.export import Export
from medgrpo.evaluation.heldout import HeldOut
from medgrpo.evaluation.write import write_evaluation
from medgrpo.judge.client import Judge
from medgrpo.metrics.base import Metric, require
from medgrpo.model.base import Model, Policy
from medgrpo.model.lora import LoRA
from medgrpo.model.memory import MemoryWorkload
from medgrpo.model.preflight import preflight
from medgrpo.model.save import save_policy
from medgrpo.report.closing import closing_table
from medgrpo.report.model_card import model_card
from medgrpo.report.plots import plot_run
from medgrpo.report.run_report import write_report
from medgrpo.rewards.base import Reward
from medgrpo.rundir import RunFolder
from medgrpo.tracking.base import Tracker
from medgrpo.tracking.mirror import tracked
from medgrpo.tracking.names import swept_overrides
from medgrpo.trainer.base import Trainer, Training

if TYPE_CHECKING:
    from datasets import DatasetDict

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float:
    """Fine-tune and evaluate one model as `cfg` says; returns the held-out primary metric.

    NaN when the metric is not defined (no held-out rows). Everything the run knew and did is in
    the folder `cfg.output_dir`. Raises UserError for a mistake in the user's input.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder(cfg.output_dir))
        log.info("profile: %s (%s)", cfg.profile.name, cfg.profile.summary)

        dataset: Benchmark = build(cfg.dataset)
        model: Model = build(cfg.model)
        lora: LoRA | None = build(cfg.lora)
        first: Trainer | None = build(cfg.first_trainer)
        trainer: Trainer = build(cfg.trainer)
        engine: Engine = build(cfg.engine)
        evaluation: HeldOut = build(cfg.evaluation)
        metrics: dict[str, Metric] = {
            key: build(node, name=key) for key, node in cfg.metrics.items()
        }
        metric = require(metrics, dataset.primary_metric).name
        sizes = dataset.max_prompt_tokens, evaluation.max_new_tokens, evaluation.batch_size
        loads = [MemoryWorkload.of(part.args, *sizes) for part in (first, trainer) if part]
        preflight(
            model, lora, loads, folder.path, dataset.hub_id, merged=cfg.export.get("merged", False)
        )

        data = dataset.load()
        prompt: Prompt = build(cfg.prompt)
        judging = stack.enter_context(ExitStack())  # ends before the report, which has its bill
        judge = open_judge(cfg, judging, folder)
        rewards = build_rewards(cfg, judge)

        seed_everything(cfg.seed)
        policy = model.load(lora)
        warn_of_unused_gpu(policy)
        data = add_prompts(
            data, prompt, policy.tokenizer, dataset.max_prompt_tokens, dataset.over_length
        )
        record_settings(folder, cfg, data)

        config = plain(cfg)
        tracker: Tracker = build(cfg.tracking)
        stack.enter_context(tracked(tracker, folder, config, **describe(cfg)))

        reading: dict[str, Any] = {
            "engine": engine, "prompt": prompt, "metrics": metrics, "primary_metric": metric
        }  # fmt: skip
        evaluate = partial(evaluation, **reading)
        rows = data[evaluation.split]
        held_out = partial(evaluate, policy, rows, rewards)
        trainings = trainings_of(first, trainer, policy, folder)

        with trainer.starting_point(policy):
            stages = {"before" if trainings else "after": held_out()}
        for stage, (part, place) in trainings.items():
            part.train(Training(
                policy=policy, data=data, rewards=rewards, prompt=prompt, folder=place,
                tracker=tracker, seed=cfg.seed, score=evaluation.scorer(policy, **reading),
            ))  # fmt: skip
            stages[stage] = held_out()
        result = stages["after"]

        evaluated = write_evaluation(
            folder, stages, metrics, metric, evidently=evaluation.evidently
        )
        if trainings:
            save_policy(policy, folder.adapter, model_card(config, evaluated))
            export: Export = build(cfg.export)
            export(model, policy, folder, rows, result, evaluate=evaluate)
        for _, place in trainings.values():
            plot_run(place)
        judging.close()
        folder.update_summary(score=result.score, primary_metric=metric)
        write_report(folder)
        closing_table(folder)
    return math.nan if result.score is None else result.score


def build(node: DictConfig | None, **given: Any) -> Any:
    """What a config node describes, made by its `_target_`; None for a node that is null.

    Its values arrive as plain lists and dicts, and its errors as they are raised.
    """
    return node and instantiate(node, _convert_="all", _partial_=True)(**given)


def record_settings(folder: RunFolder, cfg: DictConfig, data: DatasetDict) -> None:
    """Write the passport; hold a run that resumes from checkpoints against its own.

    Raises UserError for other training data, or a setting that would hold for a part of it only.
    """
    from medgrpo.trainer.manifest import step_of, whole_checkpoint

    now, recorded, prints = settings(cfg), folder.settings(), fingerprint(data)
    if not (recorded and folder.has_checkpoints):
        rows = [as_read(cast(Example, row)) for row in data["train"].take(SHOWN)]
        folder.write_passport(overrides=overrides(), config=now, dataset=prints, rows=rows)
        return
    for problem in refused(recorded, now):
        raise UserError(f"{problem.key}: {problem.message}")
    known = folder.read_passport()["dataset"]
    if other := [split for split in prints if prints[split] != known.get(split)]:
        raise UserError(
            f"dataset: the {' and '.join(other)} rows are not those that this run began with "
            f"({folder.passport}); put them back, or start a new run with another output_dir"
        )
    if changed := changes(recorded, now):
        log.info("resumes with other settings: %s", ", ".join(
            f"{key}={value} ({was} before)" for key, (was, value) in changed.items()
        ))  # fmt: skip
        folder.record_changes(max(0, step_of(whole_checkpoint(folder))), changed)


def trainings_of(
    first: Trainer | None, trainer: Trainer, policy: Policy, folder: RunFolder
) -> dict[str, tuple[Trainer, RunFolder]]:
    """The trainings in their order, under the name of the stage that each ends; with its place."""
    trainings = {f"after_{first.name}": (first, folder.part(first.name))} if first else {}
    return trainings | ({"after": (trainer, folder)} if trainer.changes(policy) else {})


def open_judge(cfg: DictConfig, stack: ExitStack, folder: RunFolder | None = None) -> Judge | None:
    """The judge, if a reward asks for one, tried at once; `stack` closes it.

    What it was asked and cost is in the summary of `folder` then.
    """
    if not any("judge" in node for node in cfg.rewards.values()):
        return None
    judge: Judge = build(cfg.judge)
    stack.callback(judge.close)
    judge.preflight()
    if folder is not None:
        stack.callback(lambda: folder.update_summary(judge=judge.report()))
    return judge


def build_rewards(cfg: DictConfig, judge: Judge | None) -> list[Reward]:
    """The rewards, named by their keys; one judge serves all that ask for one."""
    rewards: list[Reward] = [
        build(node, name=key, **({"judge": judge} if "judge" in node else {}))
        for key, node in cfg.rewards.items()
    ]
    return rewards


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch. (transformers' set_seed would import it before Unsloth.)"""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def warn_of_unused_gpu(policy: Policy) -> None:
    """Tell a user with a CUDA GPU who runs on the CPU how to ask for the real recipe."""
    import torch

    if policy.model.device.type == "cpu" and torch.cuda.is_available():
        log.info("This machine has a CUDA GPU; profile=gpu runs the published recipe on it.")


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The composed config as plain nested data, interpolations resolved."""
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


def overrides() -> list[str]:
    """What was typed for this run, as Hydra recorded it."""
    return list(HydraConfig.get().overrides.task)


def describe(cfg: DictConfig) -> dict[str, Any]:
    """The run for a tracker: named by what was typed, or varied in its sweep."""
    hydra = HydraConfig.get()
    choices = hydra.runtime.choices
    in_sweep = hydra.mode == RunMode.MULTIRUN
    settings = swept_overrides(overrides(), hydra.job.config.override_dirname.exclude_keys)
    return {
        "name": " ".join(f"{name}={value}" for name, value in settings.items())[:120] or "default",
        "tags": [choices.dataset, choices.model, cfg.profile.name],
        "group": Path(hydra.sweep.dir).name if in_sweep else None,
        "job_type": choices.trainer,
    }
