"""The rooms of the department: when they are open, and when they are taken."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from labsim.database import Database
from labsim.errors import ConfigurationError
from labsim.systems.catalogue import examination

SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    station  TEXT PRIMARY KEY,      -- AE title
    modality TEXT NOT NULL,
    opens    TEXT NOT NULL,         -- "07:00"
    closes   TEXT NOT NULL          -- "24:00" for the end of the day
);
CREATE TABLE IF NOT EXISTS blocks (
    station TEXT NOT NULL REFERENCES resources,
    start   TEXT NOT NULL,          -- ISO 8601
    until   TEXT NOT NULL,
    reason  TEXT NOT NULL
);
"""
_DAY = timedelta(days=1)
_MIDNIGHT = "24:00"


@dataclass(frozen=True)
class Slot:
    """A time at which a station is taken.

    Parameters
    ----------
    station : str
        AE title.
    start, end : datetime
        From, and until just before.
    what : str
        The examination, or why the station cannot be used.
    status : str
        That of the examination, or ``BLOCKED``.
    accession : str
        Empty for a block.
    priority : str
        ``"R"``, ``"A"`` or ``"S"``; empty for a block.
    """

    station: str
    start: datetime
    end: datetime
    what: str
    status: str
    accession: str = ""
    priority: str = ""

    @property
    def yields(self) -> bool:
        """Whether it gives way to an emergency: routine, and not begun."""
        return self.status == "SCHEDULED" and self.priority != "S"


class Diary:
    """Says when each station is taken, and finds the next time that it is free.

    Parameters
    ----------
    db : Database
        Has the tables of `SCHEMA`, and procedures.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def able(self, modality: str) -> list[str]:
        """Return the stations for a kind of examination, in the order of the site."""
        found = "SELECT station FROM resources WHERE modality = ? ORDER BY rowid"
        return [row["station"] for row in self._db.rows(found, modality)]

    def set_hours(self, station: str, opens: str, closes: str) -> None:
        """Set when a station is open, every day.

        Raises
        ------
        ConfigurationError
            If there is no such station, or it would close before it opens.
        """
        clock = r"([01]\d|2[0-3]):[0-5]\d|24:00"
        if not all(re.fullmatch(clock, text) for text in (opens, closes)) or opens >= closes:
            raise ConfigurationError(
                f"{station} cannot be open from {opens!r} to {closes!r}.", 'Write "07:00", "19:30".'
            )
        changed = self._db.run(
            "UPDATE resources SET opens = ?, closes = ? WHERE station = ?", opens, closes, station
        )
        if not changed:
            raise self.unknown(station)

    def unknown(self, station: str) -> ConfigurationError:
        """Make the error for a station that there is not."""
        stations = [row["station"] for row in self._db.rows("SELECT station FROM resources")]
        return ConfigurationError(
            f"{station!r} is no station of this hospital.", f"Use {', '.join(stations)}."
        )

    def slots(self, station: str, *, leave_out: str = "") -> list[Slot]:
        """Return when a station is taken, earliest first.

        Parameters
        ----------
        station : str
            AE title.
        leave_out : str
            Accession number of an examination that is about to move.
        """
        found = [
            _slot_of(row)
            for row in self._db.rows(
                "SELECT accession, code, description, station, start, priority, status "
                "FROM procedures WHERE station = ? AND status IN ('SCHEDULED', 'IN PROGRESS') "
                "AND accession != ?",
                station,
                leave_out,
            )
        ]
        found += [
            Slot(
                station,
                datetime.fromisoformat(row["start"]),
                datetime.fromisoformat(row["until"]),
                row["reason"],
                "BLOCKED",
            )
            for row in self._db.rows("SELECT * FROM blocks WHERE station = ?", station)
        ]
        return sorted(found, key=lambda slot: (slot.start, slot.accession))

    def next_free(
        self, station: str, earliest: datetime, minutes: int, taken: Iterable[Slot]
    ) -> datetime:
        """Return when a station is next open and free for so long.

        Raises
        ------
        ConfigurationError
            If it is never open for so long.
        """
        length = timedelta(minutes=minutes)
        moment = self._open_at(station, earliest, length)
        for slot in sorted(taken, key=lambda slot: slot.start):
            if overlaps(slot, moment, moment + length):
                moment = self._open_at(station, slot.end, length)
        return moment

    def is_open(self, station: str, start: datetime, minutes: int) -> bool:
        """Return whether a station is open at a time, for so long."""
        return self._open_at(station, start, timedelta(minutes=minutes)) == start

    def _open_at(self, station: str, moment: datetime, length: timedelta) -> datetime:
        """Return the first time from `moment` on at which a station is open for so long."""
        row = self._db.row("SELECT opens, closes FROM resources WHERE station = ?", station)
        assert row is not None
        if (row["opens"], row["closes"]) == ("00:00", _MIDNIGHT):
            return moment
        day = datetime.combine(moment.date(), time())
        opens, closes = (_since_midnight(row[name]) for name in ("opens", "closes"))
        if closes - opens < length:
            raise ConfigurationError(f"{station} is never open for {length}.")
        if moment + length > day + closes:
            return day + _DAY + opens
        return max(moment, day + opens)


def overlaps(slot: Slot, start: datetime, end: datetime) -> bool:
    """Return whether a slot and a time have anything in common."""
    return slot.start < end and start < slot.end


def _slot_of(row: sqlite3.Row) -> Slot:
    start = datetime.fromisoformat(row["start"])
    return Slot(
        row["station"],
        start,
        start + timedelta(minutes=examination(row["code"]).minutes),
        row["description"],
        row["status"],
        row["accession"],
        row["priority"],
    )


def _since_midnight(text: str) -> timedelta:
    hours, minutes = map(int, text.split(":"))
    return timedelta(hours=hours, minutes=minutes)
