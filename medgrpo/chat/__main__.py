"""`python -m medgrpo.chat RUN [RUN ...]`: talk to what runs made, and to their base model.

    python -m medgrpo.chat outputs/X                  a page: base and tuned model side by side
    python -m medgrpo.chat multirun/Y/r-8 multirun/Y/r-16
    python -m medgrpo.chat outputs/X --say "Which vitamin ...?" --option Thiamine --option Niacin
    python -m medgrpo.chat outputs/X --terminal       without a browser
    python -m medgrpo.chat outputs/X engine=openai engine.base_url=http://localhost:8000/v1 \\
        engine.served_model=tuned

Up to four runs of one base model; that is loaded once, and their adapters are switched. Questions
are held-out rows, or your own, in the run's own prompt; answers are read as evaluation reads them.
KEY=VALUE goes before what the runs record (profile=laptop, judge=openai). Nothing here is advice:
a research tool, no medical device. Exit codes: 0 done, 2 the user's input.
"""

from __future__ import annotations

import argparse
import logging
import sys
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING

from medgrpo.chat.terminal import say, talk
from medgrpo.config.terminal import LineFormatter, printable
from medgrpo.errors import RunStopped, UserError

if TYPE_CHECKING:
    from medgrpo.chat.session import Session

PORT = 7860


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = _parsed(argv)
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # about kernels of some CPUs
    runs = [value for value in args.runs if "=" not in value]
    typed = [value for value in args.runs if "=" in value]
    try:
        if not runs:
            raise UserError("chat: name a run folder, for example outputs/2026-01-31_12-00-00")
        print(f"loading {', '.join(runs)} and the base model ...", file=sys.stderr, flush=True)
        from medgrpo.chat.session import Session

        session = Session(runs, typed, args.config_dir)
        try:
            if args.say is not None:
                say(session, session.question(args.say, args.option, args.context))
            elif args.terminal:
                talk(session, sys.stdin)
            else:
                _page(session, args)
        finally:
            session.close()
    except (UserError, RunStopped) as error:
        print(f"medgrpo.chat: {printable(error)}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        print()
    return 0


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m medgrpo.chat", description=__doc__, allow_abbrev=False,
        usage="python -m medgrpo.chat RUN [RUN ...] [--say QUESTION | --terminal] [KEY=VALUE ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, and KEY=VALUE")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--say", metavar="QUESTION", help="print the answers to it, and end")
    how.add_argument("--terminal", action="store_true", help="ask and answer here")
    parser.add_argument(
        "--option", action="append", default=[], metavar="TEXT", help="of --say: one of its options"
    )
    parser.add_argument(
        "--context", action="append", default=[], metavar="TEXT", help="of --say: a passage"
    )
    parser.add_argument("--host", default="127.0.0.1", help="who may ask: this machine alone")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the page ({PORT})")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--config-dir", metavar="FOLDER", help="of your own configs, as for the run"
    )
    return parser.parse_intermixed_args(argv)


def _page(session: Session, args: argparse.Namespace) -> None:
    from medgrpo.chat.server import LOCAL, serve

    def started(url: str) -> None:
        print(f"{url}  (Ctrl-C ends it)", flush=True)
        if args.host not in LOCAL:
            print("Whoever reaches this port may ask: there is no password.", flush=True)
        if args.open:
            webbrowser.open(url)

    serve(session, args.host, args.port, started)


if __name__ == "__main__":
    sys.exit(main())
