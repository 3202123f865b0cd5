"""A process that is started for this one, and never outlives it."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def child(
    command: Sequence[str], patience: float | None = None, **more: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """`command`, ended by SIGTERM where the block ends before it, and waited for.

    After `patience` seconds it is killed (None: it may take its time). A SIGTERM to this process
    that comes while the other one is being started is acted on when both can be ended. `more` is
    for `subprocess.Popen`.
    """
    arrived: list[Any] = []
    main = threading.current_thread() is threading.main_thread()  # signals are its own alone
    handler = signal.signal(signal.SIGTERM, lambda *_: arrived.append(_)) if main else None
    try:
        process = subprocess.Popen(command, **more)
    except BaseException:
        if main:
            signal.signal(signal.SIGTERM, handler)
        raise
    try:
        if main:
            signal.signal(signal.SIGTERM, handler)
        if arrived:
            signal.raise_signal(signal.SIGTERM)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
