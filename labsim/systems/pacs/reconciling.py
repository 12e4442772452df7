"""Announced studies, and those that came before anybody announced them.

IHE Patient Information Reconciliation: a study that was taken without an
order has no Accession Number, and a patient as somebody typed them. The RIS
says later, by a scheduled or updated procedure (RAD-4, RAD-13), what it is.
"""

from __future__ import annotations

from labsim.systems.facility import System
from labsim.systems.records import Patient


class Reconciling:
    """Keeps what the RIS announces, and gives it to studies that have come without it.

    Parameters
    ----------
    system : System
        The PACS; its database has the table of expected studies.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._db = system.db

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
            known = self._db.value(
                "SELECT accession FROM expected_studies WHERE study_uid = ?", study_uid
            )
            numbers = [*(known.split("\\") if known else []), accession]
            self._db.upsert(
                "expected_studies",
                "study_uid",
                study_uid=study_uid,
                accession="\\".join(numbers),
                patient_id=patient.patient_id,
                description=description,
                announced_at=self._system.now(),
            )

    def forget(self, accession: str) -> None:
        """Take back that a study will come for an examination."""
        rows = self._db.rows("SELECT study_uid, accession FROM expected_studies")
        for row in rows:
            numbers = row["accession"].split("\\")
            if accession not in numbers:
                continue
            left = "\\".join(number for number in numbers if number != accession)
            change = "UPDATE expected_studies SET accession = ? WHERE study_uid = ?"
            self._db.run(change, left, row["study_uid"])
            self._db.run("DELETE FROM expected_studies WHERE accession = ''")
