"""The front desk: who is here, and who they turn out to be."""

from __future__ import annotations

import random
from dataclasses import replace

from labsim.errors import ConfigurationError
from labsim.systems.his.forms import birth_date_of, name_of, sex_of
from labsim.systems.his.visits import Visits
from labsim.systems.messages import merge_segment
from labsim.systems.people import invent
from labsim.systems.records import Identifier, Patient, Visit

_FORMS = {"name": name_of, "birth_date": birth_date_of, "sex": sex_of}


class Registration(Visits):
    """Registers, corrects, identifies and merges patients, and tells the RIS."""

    def register_patient(self, name: str = "", birth_date: str = "", sex: str = "") -> Patient:
        """Register an outpatient (ADT^A04, RAD-1), invented where not given.

        Parameters
        ----------
        name : str
            ``"Family^Given"``.
        birth_date : str
            ``"YYYY-MM-DD"`` or ``"YYYYMMDD"``.
        sex : str
            ``"F"``, ``"M"`` or ``"O"`` (HL7 table 0001).

        Returns
        -------
        Patient
            With a new patient ID.

        Raises
        ------
        ConfigurationError
            If a value is not of its form.
        DeliveryFailed
            If the RIS could not be told; the patient is registered all the same.
        """
        number = self.db.next("patient")
        invented = invent(random.Random(f"{self.facility.seed}/patient/{number}"))
        patient = Patient(
            patient_id=f"P{number:06d}",
            issuer=self.facility.issuer,
            name=name_of(name or invented[0]),
            birth_date=birth_date_of(birth_date or invented[1]),
            sex=sex_of(sex or invented[2]),
        )
        self._register(patient, self._new_visit(patient))
        return patient

    def register_unidentified(self, sex: str = "U", reason: str = "") -> Patient:
        """Register somebody whom nobody knows, as an emergency (ADT^A04, RAD-1).

        The house's rule for the name is ``Doe^Unknown`` with the sex and a
        number, so that two of them are never taken for each other. Exams run
        under it until `identify` (IHE RAD TF-1, Patient Information
        Reconciliation).

        Parameters
        ----------
        sex : str
            As far as it can be seen; ``"U"`` if it cannot.
        reason : str
            Why they are here, for the journal.

        Returns
        -------
        Patient
            With a temporary patient ID, and no date of birth.

        Raises
        ------
        ConfigurationError
            If the sex is not of HL7 table 0001.
        DeliveryFailed
            If the RIS could not be told; the patient is registered all the same.
        """
        name = f"Doe^Unknown {sex_of(sex)}{self.db.next(f'unidentified {sex}')}"
        number = f"P{self.db.next('patient'):06d}"
        patient = Patient(number, self.facility.issuer, name, "", sex)
        visit = self._new_visit(patient, patient_class="E", location="ED")
        self._register(patient, visit, unidentified=True, why=reason)
        return patient

    def identify(
        self,
        temporary_id: str,
        patient_id: str = "",
        *,
        name: str = "",
        birth_date: str = "",
        sex: str = "",
    ) -> Patient:
        """Say who an unidentified patient is.

        With a record that is there already, the temporary one is merged into
        it (ADT^A40); else the temporary one gets the true data (ADT^A08). Both
        are RAD-12, and both ways are those of IHE RAD TF-1, Patient
        Information Reconciliation.

        Parameters
        ----------
        temporary_id : str
            From `register_unidentified`.
        patient_id : str
            Their own record, if they have one.
        name, birth_date, sex : str
            Else who they are; the name is needed.

        Returns
        -------
        Patient
            Under the identity that stays.

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If the first is known already, or nothing is said of who it is.
        DeliveryFailed
            If the RIS could not be told.
        """
        temporary = self.patient(temporary_id)
        if not self.registry.is_unidentified(temporary):
            raise ConfigurationError(
                f"{temporary_id} is {temporary.name}, who is known.",
                "Two records of one person are merged with hospital.his.merge_patients(…).",
            )
        if patient_id:
            return self.merge_patients(patient_id, temporary_id)
        if not name:
            raise ConfigurationError(
                "Say who it is.", "Give their patient_id, or name= and what else is known."
            )
        known = {"name": name, "birth_date": birth_date, "sex": sex}
        return self.update_patient(temporary_id, **{k: v for k, v in known.items() if v})

    def unidentified(self) -> list[Patient]:
        """Return whom nobody has identified yet."""
        return [patient for patient in self.patients() if self.registry.is_unidentified(patient)]

    # Corrections

    def update_patient(self, patient_id: str, **changes: str) -> Patient:
        """Correct a patient's data (ADT^A08, RAD-12).

        Parameters
        ----------
        patient_id : str
            Whose.
        **changes : str
            ``name``, ``birth_date`` or ``sex``.

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If something else is to be changed, or a value is not of its form.
        DeliveryFailed
            If the RIS could not be told.
        """
        return self._update("ADT^A08", patient_id, changes)

    def update_person(self, patient_id: str, **changes: str) -> Patient:
        """Correct a person's data outside of any visit (ADT^A31, RAD-12).

        As `update_patient`, for whoever is not in the house: PV1 says that the
        message is about no visit (patient class N).
        """
        return self._update("ADT^A31", patient_id, changes)

    def add_identifier(
        self, patient_id: str, number: str, issuer: str, kind: str = "PI"
    ) -> Patient:
        """Note the number that somebody else gave to a patient (ADT^A31, RAD-12).

        Parameters
        ----------
        patient_id : str
            Whose.
        number, issuer : str
            The number and its assigning authority, a repetition of PID-3.
        kind : str
            Identifier type code (HL7 table 0203).

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If the number is empty, or of this hospital.
        DeliveryFailed
            If the RIS could not be told.
        """
        patient = self.patient(patient_id)
        if not number or not issuer or issuer == self.facility.issuer:
            raise ConfigurationError(
                "A number of somebody else has a number and an issuer, not ours.",
                "Two records of this hospital are merged with hospital.his.merge_patients(…).",
            )
        others = (*patient.identifiers, Identifier(number, issuer, kind))
        self.registry.keep(
            replace(patient, identifiers=others),
            unidentified=self.registry.is_unidentified(patient),
        )
        self.note(f"patient {patient_id} has number {number} of {issuer}", patient_id=patient_id)
        self._announce("ADT^A31", "RAD-12", self.patient(patient_id))
        return self.patient(patient_id)

    def merge_patients(self, keep: str, give_up: str) -> Patient:
        """Merge two records of one person (ADT^A40, RAD-12).

        Parameters
        ----------
        keep : str
            The patient ID that stays.
        give_up : str
            The one that goes; its visits, orders and results move.

        Returns
        -------
        Patient
            Who was kept.

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If both are the same.
        DeliveryFailed
            If the RIS could not be told.
        """
        kept, prior = self.patient(keep), self.patient(give_up)
        if kept == prior:
            raise ConfigurationError(
                f"{keep} cannot be merged with itself.", "Give two patient IDs."
            )
        self.registry.merge(kept, prior.patient_id, prior.issuer, "orders", "results")
        self.note(
            f"patient {prior.patient_id} merged into {kept.patient_id}", patient_id=kept.patient_id
        )
        kept = self.patient(keep)
        self._announce("ADT^A40", "RAD-12", kept, merge_segment(prior))
        return kept

    # How it is done

    def _update(self, kind: str, patient_id: str, changes: dict[str, str]) -> Patient:
        patient = self.patient(patient_id)
        for field in changes:
            if field not in _FORMS:
                raise ConfigurationError(
                    f"A patient has no {field!r} that can be corrected.",
                    f"Use {', '.join(_FORMS)}.",
                )
        # All values are looked at before the first is changed.
        checked = {field: _FORMS[field](value) for field, value in changes.items()}
        corrected = Patient(**{**vars(patient), **checked})
        # Whoever has got a name is not unidentified any longer.
        unidentified = self.registry.is_unidentified(patient) and "name" not in checked
        self.registry.keep(corrected, unidentified=unidentified)
        self.note(
            f"patient {patient.patient_id} updated: {', '.join(changes)}",
            patient_id=patient.patient_id,
        )
        self._announce(kind, "RAD-12", corrected)
        return corrected

    def _register(
        self, patient: Patient, visit: Visit, *, unidentified: bool = False, why: str = ""
    ) -> None:
        with self.db.transaction():
            self.registry.keep(patient, unidentified=unidentified)
            self.registry.keep_visit(visit)
        self.note(
            f"patient {patient.patient_id} registered" + (f": {why}" if why else ""),
            patient_id=patient.patient_id,
            visit=visit.visit,
        )
        self._announce("ADT^A04", "RAD-1", patient)
