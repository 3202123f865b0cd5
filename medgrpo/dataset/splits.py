"""Which file is which split, and what is held out where there is no file for it."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgrpo.dataset.read import SUFFIXES
from medgrpo.dataset.rows import select
from medgrpo.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

log = logging.getLogger(__name__)

CARVED_SHARE = 0.05  # of the training rows, for each split where the source has no test rows

SPLITS = ("train", "validation", "test")
SHARD = re.compile(r"-\d+-of-\d+$")  # train-00000-of-00002.parquet, as the hub stores splits


def find_files(path: Path, names: Mapping[str, str]) -> dict[str, list[Path]]:
    """The files of each split in a folder, or {"train": [path]} for a file.

    `names` gives each split a pattern for a file's name without suffix. Several files are one
    split when their names differ by numbers only (shards, batches). A folder may hold test rows
    alone: nothing can be trained on it. Raises UserError for a path that is not there, a folder
    with neither and a split with two candidates.
    """
    if path.is_file():
        return {"train": [path]}
    if not path.is_dir():
        raise UserError(f"dataset.path: there is no file or folder {path}")
    files = [f for f in sorted(path.iterdir()) if f.is_file() and f.suffix.lower() in SUFFIXES]
    found = {}
    for split, pattern in names.items():
        hits = [f for f in files if re.fullmatch(pattern, SHARD.sub("", f.stem), re.IGNORECASE)]
        if len({re.sub(r"\d+", "", f.name) for f in hits}) > 1:
            listed = ", ".join(f.name for f in hits)
            raise UserError(
                f"dataset.path: {path} has several {split} files: {listed}; say which, as in "
                f"dataset.splits={{{split}: {hits[0].name}}}"
            )
        if hits:
            found[split] = hits
    if not found.keys() & {"train", "test"}:
        listed = ", ".join(f.name for f in files[:10]) or f"no {', '.join(SUFFIXES)} file"
        raise UserError(
            f"dataset.path: {path} has no training file (train.*) and no test file; it has "
            f"{listed}. Say which is which: dataset.splits={{train: FILE, test: FILE}}"
        )
    return found


def given_files(path: Path | None, splits: Mapping[str, str | list[str]]) -> dict[str, list[Path]]:
    """The files that the config names for each split, relative to the folder `path`.

    Raises UserError for one that is not there.
    """
    folder = path or Path()
    found = {
        split: [folder / name for name in ([names] if isinstance(names, str) else names)]
        for split, names in splits.items()
    }
    for split, files in found.items():
        for file in files:
            if not file.is_file():
                raise UserError(f"dataset.splits.{split}: there is no file {file}")
    return found


def carve(splits: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Give train, validation and test, carving what is missing from train.

    A validation split is as large as the given test split (at most half of train); without one,
    each takes 5 %. Rows are drawn by a hash of their ids: the same ones on every machine, in
    whatever order they come. Without train, nothing is carved: what is missing is empty. Raises
    UserError for too few rows.
    """
    if "train" not in splits:
        log.warning("dataset: no training rows: this can be evaluated and not trained on")
        nothing = next(iter(splits.values())).slice(0, 0)
        return {split: splits.get(split, nothing) for split in SPLITS}
    missing = [split for split in ("test", "validation") if split not in splits]
    if missing:
        splits = {**splits, **_carved(splits, missing)}
    return {split: splits[split] for split in SPLITS}


def _carved(splits: Mapping[str, pa.Table], missing: Sequence[str]) -> dict[str, pa.Table]:
    """The missing splits, and what is left of train."""
    train = splits["train"]
    order = in_hash_order(train)
    given = min(splits["test"].num_rows, len(order) // 2) if "test" in splits else None
    size = max(1, given or int(len(order) * CARVED_SHARE))
    if len(order) <= len(missing) * size:
        raise UserError(
            f"dataset: {len(order)} usable training rows are too few to carve "
            f"{' and '.join(missing)} from; give those files, or more rows"
        )
    carved = {}
    for split in missing:
        held, order = order[:size], order[size:]
        carved[split] = select(train, held)
    log.info("dataset: carved %s from train, %d rows each", " and ".join(missing), size)
    return {**carved, "train": select(train, order)}


def in_hash_order(rows: pa.Table) -> np.ndarray[Any, Any]:
    """Places of the rows [n], in the order of a hash of their ids."""
    import numpy as np

    hashes = (
        int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8])
        for part in rows.column("id").chunks
        for identity in part.to_pylist()
    )
    return np.argsort(np.fromiter(hashes, np.uint64), kind="stable")
