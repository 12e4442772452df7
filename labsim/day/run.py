"""Runs a day: people do at each system what its turn is, and the messages follow."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from labsim.clock import ManualClock
from labsim.day.agenda import Agenda
from labsim.day.plan import CANCELLED, COMPLETED, DISCONTINUED, NO_SHOW, Planned, plan
from labsim.day.progress import progress_bar
from labsim.day.reading_room import Desk, ReadingRoom
from labsim.day.records import ORDERED, REPORTED, STOPPED, DayEvent, DayExam
from labsim.day.result import Day
from labsim.day.station import Station
from labsim.errors import ConfigurationError, LabError, NotFound
from labsim.systems.catalogue import examination
from labsim.systems.records import Procedure
from labsim.systems.ris.reading import ToRead
from labsim.systems.ris.report_text import ReportText

if TYPE_CHECKING:
    from labsim.hospital import Hospital

_RETURNING = 0.25  # which part of the patients is known from before, if any are
_DAY = timedelta(days=1)
# Of what is due at the same time, what was begun is ended first, and new things come last.
_END, _NEXT, _COME = 0, 1, 2


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
        day = _Course(hospital, planned, clock, show).run()
    hospital.days.append(day)
    return day


def _begin(hospital: Hospital, start: datetime | None) -> datetime:
    now = hospital.clock.now()
    midnight = datetime.combine(now, datetime.min.time())
    begin = start or (now if now == midnight else midnight + _DAY)
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


class _Course:
    """The course of one day.

    Parameters
    ----------
    hospital : Hospital
        Where it takes place.
    planned : list of Planned
        Who comes.
    clock : ManualClock
        The hospital's for this day.
    show : callable
        Called with the number of exams that are over.
    """

    def __init__(
        self,
        hospital: Hospital,
        planned: list[Planned],
        clock: ManualClock,
        show: Callable[[int], None],
    ) -> None:
        self._hospital = hospital
        self._clock = clock
        self._show = show
        self._agenda = Agenda(clock)
        self._begin = clock.now()
        self._end = datetime.combine(self._begin, datetime.min.time()) + _DAY
        self._exams = [DayExam(entry) for entry in planned]
        self._by_accession: dict[str, DayExam] = {}
        self._events: list[DayEvent] = []
        self._stations = {
            scanner.ae_title: Station(scanner, self._begin, self._end - self._begin)
            for scanner in hospital.modalities()
        }
        self._room = ReadingRoom(hospital.ris, self._begin, self._end)
        # Patients whom the hospital knows, and who are not expected now.
        self._known = [(patient.patient_id, patient.sex) for patient in hospital.his.patients()]

    def run(self) -> Day:
        """Let it happen."""
        began = time.perf_counter()
        for exam in self._exams:
            self._agenda.at(exam.planned.ordered, partial(self._order, exam), _COME)
        for moment in self._room.moments():
            self._agenda.at(moment, self._read, _NEXT)
        self._agenda.at(self._end, lambda: None)  # when nothing else happens, it is midnight too
        self._agenda.run(self._rest)
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
        """Wait for the systems, so that what an action causes happens at its time."""
        self._hospital.settle()
        self._show(sum(exam.over for exam in self._exams))

    def _happened(self, what: str, where: str, exam: DayExam) -> None:
        who = (exam.patient_id, exam.placer_order, exam.accession)
        self._events.append(DayEvent(self._clock.now(), what, where, *who))

    # Order and arrival

    def _order(self, exam: DayExam) -> None:
        planned, his = exam.planned, self._hospital.his
        exam.outcome = STOPPED  # until it is ordered
        with exam.trying("registration"):
            exam.patient_id = self._known_patient(planned) or self._new_patient(planned)
            self._happened("registered", "HIS", exam)
        if not exam.patient_id:
            return
        with exam.trying("order"):
            order = his.place_order(
                exam.patient_id, planned.wanted.code, planned.reason, priority=planned.priority
            )
            exam.placer_order, exam.outcome = order.placer_order, ORDERED
            self._happened("ordered", "HIS", exam)
            # Later, because between HIS and RIS there may be an engine, which takes its time.
            self._agenda.at(self._clock.now(), partial(self._schedule, exam), _NEXT)

    def _known_patient(self, planned: Planned) -> str:
        able = [patient for patient in self._known if patient[1] == planned.sex]
        if planned.returns >= _RETURNING or not able:
            return ""
        patient = able[int(planned.returns / _RETURNING * len(able))]
        self._known.remove(patient)
        return patient[0]

    def _new_patient(self, planned: Planned) -> str:
        return self._hospital.his.register_patient(sex=planned.sex).patient_id

    def _schedule(self, exam: DayExam) -> None:
        planned, ris = exam.planned, self._hospital.ris
        able = [s for s in self._stations.values() if s.worked.role == planned.wanted.modality]
        station = min(able, key=lambda entry: entry.load).worked.name
        procedure = None
        with exam.trying("scheduling"):
            procedure = ris.schedule(exam.placer_order, station=station, start=planned.arrives)
        procedure = procedure or self._made_of(exam)  # what the PACS was not told of exists
        if procedure is None:
            exam.outcome = STOPPED
            return
        exam.accession, exam.study_uid = procedure.accession, procedure.study_uid
        exam.station = procedure.station
        self._by_accession[exam.accession] = exam
        self._stations[exam.station].load += 1
        self._happened("scheduled", "RIS", exam)
        then = {NO_SHOW: self._stay_away, CANCELLED: self._cancel}.get(planned.fate, self._arrive)
        self._agenda.at(planned.arrives, partial(then, exam), _COME)

    def _made_of(self, exam: DayExam) -> Procedure | None:
        made = self._hospital.ris.procedures()
        return next((p for p in made if p.placer_order == exam.placer_order), None)

    def _stay_away(self, exam: DayExam) -> None:
        exam.outcome = NO_SHOW
        self._happened("did not come", exam.station, exam)
        self._leave(exam)

    def _cancel(self, exam: DayExam) -> None:
        exam.outcome = STOPPED
        with exam.trying("cancelling"):
            self._hospital.his.cancel_order(exam.placer_order)
            exam.outcome = CANCELLED
            self._happened("cancelled", "HIS", exam)
        self._leave(exam)

    def _arrive(self, exam: DayExam) -> None:
        exam.arrived = self._clock.now()
        self._happened("arrived", exam.station, exam)
        station = self._stations[exam.station]
        station.enter(exam, exam.arrived)
        self._call_next(station)

    def _leave(self, exam: DayExam) -> None:
        """Let somebody go home, who may come again later."""
        self._stations[exam.station].load -= 1
        self._known.append((exam.patient_id, exam.planned.sex))

    # At the scanner

    def _call_next(self, station: Station) -> None:
        exam = station.call(self._clock.now())
        if exam is not None:
            self._scan(station, exam)

    def _scan(self, station: Station, exam: DayExam) -> None:
        planned, given_up = exam.planned, exam.planned.fate == DISCONTINUED
        with exam.trying("scanner"):
            mpps_uid = station.scanner.start_step(self._entry(station, exam))
            exam.begun = self._clock.now()
            self._happened("begun", exam.station, exam)
            if not given_up:
                station.scanner.acquire(mpps_uid)
            length = planned.scan * 0.4 if given_up else planned.scan
            then = partial(self._give_up if given_up else self._complete, station, exam, mpps_uid)
            self._agenda.at(exam.begun + length, then, _END)
            return
        exam.outcome = STOPPED
        self._free(station, exam)

    def _entry(self, station: Station, exam: DayExam) -> Dataset:
        """Ask the worklist for an examination of today; a late one may begin after midnight."""
        day = f"{exam.planned.arrives:%Y%m%d}"
        entries = station.scanner.query_worklist(date=day, accession=exam.accession)
        if not entries:
            raise NotFound(f"The worklist of {exam.station} has no entry for {exam.accession}.")
        return entries[0]

    def _complete(self, station: Station, exam: DayExam, mpps_uid: str) -> None:
        scanner = station.scanner
        sending = scanner.send(exam.accession)
        exam.images = sending.sent
        if sending.waiting:
            exam.problem = exam.problem or str(sending)
        exam.outcome = STOPPED
        with exam.trying("end of the step"):
            scanner.complete_step(mpps_uid)
            exam.outcome, exam.completed = COMPLETED, self._clock.now()
            self._happened("completed", exam.station, exam)
        with exam.trying("storage commitment"):
            scanner.request_commitment(exam.accession)
        self._free(station, exam)
        self._agenda.at(self._clock.now(), self._read, _NEXT)

    def _give_up(self, station: Station, exam: DayExam, mpps_uid: str) -> None:
        exam.outcome = STOPPED
        with exam.trying("end of the step"):
            station.scanner.discontinue_step(mpps_uid)
            exam.outcome = DISCONTINUED
            self._happened("discontinued", exam.station, exam)
        self._free(station, exam)

    def _free(self, station: Station, exam: DayExam) -> None:
        station.free(self._clock.now())
        self._leave(exam)
        # As an entry of its own, so that a scanner that fails does not call them all at once.
        self._agenda.at(self._clock.now(), partial(self._call_next, station), _NEXT)

    # In the reading room

    def _read(self) -> None:
        """Give each reader who is free something to read."""
        now = self._clock.now()
        for desk, entry in self._room.give_out(now):
            exam = self._by_accession.get(entry.accession)
            length = exam.planned.read if exam else timedelta(minutes=5)  # one of before today
            self._agenda.at(now + length, partial(self._sign, desk, entry, exam), _END)

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
        self._agenda.at(now, self._read, _NEXT)


def _dictated(code: str, exam: DayExam | None) -> ReportText:
    """Return what a reader says of an examination without findings."""
    wanted = examination(code)
    reason = exam.planned.reason if exam is not None else ""
    return replace(ReportText.of(wanted.report), history=reason, technique=wanted.description)
