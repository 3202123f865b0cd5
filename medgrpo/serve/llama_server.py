"""llama.cpp's own server, from the wheel `xllamacpp`, with the flags of its `llama-server`.

For machines without a compiler: `python -m medgrpo.serve.llama_server --model FILE --port 8000`.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until ended; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m medgrpo.serve.llama_server")
    parser.add_argument("--model", required=True, metavar="FILE", help="a GGUF file")
    parser.add_argument("--ctx-size", type=int, default=2048, help="tokens of prompt and answer")
    parser.add_argument("--alias", default="model", help="the name to ask for")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args(argv)
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = args.model
    params.n_ctx = args.ctx_size
    params.n_parallel = 1  # all of the context for one question
    params.model_alias = [args.alias]
    params.hostnames = [args.host]
    params.port = args.port
    params.use_jinja = True  # the chat template of the file
    server = xllamacpp.Server(params)
    print(f"llama.cpp serves {args.alias} at {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main())
