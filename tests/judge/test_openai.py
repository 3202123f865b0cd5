"""The judge's client against a loopback server that misbehaves in every way we know."""

import asyncio
import json
import threading
import time

import pytest
from judge.server import judge_at
from pydantic import BaseModel

from medgrpo.errors import UserError
from medgrpo.judge.client import JudgeError


class Truths(BaseModel):
    truths: list[str]


KEY = "sk-secret-0123456789"


def prompt(text: str) -> list[dict[str, str]]:
    asked = f'Answer in JSON with the "truths" key.\nText:\n{text}\n\nJSON:'
    return [{"role": "user", "content": asked}]


PROMPT = prompt("Aspirin lowers fever.")


def ask(judge, messages=PROMPT, schema=Truths) -> str:
    return asyncio.run(judge.chat(messages, schema)).text


def total(judge) -> dict:
    return judge.report()["total"]


def test_a_reply_in_the_shape_of_the_schema(server, judge_of):
    judge = judge_of()
    assert json.loads(ask(judge)) == {"truths": ["Aspirin lowers fever."]}
    sent = server.requests[-1]
    assert (sent["model"], sent["temperature"], sent["seed"]) == ("gpt-4o-mini", 0.0, 0)
    assert sent["max_tokens"] == 1024
    strict = sent["response_format"]["json_schema"]
    assert strict["strict"] is True
    assert strict["schema"]["additionalProperties"] is False
    assert strict["schema"]["required"] == ["truths"]
    assert strict["schema"]["properties"]["truths"]["items"]["maxLength"] > 0


def test_fields_that_are_null_are_not_sent(server, judge_of):
    ask(judge_of(temperature=None, seed=None))
    assert not {"temperature", "seed", "logprobs"} & server.requests[-1].keys()


@pytest.mark.parametrize(
    ("modes", "found"),
    [
        ({"json_schema", "none"}, "json_schema"),
        ({"json_object_schema", "json_object", "none"}, "json_object_schema"),
        ({"json_object", "none"}, "json_object"),
        ({"none"}, "none"),
    ],
)
@pytest.mark.parametrize("refusal", [400, 500])
def test_the_mode_is_found_once(server, judge_of, modes, found, refusal):
    server.modes, server.refusal = modes, refusal
    judge = judge_of(attempts=2)
    judge.preflight()
    before = len(server.requests)
    ask(judge), ask(judge, prompt("Another one."))
    used = [request.get("response_format", {"type": "none"}) for request in server.requests]
    assert len(used) == before + 2
    names = {"json_object_schema": "json_object"}
    assert {one["type"] for one in used[before:]} == {names.get(found, found)}
    assert all(("schema" in one) == (found == "json_object_schema") for one in used[before:])


def test_an_endpoint_that_takes_no_bounds_still_gets_the_schema(server, judge_of):
    server.bounds = False
    ask(judge_of(structured="json_schema"))
    shape = server.requests[-1]["response_format"]["json_schema"]["schema"]
    assert "maxLength" not in str(shape)
    assert shape["required"] == ["truths"]


def test_a_mode_of_ones_own_is_not_replaced(server, judge_of):
    server.modes = {"none"}
    with pytest.raises(UserError, match=r"judge\.structured"):
        judge_of(structured="json_schema").preflight()


def test_reasoning_models_name_the_length_limit_differently(server, judge_of):
    real = server._refused

    def picky(request, body):
        if "max_tokens" in body:
            error = {"message": "Unsupported parameter: use 'max_completion_tokens' instead."}
            from aiohttp import web

            return web.json_response({"error": error}, status=400)
        return real(request, body)

    server._refused = picky
    ask(judge_of())
    assert server.requests[-1]["max_completion_tokens"] == 1024


@pytest.mark.parametrize("fault", ["429", "500", "drop", "hang", "drip"])
def test_what_passes_is_tried_again(server, judge_of, fault):
    judge = judge_of(attempt_timeout=0.2)
    judge.preflight()
    server.script = [fault, fault]
    assert "Aspirin" in ask(judge)
    assert (total(judge)["retries"], total(judge)["bad_replies"]) == (2, 0)


@pytest.mark.parametrize("fault", ["bad_json", "truncated", "cut_off", "wrong_schema"])
def test_a_bad_reply_is_asked_for_differently(server, judge_of, fault):
    judge = judge_of()
    judge.preflight()
    server.script = [fault]
    assert "Aspirin" in ask(judge)
    first, second = server.requests[-2:]
    assert second["seed"] != first["seed"]
    assert second["temperature"] >= 0.4 > first["temperature"]
    assert total(judge)["bad_replies"] == 1
    assert total(judge)["tokens_in"] == server.tokens["tokens_in"]  # the bad one was paid for


def test_not_a_number_is_not_json(server, judge_of):
    class Mark(BaseModel):
        score: float

    judge = judge_of()
    judge.preflight()
    server.content = '{"score": NaN}'
    with pytest.raises(JudgeError, match="Mark"):
        ask(judge, schema=Mark)


def test_thoughts_and_fences_around_the_json_are_left_out(server, judge_of):
    judge = judge_of(structured="none")
    judge.preflight()
    server.content = '<think>a {"b"}?</think>\n```json\n{"truths": ["x"]}\n```'
    assert ask(judge) == '{"truths": ["x"]}'


def test_retry_after_is_waited_for(server, judge_of):
    judge = judge_of()
    judge.preflight()
    server.script, server.retry_after = ["429"], "0.3"
    start = time.monotonic()
    ask(judge)
    assert time.monotonic() - start >= 0.3  # a lower bound: no slow machine breaks it


def test_after_the_last_attempt_there_is_an_error(server, judge_of):
    judge = judge_of(attempts=3)
    judge.preflight()
    server.faults = {"500": 1.0}
    with pytest.raises(JudgeError, match="HTTP 500"):
        ask(judge)
    assert server.counts["500"] == 3


def test_a_refused_call_is_not_repeated_and_stops_nothing(server, judge_of):
    judge = judge_of()
    judge.preflight()
    server.modes = set()  # HTTP 400, as for a prompt that is too long
    with pytest.raises(JudgeError, match="HTTP 400"):
        ask(judge)
    assert len(server.requests) == 2
    server.modes = {"json_schema"}
    assert "Aspirin" in ask(judge)
    assert judge.fatal is None


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"key": "other"}, "set the variable JUDGE_TEST_KEY"),
        ({"model": "gpt-9"}, r"Set judge\.model or judge\.base_url"),
        ({"quota": False}, "JUDGE_TEST_KEY has no credit"),
    ],
)
def test_preflight_finds_what_no_retry_mends(server, judge_of, monkeypatch, setting, told):
    monkeypatch.setenv("JUDGE_TEST_KEY", KEY)
    vars(server).update(setting)
    judge = judge_of(api_key_env="JUDGE_TEST_KEY")
    with pytest.raises(UserError, match=told) as error:
        judge.preflight()
    assert KEY not in str(error.value)
    assert len(server.requests) == 1


def test_preflight_without_a_server(server, judge_of):
    with pytest.raises(UserError, match=r"is the server up\? See judge\.base_url"):
        judge_of(base_url="http://127.0.0.1:9/v1", attempts=2).preflight()


def test_a_key_revoked_on_the_way_ends_all_calls(server, judge_of, monkeypatch):
    monkeypatch.setenv("JUDGE_TEST_KEY", KEY)
    judge = judge_of(api_key_env="JUDGE_TEST_KEY")
    judge.preflight()
    server.key = "another"
    for _ in range(3):
        with pytest.raises(JudgeError, match="JUDGE_TEST_KEY"):
            ask(judge)
    assert len(server.requests) == 2  # the preflight and one
    assert "JUDGE_TEST_KEY" in judge.fatal


def test_the_key_comes_from_the_variable_that_is_named(server, judge_of, monkeypatch):
    with pytest.raises(UserError, match="variable JUDGE_TEST_KEY is not set"):
        judge_of(api_key_env="JUDGE_TEST_KEY")
    server.key = KEY
    monkeypatch.setenv("JUDGE_TEST_KEY", f"{KEY}\n")
    judge_of(api_key_env="JUDGE_TEST_KEY").preflight()


def test_an_endpoint_that_echoes_the_key_does_not_leak_it(server, judge_of, monkeypatch, caplog):
    monkeypatch.setenv("JUDGE_TEST_KEY", KEY)
    judge = judge_of(api_key_env="JUDGE_TEST_KEY", attempts=1)
    judge.preflight()
    server.script = ["500"]  # which tells the header it got
    with pytest.raises(JudgeError, match=r"boom with Bearer \*\*\*") as error:
        ask(judge)
    server.content = f"You are {KEY}."
    assert KEY not in ask(judge, prompt("Who am I?"), None)
    assert KEY not in f"{error.value!r} {caplog.text} {judge.identity} {judge.report()}"


def test_a_limit_of_cost_needs_prices(server, judge_of):
    with pytest.raises(UserError, match=r"judge\.price_in"):
        judge_of(max_cost=1.0, price_in=0.0, price_out=0.0)


def test_tokens_and_money_are_counted(server, judge_of):
    judge = judge_of(price_in=1e6, price_out=2e6)
    ask(judge)
    spent = total(judge)
    assert spent["tokens_in"] == server.tokens["tokens_in"] > 0
    assert spent["cost"] == spent["tokens_in"] + 2 * spent["tokens_out"]
    assert 0 < spent["latency_p50"] <= spent["latency_p95"]


async def many(judge, prompts):
    return await asyncio.gather(*(judge.chat(p, Truths) for p in prompts), return_exceptions=True)


def test_the_same_call_under_way_is_made_once(server, judge_of):
    judge = judge_of()
    judge.preflight()
    server.latency = 0.1
    asyncio.run(many(judge, [PROMPT] * 20 + [prompt("Another one.")] * 5))
    assert len(server.requests) == 1 + 2
    assert total(judge)["shared"] == 23


def test_a_shared_call_outlives_the_one_who_made_it(server, judge_of):
    judge = judge_of()
    judge.preflight()
    server.latency = 0.2

    async def first_gives_up() -> str:
        first = asyncio.create_task(judge.chat(PROMPT, Truths))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(judge.chat(PROMPT, Truths))
        await asyncio.sleep(0.05)
        first.cancel()
        return (await second).text

    assert "Aspirin" in asyncio.run(first_gives_up())
    assert len(server.requests) == 2


def test_a_call_nobody_waits_for_ends(server, judge_of):
    judge = judge_of(concurrency=1)
    judge.preflight()
    server.script = ["hang"]

    async def give_up() -> str:
        try:
            async with asyncio.timeout(0.2):
                await judge.chat(PROMPT, Truths)
        except TimeoutError:
            pass
        return (await judge.chat(prompt("Another one."), Truths)).text  # the slot is free again

    assert "Another" in asyncio.run(give_up())


@pytest.mark.parametrize(("processes", "share"), [("1", 6), ("2", 3), ("99", 1)])
def test_processes_share_the_slots(server, judge_of, monkeypatch, processes, share):
    monkeypatch.setenv("WORLD_SIZE", processes)
    judge = judge_of(concurrency=6)
    judge.preflight()
    server.latency = 0.02
    asyncio.run(many(judge, [prompt(f"Number {n}.") for n in range(12)]))
    assert server.most_under_way == share


def test_no_call_waits_while_the_limits_allow_it(server, judge_of):
    judge = judge_of(concurrency=200, requests_per_minute=1000, tokens_per_minute=1_000_000)
    judge.preflight()
    server.hold = 150
    asyncio.run(many(judge, [prompt(f"Number {n}.") for n in range(150)]))
    assert server.most_under_way == 150
    assert total(judge)["waited"] < 0.05


def test_waiting_for_a_slot_is_counted(server, judge_of):
    judge = judge_of(concurrency=1)
    judge.preflight()
    server.latency = 0.1
    asyncio.run(many(judge, [prompt(f"Number {n}.") for n in range(3)]))
    assert total(judge)["waited"] > 0.1 + 0.2 - 0.05


def test_a_judge_serves_several_event_loops_at_once(server, judge_of):
    judge = judge_of()
    server.latency = 0.05
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(ask(judge))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(texts)) == 1
    assert len(texts) == 4


def test_closing_ends_what_is_under_way(server):
    judge = judge_at(server)
    judge.preflight()
    server.script = ["hang"]
    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            ask(judge)
        except (asyncio.CancelledError, JudgeError) as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while len(server.requests) < 2:
        time.sleep(0.01)
    judge.close()
    judge.close()
    thread.join(5)
    assert len(outcome) == 1
    assert not [t for t in threading.enumerate() if t.name == "judge" and t.is_alive()]
