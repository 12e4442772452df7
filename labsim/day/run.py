"""Runs a day: people do at each system what its turn is, and the messages follow."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from labsim.clock import ManualClock
from labsim.day.course import COME, DAY, END, NEXT
from labsim.day.plan import plan
from labsim.day.progress import progress_bar
from labsim.day.reading_room import Desk
from labsim.day.records import REPORTED, DayExam
from labsim.day.result import Day
from labsim.day.scanning import Scanning
from labsim.errors import ConfigurationError, LabError
from labsim.systems.catalogue import examination
from labsim.systems.ris.reading import ToRead
from labsim.systems.ris.report_text import ReportText
from labsim.wire.dimse import TIMEOUT

if TYPE_CHECKING:
    from labsim.hospital import Hospital

_IMPATIENT = 0.05  # seconds


def run_day(
    hospital: Hospital,
    exams: int,
    *,
    start: datetime | None,
    seed: int | None,
    emergencies: float,
    images: str,
    progress: bool,
) -> Day:
    """Run a day; the parameters are those of `labsim.hospital.Hospital.day`."""
    if images not in ("quick", "full"):
        raise ConfigurationError(f"There are no {images!r} images.", "Use quick or full.")
    begin = _begin(hospital, start)
    chance = seed if seed is not None else f"{hospital.seed}/{len(hospital.days)}"
    planned = plan(hospital.site, exams, begin, emergencies, random.Random(f"{chance}/day"))
    with (
        _quick_scans(hospital, images == "quick"),
        progress_bar(exams, progress) as show,
        hospital.clock.following(clock := ManualClock(begin)),
    ):
        day = _Department(hospital, planned, clock, show).run()
    hospital.days.append(day)
    return day


def _begin(hospital: Hospital, start: datetime | None) -> datetime:
    now = hospital.clock.now()
    midnight = datetime.combine(now, datetime.min.time())
    begin = start or (now if now == midnight else midnight + DAY)
    if begin < now:
        raise ConfigurationError(
            f"A day cannot begin at {begin:%Y-%m-%d %H:%M}: it is {now:%Y-%m-%d %H:%M} here.",
            "Leave start out for the next midnight.",
        )
    return begin


@contextmanager
def _quick_scans(hospital: Hospital, quick: bool) -> Iterator[None]:
    before = [(scanner, scanner.quick_scans) for scanner in hospital.modalities()]
    try:
        for scanner, _ in before:
            scanner.quick_scans = quick
        yield
    finally:
        for scanner, setting in before:
            scanner.quick_scans = setting


class _Department(Scanning):
    """The whole of a day: people, scanners and readers."""

    _flowing = True

    def run(self) -> Day:
        """Let it happen."""
        began = time.perf_counter()
        for exam in self._exams:
            self._agenda.at(exam.planned.ordered, partial(self._order, exam), COME)
        for moment in self._room.moments():
            self._agenda.at(moment, self._read, NEXT)
        self._agenda.at(self._end, lambda: None)  # when nothing else happens, it is midnight too
        self._agenda.run(self._rest)
        # So that a hospital that is started again knows how late it is.
        self._hospital.journal.record("day", "state", f"the day of {self._begin:%Y-%m-%d} is over")
        return Day(
            hospital=self._hospital,
            start=self._begin,
            end=self._clock.now(),
            exams=self._exams,
            scanners=[station.worked for station in self._stations.values()],
            readers=self._room.worked(),
            events=self._events,
            seconds=time.perf_counter() - began,
        )

    def _rest(self) -> None:
        """Wait for the systems, so that what an action causes happens at its time.

        Not for long where a queue has stood still before: it is for somebody to repair.
        """
        self._flowing = self._hospital.settle(TIMEOUT if self._flowing else _IMPATIENT)
        self._show(sum(exam.over for exam in self._exams))

    def _read(self) -> None:
        """Give each reader who is free something to read."""
        now = self._clock.now()
        for desk, entry in self._room.give_out(now):
            exam = self._by_accession.get(entry.accession)
            length = exam.planned.read if exam else timedelta(minutes=5)  # one of before today
            self._agenda.at(now + length, partial(self._sign, desk, entry, exam), END)

    def _sign(self, desk: Desk, entry: ToRead, exam: DayExam | None) -> None:
        now, ris = self._clock.now(), self._hospital.ris
        status = "F" if desk.role == "attending" else "P"
        text = _dictated(ris.procedure(entry.accession).code, exam)
        with exam.trying("report") if exam else suppress(LabError):
            ris.report(entry.accession, text, interpreter=desk.reader, status=status)
        desk.finished(now)
        if exam is not None and ris.procedure(entry.accession).status == "REPORTED":
            exam.outcome, exam.reported = REPORTED, now
            self._happened("reported", desk.reader, exam)
        elif exam is not None:
            exam.preliminary = now
            self._happened("preliminary report", desk.reader, exam)
        self._agenda.at(now, self._read, NEXT)


def _dictated(code: str, exam: DayExam | None) -> ReportText:
    """Return what a reader says of an examination without findings."""
    wanted = examination(code)
    reason = exam.planned.reason if exam is not None else ""
    return replace(ReportText.of(wanted.report), history=reason, technique=wanted.description)
