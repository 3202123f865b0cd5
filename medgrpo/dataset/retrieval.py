"""Context from a corpus of one's own: the passages that BM25 finds for a question.

BM25 (Robertson & Zaragoza 2009) as bm25s does it (Lu 2024, arXiv:2407.03618): no model, no server,
seconds for 100,000 passages. Found passages take the place of the benchmark's own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgrpo.config.progress import Phase
from medgrpo.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

CACHE = Path("~/.cache/medgrpo/bm25")
_WORD = r"(?u)\b\w+\b"
TEXT = ("text", "passage", "contents", "content", "abstract")  # of a line of JSON: the first there


def with_passages(
    splits: dict[str, pa.Table], corpus: str | None, count: int
) -> dict[str, pa.Table]:
    """The splits with the `count` best passages of `corpus` as each row's context.

    Searched for are a row's question and options. Where rows have passages of their own that are in
    the corpus, it is logged how many of them were found (recall@count). Raises UserError for a
    corpus that cannot be read, or without bm25s.
    """
    import pyarrow as pa

    if corpus is None:
        raise UserError("dataset.corpus: retrieval needs dataset.corpus=FILE or FOLDER")
    index = Index.of(Path(corpus).expanduser())
    found = {}
    for split, table in splits.items():
        columns = table.select(["question", "options", "context"]).to_pydict()
        queries = [
            " ".join([question, *options])
            for question, options in zip(columns["question"], columns["options"], strict=True)
        ]
        with Phase(f"retrieving passages ({split}, {len(queries)} rows)"):
            passages = index.search(queries, count)
        if (share := recall(columns["context"], passages, index.texts)) is not None:
            log.info("retrieval: %s: recall@%d of the rows' own passages %.3f", split, count, share)
        place = table.schema.get_field_index("context")
        column = pa.array(passages, table.schema.field(place).type)
        found[split] = table.set_column(place, table.schema.field(place), column)
    return found


def recall(
    own: Sequence[Sequence[str]], found: Sequence[Sequence[str]], corpus: Sequence[str]
) -> float | None:
    """The mean share found of a row's own passages that are in the corpus; None: there are none."""
    there = set(corpus)
    shares = [
        sum(passage in retrieved for passage in known) / len(known)
        for passages, retrieved in zip(own, found, strict=True)
        if (known := [passage for passage in dict.fromkeys(passages) if passage in there])
    ]
    return sum(shares) / len(shares) if shares else None


class Index:
    """A corpus that can be searched."""

    def __init__(self, retriever: Any, texts: list[str]) -> None:
        self._retriever, self.texts = retriever, texts

    @classmethod
    def of(cls, corpus: Path) -> Index:
        """The index of a file or folder, made once and kept until the corpus changes."""
        try:
            import bm25s
        except ImportError as error:
            raise UserError(
                "dataset.retrieval: needs bm25s: pip install -e '.[retrieval]'"
            ) from error
        files = _files(corpus)
        facts = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        key = hashlib.sha256(repr([facts, bm25s.__version__]).encode()).hexdigest()[:16]
        folder = CACHE.expanduser() / f"{corpus.stem}-{key}"
        if not folder.is_dir():
            _build(files, folder)
        texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
        return cls(bm25s.BM25.load(folder, mmap=True), texts)

    def search(self, queries: Sequence[str], count: int) -> list[list[str]]:
        """The `count` best passages for each query, the best first; none without a word of it."""
        if not queries:
            return []
        tokens = _tokens(queries)
        places, scores = self._retriever.retrieve(
            tokens, k=min(count, len(self.texts)), show_progress=False
        )
        return [
            [self.texts[int(one)] for one, score in zip(row, worth, strict=True) if score > 0]
            for row, worth in zip(places, scores, strict=True)
        ]


def _tokens(texts: Sequence[str]) -> Any:
    """Words as bm25s takes them, those of one letter too: vitamin C is not vitamin D."""
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets DEBUG when it is imported
    return bm25s.tokenize([*texts], stopwords="en", token_pattern=_WORD, show_progress=False)


def _build(files: Sequence[Path], folder: Path) -> None:
    """Index the passages of `files` into `folder`, whole or not at all."""
    import bm25s

    texts = list(dict.fromkeys(text for file in files for text in _passages(file)))
    if not texts:
        raise UserError(f"dataset.corpus: {files[0].parent} holds no passages")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        with Phase(f"indexing {len(texts):,} passages"):
            retriever = bm25s.BM25()
            tokens = _tokens(texts)
            retriever.index(tokens, show_progress=False)
            retriever.save(temporary)
            (temporary / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _files(corpus: Path) -> list[Path]:
    """The corpus's files in the order of their names. UserError where there are none."""
    found = [corpus] if corpus.is_file() else sorted(corpus.rglob("*"))
    files = [file for file in found if file.suffix.lower() in (".jsonl", ".txt")]
    if not files:
        raise UserError(f"dataset.corpus: {corpus} is no .jsonl or .txt file, nor a folder of such")
    return files


def _passages(file: Path) -> Iterator[str]:
    """Its passages: of a text file what stands between empty lines, of JSON lines a text each.

    A line of JSON is {"text": ..}, or another of `TEXT`, with a "title" before it if it has one.
    """
    with file.open(encoding="utf-8") as lines:
        if file.suffix.lower() == ".txt":
            yield from filter(None, map(str.strip, re.split(r"\n\s*\n", lines.read())))
            return
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                text = next(str(record[key]) for key in TEXT if record.get(key))
            except (ValueError, AttributeError, StopIteration):
                keys = ", ".join(TEXT)
                raise UserError(
                    f"dataset.corpus: {file} line {number} has none of {keys}"
                ) from None
            yield ". ".join(filter(None, [str(record.get("title") or ""), text.strip()]))
