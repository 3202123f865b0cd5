"""Evaluation on held-out rows: ask the model, read its answers, sum them up.

The same rows, in the same order and greedily, before and after training: what differs is the
model alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge
from rich.console import Console
from rich.progress import Progress

from medgrpo.dataset.example import Example
from medgrpo.dataset.prompt import Prompt
from medgrpo.evaluation.generate import generate
from medgrpo.evaluation.score import Prediction, figures, read

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What an evaluation found."""

    figures: dict[str, Any]  # see medgrpo.evaluation.score.figures
    predictions: list[Prediction]  # one a row, in the split's order

    @property
    def score(self) -> float | None:
        """The primary metric in [0, 1], None where no row defines it."""
        return self.figures["primary"]


@dataclass(kw_only=True)
class HeldOut:
    """Greedy evaluation of a model on the first rows of a split."""

    batch_size: Annotated[int, Ge(1)]  # prompts answered at a time
    max_new_tokens: Annotated[int, Ge(1)]  # a response's length at most
    limit: Annotated[int, Ge(0)] | None = None  # rows, None for all
    split: Literal["test", "validation"] = "test"  # which one the run passes in

    def __call__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        dataset_split: Sequence[Example],
        prompt: Prompt,
        primary_metric: str,
    ) -> Result:
        """Evaluate on `dataset_split`, a datasets.Dataset (or list) of Examples.

        `prompt` makes the messages and says how answers are read. A row's answer is None, and
        counted, where none is found. Raises UserError for an unknown `primary_metric`.
        """
        n = len(dataset_split) if self.limit is None else min(self.limit, len(dataset_split))
        rows = [dataset_split[index] for index in range(n)]
        log.info("evaluating %d rows of the %s split", n, self.split)
        with Progress(transient=True, disable=not Console().is_terminal) as bar:
            task = bar.add_task(f"evaluating ({self.split})", total=n)
            generations = generate(
                model,
                tokenizer,
                [prompt.messages(row) for row in rows],
                batch_size=self.batch_size,
                max_new_tokens=self.max_new_tokens,
                chat_template_kwargs=prompt.chat_template_kwargs,
                on_progress=lambda answered: bar.update(task, completed=answered),
            )
        predictions = [
            read(row, generation.text, generation.tokens, prompt.style)
            for row, generation in zip(rows, generations, strict=True)
        ]
        return Result(figures(predictions, primary_metric), predictions)
