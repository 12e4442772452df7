"""The disk of a host: how much its systems use, and how much they may."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from labsim.database import Database
from labsim.errors import ConfigurationError
from labsim.systems.facility import System
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS host_disks (
    host TEXT PRIMARY KEY,
    quota INTEGER NOT NULL
);
"""


class Disk:
    """The folders of a host's systems, counted together against a quota.

    A disk that is full refuses what would not fit: a file with the operating
    system's "no space left" (ENOSPC), a row with SQLite's "database or disk is
    full". A database may grow by what was free when it was opened or the quota
    set. The journal and the logs of the lab lie elsewhere and go on.

    Parameters
    ----------
    host : str
        Whose it is.
    folders : sequence of Path
        Of its systems.
    db : Database
        Where the quota is kept.
    note : callable
        Writes a line to the journal.

    Attributes
    ----------
    quota : int
        In bytes; 0 for as much as the machine's own disk takes.
    """

    def __init__(
        self, host: str, folders: Sequence[Path], db: Database, note: Callable[[str], object]
    ) -> None:
        self._host = host
        self._folders = folders
        self._db = db
        self._note = note
        self.quota = int(db.value("SELECT quota FROM host_disks WHERE host = ?", host) or 0)

    @property
    def used(self) -> int:
        """How many bytes the systems use, measured now."""
        return sum(_size(folder)[1] for folder in self._folders)

    def resize(self, quota: int, systems: Sequence[System]) -> None:
        """Set the quota, and let the databases of the systems that run grow no further.

        Raises
        ------
        ConfigurationError
            If it is less than nothing.
        """
        if quota < 0:
            raise ConfigurationError(
                f"A disk of {quota} bytes cannot be.", "Use a number of bytes, or 0 for no quota."
            )
        self.quota = quota
        self._db.upsert("host_disks", "host", host=self._host, quota=quota)
        for system in systems:
            self.fit(system)
        self._note(f"disk quota set: {f'{quota} bytes' if quota else 'none'}")

    def fit(self, system: System) -> None:
        """Let the database of a system grow by what is free now."""
        system.db.may_grow(max(0, self.quota - self.used) if self.quota else None)

    def reserve(self, size: int) -> None:
        """Ask for room for a file.

        Raises
        ------
        OSError
            If it does not fit: no space left on device.
        """
        if self.quota and self.used + size > self.quota:
            raise OSError(errno.ENOSPC, f"no space left on the disk of {self._host}")

    def table(self) -> Table:
        """Return what each system uses, and the whole, with what is free."""
        rows: list[tuple[object, ...]] = [
            (folder.name, *_size(folder), "", "") for folder in self._folders
        ]
        used = sum(int(str(row[2])) for row in rows)
        free = max(0, self.quota - used) if self.quota else ""
        rows.append(("all", sum(int(str(row[1])) for row in rows), used, self.quota or "", free))
        columns = ("system", "files", "bytes", "quota", "free")
        return Table(columns, rows, f"Disk of {self._host}")


def _size(folder: Path) -> tuple[int, int]:
    """Return how many files are in a folder, and how many bytes."""
    sizes = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # gone meanwhile
            if path.is_file():
                sizes.append(path.stat().st_size)
    return len(sizes), sum(sizes)
