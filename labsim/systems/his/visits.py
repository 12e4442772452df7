"""The wards: who lies where, from admission to discharge."""

from __future__ import annotations

from dataclasses import replace

from labsim.errors import ConfigurationError
from labsim.systems.his.forms import location_of, name_of
from labsim.systems.his.tables import HisTables
from labsim.systems.records import Patient, Visit
from labsim.wire.hl7 import Message, segment, timestamp


class Visits(HisTables):
    """Admits, transfers and discharges patients, and tells the RIS."""

    def admit(self, patient_id: str, location: str, attending: str = "Lindqvist^Greta") -> Visit:
        """Admit a patient to a ward (ADT^A01, RAD-1).

        Parameters
        ----------
        patient_id : str
            Whom.
        location : str
            ``"point of care^room^bed"``, such as ``"3W^12^A"`` (PV1-3).
        attending : str
            Attending doctor (PV1-7), ``"Family^Given"``.

        Returns
        -------
        Visit
            A new one, of class I.

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If they are an inpatient already, or the bed is taken.
        DeliveryFailed
            If the RIS could not be told.
        """
        patient = self.patient(patient_id)
        current = self._current_visit(patient)
        if current.patient_class == "I" and current.status == "ACTIVE":
            raise ConfigurationError(
                f"{patient_id} lies in {current.location} already.",
                "Use hospital.his.transfer(…) for another bed.",
            )
        visit = self._new_visit(
            patient,
            patient_class="I",
            location=self._free_bed(location),
            attending=name_of(attending),
        )
        return self._change_visit("A01", patient, visit, f"admitted to {location}")

    def transfer(self, patient_id: str, location: str) -> Visit:
        """Move an inpatient to another bed (ADT^A02, RAD-12).

        Parameters
        ----------
        patient_id : str
            Whom.
        location : str
            ``"point of care^room^bed"`` (PV1-3).

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If they are no inpatient, or the bed is taken.
        DeliveryFailed
            If the RIS could not be told.
        """
        patient, visit = self._inpatient(patient_id)
        moved = replace(visit, location=self._free_bed(location))
        return self._change_visit("A02", patient, moved, f"moved to {location}")

    def discharge(self, patient_id: str) -> Visit:
        """Discharge a patient (ADT^A03, RAD-12).

        Parameters
        ----------
        patient_id : str
            Whom.

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If they are not in the house.
        DeliveryFailed
            If the RIS could not be told.
        """
        patient = self.patient(patient_id)
        visit = self._active(patient)
        gone = replace(visit, discharged=self.now(), status="DISCHARGED")
        return self._change_visit("A03", patient, gone, "discharged")

    def make_inpatient(self, patient_id: str, location: str, attending: str = "") -> Visit:
        """Keep an outpatient in, within the same visit (ADT^A06, RAD-12).

        Parameters
        ----------
        patient_id : str
            Whom.
        location : str
            ``"point of care^room^bed"`` (PV1-3).
        attending : str
            Attending doctor (PV1-7); as before if left out.

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If they are an inpatient already, or the bed is taken.
        DeliveryFailed
            If the RIS could not be told.
        """
        patient = self.patient(patient_id)
        visit = self._active(patient)
        if visit.patient_class == "I":
            raise ConfigurationError(f"{patient_id} lies in {visit.location} already.")
        doctor = name_of(attending) if attending else visit.attending
        bed = self._free_bed(location)
        kept = replace(visit, patient_class="I", location=bed, attending=doctor)
        return self._change_visit("A06", patient, kept, f"kept in, {location}")

    def make_outpatient(self, patient_id: str) -> Visit:
        """Make an inpatient an outpatient, within the same visit (ADT^A07, RAD-12).

        Parameters
        ----------
        patient_id : str
            Whom.

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If they are no inpatient.
        DeliveryFailed
            If the RIS could not be told.
        """
        patient, visit = self._inpatient(patient_id)
        gone = replace(visit, patient_class="O", location="OUT")
        return self._change_visit("A07", patient, gone, "outpatient again")

    def cancel_admit(self, patient_id: str) -> Visit:
        """Take back an admission that was a mistake (ADT^A11, RAD-12).

        Parameters
        ----------
        patient_id : str
            Whom.

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If they are no inpatient.
        DeliveryFailed
            If the RIS could not be told.
        """
        patient, visit = self._inpatient(patient_id)
        return self._change_visit(
            "A11", patient, replace(visit, status="CANCELLED"), "not admitted after all"
        )

    def cancel_discharge(self, patient_id: str) -> Visit:
        """Take back a discharge that was a mistake (ADT^A13, RAD-12).

        Parameters
        ----------
        patient_id : str
            Whom.

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If they are not discharged.
        DeliveryFailed
            If the RIS could not be told.
        """
        patient = self.patient(patient_id)
        visit = self._current_visit(patient)
        if visit.status != "DISCHARGED":
            raise ConfigurationError(f"{patient_id} is not discharged.")
        back = replace(visit, discharged="", status="ACTIVE")
        return self._change_visit("A13", patient, back, "not discharged after all")

    def _new_visit(
        self,
        patient: Patient,
        *,
        patient_class: str = "O",
        location: str = "OUT",
        attending: str = "",
    ) -> Visit:
        return Visit(
            visit=f"V{self.db.next('visit'):06d}",
            patient_id=patient.patient_id,
            issuer=patient.issuer,
            patient_class=patient_class,
            location=location,
            attending=attending,
            admitted=self.now(),
        )

    def _active(self, patient: Patient) -> Visit:
        visit = self._current_visit(patient)
        if not visit.visit or visit.status != "ACTIVE":
            raise ConfigurationError(f"{patient.patient_id} is not in the house.")
        return visit

    def _inpatient(self, patient_id: str) -> tuple[Patient, Visit]:
        patient = self.patient(patient_id)
        visit = self._active(patient)
        if visit.patient_class != "I":
            raise ConfigurationError(
                f"{patient_id} is no inpatient.", "Use hospital.his.admit(…) first."
            )
        return patient, visit

    def _free_bed(self, location: str) -> str:
        """Check a location, and that nobody lies there."""
        bed = location_of(location)
        taken = self.db.value(
            "SELECT patient_id FROM visits WHERE location = ? AND patient_class = 'I' "
            "AND status = 'ACTIVE'",
            bed,
        )
        if taken and bed.count("^") == 2:
            raise ConfigurationError(f"{taken} lies in {bed}.", "Choose another bed.")
        return bed

    def _change_visit(self, event: str, patient: Patient, visit: Visit, what: str) -> Visit:
        self.registry.keep_visit(visit)
        self.note(
            f"patient {patient.patient_id} {what}", patient_id=patient.patient_id, visit=visit.visit
        )
        transaction = "RAD-1" if event == "A01" else "RAD-12"
        self._announce(f"ADT^{event}", transaction, patient, visit=visit)
        return visit

    def _announce(
        self,
        message_type: str,
        transaction: str,
        patient: Patient,
        *more: str,
        visit: Visit | None = None,
    ) -> None:
        """Send an ADT message to the RIS, about the current visit if no other is given."""
        now = timestamp(self.facility.clock.now())
        if visit is None:
            visit = self._current_visit(patient)
        if message_type == "ADT^A31":
            visit = Visit("", patient.patient_id, patient.issuer)
        message = Message.build(
            self.outbox.header(message_type, self._site.ris.application),
            segment("EVN", {1: message_type[-3:], 2: now}),
            *self._segments(patient, visit, "2.3.1"),
            *more,
        )
        self.outbox.send(message, self._ris, transaction)
