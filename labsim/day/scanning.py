"""From the door to the last image: who is called in next, and what is done then."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial

from labsim.day.booking import Booking
from labsim.day.course import DAY, END, NEXT
from labsim.day.plan import COMPLETED, DISCONTINUED
from labsim.day.records import STOPPED, DayExam
from labsim.day.station import Station
from labsim.errors import NotFound
from labsim.systems.modality import Modality


class Scanning(Booking):
    """Examines people, one after the other on each scanner."""

    @abstractmethod
    def _read(self) -> None:
        """Give each reader who is free something to read."""

    def _arrive(self, exam: DayExam) -> None:
        exam.arrived = self._clock.now()
        self._happened("arrived", exam.station, exam)
        station = self._stations[exam.station]
        station.enter(exam, exam.arrived)
        self._call_next(station)

    def _call_next(self, station: Station) -> None:
        exam = station.call(self._clock.now())
        if exam is not None:
            self._scan(station, exam)

    def _scan(self, station: Station, exam: DayExam) -> None:
        planned, given_up = exam.planned, exam.planned.fate == DISCONTINUED
        with exam.trying("scanner"):
            exam.mpps_uid = self._start(station.scanner, exam)
            exam.begun = self._clock.now()
            self._happened("begun", exam.station, exam)
            if not given_up:
                station.scanner.acquire(exam.mpps_uid)
            length = planned.scan * 0.4 if given_up else planned.scan
            then = partial(self._give_up if given_up else self._complete, station, exam)
            self._agenda.at(exam.begun + length, then, END)
            return
        exam.outcome = STOPPED
        self._free(station, exam)

    def _start(self, scanner: Modality, exam: DayExam) -> str:
        """Begin with the entry of the worklist, or with what is known of an emergency."""
        if exam.planned.without_order:
            patient = self._hospital.his.patient(exam.patient_id)
            return scanner.start_unscheduled(
                patient.name,
                patient_id=patient.patient_id,
                birth_date=patient.birth_date,
                sex=patient.sex,
                perform=exam.planned.wanted.code,
            )
        # What was moved on, or begins late, may be of another day.
        days = f"{self._begin:%Y%m%d}-{self._begin + 7 * DAY:%Y%m%d}"
        entries = scanner.query_worklist(date=days, accession=exam.accession)
        if not entries:
            raise NotFound(f"The worklist of {exam.station} has no entry for {exam.accession}.")
        return scanner.start_step(entries[0])

    def _complete(self, station: Station, exam: DayExam) -> None:
        scanner = station.scanner
        sending = scanner.send(exam.mpps_uid)
        exam.images = sending.sent
        if sending.waiting:
            exam.problem = exam.problem or str(sending)
        exam.outcome = STOPPED
        with exam.trying("end of the step"):
            scanner.complete_step(exam.mpps_uid)
            exam.outcome, exam.completed = COMPLETED, self._clock.now()
            self._happened("completed", exam.station, exam)
        if exam.planned.without_order:
            with exam.trying("matching"):
                self._match(exam)
        with exam.trying("storage commitment"):
            scanner.request_commitment(exam.mpps_uid)
        self._free(station, exam)
        self._agenda.at(self._clock.now(), self._read, NEXT)

    def _match(self, exam: DayExam) -> None:
        """Let a clerk say whose an examination without an order was."""
        ris = self._hospital.ris
        made = ris.match(exam.mpps_uid, exam.patient_id, reason=exam.planned.reason)
        self._booked(exam, made)
        self._happened("matched", "RIS", exam)

        def number() -> None:  # which the HIS gives, once it has heard of it
            exam.placer_order = ris.procedure(exam.accession).placer_order

        self._agenda.at(self._clock.now(), number, NEXT)

    def _give_up(self, station: Station, exam: DayExam) -> None:
        exam.outcome = STOPPED
        with exam.trying("end of the step"):
            station.scanner.discontinue_step(exam.mpps_uid)
            exam.outcome = DISCONTINUED
            self._happened("discontinued", exam.station, exam)
        self._free(station, exam)

    def _free(self, station: Station, exam: DayExam) -> None:
        station.free(self._clock.now())
        self._leave(exam)
        # As an entry of its own, so that a scanner that fails does not call them all at once.
        self._agenda.at(self._clock.now(), partial(self._call_next, station), NEXT)
