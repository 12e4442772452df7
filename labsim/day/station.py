"""A scanner with the people who wait for it."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta

from labsim.day.records import DayExam, Worked
from labsim.systems.modality import Modality

_RANKS = {"S": 0, "A": 1, "R": 2}


class Station:
    """A scanner that examines one patient at a time; the urgent overtake.

    Parameters
    ----------
    scanner : Modality
        The scanner.
    begin : datetime
        When the day begins.
    open : timedelta
        How long it is open.
    """

    def __init__(self, scanner: Modality, begin: datetime, open: timedelta) -> None:
        self.scanner = scanner
        self.worked = Worked(scanner.ae_title, scanner.modality, open, queue=[(begin, 0)])
        self._waiting: list[tuple[int, datetime, int, DayExam]] = []
        self._since: datetime | None = None

    @property
    def load(self) -> int:
        """How many are here."""
        return len(self._waiting) + (self._since is not None)

    def enter(self, exam: DayExam, now: datetime) -> None:
        """Let somebody wait: behind the more urgent, and behind whose appointment is earlier."""
        planned, due = exam.planned, exam.due or now
        heapq.heappush(self._waiting, (_RANKS[planned.priority], due, planned.number, exam))
        self._count(now)

    def call(self, now: datetime) -> DayExam | None:
        """Call the next one in; None if nobody waits, or somebody is in."""
        if self._since is not None or not self._waiting:
            return None
        exam = heapq.heappop(self._waiting)[-1]
        self._since = now
        self._count(now)
        return exam

    def free(self, now: datetime) -> None:
        """Be ready for the next one."""
        assert self._since is not None
        self.worked.busy.append((self._since, now))
        self._since = None

    def _count(self, now: datetime) -> None:
        """Note how many wait; of several changes at one time only the last is seen."""
        if self.worked.queue[-1][0] == now:
            self.worked.queue.pop()
        self.worked.queue.append((now, len(self._waiting)))
