"""Supervised fine-tuning on worked explanations, by TRL.

The second reference system: chain of thought from dmis-lab/meerkat-instructions (Kim et al. 2024,
https://arxiv.org/abs/2404.00376). The loss is that of the completion alone. The config's
`trainer.args` are fields of TRL's SFTConfig, passed as they are; only what a run decides elsewhere
is filled in here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

from annotated_types import Ge

from medgrpo.answers.parse import complies, predict
from medgrpo.dataset.example import Example
from medgrpo.dataset.prompt import Prompt, worked_answer
from medgrpo.errors import UserError
from medgrpo.trainer.base import MANAGED, Training, TRLTrainer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
    from trl import SFTConfig, SFTTrainer

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class SFT(TRLTrainer):
    """Fine-tune a policy on the explanations and answers of the training rows."""

    name: ClassVar[str] = "sft"
    config_class: ClassVar[str] = "SFTConfig"
    managed: ClassVar[dict[str, str]] = MANAGED | {
        "completion_only_loss": "the loss is always that of the completion",
        "eval_on_start": "the first point of the curve is always measured",
    }

    patience: Annotated[int, Ge(1)] | None = None  # evaluations without a better one; None: all

    def train(self, training: Training) -> None:
        """As `Trainer.train`; rewards are not used. The best checkpoint is what remains."""
        from transformers import EarlyStoppingCallback
        from trl import SFTConfig, SFTTrainer

        from medgrpo.trainer.best import SCORE, record_best_checkpoint
        from medgrpo.trainer.manifest import whole_checkpoint

        policy, data, folder = training.policy, training.data, training.folder
        refuse_other_opening(training.prompt, policy.tokenizer)
        if not len(data["validation"]):
            raise UserError("dataset: SFT is measured on validation rows, and there are none")
        by_score = self.args.get("metric_for_best_model") == SCORE
        direction = {"greater_is_better": training.score.higher_is_better} if by_score else {}
        config = SFTConfig(
            **direction | self.settings(training),
            completion_only_loss=True,
            eval_on_start=whole_checkpoint(folder) is None,
        )
        trainer = SFTTrainer(
            model=policy.model,
            args=config,
            train_dataset=as_completions(data["train"], training.prompt),
            eval_dataset=as_completions(data["validation"], training.prompt),
            processing_class=policy.tokenizer,
        )
        log_batch(config)
        warn_of_cut_rows(trainer)
        stopping = [EarlyStoppingCallback(self.patience)] if self.patience else []
        self.fit(trainer, training, *stopping)
        measure = config.metric_for_best_model or "eval_loss"
        record_best_checkpoint(trainer.state, measure, folder, training.tracker)


def refuse_other_opening(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> None:
    """UserError for a chat template that opens responses otherwise than what is trained on.

    The model would learn to answer after a prompt that it is never asked with.
    """
    opened = prompt.prefilled(tokenizer).strip()
    starts = "<reasoning>" if prompt.style == "reasoning" else ""
    if opened and not starts.startswith(opened):
        advice = ", or prompt=reasoning" if opened == "<reasoning>" else ""
        raise UserError(
            f"prompt.style: {prompt.style} responses do not begin with {opened!r}, which the chat "
            f"template writes; use another template (prompt.chat_template_kwargs){advice}"
        )


def as_completions(rows: Dataset, prompt: Prompt) -> Dataset:
    """Rows as TRL's conversational prompt-completion pairs; those without a completion left out.

    Raises UserError when none is left.
    """
    from datasets import Dataset

    pairs = [(row["prompt"], completion(cast(Example, row), prompt.style)) for row in rows]
    kept = [(messages, text) for messages, text in pairs if text is not None]
    if not kept:
        raise UserError(
            "prompt=reasoning: no row has an explanation to learn reasoning from; use "
            "prompt=choice_cot, which trains on answers, or a dataset with explanations"
        )
    if len(kept) < len(rows):
        log.warning("sft: %d of %d rows left out: no explanation", len(rows) - len(kept), len(rows))
    columns = {
        "prompt": [messages for messages, _ in kept],
        "completion": [[{"role": "assistant", "content": text}] for _, text in kept],
    }
    if prompt.chat_template_kwargs:
        columns["chat_template_kwargs"] = [prompt.chat_template_kwargs] * len(kept)
    return Dataset.from_dict(columns)


def completion(row: Example, style: str) -> str | None:
    """The response that a row teaches, in the prompt's style; None where it has none.

    `choice_cot`: the explanation, ending in "the answer is (B) text" if it does not already.
    `reasoning`: explanation and gold answer in tags; None for a row without explanation.
    """
    explanation = row["explanation"].strip()
    if style == "reasoning":
        return worked_answer(row, style) if explanation else None
    ends_in_it = predict(explanation, row, style) == (row["label"] or row["answer"])
    if ends_in_it and complies(explanation, row, style):
        return explanation
    return worked_answer(row, style)


def log_batch(config: SFTConfig) -> None:
    """Log how many examples a step takes, and how they come together."""
    device, steps = config.per_device_train_batch_size, config.gradient_accumulation_steps
    examples = device * steps * config.world_size
    log.info(
        "sft: %d examples a step (%d a device x %d accumulated x %d processes)",
        examples, device, steps, config.world_size,
    )  # fmt: skip


def warn_of_cut_rows(trainer: SFTTrainer) -> None:
    """Log how many rows lost their end: such a row teaches a model not to come to an answer."""
    if trainer.args.packing or trainer.args.max_length is None:
        return
    lengths = [len(ids) for ids in trainer.train_dataset["input_ids"]]
    cut = sum(length >= trainer.args.max_length for length in lengths)
    if cut:
        log.warning(
            "sft: %d of %d training rows cut at trainer.args.max_length=%d tokens",
            cut, len(lengths), trainer.args.max_length,
        )  # fmt: skip
