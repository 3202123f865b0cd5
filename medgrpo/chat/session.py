"""Asking runs that are done: one model in memory, their adapters switched.

A question goes the way of a held-out row: through the run's own prompt, engine, decoding and
reading of answers. Greedily, a held-out row is answered as the run's evaluation answered it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, cast

from medgrpo.chat.columns import Column, read_columns, row_key
from medgrpo.config.build import build
from medgrpo.dataset.example import YES_NO_MAYBE, Example, gold_text, is_multi_select
from medgrpo.dataset.fit import add_prompts
from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import Decoding
from medgrpo.evaluation.rewarded import score_responses
from medgrpo.metrics.prediction import Prediction, read
from medgrpo.model.base import Policy, seed_everything
from medgrpo.rewards.base import JudgedReward, Reward
from medgrpo.rewards.build import build_rewards, open_judge

OWN = "own"  # the id of a question that is no held-out row


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question, and how its answer is to be written."""

    row: Example
    temperature: float = 0.0  # 0: greedy
    max_new_tokens: int | None = None  # None: what the run's evaluation allows
    seed: int = 0  # of sampling


class Session:
    """Runs that can be asked. One question at a time: there is one model."""

    def __init__(
        self, runs: Sequence[str], typed: Sequence[str], config_dir: str | None = None
    ) -> None:
        """Load the model, every adapter, and the held-out rows of the first run.

        Raises UserError as `read_columns` does, and for what cannot be loaded.
        """
        self._stack = ExitStack()
        self._judged: dict[str, list[JudgedReward]] = {}  # by column, once they are asked for
        self.columns, model = read_columns(runs, typed, config_dir)
        first, parts = self.columns[0], self.columns[0].parts
        data = parts.dataset.load() if first.trained else parts.read()
        for column in self.columns:
            column.parts.prompt.show(data["train"])
        seed_everything(first.cfg.seed)
        self.policy: Policy = model.load(None)
        for number, column in enumerate(one for one in self.columns if one.adapter):
            column.loaded_as = f"run{number}" if number else "default"
            if number:
                tuned: Any = self.policy.model
                tuned.load_adapter(str(column.adapter), adapter_name=column.loaded_as)
        held_out, dataset = parts.evaluation, parts.dataset
        room = held_out.prompt_budget(parts.model, dataset.max_prompt_tokens, engine=parts.engine)
        rows = add_prompts(
            data, parts.prompt, self.policy.tokenizer, dataset.max_prompt_tokens,
            dataset.over_length, held_out_tokens=room,
        )[held_out.split]  # fmt: skip
        count = len(rows) if held_out.limit is None else min(held_out.limit, len(rows))
        self.rows = [cast(Example, rows[place]) for place in range(count)]

    def close(self) -> None:
        """Let go of the judges."""
        self._stack.close()

    def column(self, name: str) -> Column:
        """Raises UserError where there is none of that name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise UserError(f"{name!r} is none of {', '.join(one.name for one in self.columns)}")

    def recorded(self, row: Example) -> dict[str, Prediction]:
        """What evaluations answered to a held-out row, by column."""
        found = {column.name: column.recorded.get(row_key(row)) for column in self.columns}
        return {name: prediction for name, prediction in found.items() if prediction}

    def question(self, text: str, options: Sequence[str], context: Sequence[str]) -> Example:
        """A question of one's own: read like the held-out rows, with nothing known to be right."""
        kind = self.rows[0]["label"] if self.rows else None
        alike = is_multi_select(kind) if options else kind in YES_NO_MAYBE
        return Example(
            id=OWN, question=text, context=[*context], options=[*options],
            answer="", label=kind if alike else None, explanation="",
        )  # fmt: skip

    def answer(
        self,
        column: Column,
        asked: Asked,
        on_text: Callable[[str], None] = lambda text: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """The column's answer, as JSON: response, how it is read, and what rules give for it.

        `on_text` gets it piece by piece, and it ends early once `stopped()` is true. Raises
        UserError where the engine has none.
        """
        parts, row = column.parts, asked.row
        prompt, own = parts.prompt, row["id"] == OWN
        opened = prompt.prefilled(self.policy.tokenizer) if parts.engine.renders else ""
        decoding = Decoding(
            batch_size=1,
            max_new_tokens=asked.max_new_tokens or parts.evaluation.max_new_tokens,
            temperature=asked.temperature,
            chat_template_kwargs=prompt.chat_template_kwargs,
        )
        if opened:
            on_text(opened)
        with self._speaking(column):
            made = parts.engine.stream(
                self.policy, prompt.messages(row), decoding,
                on_text=on_text, stopped=stopped, seed=asked.seed,
            )  # fmt: skip
        text = opened + made.text
        found = read(row, text, made.tokens, prompt.style, truncated=made.truncated)
        nodes = {key: node for key, node in column.cfg.rewards.items() if "judge" not in node}
        rules: list[Reward] = [build(node, name=key) for key, node in nodes.items()]
        known = [one for one in rules if not (own and one.verifiable)]
        scores = score_responses(known, [row], [text], [made.truncated])
        return {
            "response": text,
            "tokens": made.tokens,
            "truncated": made.truncated,
            "predicted": found["predicted"],
            "correct": None if own else found["correct"],
            "gold": None if own else gold_text(row),
            "complies": found["complies"],
            "rewards": {name: values[0] for name, values in scores.items()},
        }

    def judged(self, column: Column, row: Example, response: str) -> dict[str, Any]:
        """What the judged rewards of the column's run give to a response, with reasons.

        Scores are in [0, 1], None for no verdict. The judge is opened at the first question; raises
        UserError where it cannot be reached, or the run has no judged rewards.
        """
        if not (judged := self._judged_rewards(column)):
            raise UserError(f"{column.name}: its run has no judged rewards: add rewards=[judges]")
        extra: dict[str, list[Any]] = {}
        scores = score_responses(judged, [row], [response], extra=extra)
        return {
            name: {"score": values[0], "reason": extra.get(f"{name}/reason", [None])[0]}
            for name, values in scores.items()
        }

    def _judged_rewards(self, column: Column) -> list[JudgedReward]:
        if column.name not in self._judged:
            cfg = column.cfg
            for judge in (cfg.judge, *cfg.judge.get("members", {}).values()):
                if "reasons" in judge:
                    judge.reasons = True
            rewards = build_rewards(cfg, open_judge(cfg, self._stack))
            self._judged[column.name] = [one for one in rewards if isinstance(one, JudgedReward)]
        return self._judged[column.name]

    def _speaking(self, column: Column) -> AbstractContextManager[Any]:
        """The model as the column's."""
        model: Any = self.policy.model
        if column.loaded_as:
            model.set_adapter(column.loaded_as)
            return nullcontext()
        return model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()
