"""From the order to the door: the front desk, and the clerk of the department."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial

from labsim.day.course import COME, NEXT, Course
from labsim.day.plan import CANCELLED, INPATIENT, NO_SHOW, Planned
from labsim.day.records import LATER, ORDERED, STOPPED, DayExam
from labsim.systems.records import Procedure

_RETURNING = 0.25  # which part of the patients is known from before, if any are


class Booking(Course, ABC):
    """Registers, orders, schedules, and lets people come or stay away."""

    @abstractmethod
    def _arrive(self, exam: DayExam) -> None:
        """Let somebody come in."""

    def _order(self, exam: DayExam) -> None:
        planned, his = exam.planned, self._hospital.his
        exam.outcome = STOPPED  # until it is ordered
        with exam.trying("registration"):
            exam.patient_id = self._known_patient(planned) or self._new_patient(planned)
            self._happened("registered", "HIS", exam)
            if planned.kind == INPATIENT:
                self._admit(exam.patient_id)
        if not exam.patient_id:
            return
        if planned.without_order:
            exam.outcome = ORDERED
            exam.station = self._least_busy(planned.wanted.modality)
            self._arrive(exam)
            return
        with exam.trying("order"):
            order = his.place_order(
                exam.patient_id, planned.wanted.code, planned.reason, priority=planned.priority
            )
            exam.placer_order, exam.outcome = order.placer_order, ORDERED
            self._happened("ordered", "HIS", exam)
            # Later, because between HIS and RIS there may be an engine, which takes its time.
            self._agenda.at(self._clock.now(), partial(self._schedule, exam), NEXT)

    def _known_patient(self, planned: Planned) -> str:
        able = [patient for patient in self._known if patient[1] == planned.sex]
        if planned.returns >= _RETURNING or not able:
            return ""
        patient = able[int(planned.returns / _RETURNING * len(able))]
        self._known.remove(patient)
        return patient[0]

    def _new_patient(self, planned: Planned) -> str:
        return self._hospital.his.register_patient(sex=planned.sex).patient_id

    def _admit(self, patient_id: str) -> None:
        """Give a patient a bed, who has none yet."""
        his = self._hospital.his
        visits = [(visit.patient_class, visit.status) for visit in his.visits(patient_id)]
        if ("I", "ACTIVE") not in visits:
            his.admit(patient_id, f"3W^{patient_id[1:]}^A")

    def _least_busy(self, modality: str) -> str:
        able = [s for s in self._stations.values() if s.scanner.modality == modality]
        return min(able, key=lambda station: station.load).scanner.ae_title

    def _schedule(self, exam: DayExam) -> None:
        planned, ris = exam.planned, self._hospital.ris
        procedure = None
        with exam.trying("scheduling"):
            if planned.by_appointment:
                station, start = ris.next_free(planned.wanted.code, planned.arrives)
                procedure = ris.schedule(exam.placer_order, station=station, start=start)
            else:
                procedure = ris.schedule(exam.placer_order)
        procedure = procedure or self._made_of(exam)  # what the PACS was not told of exists
        if procedure is None:
            exam.outcome = STOPPED
            return
        self._booked(exam, procedure)
        self._happened("scheduled", "RIS", exam)
        now = self._clock.now()
        comes = max(now, exam.due + planned.late) if planned.by_appointment and exam.due else now
        if comes >= self._end and planned.by_appointment:
            exam.outcome = LATER
            self._leave(exam)
            return
        then = {NO_SHOW: self._stay_away, CANCELLED: self._cancel}.get(planned.fate, self._arrive)
        self._agenda.at(comes, partial(then, exam), COME)

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
