"""Whether what a folder records was written by this user: a run of one's own is resumed as it was.

A keyed hash (HMAC-SHA-256) beside the record, by a key that never leaves the user's home. Where
there is none, or another, the folder is somebody else's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

KEY = Path("~/.cache/medgrpo/signing_key")


def sign(record: Path) -> None:
    """Leave a signature beside a record that this process has just made, if it can be kept."""
    try:
        _place(record).write_text(_signature(record, make=True), encoding="utf-8")
    except OSError:  # no home, or no such record: as if somebody else had made it
        return


def is_own(record: Path) -> bool:
    """Whether this user signed the record as it is now."""
    try:
        found = _place(record).read_text(encoding="utf-8")
        return hmac.compare_digest(found, _signature(record))
    except (OSError, ValueError):
        return False


def _place(record: Path) -> Path:
    return record.with_name(f"{record.stem}.signature")


def _signature(record: Path, *, make: bool = False) -> str:
    return hmac.new(_key(make), record.read_bytes(), hashlib.sha256).hexdigest()


def _key(make: bool) -> bytes:
    file = KEY.expanduser()
    if make and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(handle, secrets.token_bytes(32))
        os.close(handle)
    return file.read_bytes()
