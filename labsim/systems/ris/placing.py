"""Which station, and when: the calendar of the department."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import date, datetime, timedelta

from labsim.errors import ConfigurationError
from labsim.site import Site
from labsim.systems.catalogue import IMPORT, examination
from labsim.systems.facility import Facility
from labsim.systems.records import Procedure
from labsim.systems.ris.resources import Diary, overlaps
from labsim.systems.ris.telling import Telling
from labsim.table import Table
from labsim.wire.hl7 import Message


class Placing(Telling):
    """Finds stations that are free, and makes room on those that are not."""

    def __init__(self, site: Site, facility: Facility) -> None:
        super().__init__(site, facility)
        self._diary = Diary(self.db)
        stations: list[tuple[str, ...]]
        stations = [(own.ae_title, own.kind, own.opens, own.closes) for own in site.modalities]
        if site.importer:  # discs are scheduled as examinations are
            stations.append((site.importer.ae_title, IMPORT.modality, "00:00", "24:00"))
        self.db.run_many("INSERT OR IGNORE INTO resources VALUES (?, ?, ?, ?)", stations)

    def resources(self) -> Table:
        """Return the stations with their hours."""
        rows = self.db.rows("SELECT station, modality, opens, closes FROM resources ORDER BY rowid")
        return Table(("station", "modality", "opens", "closes"), rows, "Stations")

    def set_hours(self, station: str, opens: str, closes: str) -> None:
        """Set when a station is open for what is planned, every day; emergencies come always.

        Parameters
        ----------
        station : str
            AE title.
        opens, closes : str
            ``"07:00"``, ``"24:00"`` for the end of the day.

        Raises
        ------
        ConfigurationError
            If there is no such station, or it would close before it opens.
        """
        self._diary.set_hours(station, opens, closes)
        self.note(f"{station} open from {opens} to {closes}")

    def calendar(self, day: date | None = None) -> Table:
        """Return when each station is taken on a day, with what is free between.

        Parameters
        ----------
        day : date, optional
            Today if left out.
        """
        day = day or self.facility.clock.now().date()
        rows = []
        for resource in self.db.rows("SELECT * FROM resources ORDER BY rowid"):
            slots = [s for s in self._diary.slots(resource["station"]) if s.start.date() == day]
            rows += [
                (
                    slot.station,
                    slot.start.strftime("%H:%M"),
                    slot.end.strftime("%H:%M"),
                    slot.accession,
                    slot.what,
                    slot.priority,
                    slot.status,
                )
                for slot in slots
            ]
            if not slots:
                hours = (resource["opens"], resource["closes"])
                rows.append((resource["station"], *hours, "", "", "", "FREE"))
        columns = ("station", "from", "until", "accession", "what", "priority", "status")
        return Table(columns, rows, f"Stations on {day.isoformat()}")

    def next_free(self, code: str, earliest: datetime) -> tuple[str, datetime]:
        """Return which station is free first for an examination, and when.

        Parameters
        ----------
        code : str
            An examination of the catalogue.
        earliest : datetime
            From when on.

        Raises
        ------
        NotFound
            If the catalogue has no such examination.
        ConfigurationError
            If no station does it.
        """
        wanted = examination(code)
        self._station(wanted.modality, "")
        free = {
            name: self._diary.next_free(name, earliest, wanted.minutes, self._diary.slots(name))
            for name in self._diary.able(wanted.modality)
        }
        first = min(free, key=lambda name: free[name])
        return first, free[first]

    def block(
        self, station: str, start: datetime, until: datetime, reason: str = "service"
    ) -> list[Procedure]:
        """Take a station out of use; what was planned then moves to the next free time.

        Parameters
        ----------
        station : str
            AE title.
        start, until : datetime
            From when, and until just before.
        reason : str
            Why.

        Returns
        -------
        list of Procedure
            What was moved.

        Raises
        ------
        ConfigurationError
            If there is no such station, or it would end before it begins.
        """
        if not self.db.row("SELECT 1 FROM resources WHERE station = ?", station):
            raise self._diary.unknown(station)
        if until <= start:
            raise ConfigurationError("A station is blocked until later than from when.")
        times = [moment.isoformat(timespec="seconds") for moment in (start, until)]
        with self.db.transaction():
            self.db.run("INSERT INTO blocks VALUES (?, ?, ?, ?)", station, *times, reason)
            self.note(f"{station} blocked from {times[0]} to {times[1]}: {reason}")
            return self._make_room(station, start, until)

    def unblock(self, station: str) -> None:
        """Take a station into use again."""
        self.db.run("DELETE FROM blocks WHERE station = ?", station)
        self.note(f"{station} in use again")

    def _station(self, modality: str, wanted: str) -> str:
        able = self._diary.able(modality)
        if wanted and wanted not in able:
            raise ConfigurationError(
                f"{wanted!r} is no {modality} station of this hospital.",
                f"Use {', '.join(able) or 'another examination'}.",
            )
        if not able:
            raise ConfigurationError(f"This hospital has no {modality} station.")
        return wanted or able[0]

    def _place(
        self,
        code: str,
        priority: str,
        station: str,
        start: datetime | None,
        leave_out: str = "",
    ) -> tuple[str, datetime]:
        """Return station and time for an examination, after making room for an emergency."""
        wanted = examination(code)
        first = self._station(wanted.modality, station)
        if start is not None:
            self._require_free(first, start, wanted.minutes, leave_out)
            return first, start
        stations = [station] if station else self._diary.able(wanted.modality)
        free = {
            name: self._earliest(name, wanted.minutes, priority, leave_out) for name in stations
        }
        chosen = min(stations, key=lambda name: free[name])
        if priority == "S":
            end = free[chosen] + timedelta(minutes=wanted.minutes)
            self._make_room(chosen, free[chosen], end)
        return chosen, free[chosen]

    def _earliest(self, station: str, minutes: int, priority: str, leave_out: str) -> datetime:
        now = self.facility.clock.now()
        taken = self._diary.slots(station, leave_out=leave_out)
        if priority != "S":
            return self._diary.next_free(station, now, minutes, taken)
        for slot in taken:  # an emergency asks for no opening hours
            if not slot.yields and overlaps(slot, now, now + timedelta(minutes=minutes)):
                now = slot.end
        return now

    def _require_free(self, station: str, start: datetime, minutes: int, leave_out: str) -> None:
        end = start + timedelta(minutes=minutes)
        if not self._diary.is_open(station, start, minutes):
            raise ConfigurationError(
                f"{station} is closed at {start:%H:%M}.", "hospital.ris.resources() has the hours."
            )
        for slot in self._diary.slots(station, leave_out=leave_out):
            if overlaps(slot, start, end):
                raise ConfigurationError(
                    f"{station} is taken from {slot.start:%H:%M} to {slot.end:%H:%M}: "
                    f"{slot.accession or slot.what}.",
                    "hospital.ris.calendar() shows the day; without start= it is the next free "
                    "time.",
                )

    def _make_room(self, station: str, start: datetime, until: datetime) -> list[Procedure]:
        """Move what is planned on a station at a time; return what moved."""
        moved = []
        for slot in self._diary.slots(station):
            if slot.status == "SCHEDULED" and overlaps(slot, start, until):
                procedure = self.procedure(slot.accession)
                earliest = self._diary.next_free(
                    station,
                    until,
                    examination(procedure.code).minutes,
                    self._diary.slots(station, leave_out=slot.accession),
                )
                moved.append(self._move(procedure, station, earliest)[0])
        return moved

    def _move(
        self, procedure: Procedure, station: str, start: datetime | None
    ) -> tuple[Procedure, Future[Message | None]]:
        place = self._place(
            procedure.code, procedure.priority, station, start, leave_out=procedure.accession
        )
        self.db.run(
            "UPDATE procedures SET station = ?, start = ? WHERE accession = ?",
            place[0],
            place[1].isoformat(timespec="seconds"),
            procedure.accession,
        )
        moved = self.procedure(procedure.accession)
        self._note_procedure(moved, f"moved to {moved.station}, {moved.start.replace('T', ' ')}")
        return moved, self._tell_archive(moved.accession, "XO")
