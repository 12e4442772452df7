"""The log of each system, one JSON object a line, as log collectors take it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from labsim.errors import ConfigurationError, NotFound
from labsim.journal import Event, Journal
from labsim.systems.metrics import outcome_of
from labsim.table import Table

LEVELS = ("info", "warning", "error")
_SUCCESS = ("", "AA", "CA", "0x0000", "0xFF00", "0xFF01")


class Logs:
    """Writes what each system does into its own log.

    Parameters
    ----------
    folder : Path
        Where the logs are: ``pacs.jsonl`` and so on.
    journal : Journal
        Which hears of everything. What a trainer does is in no log.
    """

    def __init__(self, folder: Path, journal: Journal) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._files: dict[str, IO[str]] = {}
        self._lock = threading.Lock()
        self._end = journal.subscribe(self._write)

    def close(self) -> None:
        """Close the files; nothing is written any more."""
        self._end()
        with self._lock:
            for file in self._files.values():
                with suppress(OSError):  # of a full disk, about what could not be written before
                    file.close()

    def table(self, system: str, level: str = "info", contains: str = "") -> Table:
        """Return the lines of one system's log, oldest first.

        Parameters
        ----------
        system : str
            Its name.
        level : str
            The lowest to show: ``"info"``, ``"warning"`` (refusals and failures
            that were answered) or ``"error"``.
        contains : str
            Only lines in whose message, peer or keys this occurs, in any case.

        Raises
        ------
        ConfigurationError
            If there is no such level.
        NotFound
            If no system of that name has written anything.
        """
        if level not in LEVELS:
            raise ConfigurationError(f"{level!r} is no level.", f"Use {', '.join(LEVELS)}.")
        wanted = LEVELS[LEVELS.index(level) :]
        columns = ("time", "level", "event", "peer", "message")
        rows = [
            tuple(line[column] for column in columns)
            for line in self._lines(system)
            if line["level"] in wanted and contains.casefold() in _searched(line)
        ]
        return Table(columns, rows, f"Log of {system}")

    def _lines(self, system: str) -> Iterator[dict[str, Any]]:
        known = sorted(path.stem for path in self._folder.glob("*.jsonl"))
        if system not in known:
            raise NotFound(f"There is no log of {system!r}.", f"There are {', '.join(known)}.")
        with (self._folder / f"{system}.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                with suppress(ValueError):  # a killed process leaves half a line
                    yield json.loads(line)

    def _write(self, event: Event) -> None:
        if event.hidden:
            return
        line = {
            "time": event.hospital_time,
            "level": level_of(event),
            "event": event.kind,
            "transaction": event.transaction,
            "peer": event.peer,
            "keys": dict(event.keys),
            "message": event.summary,
        }
        with self._lock, suppress(OSError):  # a full disk is for the systems to answer
            file = self._files.get(event.source)
            if file is None:
                path = self._folder / f"{event.source}.jsonl"
                file = self._files[event.source] = path.open("a", encoding="utf-8", newline="\n")
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()


def level_of(event: Event) -> str:
    """Return how grave an event is."""
    outcome = outcome_of(event)
    if outcome == "error":
        return "error"
    refused = outcome not in _SUCCESS and not outcome.startswith(("1", "2", "3"))
    return "warning" if refused else "info"


def _searched(line: dict[str, Any]) -> str:
    return " ".join((line["message"], line["peer"], *line["keys"].values())).casefold()
