"""The hub's PubMedQA schema to Examples by column: 211,269 abstracts stay where they are on disk.

What a row becomes is defined by `PubMedQA.parse`; this does the same to a table (a test compares
them) and copies only the columns and passages that it has to mend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medgrpo.dataset.rows import Rows, schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

COLUMNS = ["pubid", "question", "context", "long_answer", "final_decision"]


def in_hub_schema(found: pa.Schema) -> bool:
    """Whether a table has the hub's columns in the hub's types."""
    import pyarrow as pa

    types = {field.name: field.type for field in found}
    if not types.keys() >= set(COLUMNS) or not pa.types.is_struct(types["context"]):
        return False
    passages = types["context"].get_field_index("contexts")
    return (
        passages >= 0
        and types["context"].field(passages).type == pa.list_(pa.string())
        and pa.types.is_integer(types["pubid"])
        and all(
            types[name] == pa.string() for name in ("question", "long_answer", "final_decision")
        )
    )


def parse_columns(table: pa.Table, labels: tuple[str, ...]) -> tuple[Rows, dict[str, list[int]]]:
    """Usable rows, and by reason the numbers (from 1) of those dropped."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    def text(name: str) -> pa.ChunkedArray:
        return pa.chunked_array([_trimmed(chunk) for chunk in table.column(name).chunks])

    decision = pc.utf8_lower(text("final_decision"))
    ids = pc.cast(table.column("pubid"), pa.string())
    if ids.null_count:
        ids = pc.coalesce(ids, pa.array([f"pubmedqa-{row + 1}" for row in range(len(ids))]))
    context = pc.struct_field(table.column("context"), "contexts")
    columns = {
        "id": ids,
        "question": text("question"),
        "context": pa.chunked_array(map(_passages, context.chunks), pa.list_(pa.string())),
        "options": pa.array([[]] * table.num_rows, pa.list_(pa.string())),
        "answer": decision,
        "label": decision,
        "explanation": text("long_answer"),
        "group": pa.repeat("", table.num_rows),
    }
    faults = {
        "no final_decision": pc.equal(decision, ""),
        f"final_decision is none of {', '.join(labels)}": pc.invert(
            pc.is_in(decision, value_set=pa.array(labels))
        ),
        "no QUESTION": pc.equal(columns["question"], ""),
        "the id of an earlier row": None,
    }
    rows = Rows.of(pa.table(columns, schema()))
    dropped = {}
    for reason, fault in faults.items():
        bad = _repeated(rows.column("id")) if fault is None else np.asarray(fault)[rows.positions]
        if bad.any():
            dropped[reason] = (rows.positions[bad] + 1).tolist()
            rows = rows.select(~bad)
    return rows, dropped


def _trimmed(texts: pa.StringArray) -> pa.StringArray:
    """Texts trimmed, null as ""; the very same, not copied, where all are in order."""
    import pyarrow.compute as pc

    texts = pc.fill_null(texts, "") if texts.null_count else texts
    clean = pc.utf8_trim_whitespace(texts)
    return texts if pc.binary_length(clean).equals(pc.binary_length(texts)) else clean


def _passages(lists: pa.ListArray) -> pa.ListArray:
    """Lists of trimmed passages without blank ones; the very same where all are in order."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    passages = lists.flatten()
    clean = _trimmed(passages)
    filled = np.asarray(pc.binary_length(clean)) > 0
    if clean is passages and filled.all() and not lists.null_count:
        return lists
    ends = np.cumsum(np.asarray(pc.fill_null(pc.list_value_length(lists), 0)))
    kept = np.concatenate([[0], np.cumsum(filled)])
    offsets = pa.array(kept[np.concatenate([[0], ends])], pa.int32())
    return pa.ListArray.from_arrays(offsets, clean.filter(pa.array(filled)))


def _repeated(ids: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Mask of the ids that an earlier row has."""
    import numpy as np

    codes = np.asarray(ids.combine_chunks().dictionary_encode().indices)
    first = np.zeros(len(codes), bool)
    first[np.unique(codes, return_index=True)[1]] = True
    return ~first
