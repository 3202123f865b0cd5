"""The cache: what it keeps, what it refuses, and what it survives."""

import asyncio
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import BaseModel
from test_openai import PROMPT, Truths, ask, prompt, total

from medgrpo.errors import UserError
from medgrpo.judge.cache import Cache, cache_key

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "judge.sqlite"


def test_a_second_judge_asks_nothing_twice(server, judge_of, path):
    first = judge_of(cache=str(path))
    text = ask(first)
    sent = len(server.requests)
    second = judge_of(cache=str(path))
    assert ask(second) == text
    assert len(server.requests) == sent
    assert total(second)["cache_hits"] == 1
    assert total(second)["cost"] == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"model": "another"},
        {"temperature": 0.5},
        {"seed": 1},
        {"max_tokens": 99},
        {"structured": "json_object"},
        {"salt": "again"},
    ],
)
def test_whatever_can_change_a_reply_is_in_the_key(server, judge_of, path, change):
    ask(judge_of(cache=str(path)))
    other = judge_of(cache=str(path), **change)
    ask(other)
    assert total(other)["cache_hits"] == 0


def test_another_schema_or_message_is_another_call(server, judge_of, path):
    class Claims(BaseModel):
        claims: list[str]

    judge = judge_of(cache=str(path))
    ask(judge), ask(judge, prompt("Another one."))
    server.content = '{"claims": []}'
    ask(judge, schema=Claims)
    assert total(judge)["cache_hits"] == 0


@pytest.mark.parametrize("fault", ["bad_json", "truncated", "wrong_schema", "500"])
def test_only_valid_replies_are_kept(server, judge_of, path, fault):
    judge = judge_of(cache=str(path), attempts=1)
    judge.preflight()
    server.script = [fault]
    with pytest.raises(Exception, match=r"."):
        ask(judge)
    assert "Aspirin" in ask(judge)
    assert total(judge)["cache_hits"] == 0


def test_a_stored_reply_that_went_bad_is_asked_for_again(server, judge_of, path):
    ask(judge_of(cache=str(path)))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE entries SET value = replace(value, 'truths', 'troths')")
    judge = judge_of(cache=str(path))
    assert "truths" in ask(judge)
    assert total(judge)["cache_hits"] == 0


def test_null_turns_it_off(server, judge_of, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    judge = judge_of(cache=None)
    ask(judge), ask(judge)
    assert len(server.requests) == 3
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["text", "header", "middle"])
def test_a_damaged_file_is_set_aside(path, caplog, damage):
    cache = Cache(path)
    for n in range(500):
        cache.put(cache_key(n), "x" * 200)
    cache.close()
    whole = bytearray(path.read_bytes())
    if damage == "text":
        whole[:] = b"this was never a database" * 100
    elif damage == "header":
        whole[16:80] = bytes(64)
    else:
        whole[4096:] = os.urandom(len(whole) - 4096)
    path.write_bytes(whole)

    renewed = Cache(path)
    keys = [cache_key(n) for n in range(500)]
    assert {renewed.get(key) for key in keys} <= {None, "x" * 200}
    renewed.put(b"new", 1)
    assert renewed.get(b"new") == 1
    assert "is damaged" in caplog.text
    assert [file for file in path.parent.iterdir() if ".damaged-" in file.name]
    assert Cache(path).get(b"new") == 1


def test_a_file_locked_by_another_costs_one_wait_and_no_answer(server, judge_of, path, caplog):
    judge = judge_of(cache=str(path))
    judge.preflight()
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        start = time.monotonic()
        for n in range(10):
            ask(judge, prompt(f"Number {n}."))
        assert time.monotonic() - start < 6  # ten waits of a second each would take longer
        other.execute("ROLLBACK")
    assert caplog.text.count("going on without") == 1
    assert len(server.requests) == 1 + 10


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"judge\.cache=null"):
        Cache(tmp_path / "file" / "judge.sqlite")


def test_keys_tell_alike_data_apart():
    assert cache_key("a", "b") != cache_key("ab")
    assert cache_key(["a"], "b") != cache_key(["a", "b"])
    assert cache_key(1) != cache_key("1")
    cache_key("a lone surrogate: \ud800")


def _fill(path: str, start: int) -> None:
    cache = Cache(path)
    for n in range(start, start + 400):
        cache.put(cache_key(n), n)
    cache.close()


def test_two_processes_on_one_file_lose_nothing(path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(str(path), start)) for start in (0, 400)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    cache = Cache(path)
    assert [cache.get(cache_key(n)) for n in range(800)] == list(range(800))


WRITER = """
import itertools, sys
from medgrpo.judge.cache import Cache, cache_key
cache = Cache(sys.argv[1])
for n in itertools.count(int(sys.argv[2])):
    cache.put(cache_key(n), {"n": n, "text": "x" * 500})
    print(n, flush=True)
"""


def test_killed_at_any_time_it_keeps_what_was_put(path):
    done = -1
    for wait in (0.0, 0.01, 0.03, 0.07, 0.15):
        command = [sys.executable, "-c", WRITER, str(path), str(done + 1)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as writer:
            first = writer.stdout.readline()
            time.sleep(wait)
            writer.send_signal(signal.SIGKILL)
            said = [first, *writer.stdout.readlines()]
        done = int([line for line in said if line.endswith("\n")][-1])
        cache = Cache(path)
        assert all(cache.get(cache_key(n))["n"] == n for n in range(done + 1))
        cache.close()
    assert not [file for file in path.parent.iterdir() if "damaged" in file.name]


def test_calls_of_many_threads_and_loops_share_one_connection(server, judge_of, path):
    judge = judge_of(cache=str(path))

    async def burst() -> None:
        prompts = [prompt(f"Number {n}.") for n in range(100)]
        await asyncio.gather(*(judge.chat(one, Truths) for one in prompts))

    asyncio.run(burst())
    before = len(server.requests)
    asyncio.run(burst())
    assert len(server.requests) == before
    assert json.loads(ask(judge, PROMPT))["truths"]
