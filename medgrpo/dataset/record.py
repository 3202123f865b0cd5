"""Reading fields out of a record that nobody has checked: what is missing or of a wrong type drops
the row for a stated reason, and never raises anything else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from medgrpo.dataset.example import Example

if TYPE_CHECKING:
    import pyarrow as pa

Record = dict[str, Any]
ROLES = ("system", "user", "assistant")
Batch: TypeAlias = "list[Record] | pa.RecordBatch"


class Dropped(Exception):
    """A row that cannot be used; the message is the reason, and reasons are counted."""


def records_of(batch: Batch) -> list[Record]:
    """A batch as Python objects."""
    return batch if isinstance(batch, list) else batch.to_pylist()


def storable(row: Example) -> Example:
    """The row. Raises Dropped for text that Arrow cannot store."""
    texts = [row["id"], row["question"], *row["context"], *row["options"], row["answer"]]
    try:
        "".join([*texts, row["label"] or "", row["explanation"]]).encode()
    except UnicodeEncodeError:
        raise Dropped("text that is not valid Unicode") from None
    return row


def text(record: Record, key: str) -> str:
    """A field's text (a number counts as its digits), stripped. Raises Dropped when there is none.

    >>> text({"n": " 5 "}, "n")
    '5'
    """
    value = _as_text(record.get(key))
    if isinstance(record.get(key), list | dict):
        kind = "a list" if isinstance(record[key], list) else "an object"
        raise Dropped(f"{key} is {kind}, where a text belongs")
    if not value:
        raise Dropped(f"no {key}")
    return value


def turns(record: Record, key: str) -> list[dict[str, str]]:
    """A field's conversation: messages of a role (system, user, assistant) and a content.

    The last one is the user's, and is what is to be answered. Raises Dropped for anything else.

    >>> turns({"prompt": [{"role": "user", "content": "Which vitamin?", "name": None}]}, "prompt")
    [{'role': 'user', 'content': 'Which vitamin?'}]
    """
    found = record[key]
    if not all(isinstance(one, dict) and one.get("role") in ROLES for one in found):
        raise Dropped(f"{key} is a list, and none of messages with role and content")
    if not found or found[-1]["role"] != "user":
        raise Dropped(f"the last message of {key} is not the user's")
    return [{"role": one["role"], "content": text(one, "content")} for one in found]


def optional_text(record: Record, key: str) -> str:
    """A field's text, "" where there is none.

    >>> optional_text({"a": None}, "a")
    ''
    """
    return _as_text(record.get(key))


def texts(record: Record, key: str) -> list[str]:
    """A field's list of texts, blank ones left out; null is an empty list, a text a list of one.

    Raises Dropped when the field is, or holds, something else.

    >>> texts({"passages": ["one", " ", "two"]}, "passages")
    ['one', 'two']
    """
    value = record.get(key)
    values = [value] if isinstance(value, str) else value or []
    if not isinstance(values, list) or not all(isinstance(item, str | None) for item in values):
        raise Dropped(f"{key} is no list of texts")
    return [item.strip() for item in values if item and item.strip()]


def _as_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return "" if isinstance(value, float) and math.isnan(value) else str(value).strip()
