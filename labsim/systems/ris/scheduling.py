"""What the clerk does: an order becomes an examination with a station, a time and numbers."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import date, datetime, timedelta

from labsim.errors import ConfigurationError
from labsim.ids import make_uid
from labsim.site import Site
from labsim.systems.catalogue import examination
from labsim.systems.facility import Facility
from labsim.systems.order_messages import order_header
from labsim.systems.records import Procedure
from labsim.systems.ris.resources import Diary, overlaps
from labsim.systems.ris.tables import RisTables
from labsim.table import Table
from labsim.wire.hl7 import Message

_ORDER_CONTROL_STATUS = {"NW": "SC", "XO": "SC", "CA": "CA"}


class Scheduling(RisTables):
    """Schedules examinations on stations that are free, and tells the PACS what will come."""

    def __init__(self, site: Site, facility: Facility) -> None:
        super().__init__(site, facility)
        self._diary = Diary(self.db)
        for own in site.modalities:
            self.db.run(
                "INSERT OR IGNORE INTO resources VALUES (?, ?, ?, ?)",
                own.ae_title,
                own.kind,
                own.opens,
                own.closes,
            )

    def schedule(
        self, placer_order: str, *, station: str = "", start: datetime | None = None
    ) -> Procedure:
        """Schedule an order and tell the PACS what will come (ORM^O01 or OMI^O23, RAD-4).

        Gives the Accession Number and the Study Instance UID. No station does
        two things at once; an emergency (priority ``"S"``) takes the place of
        routine examinations that have not begun, which move on.

        Parameters
        ----------
        placer_order : str
            Which order; an order of the RIS that has no such number yet by
            its filler order number.
        station : str
            AE title of the scanner; if left out, the first that is free of
            those that can do it.
        start : datetime, optional
            When; if left out, as soon as the station is free: now, if it is.

        Raises
        ------
        NotFound
            If the RIS has no such order.
        ConfigurationError
            If it is scheduled already, no such scanner does it, or the station
            is taken or closed then.
        DeliveryFailed
            If the PACS was not told; the examination is scheduled all the same.
        """
        with self.db.transaction():
            procedure = self._enter(placer_order, station, start)
            told = self._tell_archive(procedure.accession, "NW")
        told.result()
        return procedure

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

    def reschedule(
        self, accession: str, *, start: datetime | None = None, station: str = ""
    ) -> Procedure:
        """Move an examination that has not begun, and tell the PACS (ORC-1 XO, RAD-13).

        Parameters
        ----------
        accession : str
            Which examination.
        start : datetime, optional
            When; the next free time if left out.
        station : str
            AE title; any that can do it if left out.

        Raises
        ------
        NotFound
            If there is no such examination.
        ConfigurationError
            If it has begun, or the station is taken or closed then.
        DeliveryFailed
            If the PACS was not told; the examination is moved all the same.
        """
        with self.db.transaction():
            procedure = self._not_begun(accession)
            if start is not None and not station:
                station = procedure.station
            moved, told = self._move(procedure, station, start)
        told.result()
        return moved

    # For the other parts

    def _enter(
        self,
        number: str,
        station: str = "",
        start: datetime | None = None,
        *,
        study_uid: str = "",
        status: str = "SCHEDULED",
    ) -> Procedure:
        """Make an examination of an order; one with a Study Instance UID is done already."""
        order = self._order_row(number)
        if order["status"] != "RECEIVED":
            raise ConfigurationError(f"Order {number} is {order['status']} already.")
        wanted = examination(order["code"])
        count = self.db.next("procedure")
        if study_uid:
            place = self._station(wanted.modality, station), start or self.facility.clock.now()
        else:
            place = self._place(order["code"], order["priority"], station, start)
        procedure = Procedure(
            accession=f"A{count:07d}",
            study_uid=study_uid or make_uid("study", self.facility.seed, count),
            procedure_id=f"RP{count:06d}",
            step_id=f"SPS{count:06d}",
            filler_order=order["filler_order"],
            placer_order=order["placer_order"],
            patient_id=order["patient_id"],
            code=order["code"],
            description=order["description"],
            modality=wanted.modality,
            body_part=wanted.body_part,
            station=place[0],
            start=place[1].isoformat(timespec="seconds"),
            status="",
            priority=order["priority"],
            issuer=order["issuer"],
        )
        with self.db.transaction():
            self.db.insert("procedures", **vars(procedure))
            # Of an order of ours the HIS hears by this for the first time.
            self._set_status(procedure.accession, status, "SC" if order["placer_order"] else "SN")
        procedure = self.procedure(procedure.accession)
        self._note_procedure(procedure, f"{procedure.description} scheduled on {procedure.station}")
        return procedure

    def _not_begun(self, accession: str) -> Procedure:
        procedure = self.procedure(accession)
        if procedure.status != "SCHEDULED":
            raise ConfigurationError(
                f"Too late: examination {accession} is {procedure.status}.",
                "Only what has not begun can be changed.",
            )
        return procedure

    def _tell_archive(self, accession: str, control: str) -> Future[Message | None]:
        """Tell the PACS of an examination: NW it comes (RAD-4), XO changed, CA not (RAD-13)."""
        row = self._full(accession)
        header = order_header(self.outbox, self.order_message, self._site.pacs.application)
        orc = {1: control, 5: _ORDER_CONTROL_STATUS[control]}
        message = self._order_message(self.order_message, header, row, orc)
        return self.outbox.post(message, self._pacs, "RAD-4" if control == "NW" else "RAD-13")

    # Stations and times

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
