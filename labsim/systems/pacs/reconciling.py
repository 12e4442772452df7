"""Announced studies, and those that came before anybody announced them.

IHE Patient Information Reconciliation: a study that was taken without an
order has no Accession Number, and a patient as somebody typed them. The RIS
says later, by a scheduled or updated procedure (RAD-4, RAD-13), what it is.
"""

from __future__ import annotations

from labsim.errors import LabError
from labsim.systems.facility import System
from labsim.systems.pacs.arrival import Arrival
from labsim.systems.pacs.corrections import Corrections
from labsim.systems.pacs.storing import Storing
from labsim.systems.records import Patient


class Reconciling:
    """Keeps what the RIS announces, and gives it to studies that have come without it.

    Parameters
    ----------
    system : System
        The PACS; its database has the table of expected studies.
    corrections : Corrections
        What corrects a study.
    storing : Storing
        What takes images in, which may come after they were announced.
    """

    def __init__(self, system: System, corrections: Corrections, storing: Storing) -> None:
        self._system = system
        self._db = system.db
        self._corrections = corrections
        # Before quality control compares a study with its order.
        storing.on_indexed.insert(0, self._arrived)

    def announce(self, study_uid: str, accession: str, patient: Patient, description: str) -> None:
        """Keep that a study will come, or has come, for an examination.

        Parameters
        ----------
        study_uid : str
            Study Instance UID.
        accession : str
            Accession Number; one study may be for several (IHE group case).
        patient : Patient
            Whose it is.
        description : str
            Of the examination.
        """
        with self._db.transaction():
            self.forget(accession)
            known = self._numbers(study_uid)
            self._db.upsert(
                "expected_studies",
                "study_uid",
                study_uid=study_uid,
                accession="\\".join([*known, accession]),
                patient_id=patient.patient_id,
                issuer=patient.issuer,
                description=description,
                announced_at=self._system.now(),
            )

    def forget(self, accession: str) -> None:
        """Take back that a study will come for an examination."""
        for row in self._db.rows("SELECT study_uid FROM expected_studies"):
            numbers = self._numbers(row["study_uid"])
            if accession in numbers:
                left = "\\".join(number for number in numbers if number != accession)
                change = "UPDATE expected_studies SET accession = ? WHERE study_uid = ?"
                self._db.run(change, left, row["study_uid"])
                self._db.run("DELETE FROM expected_studies WHERE accession = ''")

    def reconcile(self, study_uid: str) -> None:
        """Correct a study that came without an Accession Number to what was announced for it.

        One that is for several examinations has none (PS3.17 J.4.1).
        """
        row = self._db.row(
            "SELECT st.accession AS now, st.description AS shown, p.patient_id AS typed, "
            "p.issuer AS typed_issuer, e.* FROM studies st JOIN patients p ON p.id = st.patient "
            "JOIN expected_studies e USING (study_uid) WHERE study_uid = ?",
            study_uid,
        )
        if row is None:
            return
        several = "\\" in row["accession"]
        wanted = "" if several else str(row["accession"])
        if row["now"] == wanted or (row["now"] and not self._given_here(study_uid)):
            return
        patient = f"{row['patient_id']}^^^{row['issuer']}"
        as_typed = (row["typed"], row["typed_issuer"]) == (row["patient_id"], row["issuer"])
        described = several or row["description"] == row["shown"]
        try:
            self._corrections.correct(
                study_uid,
                reason="ordered after it was taken",
                who="RIS",
                coded_reason="COERCE",
                patient_id="" if as_typed else patient,
                accession=wanted,
                **({} if described else {"StudyDescription": row["description"]}),
            )
        except LabError as error:
            self._system.note(f"study not reconciled: {error}", kind="error", study_uid=study_uid)

    def _arrived(self, arrival: Arrival) -> None:
        if arrival.new:
            self.reconcile(str(arrival.header.StudyInstanceUID))

    def _given_here(self, study_uid: str) -> bool:
        """Tell whether a study's Accession Number is one that it did not come with."""
        given = "SELECT 1 FROM overlays WHERE uid = ? AND keyword = 'AccessionNumber'"
        return self._db.row(given, study_uid) is not None

    def _numbers(self, study_uid: str) -> list[str]:
        found = self._db.value(
            "SELECT accession FROM expected_studies WHERE study_uid = ?", study_uid
        )
        return found.split("\\") if found else []
