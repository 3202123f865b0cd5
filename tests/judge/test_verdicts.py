"""Judged rewards on a judge behind an endpoint: cached, late, silent, inconsistent, explained."""

import asyncio
import logging
import threading
from collections import defaultdict
from pathlib import Path

import pytest
from hydra.utils import instantiate
from judge.server import FAULTS, judge_at
from omegaconf import OmegaConf

from medgrpo.dataset.example import Example
from medgrpo.rewards.base import JudgedReward

NODES = OmegaConf.load(Path(__file__).parents[2] / "conf" / "rewards" / "judges.yaml")
KEYS = list(NODES)
ROW = Example(
    id="q1",
    question="Does aspirin lower fever in adults?",
    context=["Adults with fever were randomised.", "Aspirin lowered temperature by one degree."],
    options=[],
    answer="yes",
    label="yes",
    explanation="",
)
TEXTS = [f"Aspirin lowered fever in trial {n}. Adults were randomised." for n in range(4)]


def reward(key: str, judge, **fields) -> JudgedReward:
    return instantiate(NODES[key], _partial_=True, _convert_="all")(judge=judge, name=key, **fields)


def score(judged: JudgedReward, texts=TEXTS, row=ROW, **given) -> list[float | None]:
    columns = {key: [value] * len(texts) for key, value in row.items()}
    return asyncio.run(judged(completions=list(texts), **given, **columns))


def prompt_of(body: dict) -> str:
    return body["messages"][-1]["content"]


async def all_at_once(rewards, texts, row=ROW) -> list[list[float | None]]:
    columns = {key: [value] * len(texts) for key, value in row.items()}
    return await asyncio.gather(*(one(completions=list(texts), **columns) for one in rewards))


@pytest.mark.parametrize("key", KEYS)
def test_a_verdict_is_kept(server, judge_of, tmp_path, key):
    path = str(tmp_path / "judge.sqlite")
    cold = score(reward(key, judge_of(cache=path)))
    server.faults = {"500": 1.0}
    warm = judge_of(cache=path)
    assert score(reward(key, warm)) == cold
    usage = warm.usage[key]
    assert (usage.verdicts, usage.verdict_hits, usage.calls, usage.cache_hits) == (4, 4, 0, 0)


@pytest.mark.parametrize(
    ("fields", "row", "texts"),
    [
        ({"criteria": "Rhymes."}, {}, TEXTS),
        ({"evaluation_steps": ["Look."]}, {}, TEXTS),
        ({}, {"question": "Does it?"}, TEXTS),
        ({}, {"context": ["Nothing."]}, TEXTS),
        ({}, {"answer": "no"}, TEXTS),
        ({}, {}, [text + "!" for text in TEXTS]),
    ],
)
def test_whatever_can_change_a_verdict_is_in_its_key(judge_of, tmp_path, fields, row, texts):
    judge = judge_of(cache=str(tmp_path / "judge.sqlite"))
    score(reward("deepeval_geval_rag", judge))
    score(reward("deepeval_geval_rag", judge, **fields), texts, ROW | row)
    assert judge.usage["deepeval_geval_rag"].verdict_hits == 0


def test_another_version_of_a_library_is_another_judge(judge_of, tmp_path, monkeypatch):
    judge = judge_of(cache=str(tmp_path / "judge.sqlite"))
    score(reward("evidently_correctness", judge))
    monkeypatch.setattr("medgrpo.rewards.base._versions", lambda: ["another"])
    score(reward("evidently_correctness", judge))
    assert judge.usage["evidently_correctness"].verdict_hits == 0


def test_a_late_verdict_is_missing(server, judge_of, caplog):
    judge = judge_of(verdict_deadline=0.3)
    judge.preflight()
    server.latency = 5.0
    assert score(reward("evidently_correctness", judge)) == [None] * 4
    assert judge.usage["evidently_correctness"].failures == 4
    assert "verdict_deadline=0.3" in caplog.text


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("key", KEYS)
def test_no_fault_raises_or_makes_a_score(server, judge_of, key, fault):
    judge = judge_of(attempts=2, attempt_timeout=0.25, verdict_deadline=5.0)
    judge.preflight()
    server.faults = {fault: 1.0}
    assert score(reward(key, judge), TEXTS[:2]) == [None, None]
    assert judge.usage[key].failures == 2


def test_a_fault_hurts_no_other_verdict(server, judge_of):
    judge = judge_of(attempts=1)
    judge.preflight()
    server.script = ["500"]
    scores = score(reward("evidently_correctness", judge))
    assert scores.count(None) == 1


def test_only_the_first_failures_are_told(server, judge_of, caplog):
    judge = judge_of(attempts=1)
    judge.preflight()
    server.faults = {"500": 1.0}
    with caplog.at_level(logging.INFO):
        score(reward("evidently_correctness", judge), [f"Text {n}" for n in range(30)])
    assert caplog.text.count("no verdict") == 3
    assert judge.usage["evidently_correctness"].failures == 30


def test_replies_that_make_no_verdict_together_are_not_kept(server, judge_of, tmp_path):
    judge = judge_of(cache=str(tmp_path / "judge.sqlite"))
    judge.preflight()
    plain = server._reply

    def short_of_answers(body, fault):
        of_the_text = "'answers'" in prompt_of(body) and TEXTS[0] in prompt_of(body)
        server.content = '{"answers": ["yes"]}' if of_the_text else None
        return plain(body, fault)

    server._reply = short_of_answers
    assert score(reward("deepeval_summarization", judge), TEXTS[:1]) == [None]
    server._reply, server.content = plain, None
    assert score(reward("deepeval_summarization", judge), TEXTS[:1]) != [None]
    assert judge.usage["deepeval_summarization"].cache_hits == 0


def test_calls_about_the_context_alone_are_shared(server, judge_of):
    judge = judge_of()
    judge.preflight()
    server.latency = 0.1
    score(reward("deepeval_summarization", judge))
    asked = defaultdict(int)
    for request in server.requests[1:]:
        asked[request["messages"][-1]["content"]] += 1
    assert set(asked.values()) == {1}
    assert judge.usage["deepeval_summarization"].shared == 3 * 3  # truths, questions, answers to it


def test_all_first_calls_are_under_way_together(server, judge_of):
    judge = judge_of(concurrency=1000)
    judge.preflight()
    server.hold = len(TEXTS) * len(KEYS)
    rewards = [reward(key, judge) for key in KEYS]
    asyncio.run(all_at_once(rewards, TEXTS))
    assert server.most_under_way >= server.hold


def test_reasons_on_request(server, judge_of):
    columns: dict[str, list] = {}
    for key in KEYS:
        silent, telling = judge_of(), judge_of(reasons=True)
        score(reward(key, silent), TEXTS[:2], log_extra=columns.__setitem__)
        assert columns == {}
        score(reward(key, telling), [TEXTS[0], "..."], log_extra=columns.__setitem__)
        told, unjudged = columns.pop(f"{key}/reason")
        assert told
        assert unjudged == "says nothing"


def test_the_mark_is_weighted_by_probability(server, judge_of):
    server.content = '{"reason": "", "score": 8}'
    assert score(reward("deepeval_geval_rag", judge_of(structured="json_schema")))[0] == 0.8
    judge = judge_of(structured="json_schema", logprobs=5)
    expected = (8 * 0.9 + 3 * 0.1) / 10
    assert score(reward("deepeval_geval_rag", judge))[0] == pytest.approx(expected, abs=1e-3)
    assert server.requests[-1]["top_logprobs"] == 5


def test_the_bill_is_by_reward(server, judge_of):
    judge = judge_of()
    rewards = [reward(key, judge) for key in KEYS]
    asyncio.run(all_at_once(rewards, TEXTS))
    report = judge.report()
    assert report["total"]["calls"] == len(server.requests)
    assert report["total"]["tokens_out"] == server.tokens["tokens_out"]
    assert all(report[key]["verdicts"] == 4 for key in KEYS)
    assert report["deepeval_summarization"]["calls"] > report["evidently_correctness"]["calls"]


def test_the_stand_in_reports_too():
    from medgrpo.judge.lexical import LexicalJudge

    judge = LexicalJudge()
    score(reward("evidently_correctness", judge))
    assert judge.report()["total"] | {"verdicts": 4, "cost": 0.0} == judge.report()["total"]


@pytest.mark.slow
def test_ten_thousand_verdicts_leave_nothing_behind(server, tmp_path):
    import os

    def resident() -> float:
        with open(f"/proc/{os.getpid()}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    judge = judge_at(server, cache=str(tmp_path / "judge.sqlite"))
    rewards = [reward(key, judge) for key in KEYS]
    sizes = []
    for batch in range(50):
        texts = [f"Aspirin lowered fever in trial {batch} of {n}." for n in range(50)]
        asyncio.run(all_at_once(rewards, texts))
        server.requests.clear()
        server.headers.clear()
        sizes.append(resident())
    assert judge.report()["total"]["verdicts"] == 50 * 50 * len(KEYS)
    assert sizes[-1] - sizes[4] < 50
    sockets = len(judge._endpoint._transport._session.connector._conns)
    tasks = judge._loop.start(_tasks()).result()
    judge.close()
    print(f"{sizes[-1] - sizes[4]:.1f} MB over 9,000 verdicts, {tasks} tasks, {sockets} hosts")
    assert tasks == 1  # the one that counts
    assert not [thread for thread in threading.enumerate() if thread.name == "judge"]


async def _tasks() -> int:
    return len(asyncio.all_tasks())
