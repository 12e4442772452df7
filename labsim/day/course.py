"""What the parts of a day share: the hospital, the clock, and what is going on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from labsim.clock import ManualClock
from labsim.day.agenda import Agenda
from labsim.day.plan import Planned
from labsim.day.reading_room import ReadingRoom
from labsim.day.records import DayEvent, DayExam
from labsim.day.station import Station
from labsim.systems.records import Procedure

if TYPE_CHECKING:
    from labsim.hospital import Hospital

DAY = timedelta(days=1)
# Of what is due at the same time, what was begun is ended first, and new things come last.
END, NEXT, COME = 0, 1, 2


class Course:
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
        self._end = datetime.combine(self._begin, datetime.min.time()) + DAY
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

    def _happened(self, what: str, where: str, exam: DayExam) -> None:
        who = (exam.patient_id, exam.placer_order, exam.accession)
        self._events.append(DayEvent(self._clock.now(), what, where, *who))

    def _leave(self, exam: DayExam) -> None:
        """Let somebody go home, who may come again later."""
        self._known.append((exam.patient_id, exam.planned.sex))

    def _booked(self, exam: DayExam, procedure: Procedure) -> None:
        """Take over what the RIS has made of an order."""
        exam.accession, exam.study_uid = procedure.accession, procedure.study_uid
        exam.station, exam.due = procedure.station, datetime.fromisoformat(procedure.start)
        self._by_accession[exam.accession] = exam
