"""Patients and visits as tables, for every system that keeps them: HIS and RIS."""

from __future__ import annotations

from labsim.database import Database
from labsim.errors import NotFound
from labsim.systems.records import Identifier, Patient, Visit, record_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS patients (
    patient_id   TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    name         TEXT NOT NULL,
    birth_date   TEXT NOT NULL,
    sex          TEXT NOT NULL,
    unidentified INTEGER NOT NULL DEFAULT 0,  -- 1: the name is made up, nobody knows the person
    PRIMARY KEY (patient_id, issuer)
);
CREATE TABLE IF NOT EXISTS identifiers (    -- numbers that others gave to a patient
    patient_id TEXT NOT NULL,
    issuer     TEXT NOT NULL,
    number     TEXT NOT NULL,
    authority  TEXT NOT NULL,
    kind       TEXT NOT NULL,       -- HL7 table 0203
    PRIMARY KEY (patient_id, issuer, number, authority)
);
CREATE TABLE IF NOT EXISTS merged_patients (
    patient_id  TEXT NOT NULL,      -- given up in a merge
    issuer      TEXT NOT NULL,
    into_id     TEXT NOT NULL,
    into_issuer TEXT NOT NULL,
    PRIMARY KEY (patient_id, issuer)
);
CREATE TABLE IF NOT EXISTS visits (
    visit         TEXT NOT NULL,
    patient_id    TEXT NOT NULL,
    issuer        TEXT NOT NULL,
    patient_class TEXT NOT NULL,    -- I, O, E
    location      TEXT NOT NULL,    -- point of care^room^bed
    attending     TEXT NOT NULL,
    admitted      TEXT NOT NULL,    -- ISO 8601
    discharged    TEXT NOT NULL,
    status        TEXT NOT NULL,    -- ACTIVE, DISCHARGED, CANCELLED
    PRIMARY KEY (visit, issuer)
);
"""
_TABLES = ("visits", "identifiers")


class Registry:
    """Keeps patients by number and issuer, with their visits.

    Parameters
    ----------
    db : Database
        Has the tables of `SCHEMA`.
    owner : str
        Whose tables they are, for messages to people.
    """

    def __init__(self, db: Database, owner: str) -> None:
        self._db = db
        self._owner = owner

    def patient(self, number: str, issuer: str) -> Patient:
        """Return one patient.

        Raises
        ------
        NotFound
            If there is none of that number and issuer.
        """
        row = self._db.row(
            "SELECT name, birth_date, sex FROM patients WHERE patient_id = ? AND issuer = ?",
            number,
            issuer,
        )
        if row is None:
            raise NotFound(
                f"The {self._owner.upper()} has no patient {number!r}.",
                f"hospital.{self._owner}.patients() lists them.",
            )
        others = self._db.rows(
            "SELECT number, authority, kind FROM identifiers "
            "WHERE patient_id = ? AND issuer = ? ORDER BY rowid",
            number,
            issuer,
        )
        identifiers = tuple(Identifier(*other) for other in others)
        name, birth_date, sex = row
        return Patient(number, issuer, name, birth_date, sex, identifiers)

    def patients(self) -> list[Patient]:
        """Return all patients, in the order of their numbers."""
        rows = self._db.rows("SELECT patient_id, issuer FROM patients ORDER BY patient_id, issuer")
        return [self.patient(*row) for row in rows]

    def is_known(self, number: str, issuer: str) -> bool:
        """Return whether there is a patient of that number and issuer."""
        found = "SELECT 1 FROM patients WHERE patient_id = ? AND issuer = ?"
        return self._db.row(found, number, issuer) is not None

    def is_unidentified(self, patient: Patient) -> bool:
        """Return whether nobody knows yet who the patient is."""
        asked = "SELECT unidentified FROM patients WHERE patient_id = ? AND issuer = ?"
        return bool(self._db.value(asked, patient.patient_id, patient.issuer))

    def keep(self, patient: Patient, *, unidentified: bool = False) -> None:
        """Add a patient, or correct the one with the same number and issuer."""
        with self._db.transaction():
            self._db.upsert(
                "patients",
                "patient_id, issuer",
                **patient.columns,
                unidentified=int(unidentified),
            )
            for other in patient.identifiers:
                self._db.upsert(
                    "identifiers",
                    "patient_id, issuer, number, authority",
                    patient_id=patient.patient_id,
                    issuer=patient.issuer,
                    number=other.number,
                    authority=other.issuer,
                    kind=other.kind,
                )

    def merge(self, kept: Patient, number: str, issuer: str, *tables: str) -> None:
        """Give all that one patient has to another, and forget the first.

        Parameters
        ----------
        kept : Patient
            Who stays.
        number, issuer : str
            Who goes.
        *tables : str
            The system's own, beside visits, whose rows move too.
        """
        with self._db.transaction():
            for table in (*_TABLES, *tables):
                self._db.run(
                    f"UPDATE OR REPLACE {table} SET patient_id = ?, issuer = ? "
                    "WHERE patient_id = ? AND issuer = ?",
                    kept.patient_id,
                    kept.issuer,
                    number,
                    issuer,
                )
            self._db.run("DELETE FROM patients WHERE patient_id = ? AND issuer = ?", number, issuer)
            self._db.run(
                "INSERT OR REPLACE INTO merged_patients VALUES (?, ?, ?, ?)",
                number,
                issuer,
                kept.patient_id,
                kept.issuer,
            )
            # A later merge the other way round takes an earlier one back.
            self._db.run(
                "DELETE FROM merged_patients WHERE patient_id = ? AND issuer = ?",
                kept.patient_id,
                kept.issuer,
            )

    def resolve(self, number: str, issuer: str) -> tuple[str, str]:
        """Return the number that stands for a patient now, after all merges.

        A message that was on its way during a merge has the number that was
        given up.
        """
        into = (
            "SELECT into_id, into_issuer FROM merged_patients WHERE patient_id = ? AND issuer = ?"
        )
        while (row := self._db.row(into, number, issuer)) is not None:
            number, issuer = row
        return number, issuer

    def keep_visit(self, visit: Visit) -> None:
        """Add a visit, or change the one with the same number."""
        self._db.upsert("visits", "visit, issuer", **vars(visit))

    def visit(self, number: str, issuer: str) -> Visit | None:
        """Return one visit, None if there is none of that number."""
        row = self._db.row("SELECT * FROM visits WHERE visit = ? AND issuer = ?", number, issuer)
        return record_of(Visit, row) if row is not None else None

    def visits(self, patient: Patient) -> list[Visit]:
        """Return the visits of a patient, oldest first."""
        rows = self._db.rows(
            "SELECT * FROM visits WHERE patient_id = ? AND issuer = ? ORDER BY rowid",
            patient.patient_id,
            patient.issuer,
        )
        return [record_of(Visit, row) for row in rows]

    def current_visit(self, patient: Patient) -> Visit | None:
        """Return the latest visit that was not cancelled, one that lasts before one that is over.

        None if there is none.
        """
        visits = [visit for visit in self.visits(patient) if visit.status != "CANCELLED"]
        lasting = [visit for visit in visits if visit.status == "ACTIVE"]
        return (lasting or visits)[-1] if visits else None
