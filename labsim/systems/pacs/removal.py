"""Deleting a study from the archive: index, files, and the proof that it was done on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labsim.errors import NotFound
from labsim.systems.audit.trail import AuditTrail, Study
from labsim.systems.facility import System
from labsim.systems.pacs.files import FileStore
from labsim.systems.records import Patient

SCHEMA = """
CREATE TABLE IF NOT EXISTS deletions (
    sop_uid    TEXT PRIMARY KEY,
    study_uid  TEXT NOT NULL,
    accession  TEXT NOT NULL,
    file       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    deleted_by TEXT NOT NULL,
    deleted_at TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Deletion:
    """A study that is about to be deleted.

    Parameters
    ----------
    study : Study
        Which, and how many instances of each SOP class.
    patient : Patient
        Whose.
    reason : str
        Why.
    by : str
        Who wants it.
    """

    study: Study
    patient: Patient
    reason: str
    by: str


class Removal:
    """Deletes studies for good.

    Parameters
    ----------
    system : System
        The PACS.
    files : FileStore
        Its files.
    trail : AuditTrail
        Hears of each study (PS3.15 A.5.3.8).

    Attributes
    ----------
    before : list of callables
        Called with each `Deletion` before anything is deleted, while the study
        can still be read, such as to write a rejection note (113039, IHE IOCM).
        One that raises keeps the study.
    """

    def __init__(self, system: System, files: FileStore, trail: AuditTrail) -> None:
        self._system = system
        self._files = files
        self._trail = trail
        self.before: list[Callable[[Deletion], None]] = []
        self._finish()

    def delete(self, study_uid: str, reason: str, by: str) -> int:
        """Delete a study and return how many images it had.

        Index and reason change in one transaction, then the files go. If the
        process is killed between the two, the next start takes the files away;
        it does not take them for images that were never entered.

        Raises
        ------
        NotFound
            If there is no such study.
        """
        deletion = self._deletion(study_uid, reason, by)
        for consult in self.before:
            consult(deletion)
        rows = self._system.db.rows(
            "SELECT i.sop_uid, i.file, st.id AS study, st.accession FROM instances i "
            "JOIN series se ON se.id = i.series JOIN studies st ON st.id = se.study "
            "WHERE st.study_uid = ?",
            study_uid,
        )
        with self._system.db.transaction():
            for row in rows:
                self._system.db.upsert(
                    "deletions",
                    "sop_uid",
                    sop_uid=row["sop_uid"],
                    study_uid=study_uid,
                    accession=row["accession"],
                    file=row["file"],
                    reason=reason,
                    deleted_by=by,
                    deleted_at=self._system.now(),
                )
            study = "(SELECT id FROM studies WHERE study_uid = ?)"
            series = f"SELECT id FROM series WHERE study = {study}"
            self._system.db.run(f"DELETE FROM instances WHERE series IN ({series})", study_uid)
            self._system.db.run(f"DELETE FROM series WHERE study = {study}", study_uid)
            self._system.db.run("DELETE FROM studies WHERE study_uid = ?", study_uid)
            # A correction is kept for images to come; what only images said goes with the last.
            self._system.db.run(
                "DELETE FROM patients WHERE patient_id = ? AND issuer = ? AND corrected = 0 "
                "AND NOT EXISTS (SELECT 1 FROM studies st WHERE st.patient = patients.id)",
                deletion.patient.patient_id,
                deletion.patient.issuer,
            )
        for row in rows:
            self._files.remove(row["file"])
        keys = {"study_uid": study_uid, "accession": deletion.study.accession}
        self._system.note(f"study deleted, {len(rows)} images: {reason}", **keys)
        who = [self._trail.person(by), self._trail.itself()]
        self._trail.about(
            "110105", "D", who, deletion.patient, [deletion.study], text=reason, life_cycle="15"
        )
        return len(rows)

    def _deletion(self, study_uid: str, reason: str, by: str) -> Deletion:
        rows = self._system.db.rows(
            "SELECT p.patient_id, p.issuer, p.name, p.birth_date, p.sex, st.accession, "
            "st.description, i.sop_class, COUNT(i.id) AS count FROM studies st "
            "JOIN patients p ON p.id = st.patient LEFT JOIN series se ON se.study = st.id "
            "LEFT JOIN instances i ON i.series = se.id WHERE st.study_uid = ? GROUP BY i.sop_class",
            study_uid,
        )
        if not rows:
            raise NotFound(
                f"The PACS has no study {study_uid}.", "pacs.sql('SELECT * FROM studies') has all."
            )
        *person, accession, description, _, _ = rows[0]
        counts = {row["sop_class"]: row["count"] for row in rows if row["sop_class"]}
        study = Study(study_uid, accession, description, counts)
        return Deletion(study, Patient(*person), reason, by)

    def _finish(self) -> None:
        """Take away files that were being deleted when the process was killed."""
        rows = self._system.db.rows(
            "SELECT d.sop_uid, d.file FROM deletions d "
            "LEFT JOIN instances i ON i.sop_uid = d.sop_uid WHERE i.id IS NULL"
        )
        for row in rows:
            if self._files.remove(row["file"]):
                self._system.note(f"file of deleted image {row['sop_uid']} removed")
