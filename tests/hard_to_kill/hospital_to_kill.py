"""A hospital in a process of its own, to be killed; `victims` starts it and tells it what to do.

Each line that comes in is Python, a JSON string; its value goes out as a line of JSON.
`die_at(n)` ends the process, as SIGKILL does, just before the n-th step that changes what is on
disk: a statement of SQLite, what follows a commit, a file that is opened, synced, renamed or
removed.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

from victims import require_whole

from labsim import Hospital
from labsim.__main__ import describe

_CHANGES = {"BEGIN", "COMMIT", "ROLLBACK", "INSERT", "UPDATE", "DELETE", "REPLACE"}
_FILE_EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open", "os.link"}


class Steps:
    """Counts what changes something on disk, and dies where it is told to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: int | None = None
        self.count = 0
        self.folder = "\0"  # no path begins with it

    def die_at(self, number: int | None) -> int:
        """Count from 0 on, and die at a number, never if None; return how many there were."""
        with self._lock:
            before, self.count, self._last = self.count, 0, number
        return before

    def step(self) -> None:
        with self._lock:
            if self.count == self._last:
                # Windows has no SIGKILL; there os.kill ends a process just as hard.
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
                threading.Event().wait()  # nothing more happens here
            self.count += 1

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take what Python says of each file (an audit hook)."""
        if event not in _FILE_EVENTS or not arguments:
            return
        if event == "open" and not _writes(arguments):
            return
        if str(arguments[0]).startswith(self.folder):
            self.step()


def _writes(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


STEPS = Steps()


class Connection(sqlite3.Connection):
    """A connection whose statements are steps; so is what comes after one that commits."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._counted(sql, super().execute, *values)

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._counted(sql, super().executemany, *values)

    def _counted(self, sql: str, run: Any, *values: Any) -> sqlite3.Cursor:
        if sql.split(None, 1)[0].upper() not in _CHANGES:
            return run(sql, *values)
        STEPS.step()
        cursor = run(sql, *values)
        if not self.in_transaction:
            STEPS.step()
        return cursor


def _count_steps() -> None:
    connect, sync = sqlite3.connect, os.fsync

    def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, **{"factory": Connection, **options})

    def synced(number: int) -> None:
        STEPS.step()
        sync(number)

    sqlite3.connect, os.fsync = connected, synced  # type: ignore[assignment]
    sys.addaudithook(STEPS.hear)


def main() -> None:
    """Do what comes in, line by line, until nothing comes any more."""
    known: dict[str, Any] = {"die_at": STEPS.die_at, "require_whole": require_whole}

    def start(path: str, **options: Any) -> dict[str, Any]:
        STEPS.folder = str(Path(path).absolute())
        known["hospital"] = Hospital(path=path, **options).start()
        return describe(known["hospital"])

    known["start"] = start
    _count_steps()
    for line in sys.stdin:
        print(json.dumps(eval(json.loads(line), known), default=str), flush=True)


if __name__ == "__main__":
    main()
