"""What splits must not hold: rows twice, and rows that they are going to be tested on.

The overlap rule is two-fold. A row is the same when question, options and passages are equal,
case and punctuation aside. A long question is also the same when it shares half of its 13-word
sequences with a held-out one: 13 words after Brown et al. 2020 (GPT-3, appendix C), a share of them
after Touvron et al. 2023 (Llama 2, appendix A.6). One shared sequence says little here ("Which of
the following is the most appropriate next step in management of this patient?"): it would take 208
of MedQA's 1,272 dev questions for the sake of 300 test questions, half of them takes none.
Passages do not count in the second rule: different questions share an abstract.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from medgrpo.dataset.example import Example
from medgrpo.dataset.rows import select, without
from medgrpo.dataset.splits import in_hash_order
from medgrpo.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

log = logging.getLogger(__name__)

NGRAM = 13  # words
LONG = 25  # words of a question from which sequences count; below, one template sentence is half
SHARED = 0.5  # of the sequences of the shorter question


def with_words(rows: pa.Table) -> pa.Table:
    """The rows with a column `words`: the question in lower-case words of any script."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = []
    for start in range(0, rows.num_rows, 10_000):
        # In one piece: Arrow compiles the expression anew for each.
        lower = pc.utf8_lower(rows.column("question").slice(start, 10_000).combine_chunks())
        words = pc.replace_substring_regex(lower, r"[^\p{L}\p{N}]+", " ")
        parts.append(pc.utf8_trim_whitespace(words))
    return rows.append_column("words", pa.chunked_array(parts, pa.string()))


def without_repeats(rows: pa.Table) -> pa.Table:
    """Rows with words, without those that repeat an earlier one, whatever their ids; counted."""
    import numpy as np

    # Of the questions, hashes are compared: a table of 211,269 texts would take 50 MB.
    parts = rows.column("words").chunks
    hashes = np.fromiter((hash(words) for part in parts for words in part.to_pylist()), np.int64)
    values, counts = np.unique(hashes, return_counts=True)
    seen: set[Any] = set()
    repeats = set()
    for place, key in _keys(rows, np.flatnonzero(np.isin(hashes, values[counts > 1]))):
        if key in seen:
            repeats.add(place)
        seen.add(key)
    why = "train: question, options and passages of an earlier row"
    _log_removed(len(repeats), rows.num_rows, why)
    return without(rows, repeats)


def without_overlap(splits: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Splits with words: no training row is held out, and no validation row is tested; counted.

    Validation chooses checkpoints and settings, whose test score would be chosen by itself. Raises
    UserError when no training row is left.
    """
    validation = _less("validation", splits["validation"], {"test": splits["test"]})
    held_out = {"test": splits["test"], "validation": validation}
    train = _less("train", splits["train"], held_out)
    if splits["train"].num_rows and not train.num_rows:
        raise UserError("dataset: every training row is also held out; give other files")
    return {**splits, "train": train, "validation": validation}


def _less(name: str, rows: pa.Table, others: Mapping[str, pa.Table]) -> pa.Table:
    """The rows of a split that are in none of the others, and not nearly."""
    gone: set[int] = set()
    for other, table in others.items():
        for why, places in (
            (f"{name}: also in {other}", _same(rows, table)),
            (f"{name}: nearly the same as a {other} question", _near(rows, table)),
        ):
            _log_removed(len(places - gone), rows.num_rows, why)
            gone |= places
    return without(rows, gone)


def count_shared(train: Dataset | None, held_out: Dataset) -> int:
    """Training rows that are also among `held_out`, or nearly: by the rule of `without_overlap`."""
    if not train or not len(held_out):
        return 0
    own, other = (with_words(rows.with_format("arrow")[:]) for rows in (train, held_out))
    return len(_same(own, other) | _near(own, other))


def balanced(train: pa.Table, limit: int | None = None) -> pa.Table:
    """As many rows of each label as the rarest has, drawn by a hash of the id; `limit` of all.

    Rows without a label stay. Raises UserError when none has one.
    """
    labels = train.column("label").to_pylist()
    counts = Counter(label for label in labels if label is not None)
    if not counts:
        raise UserError("dataset.balance: no training row has a label to balance")
    least = min(counts.values())
    if limit is not None:  # else its first rows may all have one label
        least = min(least, max(1, limit // len(counts)))
    taken: Counter[str | None] = Counter()
    kept = []
    for place in in_hash_order(train).tolist():
        taken[labels[place]] += 1
        if labels[place] is None or taken[labels[place]] <= least:
            kept.append(place)
    log.info("dataset: balanced train to %d rows a label, %d of %d", least, len(kept), len(labels))
    return select(train, kept)


def balance_line(train: pa.Table, test: pa.Table) -> str | None:
    """Labels of both splits and what always giving train's commonest one scores on test.

    None where either has no labels.
    """
    counts = [Counter(rows.column("label").drop_null().to_pylist()) for rows in (train, test)]
    if not all(counts):
        return None
    shares = [
        ", ".join(f"{label} {n / part.total():.1%}" for label, n in sorted(part.items()))
        for part in counts
    ]
    [(commonest, _)] = counts[0].most_common(1)
    baseline = counts[1][commonest] / counts[1].total()
    return (
        f"train labels {shares[0]}\n"
        f"  test labels {shares[1]}\n"
        f'  always answering "{commonest}" scores {baseline:.1%} on test'
    )


def _same(train: pa.Table, held_out: pa.Table) -> set[int]:
    """Places of the training rows that are held out."""
    import numpy as np
    import pyarrow.compute as pc

    words, known = train.column("words"), held_out.column("words")
    alike = np.flatnonzero(pc.is_in(words, value_set=known.combine_chunks()))
    asked = np.flatnonzero(pc.is_in(known, value_set=words.take(alike).combine_chunks()))
    identities = {key for _, key in _keys(held_out, asked)}
    return {place for place, key in _keys(train, alike) if key in identities}


def _keys(rows: pa.Table, places: np.ndarray[Any, Any]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The places [n], ascending, and the identities of the rows there."""
    return zip(places.tolist(), map(_identity, select(rows, places).to_pylist()), strict=True)


def _identity(row: Example) -> tuple[str, ...]:
    parts = [row["question"], *row["options"], "", *row["context"]]
    return tuple(re.sub(r"[\W_]+", " ", part.lower()).strip() or part for part in parts)


def _near(train: pa.Table, held_out: pa.Table) -> set[int]:
    """Places of the long training questions that share sequences with a long held-out one."""
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    sizes = {}
    for place, grams in _sequences(held_out):
        sizes[place] = len(grams)
        for gram in grams:
            index[gram].append(place)
    near = set()
    for place, grams in _sequences(train) if index else ():
        shared = Counter(other for gram in grams & index.keys() for other in index[gram])
        if any(n >= SHARED * min(len(grams), sizes[other]) for other, n in shared.items()):
            near.add(place)
    return near


def _sequences(rows: pa.Table) -> Iterator[tuple[int, set[tuple[str, ...]]]]:
    """Place and word sequences of the questions that are long enough."""
    import numpy as np
    import pyarrow.compute as pc

    questions = rows.column("words")
    places = np.flatnonzero(pc.greater_equal(pc.count_substring(questions, " "), LONG - 1))
    for place, question in zip(places.tolist(), questions.take(places).to_pylist(), strict=True):
        words = question.split()
        yield place, {tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)}


def _log_removed(count: int, of: int, why: str) -> None:
    if count:
        log.warning("dataset: removed %d of %d rows from %s", count, of, why)
