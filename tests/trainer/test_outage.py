"""When missing verdicts end a run: at once, surely above the limit, after waits, and at its end."""

import json
import math
from pathlib import Path

import pytest
import recorded
from accelerate import PartialState
from test_judging import Bare, alone, batch, twice, watch_of

from medgrpo.trainer.outage import Outage


def add(outage: Outage, *batches: tuple[int, int]) -> list[bool]:
    """After each (given, missing): whether the run shall end."""
    return [outage.add(*one) is not None for one in batches]


def test_a_judge_that_gives_nothing_at_the_start_ends_the_run():
    why = Outage(200, 0.2).add(0, 108)
    assert why == "none of the first 108 verdicts was given"
    assert add(Outage(200, 1.0), (0, 1)) == [True]  # whatever the limit: nothing was judged


def test_batches_that_ask_for_nothing_say_nothing():
    assert add(Outage(200, 0.2), (0, 0), (0, 0), (0, 0), (0, 0)) == [False] * 4


def test_a_hiccup_does_not_end_a_run_and_three_batches_do():
    outage = Outage(200, 0.2)
    assert add(outage, (100, 0), (0, 100), (0, 100), (100, 0)) == [False] * 4
    assert add(outage, (0, 100), (0, 100)) == [False, False]
    assert "no verdict was given in 3 batches" in outage.add(0, 100)


@pytest.mark.parametrize(
    ("given", "missing", "ends"),
    [
        (3, 1, False),
        (4, 4, False),
        (3, 5, True),
        (61, 23, False),
        (151, 49, False),
        (150, 50, True),
    ],
)
def test_a_share_must_surely_be_above_the_limit(given, missing, ends):
    """Clopper and Pearson: of 8 verdicts 5 must be missing, of 200 there must be 50, for 20 %."""
    assert add(Outage(200, 0.2), (given, missing)) == [ends]


def test_the_reason_names_share_and_limit():
    why = Outage(200, 0.2).add(30, 70)
    assert why == "70% of the last 100 verdicts are missing, more than judge.max_failure_rate=0.2"


def test_only_the_latest_count():
    outage = Outage(100, 0.2)
    add(outage, (1000, 0))
    assert add(outage, (60, 40)) == [True]
    outage = Outage(100, 0.2)
    add(outage, (85, 15), (85, 15), (100, 0))
    assert outage.above_limit() is None


def test_no_limit_and_no_patience():
    assert add(Outage(200, 1.0), (1, 99), (1, 199)) == [False, False]
    assert add(Outage(200, 0.0), (99, 0), (99, 1)) == [False, True]


def test_a_checkpoint_keeps_it_all():
    one = Outage(100, 0.2)
    add(one, (90, 10), (0, 100), (0, 100))
    other = Outage(100, 0.2)
    other.restore(json.loads(json.dumps(one.state())))
    assert other.state() == one.state()
    assert add(other, (0, 100)) == [True]


def test_a_resumed_run_goes_on_when_the_judge_is_mended_and_not_before():
    stopped = Outage(200, 0.2)
    assert add(stopped, (100, 0), (40, 60)) == [False, True]
    again = Outage(200, 0.2)
    again.restore(stopped.state())
    assert add(again, (40, 60)) == [True]
    mended = Outage(200, 0.2)
    mended.restore(stopped.state())
    assert add(mended, (100, 0), (100, 0), (100, 0)) == [False] * 3
    assert mended.above_limit() is None


class Patient(Bare):
    def __init__(self) -> None:
        super().__init__()
        self.waited = 0

    def wait_for_answer(self) -> None:
        self.waited += 1


def observe(watch, judge, given: int, missing: int, gather=alone) -> None:
    judge.usage["judged"].verdicts += given + missing
    judge.usage["judged"].failures += missing
    scores = batch(*[1.0] * given, *[math.nan] * missing)
    watch.check_limits(scores, watch.metrics(scores, ~scores.isinf(), scores[:, 0], gather), gather)


def test_between_empty_batches_the_judge_is_waited_for():
    judge = Patient()
    watch = watch_of(judge)
    for given, missing in [(4, 0), (0, 4), (0, 4), (4, 0), (0, 4)]:
        observe(watch, judge, given, missing)
    assert judge.waited == 3
    assert watch.stop is None


def test_what_was_judged_before_the_training_is_not_its_first_batch():
    judge = Patient()
    judge.usage["judged"].verdicts = 20  # of the answers before training
    watch = watch_of(judge)
    judge.last_failure = "HTTP 500: boom"
    observe(watch, judge, 0, 4, twice)
    assert "none of the first 8 verdicts was given (the latest: HTTP 500: boom)" in watch.stop


def test_a_short_run_that_ends_above_the_limit_was_not_judged():
    judge = Patient()
    judge.max_failure_rate = 0.2
    watch = watch_of(judge)
    observe(watch, judge, 3, 1)
    assert watch.stop is None
    assert "training is done, but 25% of the last 4 verdicts are missing" in watch.at_end()
    observe(watch, judge, 4, 0)
    assert watch.at_end() is None


def test_the_window_lies_in_the_checkpoint(tmp_path):
    from medgrpo.trainer.grpo_trainer import _WINDOW

    trainer = recorded.trainer_of(str(tmp_path), 1, list(recorded.WEIGHTS))
    state = Outage(200, 0.2)
    add(state, (50, 20), (0, 20))
    trainer.state.stateful_callbacks[_WINDOW] = state.state()
    file = Path(tmp_path) / "trainer_state.json"
    trainer.state.save_to_json(str(file))
    again = recorded.trainer_of(str(tmp_path), 1, list(recorded.WEIGHTS))
    again.state = type(again.state).load_from_json(str(file))
    recorded.answer(again, PartialState(cpu=True))
    kept = again.state.stateful_callbacks[_WINDOW]
    assert kept["missing"].startswith(state.state()["missing"])
    assert len(kept["missing"]) == 90 + 24
