"""The log file of a host: what its systems and its firewall write, by the host's clock."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TextIO

from labsim.clock import Clock
from labsim.journal import Event
from labsim.table import Table


class HostLog:
    """One text file, a line for each entry that the host's systems make in the journal.

    A line has the time by the host's own clock, the system, the kind and the
    text. What happened while a trainer acted unseen is not in it.

    Parameters
    ----------
    host : str
        Whose it is.
    path : Path
        The file; made with the first line.
    clock : Clock
        The host's.

    Attributes
    ----------
    path : Path
        The file.
    """

    def __init__(self, host: str, path: Path, clock: Clock) -> None:
        self._host = host
        self.path = path
        self._clock = clock
        self._file: TextIO | None = None
        self._lock = threading.Lock()
        self._closed = False

    def write(self, event: Event) -> None:
        """Add a line for an event of the journal."""
        time = self._clock.now().isoformat(timespec="milliseconds")
        peer = f" [{event.peer}]" if event.peer else ""
        text = " ".join(f"{event.summary}{peer}".split())
        with self._lock:
            if self._closed:
                return
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("a", encoding="utf-8", newline="\n")
            self._file.write(f"{time} {event.source} {event.kind} {text}\n")
            self._file.flush()

    def table(self, text: str = "", last: int | None = None) -> Table:
        """Return lines of the file.

        Parameters
        ----------
        text : str
            What they have to contain, in upper or lower case.
        last : int, optional
            How many of the newest; all if left out.
        """
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        found = [line for line in lines if text.casefold() in line.casefold()]
        shown = found if last is None else found[len(found) - min(last, len(found)) :]
        rows = [tuple(line.split(" ", 3)) for line in shown]
        return Table(("time", "system", "kind", "entry"), rows, f"Log of {self._host}")

    def close(self) -> None:
        """Close the file; what is written from here on is lost."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()
                self._file = None
