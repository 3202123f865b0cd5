"""A part of a table is the rows that were asked for, and hardly any text is copied for it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from medgrpo.dataset.rows import reorder, schema, select, without

TEXT = "The trial had one hundred patients. " * 20
PARTS = [700, 1, 1000, 0, 299, 2000]


@pytest.fixture(scope="module")
def table():
    """4,000 rows in chunks of unequal size."""
    rows = [{"id": str(i), "context": [TEXT, str(i)]} for i in range(sum(PARTS))]
    ends = np.cumsum(PARTS)
    parts = [rows[end - size : end] for end, size in zip(ends, PARTS, strict=True)]
    return pa.concat_tables([pa.Table.from_pylist(part, schema()) for part in parts])


def chosen(places):
    return [{"id": str(place), "context": [TEXT, str(place)]} for place in places]


def seen(rows):
    return rows.select(["id", "context"]).to_pylist()


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999, 1])
def test_any_part_in_the_tables_order_or_another(table, share):
    draw = np.random.default_rng(1)
    places = np.flatnonzero(draw.random(len(table)) < share)
    mixed = draw.permutation(places)
    assert seen(select(table, mixed)) == chosen(places)
    assert seen(without(table, places.tolist())) == chosen(np.delete(range(len(table)), places))
    assert seen(reorder(table, mixed)) == chosen(mixed)
    again = select(select(table, places), range(0, len(places), 3))
    assert seen(again) == chosen(places[::3])


def test_removing_some_rows_copies_hardly_any_text(table):
    before = pa.total_allocated_bytes()
    rest = without(table, range(0, len(table), 50))
    assert len(rest) == len(table) * 0.98
    assert pa.total_allocated_bytes() - before < table.nbytes / 100
