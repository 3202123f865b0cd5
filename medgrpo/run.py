"""The run, start to end, in the order in which data flows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from medgrpo.config.build import build
from medgrpo.config.foreign import plain
from medgrpo.config.progress import Phase
from medgrpo.dataset.base import Benchmark, for_testing, trained_files
from medgrpo.dataset.fit import add_prompts
from medgrpo.dataset.prompt import Prompt
from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import Engine
from medgrpo.evaluation.export import Export
from medgrpo.evaluation.heldout import HeldOut, Reading, Result
from medgrpo.evaluation.suite import Suite
from medgrpo.evaluation.write import write_evaluation
from medgrpo.metrics.base import Metric, require, require_answers, require_grader
from medgrpo.model.base import Model, Policy, seed_everything, warn_of_unused_gpu
from medgrpo.model.identity import identity
from medgrpo.model.lora import LoRA
from medgrpo.model.memory import MemoryWorkload
from medgrpo.model.preflight import preflight
from medgrpo.model.save import save_policy
from medgrpo.report.closing import closing_table
from medgrpo.report.model_card import model_card
from medgrpo.report.plots import plot_run
from medgrpo.report.run_report import write_report
from medgrpo.rewards.build import build_grader, build_rewards, open_judge
from medgrpo.rewards.rubric import require_weights
from medgrpo.rundir import RunFolder, score_of
from medgrpo.tracking.base import Tracker
from medgrpo.tracking.mirror import tracked
from medgrpo.tracking.names import describe
from medgrpo.trainer.base import Trainer, Training
from medgrpo.trainer.none import NoTraining
from medgrpo.trainer.passport import judge_facts, prompt_hashes, record_settings

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float:
    """Fine-tune and evaluate one model as `cfg` says; returns the primary metric.

    It is that of test rows, or of validation rows in a sweep that they rank; NaN when it is not
    defined (no rows). Everything the run knew and did is in the folder `cfg.output_dir`. Raises
    UserError for a mistake in the user's input.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder(cfg.output_dir))
        log.info("profile: %s (%s)", cfg.profile.name, cfg.profile.summary)
        parts = Parts.of(cfg)
        dataset, evaluation, prompt = parts.dataset, parts.evaluation, parts.prompt
        parts.preflight(folder, cfg.export)
        data = parts.read()
        judging = stack.enter_context(ExitStack())
        judge = open_judge(cfg, judging, folder)
        rewards = build_rewards(cfg, judge)
        reading = Reading(
            engine=parts.engine, prompt=prompt, metrics=parts.metrics,
            primary_metric=dataset.primary_metric, grader=build_grader(cfg, judge),
        )  # fmt: skip
        require_weights(rewards, reading.grader, data)

        seed_everything(cfg.seed)
        with Phase("loading the model"):
            policy = parts.model.load(parts.lora)
        warn_of_unused_gpu(policy)
        room = partial(evaluation.prompt_budget, parts.model, engine=parts.engine)
        data = add_prompts(
            data, prompt, policy.tokenizer, dataset.max_prompt_tokens, dataset.over_length,
            held_out_tokens=room(dataset.max_prompt_tokens),
        )  # fmt: skip
        record_settings(folder, cfg, data, {
            "model": identity(getattr(policy.model, "config", None), cfg.model.get("adapter")),
            "prompt_sha256": prompt_hashes(data, prompt, policy.tokenizer),
            "judge": judge_facts(judge),
        })  # fmt: skip

        config = plain(cfg)
        tracker: Tracker = build(cfg.tracking)
        stack.enter_context(tracked(tracker, folder, config, **describe(cfg)))

        rows = data[evaluation.split]
        trainings = parts.trainings(policy, folder)
        suite = Suite.read(
            evaluation, reading, policy.tokenizer, data["train"] if trainings else None,
            trained_on=HydraConfig.get().runtime.choices.get("dataset"),
            seen={Path(getattr(dataset, "path", None) or "").name} | parts.seen,
            room=room,
        )  # fmt: skip

        def held_out(stage: str) -> Result:
            result = evaluation(policy, rows, reading, rewards)
            suite.answer(stage, policy, rewards)
            return result

        first = "before" if trainings else "after"
        with parts.trainer.starting_point(policy):
            stages = {first: held_out(first)}
        for stage, (part, place) in trainings.items():
            part.train(Training(
                policy=policy, data=data, rewards=rewards, prompt=prompt, folder=place,
                tracker=tracker, seed=cfg.seed, score=evaluation.scorer(policy, reading),
            ))  # fmt: skip
            stages[stage] = held_out(stage)
        result = stages["after"]

        selection = parts.selection(
            cfg, result, data["validation"], folder=folder,
            answer=lambda held_out, rows: held_out(policy, rows, reading),
        )  # fmt: skip
        judging.close()  # all processes are here: the first alone goes on to export
        metric = parts.metric.name
        evaluated = write_evaluation(
            folder, stages, parts.metrics, metric,
            evidently=evaluation.evidently, selection=selection,
        )  # fmt: skip
        suite.write(folder)
        if trainings:
            export: Export = build(cfg.export)
            ungraded = replace(reading, grader=None)
            with Phase("saving and exporting"):
                save_policy(policy, folder.adapter, model_card(config, evaluated))
                export(
                    parts.model, policy, folder, rows, result,
                    prompt=prompt, evaluate=partial(evaluation, reading=ungraded),
                )  # fmt: skip
        for _, place in trainings.values():
            plot_run(place)
        folder.update_summary(
            score=result.score, selection=selection.get("primary"), primary_metric=metric
        )
        write_report(folder)
        closing_table(folder)
    return score_of(folder.summary)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a config describes, made; nothing is loaded yet."""

    dataset: Benchmark
    prompt: Prompt
    model: Model
    lora: LoRA | None
    first: Trainer | None  # trains before `trainer`
    trainer: Trainer
    engine: Engine
    evaluation: HeldOut
    metrics: dict[str, Metric]

    @classmethod
    def of(cls, cfg: DictConfig) -> Parts:
        """Raises UserError for a value that its class refuses, or no way to the primary metric."""
        parts = cls(
            dataset=build(cfg.dataset),
            prompt=build(cfg.prompt),
            model=build(cfg.model),
            lora=build(cfg.lora),
            first=build(cfg.first_trainer),
            trainer=build(cfg.trainer),
            engine=build(cfg.engine),
            evaluation=build(cfg.evaluation),
            metrics={key: build(node, name=key) for key, node in cfg.metrics.items()},
        )
        require_grader(require(parts.metrics, parts.dataset.primary_metric), given=bool(cfg.grader))
        require_answers(parts.metrics, parts.evaluation)
        return parts

    @property
    def metric(self) -> Metric:
        """The primary one."""
        return self.metrics[self.dataset.primary_metric]

    def preflight(self, folder: RunFolder, export: DictConfig) -> None:
        """UserError for what this machine lacks for the run, all of it at once."""
        held_out, dataset = self.evaluation, self.dataset
        sizes = dataset.max_prompt_tokens, held_out.max_new_tokens, held_out.batch_size
        trained = filter(None, (self.first, self.trainer))
        loads = [MemoryWorkload.of(trainer.args, *sizes) for trainer in trained]
        made = {kind: bool(export.get(kind)) for kind in ("merged", "gguf")}
        preflight(self.model, self.lora, loads, folder.path, dataset.hub_id, **made)

    def read(self) -> DatasetDict:
        """The rows. Raises UserError where there are none to train on, or to evaluate."""
        trains = self.first is not None or not isinstance(self.trainer, NoTraining)
        dataset = self.dataset if trains else for_testing(self.dataset, self.seen)
        with Phase("reading data"):
            data = dataset.load()
        self.prompt.show(data["train"])
        if not len(data["train"]) and trains:
            raise UserError("dataset: there are no training rows; trainer=none only evaluates")
        self.evaluation.require_rows(self.metric, data[self.evaluation.split])
        return data

    @property
    def seen(self) -> set[str]:
        """Names of the files that the adapter was trained on, as far as its run says."""
        return trained_files(getattr(self.model, "adapter", None))

    def selection(
        self, cfg: DictConfig, result: Result, rows: Dataset, *, folder: RunFolder,
        answer: Callable[[HeldOut, Dataset], Result],
    ) -> dict[str, Any]:  # fmt: skip
        """What a sweep ranks the run by, see `Evaluation`; {} where its `result` has to do.

        `answer` gives that of an evaluation of `rows`, which are validation's.
        """
        in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        by_test = cfg.sweep.rank_by == "test" or not len(rows)
        if not in_sweep or by_test or not result.predictions:
            return {}
        if self.evaluation.split == "test":
            result = answer(self.evaluation.on_validation(len(result.predictions)), rows)
            folder.update_summary(selection_seconds=result.seconds)
        metrics = result.metrics
        return {
            "split": "validation",
            "n": metrics["n"],
            "n_choosing": min(metrics["n"], self.trainer.choosing_rows(len(rows))),
            "primary": metrics["primary"],
        }

    def trainings(self, policy: Policy, folder: RunFolder) -> dict[str, tuple[Trainer, RunFolder]]:
        """In their order, each with its place, under the name of the stage that it ends."""
        first = self.first
        trainings = {f"after_{first.name}": (first, folder.part(first.name))} if first else {}
        return trainings | (
            {"after": (self.trainer, folder)} if self.trainer.changes(policy) else {}
        )
