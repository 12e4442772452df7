"""Snapshots of a host: its disk and its firewall as of one moment, to go back to."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Protocol

from labsim.clock import Clock
from labsim.database import Database
from labsim.errors import ConfigurationError, NotFound
from labsim.hosts.firewall import Firewall, Rule
from labsim.systems.facility import System
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS snapshots (
    host TEXT NOT NULL,
    name TEXT NOT NULL,
    taken_at TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    firewall TEXT NOT NULL,
    PRIMARY KEY (host, name)
);
"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Power(Protocol):
    """Who can take systems down and bring them up: the hospital."""

    @property
    def systems(self) -> Mapping[str, System]:
        """Those that run, by name."""
        ...

    def take_down(self, name: str) -> object:
        """Stop a system; its folder stays."""
        ...

    def bring_up(self, name: str) -> System:
        """Make a system anew from its folder."""
        ...


class Snapshots:
    """The snapshots of one host.

    The systems of the host are down while one is taken, so that it holds
    nothing by halves, and run again afterwards if they ran before.

    Parameters
    ----------
    host : str
        Whose they are.
    systems : sequence of str
        The systems on it, by name.
    folder : Path
        The hospital's: each system's is in it, and the snapshots are.
    db : Database
        Where they are listed.
    firewall : Firewall
        The host's.
    truth : Clock
        The hospital's time.
    note : callable
        Writes a line to the journal.
    power : Power
        Who takes the systems down.
    """

    def __init__(
        self,
        host: str,
        systems: Sequence[str],
        folder: Path,
        db: Database,
        firewall: Firewall,
        truth: Clock,
        note: Callable[[str], object],
        power: Power,
    ) -> None:
        self._host = host
        self._systems = systems
        self._folder = folder
        self._own = folder / "snapshots" / host
        self._db = db
        self._firewall = firewall
        self._truth = truth
        self._note = note
        self._power = power

    def take(self, name: str) -> None:
        """Copy the host's disk.

        Raises
        ------
        ConfigurationError
            If the name is none, or taken.
        """
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} is no name of a snapshot.", "Use letters, digits, - and _."
            )
        if self._db.row("SELECT 1 FROM snapshots WHERE host = ? AND name = ?", self._host, name):
            raise ConfigurationError(
                f"{self._host} has a snapshot {name!r} already.", "Choose another name."
            )
        target = self._own / name
        shutil.rmtree(target, ignore_errors=True)  # half of one, if the lab was killed meanwhile
        with self._down():
            for system in self._systems:
                shutil.copytree(self._folder / system, target / system)
        self._db.insert(
            "snapshots",
            host=self._host,
            name=name,
            taken_at=self._truth.now().isoformat(timespec="seconds"),
            bytes=sum(path.stat().st_size for path in target.rglob("*") if path.is_file()),
            firewall=json.dumps([astuple(rule) for rule in self._firewall.rules]),
        )
        self._note(f"snapshot {name} taken")

    def revert(self, name: str) -> None:
        """Put the disk and the firewall of a snapshot back; what came after it is lost.

        Raises
        ------
        NotFound
            If the host has no such snapshot.
        """
        row = self._db.row("SELECT * FROM snapshots WHERE host = ? AND name = ?", self._host, name)
        if row is None:
            known = ", ".join(each[0] for each in self.table()) or "none"
            raise NotFound(f"{self._host} has no snapshot {name!r}.", f"It has {known}.")
        with self._down():
            for system in self._systems:
                _replace(self._folder / system, self._own / name / system)
            self._firewall.put([Rule(*rule) for rule in json.loads(row["firewall"])])
        self._note(f"reverted to snapshot {name} of {row['taken_at']}")

    def table(self) -> Table:
        """Return the snapshots, the oldest first."""
        rows = self._db.rows(
            "SELECT name, taken_at, bytes FROM snapshots WHERE host = ? ORDER BY rowid", self._host
        )
        return Table(
            ("snapshot", "taken at", "bytes"), list(map(tuple, rows)), f"Snapshots of {self._host}"
        )

    @contextmanager
    def _down(self) -> Iterator[None]:
        """Keep the systems down for the length of a block."""
        running = [name for name in self._systems if name in self._power.systems]
        for name in running:
            self._power.take_down(name)
        try:
            yield
        finally:
            for name in running:
                self._power.bring_up(name)


def _replace(folder: Path, copy: Path) -> None:
    """Put a copy in the place of a folder, whole or not at all."""
    fresh, old = folder.with_name(f"{folder.name}.fresh"), folder.with_name(f"{folder.name}.old")
    for left in (fresh, old):  # by a lab that was killed meanwhile
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(copy, fresh)
    folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old)
