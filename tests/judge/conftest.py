"""A server that misbehaves on request, and judges at it that are closed in the end."""

import pytest
from server import Server, judge_at


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture
def judge_of(server):
    """`judge_of(attempts=1)`: the shipped judge at `server`, without cache and key."""
    judges = []

    def make(**fields):
        judges.append(judge_at(server, **fields))
        return judges[-1]

    yield make
    for judge in judges:
        judge.close()
