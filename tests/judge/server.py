"""A loopback OpenAI-compatible endpoint that answers every prompt of the judged rewards, with a
latency, and misbehaves on request (faults.py has more ways). Its brain is the lexical judge.

    python tests/judge/server.py 0.3      # prints its address, serves until killed
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent))
from faults import KINDS  # also where this file is run by itself

from medgrpo.errors import UserError
from medgrpo.judge.lexical import _BY_FIELDS
from medgrpo.judge.openai import OpenAIJudge

CONF = Path(__file__).parents[2] / "conf" / "judge"
FAULTS = (
    *("429", "500", "hang", "drop"),
    *("bad_json", "truncated", "cut_off", "wrong_schema", "drip"),
)
_ASKED_IN_WORDS = (  # prompts that come without a schema: what they want back
    ("Given the summarization score", ("reason",)),
    ("Given the answer relevancy score", ("reason",)),
    ("formatted as json without formatting", ("category", "score")),
    ("generate 3-4 concise evaluation steps", ("steps",)),
    ('`"score"`: an integer between', ("reason", "score")),
    ("breakdown and generate a list of statements", ("statements",)),
    ('with the "truths" key', ("truths",)),
    ('with the "claims" key', ("claims",)),
    ("generate a JSON with key 'answers'", ("answers",)),
    ("closed-ended questions", ("questions",)),
    ("is relevant to address the", ("verdicts",)),
    ("contradicts", ("verdicts",)),
)


class Server:
    """Runs in a thread; every attribute may be changed while it runs."""

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self.faults: dict[str, float] = {}  # name -> probability
        self.script: list[str | None] = []  # faults of the next requests, before any chance
        self.plans: dict[str, list[str | None]] = {}  # the same of one model, the last one for ever
        self.spared = ""  # of models "mid ..", prompts that hold it meet no fault
        self.modes = {"json_schema", "json_object_schema", "json_object", "none"}
        self.bounds = True  # whether a schema may bound its strings
        self.refusal = 400  # status for a response_format that is not in `modes`
        self.key: str | None = None
        self.model: str | None = None  # the only one there is
        self.quota = True
        self.retry_after = "0.05"
        self.content: str | None = None  # of every answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []  # of the same
        self.counts: Counter[str] = Counter()
        self.tokens = Counter[str]()
        self.hold = 0  # answer nobody until so many are under way, or 20 s have passed
        self.under_way = self.most_under_way = 0
        self._random = random.Random(0)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._answer),
                web.get("/stats", self._stats),
                web.post("/set", self._set),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=4096)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/v1"

    async def _end(self) -> None:
        await self._runner.cleanup()
        hanging = asyncio.all_tasks() - {asyncio.current_task()}
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    async def _stats(self, _: web.Request) -> web.Response:
        counts = {**self.counts, **self.tokens, "most_under_way": self.most_under_way}
        return web.json_response(counts)

    async def _set(self, request: web.Request) -> web.Response:
        self.counts.clear()
        self.tokens.clear()
        self.requests.clear()
        self.most_under_way = 0
        vars(self).update(await request.json())
        return web.json_response({})

    def _fault(self, body: dict[str, Any]) -> str | None:
        model = body["model"]
        if model.startswith("mid ") and self.spared in body["messages"][-1]["content"]:
            return None
        if plan := self.plans.get(model):
            return plan.pop(0) if len(plan) > 1 else plan[0]
        if self.script:
            return self.script.pop(0)
        draw = self._random.random()
        for name, probability in self.faults.items():
            if draw < probability:
                return name
            draw -= probability
        return None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        self.counts["requests"] += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.latency)
            await self._held()
            return self._refused(request, body) or await self._replied(request, body)
        finally:
            self.under_way -= 1

    async def _held(self) -> None:
        for _ in range(2000):
            if self.most_under_way >= self.hold:
                return
            await asyncio.sleep(0.01)

    def _refused(self, request: web.Request, body: dict[str, Any]) -> web.Response | None:
        shown = request.headers.get("Authorization", "")
        if self.key is not None and shown != f"Bearer {self.key}":
            return _error(401, f"Incorrect API key provided: {shown}", "invalid_api_key")
        if self.model is not None and body["model"] != self.model:
            return _error(404, f"The model {body['model']} does not exist", "model_not_found")
        if not self.quota:
            return _error(429, "You exceeded your current quota", "insufficient_quota")
        if not self.bounds and "maxLength" in json.dumps(body):
            return _error(self.refusal, "'maxLength' is not permitted", "invalid_json_schema")
        if _mode(body) not in self.modes:
            return _error(self.refusal, "response_format is not supported here", "bad_request")
        return None

    async def _replied(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        fault = self._fault(body)
        self.counts[fault or "good"] += 1
        shown = request.headers.get("Authorization", "")
        if fault == "429":
            limited = _error(429, "slow down", "rate_limit_exceeded")
            limited.headers["Retry-After"] = self.retry_after
            return limited
        if fault in KINDS:
            return await KINDS[fault](request, self._reply(body, None), shown[len("Bearer ") :])
        if fault == "500":
            return _error(500, f"boom with {shown}", "server_error")
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "drop":
            request.transport.close()
        reply = json.dumps(self._reply(body, fault)).encode()
        if fault != "drip":
            return web.Response(body=reply, content_type="application/json")
        slow = web.StreamResponse()
        await slow.prepare(request)
        for byte in reply:
            await slow.write(bytes([byte]))
            await asyncio.sleep(0.05)
        return slow

    def _reply(self, body: dict[str, Any], fault: str | None) -> dict[str, Any]:
        prompt = body["messages"][-1]["content"]
        text = self.content or json.dumps(_think(prompt, _wanted(body, prompt)))
        if fault == "bad_json":
            text = "I am sorry, I cannot answer that."
        elif fault in ("truncated", "cut_off"):
            text = text[: len(text) // 2]
        elif fault == "wrong_schema":
            text = '{"unexpected": [1, 2]}'
        tokens_in, tokens_out = len(prompt) // 4, len(text) // 4
        self.tokens["tokens_in"] += tokens_in
        self.tokens["tokens_out"] += tokens_out
        choice: dict[str, Any] = {
            "index": 0,
            "finish_reason": "length" if fault == "truncated" else "stop",
            "message": {"role": "assistant", "content": text},
        }
        if body.get("logprobs"):
            likely = [{"token": "8", "logprob": -0.105}, {"token": "3", "logprob": -2.303}]
            choice["logprobs"] = {"content": [{**likely[0], "top_logprobs": likely}]}
        usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": {**usage, "total_tokens": tokens_in + tokens_out},
        }


class Apart:
    """The same in a process of its own, where its work takes no time from ours."""

    def __enter__(self) -> Apart:
        command = [sys.executable, __file__, "0"]
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
        self.root = self._process.stdout.readline().strip()
        self.url = f"{self.root}/v1"
        return self

    def plan(self, plans: dict[str, list[str | None]], spared: str = "") -> None:
        """Which faults the requests of a model meet, by its name; see `Server.spared`."""
        body = json.dumps({"plans": plans, "spared": spared}).encode()
        typed = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.root}/set", body, typed)
        urllib.request.urlopen(request).close()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def judge_at(server: Server, **fields: Any) -> OpenAIJudge:
    """The judge of conf/judge/openai.yaml at `server`, with short waits and no cache or key."""
    node = yaml.safe_load((CONF / "openai.yaml").read_text(encoding="utf-8"))
    del node["_target_"]
    quick = {"base_url": server.url, "api_key_env": None, "cache": None, "backoff": 0.01}
    return OpenAIJudge(**node | quick | fields)


def _error(status: int, message: str, code: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": code}}, status=status)


def _mode(body: dict[str, Any]) -> str:
    wanted = body.get("response_format") or {"type": "none"}
    return wanted["type"] + ("_schema" if "schema" in wanted else "")


def _wanted(body: dict[str, Any], prompt: str) -> frozenset[str]:
    """The fields of the JSON that is asked for, by schema or in words."""
    asked = body.get("response_format") or {}
    schema = asked.get("schema") or (asked.get("json_schema") or {}).get("schema")
    if schema:
        return frozenset(schema["properties"])
    found = (fields for needle, fields in _ASKED_IN_WORDS if needle in prompt)
    return frozenset(next(found, ("answer",)))


def _think(prompt: str, fields: frozenset[str]) -> dict[str, Any]:
    known = fields - {"reasoning"}
    if known == {"answer"}:
        return {"answer": "yes"}
    try:
        answer = _BY_FIELDS[known](prompt) if known in _BY_FIELDS else {"reason": "because"}
    except UserError:  # another wording than that of the lexical judge's libraries
        answer = {"steps": ["compare"], "reason": "because"}
    return {**answer, **({"reasoning": "because"} if re.search("reasoning", prompt) else {})}


if __name__ == "__main__":
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # clients that hang up amid a reply
    with Server(float(sys.argv[1])) as server:
        print(server.root, flush=True)
        threading.Event().wait()
