"""What a model said, on disk, shared by the processes of a sweep and kept from run to run.

One SQLite file on a local disk, in write-ahead mode: readers never wait, every entry is a
transaction, and a process killed at any time leaves a file that opens (SQLite, "Atomic Commit").
A file that does not is moved aside and a new one begun: a cache saves time and is never worth a
run. Keys hold everything that can change a reply.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from medgrpo.errors import UserError

_TABLE = "CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value TEXT) WITHOUT ROWID"
_SECONDS_TO_OPEN = 30  # while another process does
_SECONDS_TO_WAIT = 1.0  # for another process that is writing: whoever asks a judge waits too
_SECONDS_WITHOUT = 60.0  # after it did not finish: entries are lost, and asked for again later

_log = logging.getLogger(__name__)


def cache_key(*parts: Any) -> bytes:
    """A digest of plain data; different data never share one."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Cache:
    """A mapping of keys to plain data that outlives the process; safe from any thread."""

    def __init__(self, path: str | Path, setting: str = "judge.cache") -> None:
        """`setting`: the key of the config that names the file."""
        self.setting = setting
        self.path = Path(path).expanduser().absolute()
        self._lock = threading.Lock()
        self._warned = False
        self._writes_from = 0.0  # on the monotonic clock
        self._db = self._opened()

    def get(self, key: bytes) -> Any:
        """What was put under `key`, None if nothing was, or if it cannot be read."""
        rows = self._execute("SELECT value FROM entries WHERE key = ?", (key,))
        try:
            return json.loads(rows[0][0]) if rows else None
        except ValueError:  # damage that SQLite does not see
            return None

    def put(self, key: bytes, value: Any) -> None:
        """Keep `value`; it is on disk, for every process, when this returns.

        Unless the file cannot be written, which costs a second a minute and not one an entry.
        """
        if time.monotonic() >= self._writes_from:
            self._execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (key, json.dumps(value)))

    def forget(self, key: bytes) -> None:
        """Keep it no longer."""
        if time.monotonic() >= self._writes_from:
            self._execute("DELETE FROM entries WHERE key = ?", (key,))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _execute(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.OperationalError as error:  # locked for long, disk full
                if not self._warned:
                    _log.warning("%s %s: %s; going on without", self.setting, self.path, error)
                self._warned = True
                self._writes_from = time.monotonic() + _SECONDS_WITHOUT
            except sqlite3.DatabaseError as error:
                self._db.close()
                self._db = self._renewed(error)
            return []

    def _opened(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self._connect()
        except (OSError, sqlite3.OperationalError) as error:
            raise UserError(
                f"{self.setting}: cannot write {self.path} ({error}); give another path, or "
                f"{self.setting}=null for no cache"
            ) from error
        except sqlite3.DatabaseError as error:
            return self._renewed(error)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.path, timeout=_SECONDS_TO_OPEN, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the latest entries
            db.execute(_TABLE)
            db.execute(f"PRAGMA busy_timeout = {_SECONDS_TO_WAIT * 1000:.0f}")
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    def _renewed(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        """Set the damaged file aside, unless another process has done so already."""
        try:
            db = self._connect()
            if db.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]:
                return db
            db.close()
        except sqlite3.DatabaseError:
            pass
        aside = f"{self.path}.damaged-{time.time_ns()}"
        _log.warning("%s %s is damaged (%s); moved to %s", self.setting, self.path, error, aside)
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        return self._connect()
