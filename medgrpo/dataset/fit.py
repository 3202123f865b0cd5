"""Render prompts and keep them within the token budget by leaving out context."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any, cast

from medgrpo.dataset.example import Example
from medgrpo.dataset.prompt import Prompt

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


def add_prompts(
    data: DatasetDict, prompt: Prompt, tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> DatasetDict:
    """Add the column `prompt` (chat messages) to every split.

    A prompt over `max_tokens` loses its last passages, never its question. What is still over is
    left out of train and kept in validation and test, so that no benchmark changes its size.
    """
    from datasets import DatasetDict

    def length(messages: list[dict[str, str]]) -> int:
        ids = tokenizer.apply_chat_template(
            messages,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
            **prompt.chat_template_kwargs,
        )
        return len(ids)

    def render(row: dict[str, Any]) -> dict[str, Any]:
        messages = prompt.messages(cast(Example, row))
        tokens, passages = length(messages), list(row["context"])
        cut = 0
        while tokens > max_tokens and passages:
            passages.pop()
            cut += 1
            messages = prompt.messages(cast(Example, {**row, "context": passages}))
            tokens = length(messages)
        return {"prompt": messages, "context": passages, "_cut": cut, "_tokens": tokens}

    return DatasetDict(
        {split: _report(split, rows.map(render), max_tokens) for split, rows in data.items()}
    )


def _report(split: str, rows: Dataset, max_tokens: int) -> Dataset:
    cut = sum(passages > 0 for passages in rows["_cut"])
    over = [i for i, tokens in enumerate(rows["_tokens"]) if tokens > max_tokens]
    if cut:
        log.warning("prompts: %d of %d %s rows lost passages to fit", cut, len(rows), split)
    if over:
        fate = "left out" if split == "train" else "kept"
        log.warning("prompts: %d %s rows over %d tokens, %s", len(over), split, max_tokens, fate)
    if over and split == "train":
        rows = rows.select(sorted(set(range(len(rows))) - set(over)))
    return rows.remove_columns(["_cut", "_tokens"])


def fingerprint(data: DatasetDict) -> dict[str, dict[str, Any]]:
    """Rows and a content hash of every split: what a run was trained and tested on."""
    return {split: {"rows": len(rows), "sha256": _sha256(rows)} for split, rows in data.items()}


def _sha256(rows: Dataset) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode())
    return digest.hexdigest()
