"""Render prompts, and keep them within the token budget by leaving out context.

Both happen when a row is read (`with_transform`, the way of datasets' own documentation to
tokenise on the fly): rendering and cutting 211,269 abstracts ahead takes a minute, for a run that
may read a thousand of them. What has to be known ahead is which rows stay too long without any
passage, and the longest questions tell.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from medgrpo.dataset.example import Example
from medgrpo.dataset.prompt import Prompt
from medgrpo.dataset.rows import FIELDS, dataset, without
from medgrpo.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

LEFT_OUT = "passages_left_out"  # how many a row's prompt lost
BATCH = 500  # rows read at a time to be measured
ENCODED = 50  # of them tokenised at a time: a token takes 100 bytes until it is counted
COUNTED = 300  # rows; of longer splits, as many are looked at to say how many lose passages
HASHED = 4000  # rows at a time
SEAM = 16  # tokens, where template and text meet


def add_prompts(
    data: DatasetDict,
    prompt: Prompt,
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    over_length: Literal["trim", "drop"] = "trim",
    *,
    held_out_tokens: int | None = None,
) -> DatasetDict:
    """Give every row the key `prompt` (chat messages); it is made when the row is read.

    A prompt over `max_tokens` (`held_out_tokens` in validation and test) loses its last passages,
    never its question; how many is in the key `LEFT_OUT`. What is still over is left out of train
    and kept in validation and test, so that no benchmark changes its size. With
    `over_length="drop"`, training rows over the budget are left out instead of trimmed.
    """
    from datasets import DatasetDict

    fitted = {}
    for split, rows in data.items():
        budget = max_tokens if split == "train" else held_out_tokens or max_tokens
        fitting = Fitting(prompt, tokenizer, budget)
        drop = over_length == "drop" and split == "train"
        over = _over(rows, fitting) if drop else _over_without_context(rows, fitting)
        kept = _without(rows, over) if split == "train" else rows
        fitted[split] = kept.with_transform(fitting)
        if over:
            fate = "left out" if split == "train" else "kept"
            log.warning("prompts: %d %s rows over %d tokens, %s", len(over), split, budget, fate)
        _log_cut(split, kept, fitting)
    return DatasetDict(fitted)


@dataclass
class Fitting:
    """The transform of a split: `prompt`, and `context` without what does not fit."""

    prompt: Prompt
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int

    def __call__(self, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """A batch of rows; columns that are asked for alone pass through."""
        if not columns.keys() >= set(FIELDS):
            return columns
        rows = [self.fit(row) for row in _rows(columns)]
        return {key: [row[key] for row in rows] for key in [*columns, "prompt", LEFT_OUT]}

    def fit(self, row: Example) -> dict[str, Any]:
        """The row with its prompt and the passages that fit."""
        passages = list(row["context"])
        while passages and self.tokens([{**row, "context": passages}])[0] > self.max_tokens:
            passages.pop()
        fitted = Example(**{**row, "context": passages})
        left_out = len(row["context"]) - len(passages)
        return {**fitted, "prompt": self.prompt.messages(fitted), LEFT_OUT: left_out}

    def tokens(self, rows: Sequence[Any]) -> list[int]:
        """The length of each row's whole prompt."""
        parts = (rows[start : start + ENCODED] for start in range(0, len(rows), ENCODED))
        return [
            len(ids)
            for part in parts
            for ids in self._encode([self.prompt.messages(row) for row in part])
        ]

    def upper_bound_tokens(self, row: Example) -> int:
        """At least as many tokens as the row's prompt has, without counting them.

        A token is a byte of text or more; around the texts, there is what an empty chat has.
        """
        messages = self.prompt.messages(row)
        [empty] = self._encode([[{**message, "content": ""} for message in messages]])
        return len(empty) + SEAM + sum(len(message["content"].encode()) for message in messages)

    def _encode(self, chats: list[list[dict[str, str]]]) -> list[list[int]]:
        return self.tokenizer.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
            **self.prompt.chat_template_kwargs,
        )


def _without(rows: Dataset, places: list[int]) -> Dataset:
    """The rows but those at `places`. Raises UserError when none is left."""
    if places and len(places) == len(rows):
        raise UserError("dataset.max_prompt_tokens: every training row is longer; raise it")
    return dataset(without(rows.with_format("arrow")[:], places)) if places else rows


def _over(rows: Dataset, fitting: Fitting) -> list[int]:
    """Places of the rows whose prompt is over the budget; measures every row."""
    lengths = [n for part in rows.iter(BATCH) for n in fitting.tokens(list(_rows(part)))]
    return [place for place, tokens in enumerate(lengths) if tokens > fitting.max_tokens]


def _over_without_context(rows: Dataset, fitting: Fitting) -> list[int]:
    """Places of the rows that are over the budget even without a passage.

    Longest questions (and options) first, until they are so short that all others fit.
    """
    import numpy as np

    order = np.argsort(-_sizes(rows), kind="stable")
    over = []
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        bare = [Example(**{**row, "context": []}) for row in _rows(rows[places])]
        if fitting.upper_bound_tokens(bare[0]) <= fitting.max_tokens:
            break
        lengths = zip(places.tolist(), fitting.tokens(bare), strict=True)
        over += [place for place, tokens in lengths if tokens > fitting.max_tokens]
    return over


def _sizes(rows: Dataset) -> np.ndarray[Any, Any]:
    """Bytes of question and options, by row."""
    import numpy as np
    import pyarrow.compute as pc

    found = rows.select_columns(["question", "options"]).with_format("arrow")[:]
    options = found.column("options")
    each = np.asarray(pc.binary_length(pc.list_flatten(options)))
    ends = np.cumsum(np.asarray(pc.list_value_length(options)))
    total = np.concatenate([[0], np.cumsum(each)])[np.concatenate([[0], ends])]
    return np.asarray(pc.binary_length(found.column("question"))) + np.diff(total)


def evenly_spread(rows: int) -> list[int]:
    """Places of at most COUNTED of so many rows."""
    import numpy as np

    return np.unique(np.linspace(0, rows - 1, min(rows, COUNTED)).astype(int)).tolist()


def _log_cut(split: str, rows: Dataset, fitting: Fitting) -> None:
    """Say how many rows lose passages, of all rows or of some evenly spread ones."""
    looked = evenly_spread(len(rows))
    with_context = [row for row in _rows(rows[looked]) if row["context"]]
    lengths = fitting.tokens(with_context) if with_context else []
    cut = sum(tokens > fitting.max_tokens for tokens in lengths)
    if cut:
        sample = "" if len(looked) == len(rows) else f" (of {len(rows)}, evenly spread)"
        log.warning(
            "prompts: %d of %d %s rows%s lose passages to fit", cut, len(looked), split, sample
        )


def _rows(columns: dict[str, list[Any]]) -> Iterator[Example]:
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))  # type: ignore[misc]


def fingerprint(data: DatasetDict) -> dict[str, dict[str, Any]]:
    """Rows and a content hash of every split, as loaded: what a run was trained and tested on."""
    return {split: {"rows": len(rows), "sha256": _sha256(rows)} for split, rows in data.items()}


def _sha256(rows: Dataset) -> str:
    """Equal for equal rows in equal order, however Arrow has them in memory."""
    digest = hashlib.sha256()
    for batch in rows.with_format("arrow").iter(HASHED):
        for name in batch.column_names:
            _hash(batch.column(name).combine_chunks(), digest)
    return digest.hexdigest()


def _hash(values: pa.Array, digest: Any) -> None:
    """Lengths (-1 for null), then the texts; of a list column, its own lengths before them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    is_list = pa.types.is_list(values.type)
    lengths = (pc.list_value_length if is_list else pc.binary_length)(values)
    digest.update(memoryview(pc.fill_null(lengths, -1).to_numpy()))
    if is_list:
        _hash(values.flatten(), digest)
    elif len(values):
        values = pc.fill_null(values, "")
        _, ends, content = values.buffers()
        ends = np.frombuffer(ends, np.int32)[values.offset : values.offset + len(values) + 1]
        digest.update(memoryview(content or b"")[ends[0] : ends[-1]])
