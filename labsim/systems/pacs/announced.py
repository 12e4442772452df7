"""What orders have told the archive: who will come, for which study, of which part of the body."""

from __future__ import annotations

import sqlite3

from labsim.database import Database
from labsim.errors import NotFound
from labsim.systems.catalogue import examinations
from labsim.systems.messages import number_of
from labsim.systems.pacs.index import patient_columns
from labsim.systems.records import Patient

SCHEMA = """
CREATE TABLE IF NOT EXISTS announced_patients (
    patient_id TEXT NOT NULL,
    issuer     TEXT NOT NULL,
    name       TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    sex        TEXT NOT NULL,
    PRIMARY KEY (patient_id, issuer)
);
CREATE TABLE IF NOT EXISTS procedure_codes (
    code      TEXT PRIMARY KEY,     -- Universal Service Identifier (OBR-4.1)
    modality  TEXT NOT NULL,
    body_part TEXT NOT NULL
);
"""


class Announced:
    """Patients and examinations that the archive knows from orders.

    Parameters
    ----------
    db : Database
        Has the tables of `SCHEMA`, and ``expected_studies``.
    issuer : str
        The hospital's own.
    """

    def __init__(self, db: Database, issuer: str) -> None:
        self._db = db
        self._issuer = issuer
        if db.next("procedure codes") == 1:
            db.run_many(
                "INSERT INTO procedure_codes VALUES (?, ?, ?)",
                [(known.code, known.modality, known.body_part) for known in examinations()],
            )

    def remember(self, patient: Patient) -> None:
        """Keep who an order is for, so that images can be filed under them before others come."""
        self._db.run(
            "INSERT OR REPLACE INTO announced_patients VALUES (?, ?, ?, ?, ?)",
            *(patient.patient_id, patient.issuer, patient.name, patient.birth_date, patient.sex),
        )

    def examination(self, code: str) -> tuple[str, str]:
        """Return modality and body part of a procedure code, empty if it is not in the table."""
        row = self._db.row("SELECT modality, body_part FROM procedure_codes WHERE code = ?", code)
        return (row["modality"], row["body_part"]) if row is not None else ("", "")

    def study(self, study_uid: str) -> sqlite3.Row | None:
        """Return the order that announced a study."""
        return self._db.row("SELECT * FROM expected_studies WHERE study_uid = ?", study_uid)

    def accession(self, accession: str) -> sqlite3.Row | None:
        """Return the order of an accession number; one study may be for several."""
        return self._db.row(
            "SELECT * FROM expected_studies WHERE instr('\\' || accession || '\\', ?)",
            f"\\{accession}\\",
        )

    def patient(self, patient_id: str, issuer: str) -> Patient | None:
        """Return a patient as the archive files them, else as an order named them.

        A number that was given up in a merge leads to the patient who was kept.
        """
        patient_id, issuer = self.kept(patient_id, issuer)
        for table in ("patients", "announced_patients"):
            row = self._db.row(
                f"SELECT patient_id, issuer, name, birth_date, sex FROM {table} "
                "WHERE patient_id = ? AND issuer = ?",
                *(patient_id, issuer),
            )
            if row is not None:
                return Patient(**dict(row))
        return None

    def required(self, patient_id: str) -> Patient:
        """Return a patient that images can be filed under.

        Raises
        ------
        NotFound
            If neither images nor orders have named them.
        """
        number, issuer = number_of(patient_id, self._issuer)
        known = self.patient(number, issuer)
        if known is None:
            raise NotFound(
                f"Neither images nor orders have named patient {number} of {issuer}.",
                "Check the number and its issuer; an order makes a patient known here.",
            )
        return known

    def row_of(self, patient: Patient) -> int:
        """Return the row of a patient in the index, made if no images have come yet."""
        row = self._db.value(
            "SELECT id FROM patients WHERE patient_id = ? AND issuer = ?",
            *(patient.patient_id, patient.issuer),
        )
        if row is not None:
            return int(row)
        return self._db.insert("patients", **patient_columns(patient))

    def ordered_for(self, patient_id: str) -> bool:
        """Tell whether any order was for a patient."""
        known = "SELECT 1 FROM announced_patients WHERE patient_id = ?"
        return self._db.row(known, patient_id) is not None

    def ordered(self, order: sqlite3.Row) -> tuple[str, str]:
        """Return whom an order is for, after all merges."""
        return self.kept(order["patient_id"], order["issuer"])

    def kept(self, patient_id: str, issuer: str = "") -> tuple[str, str]:
        """Return the identity that stayed after all merges."""
        identity = patient_id, issuer or self._issuer
        seen = {identity}
        while row := self._db.row(
            "SELECT into_id, into_issuer FROM merged_patients WHERE patient_id = ? AND issuer = ?",
            *identity,
        ):
            identity = row["into_id"], row["into_issuer"]
            if identity in seen:  # two merges, each the other way round
                break
            seen.add(identity)
        return identity
