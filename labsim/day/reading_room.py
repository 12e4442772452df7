"""The reading room: who is on duty takes what the reading list has for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from labsim.day.records import Worked
from labsim.day.staff import Shift, shifts
from labsim.systems.ris import Ris
from labsim.systems.ris.reading import ToRead


@dataclass
class Desk:
    """A reader at work.

    Parameters
    ----------
    reader, role : str
        As the RIS has them.
    shifts : list of Shift
        When they are on duty.
    worked : Worked
        What they did.
    since : datetime or None
        Since when they read what they read now.
    """

    reader: str
    role: str
    shifts: list[Shift]
    worked: Worked
    since: datetime | None = None

    def may_read(self, entry: ToRead) -> bool:
        """Tell whether something on the reading list is for this reader.

        Attendings read everything; residents the urgent, for a first answer.
        What is flagged after its report is no matter of course.
        """
        if entry.reader or entry.flag:
            return False
        return self.role == "attending" or (entry.priority in "SA" and not entry.report)

    def finished(self, now: datetime) -> None:
        """Be ready for the next one."""
        assert self.since is not None
        self.worked.busy.append((self.since, now))
        self.since = None


class ReadingRoom:
    """Hands out the reading list.

    Parameters
    ----------
    ris : Ris
        Its reading list, and who reads.
    begin, end : datetime
        The day.
    """

    def __init__(self, ris: Ris, begin: datetime, end: datetime) -> None:
        self._ris = ris
        self._desks: list[Desk] = []
        staff = [(reader, role) for reader, role in ris.readers()]
        for reader, role in staff:
            own = [shift for shift in shifts(staff, begin) if shift.reader == reader]
            duty = sum(
                (max(timedelta(), min(s.end, end) - max(s.begin, begin)) for s in own),
                timedelta(),
            )
            self._desks.append(Desk(reader, role, own, Worked(reader, role, duty)))

    def moments(self) -> list[datetime]:
        """Return when somebody comes on duty."""
        return sorted({shift.begin for desk in self._desks for shift in desk.shifts})

    def worked(self) -> list[Worked]:
        """Return what each reader did."""
        return [desk.worked for desk in self._desks]

    def give_out(self, now: datetime) -> list[tuple[Desk, ToRead]]:
        """Let each reader who is on duty and free take something, the most urgent first."""
        free = [
            desk
            for desk in self._desks
            if desk.since is None and any(shift.covers(now) for shift in desk.shifts)
        ]
        waiting = self._ris.reading_list() if free else []
        taken = []
        for desk in free:
            entry = next((entry for entry in waiting if desk.may_read(entry)), None)
            if entry is not None:
                self._ris.take(entry.accession, desk.reader)
                waiting.remove(entry)
                desk.since = now
                taken.append((desk, entry))
        return taken
