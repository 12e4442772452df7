"""The index of the PACS: four tables, one for each level of PS3.4 C.6."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from labsim.database import Database
from labsim.errors import LabError
from labsim.systems.facility import text_of
from labsim.systems.pacs.documents import keys_of
from labsim.systems.records import Patient
from labsim.wire.matching import name_key

SCHEMA = """
CREATE TABLE IF NOT EXISTS patients (
    id          INTEGER PRIMARY KEY,
    patient_id  TEXT NOT NULL,
    issuer      TEXT NOT NULL,
    name        TEXT NOT NULL,
    -- The three component groups, case folded, for matching (PS3.5 6.2.1)
    name_key        TEXT NOT NULL,
    ideographic_key TEXT NOT NULL DEFAULT '',
    phonetic_key    TEXT NOT NULL DEFAULT '',
    birth_date  TEXT NOT NULL,
    sex         TEXT NOT NULL,
    corrected   INTEGER NOT NULL DEFAULT 0,  -- 1: differs from the files, replaced when sent
    UNIQUE (patient_id, issuer)
);
CREATE TABLE IF NOT EXISTS merged_patients (
    patient_id  TEXT NOT NULL,      -- given up in a merge
    issuer      TEXT NOT NULL,
    into_id     TEXT NOT NULL,
    into_issuer TEXT NOT NULL,
    PRIMARY KEY (patient_id, issuer)
);
CREATE INDEX IF NOT EXISTS patients_by_name ON patients (name_key);
CREATE INDEX IF NOT EXISTS patients_by_ideographic ON patients (ideographic_key);
CREATE INDEX IF NOT EXISTS patients_by_phonetic ON patients (phonetic_key);
CREATE TABLE IF NOT EXISTS studies (
    id          INTEGER PRIMARY KEY,
    patient     INTEGER NOT NULL REFERENCES patients,
    study_uid   TEXT NOT NULL UNIQUE,
    study_date  TEXT NOT NULL,
    study_time  TEXT NOT NULL,
    accession   TEXT NOT NULL,
    study_id    TEXT NOT NULL,
    description TEXT NOT NULL,
    referring   TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS study_identities (
    study_uid  TEXT NOT NULL,       -- a study that was moved
    patient_id TEXT NOT NULL,       -- under whom more of it may still come
    issuer     TEXT NOT NULL,
    correction INTEGER NOT NULL,
    PRIMARY KEY (study_uid, patient_id, issuer)
);
CREATE INDEX IF NOT EXISTS studies_by_patient ON studies (patient);
CREATE INDEX IF NOT EXISTS studies_by_date ON studies (study_date);
CREATE INDEX IF NOT EXISTS studies_by_accession ON studies (accession);
CREATE TABLE IF NOT EXISTS series (
    id          INTEGER PRIMARY KEY,
    study       INTEGER NOT NULL REFERENCES studies,
    series_uid  TEXT NOT NULL UNIQUE,
    modality    TEXT NOT NULL,
    number      TEXT NOT NULL,
    description TEXT NOT NULL,
    body_part   TEXT NOT NULL,
    protocol    TEXT NOT NULL,
    series_date TEXT NOT NULL,
    series_time TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS series_by_study ON series (study);
CREATE TABLE IF NOT EXISTS instances (
    id              INTEGER PRIMARY KEY,
    series          INTEGER NOT NULL REFERENCES series,
    sop_uid         TEXT NOT NULL UNIQUE,
    sop_class       TEXT NOT NULL,
    number          TEXT NOT NULL,
    rows            TEXT NOT NULL,
    columns         TEXT NOT NULL,
    frames          TEXT NOT NULL,
    transfer_syntax TEXT NOT NULL,
    file            TEXT NOT NULL,  -- as labsim.systems.pacs.files names it
    bytes           INTEGER NOT NULL,
    received_from   TEXT NOT NULL,  -- calling AE title
    received_at     TEXT NOT NULL,
    availability    TEXT NOT NULL DEFAULT 'ONLINE',  -- Instance Availability (0008,0056)
    keys            TEXT NOT NULL DEFAULT '',        -- DICOM JSON of documents.KEYS
    sha256          TEXT NOT NULL DEFAULT '',   -- of the file, so that bit rot is found
    original_syntax TEXT NOT NULL DEFAULT '',   -- before it was compressed to be put away
    original_sha256 TEXT NOT NULL DEFAULT '',   -- as it came, while that is not `sha256`
    accessed_at     TEXT NOT NULL DEFAULT ''    -- when it was last retrieved
);
CREATE INDEX IF NOT EXISTS instances_by_series ON instances (series);
"""


class DuplicateInstance(LabError):
    """A SOP Instance UID that is in the archive already, in another series."""


class WrongPatient(LabError):
    """A study of one patient arrived under the name of another."""


@dataclass(frozen=True)
class Instance:
    """One stored SOP instance, as needed to send it.

    Parameters
    ----------
    sop_uid, sop_class, transfer_syntax : str
        UIDs.
    file : str
        Path below the folder ``files``.
    series_uid, study_uid : str
        Where it belongs.
    patient : Patient
        As the index knows them now.
    corrected : bool
        Whether that differs from the file.
    """

    sop_uid: str
    sop_class: str
    transfer_syntax: str
    file: str
    series_uid: str
    study_uid: str
    patient: Patient
    corrected: bool


_JOINED = (
    "FROM instances i JOIN series se ON se.id = i.series "
    "JOIN studies st ON st.id = se.study JOIN patients p ON p.id = st.patient "
)


class Index:
    """Adds to and asks the four tables.

    Parameters
    ----------
    db : Database
        Has the tables of `SCHEMA`.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, header: Dataset, stored: Mapping[str, Any]) -> bool:
        """Add one instance with its series, study and patient.

        Parameters
        ----------
        header : Dataset
            The data set without its pixels.
        stored : mapping
            ``transfer_syntax``, ``file``, ``bytes``, ``received_from`` and
            ``received_at`` for the table of instances.

        Returns
        -------
        bool
            Whether it is new; the same instance again changes its row.

        Raises
        ------
        DuplicateInstance
            If another series has this SOP Instance UID.
        WrongPatient
            If the study is known for another patient.
        """
        with self._db.transaction():
            patient = self._patient(header)
            study = self._study(header, patient)
            series = self._series(header, study)
            return self._instance(header, series, stored)

    def update_patient(self, patient: Patient) -> bool:
        """Correct a patient (RAD-12); return whether the archive has images of them.

        A patient without images is kept too, because images that were taken
        before the correction may still come.
        """
        keys = name_keys(patient.name)
        changed = self._db.run(
            "UPDATE patients SET name = ?, name_key = ?, ideographic_key = ?, phonetic_key = ?, "
            "birth_date = ?, sex = ?, corrected = 1 WHERE patient_id = ? AND issuer = ?",
            patient.name,
            *keys.values(),
            patient.birth_date,
            patient.sex,
            patient.patient_id,
            patient.issuer,
        )
        if not changed:
            self._db.insert("patients", **patient_columns(patient), corrected=1)
        return bool(
            self._db.value(
                "SELECT COUNT(*) FROM studies st JOIN patients p ON p.id = st.patient "
                "WHERE p.patient_id = ? AND p.issuer = ?",
                patient.patient_id,
                patient.issuer,
            )
        )

    def merge_patients(self, kept: Patient, prior_id: str, prior_issuer: str) -> int:
        """File what is, and what will come, of one patient under another (RAD-12).

        Parameters
        ----------
        kept : Patient
            Who stays.
        prior_id, prior_issuer : str
            Who is given up.

        Returns
        -------
        int
            How many studies moved.
        """
        with self._db.transaction():
            self.update_patient(kept)
            self._db.run(
                "INSERT OR REPLACE INTO merged_patients VALUES (?, ?, ?, ?)",
                prior_id,
                prior_issuer,
                kept.patient_id,
                kept.issuer,
            )
            # A later merge the other way round takes an earlier one back.
            self._db.run(
                "DELETE FROM merged_patients WHERE patient_id = ? AND issuer = ?",
                kept.patient_id,
                kept.issuer,
            )
            row = "SELECT id FROM patients WHERE patient_id = ? AND issuer = ?"
            into = self._db.value(row, kept.patient_id, kept.issuer)
            prior = self._db.value(row, prior_id, prior_issuer)
            moved = self._db.run("UPDATE studies SET patient = ? WHERE patient = ?", into, prior)
            self._db.run("DELETE FROM patients WHERE id = ?", prior)
            return moved

    def instances(self, level: str, uids: Mapping[str, list[str]]) -> list[Instance]:
        """Return what a retrieve request names, in the order of series and image numbers.

        Parameters
        ----------
        level : str
            Query/Retrieve Level, for the unique key that must be given.
        uids : mapping
            Unique keys by column of `UNIQUE_KEYS`; each may name several.
        """
        tests, values = [], []
        for column, wanted in uids.items():
            if wanted:
                tests.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                values += wanted
        if UNIQUE_KEYS[level] not in uids or not uids[UNIQUE_KEYS[level]]:
            return []
        rows = self._db.rows(
            "SELECT i.sop_uid, i.sop_class, i.transfer_syntax, i.file, se.series_uid, "
            "st.study_uid, p.patient_id, p.issuer, p.name, p.birth_date, p.sex, p.corrected "
            + _JOINED
            + f"WHERE {' AND '.join(tests)} "
            "ORDER BY st.id, CAST(se.number AS INTEGER), se.id, CAST(i.number AS INTEGER), i.id",
            *values,
        )
        return [_instance(dict(row)) for row in rows]

    def find(self, sop_uid: str) -> Instance | None:
        """Return one instance by its UID, None if it is not there."""
        found = self.instances("IMAGE", {"i.sop_uid": [sop_uid]})
        return found[0] if found else None

    def set_availability(self, sop_uids: Iterable[str], availability: str) -> None:
        """Say how fast instances can be had, such as ``ONLINE`` or ``NEARLINE``.

        Queries return it as Instance Availability (0008,0056), of a study or
        series that of its least available instance.
        """
        statement = "UPDATE instances SET availability = ? WHERE sop_uid = ?"
        self._db.run_many(statement, [(availability, uid) for uid in sop_uids])

    def files(self) -> set[str]:
        """Return the file of every instance."""
        return {row["file"] for row in self._db.rows("SELECT file FROM instances")}

    def _patient(self, header: Dataset) -> int:
        patient_id, issuer = (
            text_of(header.get("PatientID")),
            text_of(header.get("IssuerOfPatientID")),
        )
        merged = self._db.row(
            "SELECT into_id, into_issuer FROM merged_patients WHERE patient_id = ? AND issuer = ?",
            patient_id,
            issuer,
        )
        if merged is not None:  # the scanner had the old identity
            patient_id, issuer = merged
        known = self._db.value(
            "SELECT id FROM patients WHERE patient_id = ? AND issuer = ?", patient_id, issuer
        )
        if known is not None:
            return int(known)
        name = text_of(header.get("PatientName"))
        return self._db.insert(
            "patients",
            patient_id=patient_id,
            issuer=issuer,
            name=name,
            **name_keys(name),
            birth_date=date_of(header.get("PatientBirthDate")),
            sex=text_of(header.get("PatientSex")),
        )

    def _study(self, header: Dataset, patient: int) -> int:
        uid = str(header.StudyInstanceUID)
        known = self._db.row("SELECT id, patient FROM studies WHERE study_uid = ?", uid)
        if known is not None:
            if known["patient"] != patient and not self._moved(uid, patient):
                raise WrongPatient("The study is in the archive for another patient.")
            return int(known["id"])
        return self._db.insert(
            "studies",
            patient=patient,
            study_uid=uid,
            study_date=date_of(header.get("StudyDate")),
            study_time=text_of(header.get("StudyTime")),
            accession=text_of(header.get("AccessionNumber")),
            study_id=text_of(header.get("StudyID")),
            description=text_of(header.get("StudyDescription")),
            referring=text_of(header.get("ReferringPhysicianName")),
        )

    def _moved(self, study_uid: str, patient: int) -> bool:
        """Tell whether a study was moved from this patient to the one who has it."""
        moved = (
            "SELECT 1 FROM study_identities JOIN patients USING (patient_id, issuer) "
            "WHERE study_uid = ? AND patients.id = ?"
        )
        return self._db.row(moved, study_uid, patient) is not None

    def _series(self, header: Dataset, study: int) -> int:
        uid = str(header.SeriesInstanceUID)
        known = self._db.row("SELECT id, study FROM series WHERE series_uid = ?", uid)
        if known is not None:
            if known["study"] != study:
                raise DuplicateInstance("The series is in the archive in another study.")
            return int(known["id"])
        return self._db.insert(
            "series",
            study=study,
            series_uid=uid,
            modality=text_of(header.get("Modality")),
            number=text_of(header.get("SeriesNumber")),
            description=text_of(header.get("SeriesDescription")),
            body_part=text_of(header.get("BodyPartExamined")),
            protocol=text_of(header.get("ProtocolName")),
            series_date=date_of(header.get("SeriesDate")),
            series_time=text_of(header.get("SeriesTime")),
        )

    def _instance(self, header: Dataset, series: int, stored: Mapping[str, Any]) -> bool:
        uid = str(header.SOPInstanceUID)
        known = self._db.row("SELECT series FROM instances WHERE sop_uid = ?", uid)
        if known is not None and known["series"] != series:
            raise DuplicateInstance("The instance is in the archive in another series.")
        self._db.upsert(
            "instances",
            "sop_uid",
            series=series,
            sop_uid=uid,
            sop_class=str(header.SOPClassUID),
            number=text_of(header.get("InstanceNumber")),
            rows=text_of(header.get("Rows")),
            columns=text_of(header.get("Columns")),
            frames=text_of(header.get("NumberOfFrames")),
            **({"keys": keys_of(header)} | dict(stored)),
        )
        return known is None


# What `Index.add` reads from a data set, beside the UIDs.
INDEXED = (
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription",
    "ReferringPhysicianName", "Modality", "SeriesNumber", "SeriesDescription",
    "BodyPartExamined", "ProtocolName", "SeriesDate", "SeriesTime", "InstanceNumber",
    "Rows", "Columns", "NumberOfFrames",
)  # fmt: skip

UNIQUE_KEYS: Mapping[str, str] = {
    "PATIENT": "p.patient_id",
    "STUDY": "st.study_uid",
    "SERIES": "se.series_uid",
    "IMAGE": "i.sop_uid",
}


def patient_columns(patient: Patient) -> dict[str, str]:
    """Return what the index keeps of a patient."""
    return {**patient.columns, **name_keys(patient.name)}


def date_of(value: object) -> str:
    """Return a date as eight digits; ACR-NEMA wrote 1993.08.22, and such files exist."""
    return text_of(value).replace(".", "")


def name_keys(name: str) -> dict[str, str]:
    """Return the columns by which a name is found, one for each component group."""
    groups = [name_key(group) for group in name.split("=")] + ["", ""]
    return dict(zip(("name_key", "ideographic_key", "phonetic_key"), groups, strict=False))


def _instance(row: dict[str, Any]) -> Instance:
    patient = Patient(
        row.pop("patient_id"),
        row.pop("issuer"),
        row.pop("name"),
        row.pop("birth_date"),
        row.pop("sex"),
    )
    return Instance(patient=patient, corrected=bool(row.pop("corrected")), **row)
