"""Answers from an OpenAI-compatible server, over a real socket, and what is no answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from judge.faults import GOOD, KINDS, WRITTEN
from judge.server import Apart

from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import Decoding, Generation
from medgrpo.evaluation.engines.openai_engine import OpenAIEngine

PROMPTS = [[{"role": "user", "content": f"question {i}"}] for i in range(7)]


class Server(ThreadingHTTPServer):
    requests: list[dict[str, Any]]
    failures: list[int]  # statuses of the next replies
    ended: set[str]  # answers that come to an end by themselves
    content: str | None = "answer"  # before its number


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({**body, "authorization": self.headers["Authorization"]})
        status = self.server.failures.pop(0) if self.server.failures else 200
        content = self.server.content
        if content is not None:
            content = body["messages"][-1]["content"].replace("question", content)
        message = {"role": "assistant", "content": content}
        reason = "stop" if content in self.server.ended else "length"
        reply = {
            "id": "1", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": reason, "message": message}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6},
        }  # fmt: skip
        text = json.dumps(reply if status == 200 else {"error": {"message": "no such model"}})
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.requests, server.failures, server.ended = [], [], set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask(
    server: Server,
    api_key_env: str | None = None,
    on_answers: Any = lambda answers: None,
    base_url: str = "",
    **options: Any,
) -> Any:
    url = base_url or f"http://127.0.0.1:{server.server_port}/v1"
    engine = OpenAIEngine(base_url=url, served_model="served", api_key_env=api_key_env)
    policy: Any = None  # a server answers without it
    decoding = Decoding(batch_size=3, max_new_tokens=9, **options)
    return engine.generate(policy, PROMPTS, decoding, on_answers)


def test_answers_come_in_the_order_of_prompts_and_cut_off_ones_count(server: Server) -> None:
    seen: list[dict[int, Generation]] = []
    server.ended = {"answer 2", "answer 5"}
    answers = ask(server, on_answers=seen.append)
    assert [answer.text for answer in answers] == [f"answer {i}" for i in range(7)]
    assert {answer.tokens for answer in answers} == {5}
    assert [answer.truncated for answer in answers] == [i not in (2, 5) for i in range(7)]
    assert {place: one.text for new in seen for place, one in new.items()} == {
        i: f"answer {i}" for i in range(7)
    }
    assert {(r["model"], r["max_tokens"], r["temperature"]) for r in server.requests} == {
        ("served", 9, 0.0)
    }


def test_samples_have_seeds_of_their_own_and_the_template_its_arguments(server: Server) -> None:
    ask(server, temperature=0.7, chat_template_kwargs={"enable_thinking": False})
    assert len({request["seed"] for request in server.requests}) == 7
    assert server.requests[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_passing_failure_is_tried_again(server: Server) -> None:
    server.failures = [503]
    assert len(ask(server)) == 7
    assert len(server.requests) == 8


def test_a_server_that_refuses_ends_the_run(server: Server) -> None:
    server.failures = [404] * 7
    with pytest.raises(UserError, match="no such model"):
        ask(server)


KEY = "sk-secret-0123456789"
ATTEMPT = 3.0  # seconds


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, Any]]:
    """Kind -> the texts of two answers, the second of which meets it, or the error; the seconds."""
    with Apart() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVED_KEY", KEY)
        server.plan({f"mid {kind}": [kind] for kind in KINDS}, spared="question 0")

        def outcome(kind: str) -> tuple[str, Any]:
            start = time.monotonic()
            told = {"base_url": server.url, "served_model": f"mid {kind}"}
            told["api_key_env"] = "SERVED_KEY"
            engine = OpenAIEngine(**told, attempts=2, attempt_timeout=ATTEMPT)
            decoding, policy = Decoding(batch_size=1, max_new_tokens=9), cast(Any, None)
            try:
                found: Any = engine.generate(policy, PROMPTS[:2], decoding)
            except Exception as error:
                found = error
            return kind, (found, time.monotonic() - start)

        with ThreadPoolExecutor(16) as pool:
            yield dict(pool.map(outcome, list(KINDS)[::-1]))  # the slow ones first


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_answer_is_told_in_one_line_and_in_time(
    outcomes: dict[str, Any], kind: str
) -> None:
    found, seconds = outcomes[kind]
    assert seconds < 3 * ATTEMPT + 5  # on a busy machine
    assert KEY not in f"{found!r}"
    if kind in GOOD | WRITTEN:
        assert [bool(answer.text) for answer in found] == [True, True]
    else:
        assert type(found) is UserError
        assert "prompt 2 of 2" in str(found)
        assert "\n" not in str(found)
        assert len(str(found)) < 1000


def test_a_wrong_address_is_told_before_anything_is_sent(server: Server) -> None:
    with pytest.raises(UserError, match=r"engine\.base_url should be"):
        ask(server, base_url="//x/y")


def test_an_answer_that_was_thought_to_the_limit_is_empty_and_no_fault(server: Server) -> None:
    server.content = None
    assert [answer.text for answer in ask(server)] == [""] * 7


def test_the_key_comes_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    ask(server, api_key_env="MY_KEY")
    assert server.requests[0]["authorization"] == "Bearer secret"
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(UserError, match="MY_KEY is not set"):
        ask(server, api_key_env="MY_KEY")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["401", "content filter", "key in a refusal"])
def test_a_run_that_gets_no_answer_ends_in_one_line_without_the_key(
    medgrpo: Any, tmp_path: Path, kind: str
) -> None:
    with Apart() as endpoint:
        endpoint.plan({"served": [None, None, kind]})
        where = [f"engine.base_url={endpoint.url}", "engine.served_model=served"]
        which = ["trainer=none", "engine=openai", "engine.api_key_env=SERVED_KEY"]
        done = medgrpo(*which, *where, "evaluation.limit=4", "output_dir=run", SERVED_KEY=KEY)
    assert done.returncode == 2, done.stderr
    assert "gives no answer to prompt" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    assert KEY not in done.stdout + done.stderr
