"""A suite: further benchmarks, answered by the same model at each stage of a run.

Training on one benchmark can cost others what they tested ("catastrophic forgetting", McCloskey and
Cohen 1989), and a figure in the domain of the training says little about any other. Each set keeps
its own prompt, metric, interval and baselines; what got worse is tested, over all sets at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from medgrpo.config.progress import Phase
from medgrpo.dataset.base import Benchmark, for_testing
from medgrpo.dataset.fit import Fitting, add_prompts, evenly_spread
from medgrpo.dataset.hygiene import count_shared
from medgrpo.errors import UserError
from medgrpo.evaluation.heldout import HeldOut, Reading, Result
from medgrpo.evaluation.write import write_stages
from medgrpo.metrics.base import require, require_grader
from medgrpo.metrics.suite import SetResult, summed_up
from medgrpo.model.base import Policy
from medgrpo.model.hub import cached_dataset, hub_problems
from medgrpo.rewards.base import Reward
from medgrpo.rundir import RunFolder

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass
class SuiteSet:
    """One benchmark of the suite, ready to be answered."""

    name: str
    rows: Dataset  # with prompts
    reading: Reading
    evaluation: HeldOut
    in_domain: bool
    in_training: int  # training rows of the run that are also among these
    results: dict[str, Result] = field(default_factory=dict)  # by stage


@dataclass
class Suite:
    """The sets of a run, and what they were answered with."""

    sets: list[SuiteSet] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # set: why it could not be read

    @classmethod
    def read(
        cls,
        evaluation: HeldOut,
        reading: Reading,
        tokenizer: PreTrainedTokenizerBase,
        train: Dataset | None,
        *,
        trained_on: str | None,
        seen: Collection[str],
        room: Callable[[int], int],
    ) -> Suite:
        """The sets of `evaluation.suite`; one that cannot be read is logged and left out.

        `reading` is the run's own. `train`: its training rows, None where nothing is trained;
        `trained_on`: the name of their benchmark. `room`: the tokens that a held-out prompt may
        have, of those that a training prompt may have. All rows of a file are answered, unless its
        name is among those `seen` in training: then those that are held out.
        """
        from datasets import DatasetDict

        suite = cls()
        for name, benchmark in evaluation.suite.items():
            log.info("suite: %s", name)
            asked = getattr(benchmark, "answer_with", reading.prompt.answer_with)
            prompt = replace(reading.prompt, answer_with=asked)
            budget = room(benchmark.max_prompt_tokens)
            try:
                with Phase(f"reading {name}"):
                    _require_hub(name, benchmark.hub_id)
                    metric = require(reading.metrics, benchmark.primary_metric)
                    require_grader(metric, given=reading.grader is not None)
                    own = _limited(evaluation, benchmark)
                    rows = for_testing(benchmark, seen).load()[own.split]
                    own.require_rows(metric, rows)
                    shared = count_shared(train, rows)
            except UserError as error:
                log.error("suite: %s is missing: %s", name, error)
                suite.missing[name] = str(error)
                continue
            if shared:
                log.warning("suite: %d training rows are also rows of %s", shared, name)
            fitted = add_prompts(DatasetDict({own.split: rows}), prompt, tokenizer, budget)
            named = [trained_on] * (train is not None)
            in_domain = name in (named if evaluation.in_domain is None else evaluation.in_domain)
            own_reading = replace(reading, prompt=prompt, primary_metric=metric.name)
            suite.sets.append(
                SuiteSet(name, fitted[own.split], own_reading, own, in_domain, shared)
            )
        _log_budgets(suite.sets, tokenizer)
        return suite

    def answer(self, stage: str, policy: Policy, rewards: Sequence[Reward]) -> None:
        """Answer every set with the policy as it is now."""
        for one in self.sets:
            log.info("suite: %s, %s", one.name, stage.replace("_", " "))
            one.results[stage] = one.evaluation(policy, one.rows, one.reading, rewards)

    def write(self, folder: RunFolder) -> None:
        """Write suite.json and each set's evaluation into suite/NAME; nothing without a suite."""
        if not (self.sets or self.missing):
            return
        results = []
        for one in self.sets:
            place = folder.part(f"suite/{one.name}")
            metric = one.reading.metric
            evaluation = write_stages(place, one.results, one.reading.metrics, metric.name)
            answered = {stage: result.predictions for stage, result in one.results.items()}
            results.append(
                SetResult(one.name, metric, evaluation, answered, one.in_domain, one.in_training)
            )
        folder.write_json(folder.suite, summed_up(results, self.missing))


def _require_hub(name: str, hub_id: str | None) -> None:
    """UserError where a repository is neither here nor at the hub's, asked once."""
    if hub_id is not None and not cached_dataset(hub_id):
        key = f"evaluation.suite.{name}.dataset_id"
        if problem := next(hub_problems(key, "dataset", hub_id, None), None):
            raise UserError(problem)


def _limited(evaluation: HeldOut, benchmark: Benchmark) -> HeldOut:
    """The run's own evaluation, on the first rows of a set: as many as either limit allows."""
    limits = [evaluation.limit, getattr(benchmark, "limit", None)]
    limit = min((n for n in limits if n is not None), default=None)
    scored = evaluation.reward_rows if evaluation.suite_rewards else 0
    return replace(evaluation, limit=limit, samples=0, reward_rows=scored)


def _log_budgets(sets: Sequence[SuiteSet], tokenizer: PreTrainedTokenizerBase) -> None:
    """One table of what each set asks of the model's room, before anything is trained."""
    if not sets:
        return
    lines = [f"{'suite: set':<24}{'rows':>7}{'longest prompt':>16}{'new tokens':>12}  domain"]
    for one in sets:
        n = len(range(len(one.rows))[: one.evaluation.limit])
        fitting = Fitting(one.reading.prompt, tokenizer, 0)
        asked = [one.rows[place] for place in evenly_spread(n)]
        longest = max(fitting.tokens(asked), default=0)
        domain = "in" if one.in_domain else "out"
        lines.append(
            f"  {one.name:<22}{n:>7}{longest:>16}{one.evaluation.max_new_tokens:>12}  {domain}"
        )
    log.info("%s", "\n".join(lines))
