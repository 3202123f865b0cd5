"""The page: a small web server on this machine, by aiohttp, and nothing that it loads from others.

    GET  /            the page            GET  /api/start       columns, rows, defaults
    POST /api/ask     an answer: lines of JSON as it is written, `{"text": ..}`, then all of it
    POST /api/judge   what judged rewards give to a response

What a model writes is text and never markup. Requests that another site's page sends are refused.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from medgrpo.chat.session import Asked, Session
from medgrpo.dataset.example import LETTERS, Example, gold_text
from medgrpo.errors import UserError

log = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
LONGEST = 20_000  # characters of a question, a passage, an option
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:"
)


class Question(BaseModel):
    """What the page asks a column."""

    column: str
    place: int | None = None  # of a held-out row; None: a question of the user's own
    question: str = Field(default="", max_length=LONGEST)
    options: list[str] = Field(default=[], max_length=len(LETTERS))
    context: list[str] = Field(default=[], max_length=100)
    temperature: float = Field(default=0.0, ge=0, le=5)
    max_new_tokens: int | None = Field(default=None, ge=1, le=32_768)
    seed: int = Field(default=0, ge=0)


class Judged(Question):
    """What a judge is asked about."""

    response: str = Field(max_length=200_000)


class Server:
    """Answers the page's requests by a session: one at a time, in a thread of its own."""

    def __init__(self, session: Session, hosts: frozenset[str] | None) -> None:
        """`hosts`: the names under which this server may be asked; None: any."""
        self.session, self.hosts = session, hosts
        self._model = ThreadPoolExecutor(1, "model")
        self._turn = asyncio.Lock()

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(middlewares=[self._guarded], client_max_size=2**22)
        app.router.add_get("/", partial(self._file, name="index.html"))
        for name in ("page.js", "page.css"):
            app.router.add_get(f"/{name}", partial(self._file, name=name))
        app.router.add_get("/base.css", partial(self._file, name="../../page.css"))
        app.router.add_get("/api/start", self._start)
        app.router.add_post("/api/ask", self._ask)
        app.router.add_post("/api/judge", self._judge)
        return app

    @web.middleware
    async def _guarded(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Refuse other sites (DNS rebinding, forged requests); say what is wrong as JSON."""
        origin = request.headers.get("Origin")
        name = urlsplit(f"//{request.host}").hostname
        elsewhere = origin and urlsplit(origin).netloc != request.host
        if elsewhere or (self.hosts and name not in self.hosts):
            return web.json_response({"error": "not asked by this page"}, status=403)
        if request.method == "POST" and request.content_type != "application/json":
            return web.json_response({"error": "not JSON"}, status=415)
        try:
            response = await handler(request)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            return web.json_response({"error": told}, status=400)
        except UserError as error:
            return web.json_response({"error": str(error)}, status=400)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def _file(self, request: web.Request, name: str) -> web.StreamResponse:
        return web.FileResponse(PAGE / name, headers={"Cache-Control": "no-store"})

    async def _start(self, request: web.Request) -> web.StreamResponse:
        """All that the page shows before anything is asked."""
        session = self.session
        parts = session.columns[0].parts
        rows = [
            {
                "id": row["id"],
                "question": row["question"],
                "options": row["options"],
                "context": row["context"],
                "gold": gold_text(row),
                "answers": {
                    name: {
                        "predicted": found["predicted"],
                        "right": found["token_f1"] == 1.0,
                        "response": found["response"],
                    }
                    for name, found in session.recorded(row).items()
                },
            }
            for row in session.rows
        ]
        return web.json_response(
            {
                "columns": [column.name for column in session.columns],
                "rows": rows,
                "max_new_tokens": parts.evaluation.max_new_tokens,
                "judged": any("judge" in node for node in session.columns[0].cfg.rewards.values()),
            }
        )

    def _asked(self, question: Question) -> Asked:
        """Raises UserError for a place where no row is, and for nothing asked."""
        return Asked(
            row=self._row(question),
            temperature=question.temperature,
            max_new_tokens=question.max_new_tokens,
            seed=question.seed,
        )

    def _row(self, question: Question) -> Example:
        if question.place is not None:
            if not 0 <= question.place < len(self.session.rows):
                raise UserError(f"there is no held-out row {question.place}")
            return self.session.rows[question.place]
        if not question.question.strip():
            raise UserError("ask something: the question is empty")
        return self.session.question(question.question, question.options, question.context)

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        """An answer as lines of JSON; it is stopped when the page goes away."""
        question = Question.model_validate_json(await request.text())
        asked, column = self._asked(question), self.session.column(question.column)
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()
        gone = False

        def tell(text: str) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, text)

        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        async with self._turn:
            await response.prepare(request)
            answering = loop.run_in_executor(
                self._model, partial(self.session.answer, column, asked, tell, lambda: gone)
            )
            answering.add_done_callback(lambda _: pieces.put_nowait(None))
            try:
                while (text := await pieces.get()) is not None:
                    await _line(response, {"text": text})
                await _line(response, {"answer": answering.result()})
            except UserError as error:
                await _line(response, {"error": str(error)})
            except RuntimeError as error:  # torch's: no memory left, a device that is gone
                log.exception("no answer of %s", column.name)
                await _line(response, {"error": f"{type(error).__name__}: {error}"})
            finally:
                gone = True
                await asyncio.wait([answering])
        return response

    async def _judge(self, request: web.Request) -> web.StreamResponse:
        asked = Judged.model_validate_json(await request.text())
        column = self.session.column(asked.column)
        judged = partial(self.session.judged, column, self._row(asked), asked.response)
        async with self._turn:
            scores = await asyncio.get_running_loop().run_in_executor(self._model, judged)
        return web.json_response({"rewards": scores})


async def _line(response: web.StreamResponse, value: dict[str, Any]) -> None:
    await response.write(json.dumps(value).encode() + b"\n")


def serve(session: Session, host: str, port: int, on_start: Callable[[str], None]) -> None:
    """Serve the page until interrupted; `on_start` gets its address. UserError for a taken port."""

    async def serving() -> None:
        server = Server(session, LOCAL if host in LOCAL else None)
        runner = web.AppRunner(server.app(), access_log=None, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            try:
                await site.start()
            except OSError as error:
                raise UserError(f"--port {port} on {host}: {error.strerror or error}") from None
            bound = runner.addresses[0][1]
            on_start(f"http://{host}:{bound}/")
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    asyncio.run(serving())
