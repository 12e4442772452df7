"""Backups by the clock: when the next one is due, and which ones are kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from labsim.errors import ConfigurationError, LabError
from labsim.journal import Event
from labsim.systems.facility import System
from labsim.systems.pacs.access import Access
from labsim.systems.pacs.backup import BackupReport, forget_older
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS backup_schedule (
    folder   TEXT PRIMARY KEY,
    seconds  INTEGER NOT NULL,   -- hospital time from one to the next
    keep     INTEGER NOT NULL,
    due      TEXT NOT NULL,
    last     TEXT NOT NULL,      -- when the last one was made; empty for none
    outcome  TEXT NOT NULL
);
"""


class BackupSchedule:
    """Makes backups when they are due.

    Nothing polls: whatever happens in the hospital is a reason to look at the
    clock, and where nothing happens there is nothing new to save.

    Parameters
    ----------
    system : System
        The PACS; its worker makes the backups.
    write : callable
        Makes one, in a folder.
    access : Access
        Who may configure it.
    """

    def __init__(
        self, system: System, write: Callable[[Path], BackupReport], access: Access
    ) -> None:
        self._system = system
        self._write = write
        self._access = access
        self._due: datetime | None = None
        self._end: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to look at the clock."""
        self._plan()
        self._end = self._system.facility.journal.subscribe(self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._end is not None:
            self._end()
            self._end = None

    def add(self, folder: Path | str, *, every: timedelta, keep: int = 7) -> None:
        """Make a backup again and again; the first is due at once.

        Parameters
        ----------
        folder : Path or str
            Where; an entry with the same folder is replaced.
        every : timedelta
            Hospital time from one to the next: the recovery point objective.
        keep : int
            How many snapshots are kept there.

        Raises
        ------
        AccessDenied
            If whoever is at the PACS may not configure it.
        ConfigurationError
            If a value makes no sense.
        """
        self._access.require("configure", "schedule backups")
        if every < timedelta(minutes=1) or keep < 1:
            raise ConfigurationError(
                f"Every {every}, keeping {keep}: that is no schedule.",
                "At least a minute, and one that is kept.",
            )
        self._system.db.upsert(
            "backup_schedule",
            "folder",
            folder=str(Path(folder).absolute()),
            seconds=int(every.total_seconds()),
            keep=keep,
            due=self._system.now(),
            last="",
            outcome="",
        )
        self._plan()
        self._system.note(f"backup to {folder} every {every}, {keep} kept")

    def remove(self, folder: Path | str) -> None:
        """Make no more backups in a folder; those that are there stay.

        Raises
        ------
        AccessDenied
            If whoever is at the PACS may not configure it.
        """
        self._access.require("configure", "schedule backups")
        self._system.db.run(
            "DELETE FROM backup_schedule WHERE folder = ?", str(Path(folder).absolute())
        )
        self._plan()
        self._system.note(f"no more backups to {folder}")

    def table(self) -> Table:
        """Return what is scheduled, when it is due next, and what became of the last one."""
        rows = [
            (r["folder"], str(timedelta(seconds=r["seconds"])), r["keep"], *list(r)[3:])
            for r in self._system.db.rows("SELECT * FROM backup_schedule ORDER BY folder")
        ]
        columns = ("folder", "every", "keep", "due", "last", "outcome")
        return Table(columns, rows, "Scheduled backups")

    def _plan(self) -> None:
        due = self._system.db.value("SELECT MIN(due) FROM backup_schedule")
        self._due = datetime.fromisoformat(due) if due else None

    def _look(self, event: Event) -> None:
        if self._due is not None and self._system.facility.clock.now() >= self._due:
            self._due = None  # until it is made
            with suppress(RuntimeError):  # the system is just stopping
                self._system.worker.submit(self._make_due)

    def _make_due(self) -> None:
        db, now = self._system.db, self._system.now()
        for row in db.rows("SELECT * FROM backup_schedule WHERE due <= ?", now):
            folder = Path(row["folder"])
            try:
                made = self._write(folder)
                forget_older(folder, row["keep"])
                outcome = f"{made.instances} images, {len(made.problems)} problems"
            except LabError as error:  # the next one is tried when it is due
                outcome = f"failed: {error.what}"
                self._system.note(f"scheduled backup failed: {error.what}", kind="error")
            following = datetime.fromisoformat(now) + timedelta(seconds=row["seconds"])
            db.run(
                "UPDATE backup_schedule SET due = ?, last = ?, outcome = ? WHERE folder = ?",
                following.isoformat(timespec="seconds"),
                now,
                outcome,
                row["folder"],
            )
        self._plan()
