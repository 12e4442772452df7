"""Who reads when: the readers of the RIS on their shifts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

# Begin and length in hours from midnight; attendings share the first, residents the others.
_SHIFTS = {
    "attending": ((7, 9), (14, 9), (9, 8)),
    "resident": ((22, 10), (-2, 9)),
}


@dataclass(frozen=True)
class Shift:
    """When somebody is on duty.

    Parameters
    ----------
    reader, role : str
        As the RIS has them.
    begin, end : datetime
        From when to when.
    """

    reader: str
    role: str
    begin: datetime
    end: datetime

    def covers(self, time: datetime) -> bool:
        """Tell whether a time is within it."""
        return self.begin <= time < self.end


def shifts(readers: Iterable[tuple[str, str]], start: datetime) -> list[Shift]:
    """Return the shifts of a day: attendings from 7 to 23 o'clock, residents by night.

    Parameters
    ----------
    readers : iterable of (str, str)
        Names and roles.
    start : datetime
        Some time of the day.
    """
    midnight = datetime.combine(start, datetime.min.time())
    found: list[Shift] = []
    counts = dict.fromkeys(_SHIFTS, 0)
    for reader, role in readers:
        offers = _SHIFTS[role]
        # The night of a resident has two parts on one day: until morning, and from evening.
        taken = offers if role == "resident" else (offers[counts[role] % len(offers)],)
        counts[role] += 1
        for begin, hours in taken:
            first = midnight + timedelta(hours=begin)
            found.append(Shift(reader, role, first, first + timedelta(hours=hours)))
    return found
