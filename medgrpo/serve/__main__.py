"""`python -m medgrpo.serve RUN`: the command that serves what a run made; --start runs it.

    python -m medgrpo.serve outputs/X            prints the ways there are, the best first
    python -m medgrpo.serve outputs/X --start    runs it, asks one question, says the address

vLLM serves the adapter with its base model, or `export=merged_16bit`; llama.cpp serves the file of
`export=gguf`. The server answers OpenAI's protocol under the run's name. KEY=VALUE goes before what
the run records (model.dtype=float32). A research tool, no medical device: do not serve it as one.
Exit codes: 0 done, 1 the server failed, 2 the user's input.
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from medgrpo.config.child import child
from medgrpo.config.recomposed import recomposed
from medgrpo.config.terminal import printable
from medgrpo.errors import RunStopped, UserError
from medgrpo.rundir import RunFolder

PATIENCE = 600.0  # seconds until a server answers
EVERY = 10.0  # seconds between two lines that say that it is waited for


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m medgrpo.serve", description=__doc__, allow_abbrev=False,
        usage="python -m medgrpo.serve RUN [--start] [--port PORT] [KEY=VALUE ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("typed", nargs="*", metavar="KEY=VALUE", help="what is to be otherwise")
    parser.add_argument("--start", action="store_true", help="run the first way, and try it")
    parser.add_argument("--host", default="127.0.0.1", help="who may ask: this machine alone")
    parser.add_argument("--port", type=int, default=8000, help="of the server (8000)")
    parser.add_argument("--config-dir", metavar="FOLDER", help="of configs of your own")
    args = parser.parse_intermixed_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server ends with this process
    try:
        return _serve(args)
    except (UserError, RunStopped) as error:
        print(f"medgrpo.serve: {printable(error)}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1


def _serve(args: argparse.Namespace) -> int:
    """As `main`, with what was typed."""
    from medgrpo.config.build import build
    from medgrpo.model.base import ModelSource
    from medgrpo.serve.ways import Served

    cfg = recomposed(Path(args.run), args.typed, args.config_dir)
    model = build(cfg.model)
    if not isinstance(model, ModelSource):
        raise UserError(f"serve: {type(model).__name__} does not say where its weights lie")
    served = Served(folder=RunFolder(args.run), model=model, host=args.host, port=args.port)
    ways = served.ways()
    if not args.start:
        for way in ways:
            need = f" (needs {way.missing})" if way.missing else ""
            print(f"{way.name}{need}:\n  {printable(way)}\n")
        print(_next(args.run, served.url, ways[0].served_model))
        return 0
    way = ways[0]
    if way.missing:
        raise UserError(
            f"serve: {way.name} needs {way.missing}; without --start all ways are shown"
        )
    with socket.socket() as taken:
        if not taken.connect_ex((args.host, args.port)):
            raise UserError(f"--port {args.port}: another server answers there; name another port")
    print(printable(way), flush=True)
    with child(way.command, patience=10) as server:
        try:
            _await(server, served.url)
            question = _question(cfg, served.folder)
            print(f"\nasked: {printable(question[-1]['content'])}")
            print(f"answered: {printable(_ask(served.url, way.served_model, question))}\n")
            print(_next(args.run, served.url, way.served_model), flush=True)
            return 1 if server.wait() else 0
        except KeyboardInterrupt:
            print("ended")
            return 0


def _next(run: str, url: str, served_model: str) -> str:
    """What can be done with the server."""
    engine = f"engine=openai engine.base_url={url} engine.served_model={quote(served_model)}"
    return (
        f"It is asked at {url} for {served_model!r}, for example by\n"
        f"  python -m medgrpo.chat {quote(run)} {engine}\n"
        f"  python -m medgrpo trainer=none dataset=... {engine}"
    )


def _await(server: subprocess.Popen[bytes], url: str) -> None:
    """Wait until the server lists its models. RunStopped where it ends, or takes too long."""
    import httpx

    start = time.monotonic()
    told = start
    while True:
        if (code := server.poll()) is not None:
            raise RunStopped(f"serve: the server ended with exit code {code} before it answered")
        try:
            if httpx.get(f"{url}/models", timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass  # not up yet
        now = time.monotonic()
        if now - start > PATIENCE:
            raise RunStopped(f"serve: no answer from {url} in {PATIENCE:.0f} s")
        if now - told > EVERY:
            print(f"waiting for {url} ({now - start:.0f} s)", flush=True)
            told = now
        time.sleep(0.5)


def _question(cfg: Any, folder: RunFolder) -> list[dict[str, str]]:
    """The messages of the first held-out row, as far as the run's predictions have it."""
    import pyarrow.parquet as pq

    from medgrpo.config.build import build

    rows: list[Any] = []
    if folder.predictions.is_file():
        rows = pq.read_table(folder.predictions).slice(0, 1).to_pylist()
    row = rows[0] if rows else {"question": "Which vitamin is scurvy a lack of?", "options": []}
    fields = {"id": "", "answer": "", "label": None, "explanation": "", **row, "context": []}
    messages: list[dict[str, str]] = build(cfg.prompt).messages(fields)
    return messages


def _ask(url: str, served_model: str, messages: list[dict[str, str]]) -> str:
    """The server's answer. Raises RunStopped where it has none."""
    import httpx

    body = {"model": served_model, "messages": messages, "temperature": 0, "max_tokens": 128}
    try:
        reply = httpx.post(f"{url}/chat/completions", json=body, timeout=PATIENCE)
        reply.raise_for_status()
        return str(reply.json()["choices"][0]["message"]["content"])
    except (httpx.HTTPError, ValueError, LookupError) as error:
        raise RunStopped(f"serve: the server is up and does not answer ({error})") from None


if __name__ == "__main__":
    sys.exit(main())
