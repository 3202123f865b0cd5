"""Answers from an OpenAI-compatible server, over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import Decoding
from medgrpo.evaluation.engines.openai_engine import OpenAIEngine

PROMPTS = [[{"role": "user", "content": f"question {i}"}] for i in range(7)]


class Server(ThreadingHTTPServer):
    requests: list[dict[str, Any]]
    failures: list[int]  # statuses of the next replies
    ended: set[str]  # answers that come to an end by themselves


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({**body, "authorization": self.headers["Authorization"]})
        status = self.server.failures.pop(0) if self.server.failures else 200
        content = body["messages"][-1]["content"].replace("question", "answer")
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
    on_progress: Any = lambda answered: None,
    **options: Any,
) -> Any:
    url = f"http://127.0.0.1:{server.server_port}/v1"
    engine = OpenAIEngine(base_url=url, served_model="served", api_key_env=api_key_env)
    policy: Any = None  # a server answers without it
    decoding = Decoding(batch_size=3, max_new_tokens=9, **options)
    return engine.generate(policy, PROMPTS, decoding, on_progress)


def test_answers_come_in_the_order_of_prompts_and_cut_off_ones_count(server: Server) -> None:
    seen: list[int] = []
    server.ended = {"answer 2", "answer 5"}
    answers = ask(server, on_progress=seen.append)
    assert [answer.text for answer in answers] == [f"answer {i}" for i in range(7)]
    assert {answer.tokens for answer in answers} == {5}
    assert [answer.truncated for answer in answers] == [i not in (2, 5) for i in range(7)]
    assert seen == [1, 2, 3, 4, 5, 6, 7]
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


def test_the_key_comes_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    ask(server, api_key_env="MY_KEY")
    assert server.requests[0]["authorization"] == "Bearer secret"
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(UserError, match="MY_KEY is not set"):
        ask(server, api_key_env="MY_KEY")
