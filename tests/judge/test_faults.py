"""Every way in which an endpoint goes wrong: told in one line or counted, in time, without the key.

All kinds are asked at the same time, each by a judge of its own, so that those which hang overlap.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from judge.faults import FATAL, GOOD, KINDS
from judge.server import Apart, judge_at
from test_openai import KEY, PROMPT, Truths

from medgrpo.errors import UserError
from medgrpo.judge.client import JudgeError

ROOT = Path(__file__).parents[2]
VARIABLE = "JUDGE_TEST_KEY"
ATTEMPT, DEADLINE = 2.0, 8.0  # seconds
LIMITS = {"attempts": 2, "attempt_timeout": ATTEMPT, "verdict_deadline": DEADLINE}


@pytest.fixture(scope="module")
def outcomes():
    """ "pre KIND" or "mid KIND" -> what a judge made of it, the seconds that took, the judge."""
    with Apart() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, KEY)
        plans = {f"pre {kind}": [kind] for kind in KINDS}
        plans |= {f"mid {kind}": [None, kind] for kind in KINDS}
        server.plan(plans)
        with ThreadPoolExecutor(32) as pool:
            return dict(pool.map(lambda model: _outcome(server, model), plans))


def _outcome(server, model):
    judge = judge_at(server, model=model, api_key_env=VARIABLE, **LIMITS)
    try:
        if model.startswith("mid"):
            judge.preflight()
        start = time.monotonic()
        try:
            judge.preflight() if model.startswith("pre") else asyncio.run(
                judge.chat(PROMPT, Truths)
            )
            said = None
        except Exception as error:
            said = error
        return model, (said, time.monotonic() - start, judge)
    finally:
        judge.close()


@pytest.mark.parametrize("kind", KINDS)
def test_at_preflight_there_is_one_line_in_time(outcomes, kind):
    error, seconds, _ = outcomes[f"pre {kind}"]
    assert error is None or type(error) is UserError
    assert "\n" not in str(error)
    assert len(str(error)) < 1000
    assert seconds < DEADLINE + 5  # on a busy machine
    assert KEY not in f"{error!r}"


@pytest.mark.parametrize("kind", KINDS)
def test_during_a_run_there_is_a_verdict_or_a_gap_in_time(outcomes, kind):
    error, seconds, judge = outcomes[f"mid {kind}"]
    assert isinstance(error, JudgeError | None)
    assert (error is None) == (kind in GOOD)
    assert (judge.fatal is not None) == (kind in FATAL)
    assert seconds < DEADLINE + 5  # on a busy machine
    assert KEY not in f"{error!r} {judge.fatal} {judge.report()}"
    assert 0 <= judge.report()["total"]["tokens_in"] < 10_000


MEASURE = """
import asyncio, json, logging, resource, sys
sys.path.insert(0, "tests")
from judge.faults import KINDS
from judge.server import Apart, judge_at
from judge.test_openai import PROMPT, Truths

class At:
    url = sys.argv[1]

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

logging.disable()
limits = {"attempts": 1, "attempt_timeout": 3.0, "structured": "none"}
grown = {}
for kind in ["good", *KINDS]:
    judge = judge_at(At, model=f"only {kind}", **limits)
    before = peak()
    try:
        asyncio.run(judge.chat(PROMPT, Truths))
    except Exception:
        pass
    judge.close()
    grown[kind] = peak() - before
print(json.dumps(grown))
"""


@pytest.mark.slow
def test_no_reply_takes_50_megabytes():
    with Apart() as server:
        server.plan({f"only {kind}": [kind] for kind in KINDS})
        command = [sys.executable, "-c", MEASURE, server.url]
        env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/judge'}"}
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )
    grown = json.loads(done.stdout)
    del grown["good"]  # the first call: libraries
    print({kind: round(more) for kind, more in grown.items() if more > 5})
    assert max(grown.values()) < 50


def test_there_are_enough():
    assert len(KINDS) >= 60
