"""The work of the AI node: which images it has, and a work item for each series.

A work item has the states of a Unified Procedure Step (PS3.4 CC.1.1): it is
SCHEDULED, then IN PROGRESS, and ends COMPLETED or CANCELED, with a reason.
"""

from __future__ import annotations

from pathlib import Path
from sqlite3 import Row

from pydicom import dcmread
from pydicom.dataset import Dataset

from labsim.database import Database
from labsim.systems.facility import text_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    sop_uid    TEXT PRIMARY KEY,
    series_uid TEXT NOT NULL,
    study_uid  TEXT NOT NULL,
    accession  TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    done       INTEGER NOT NULL DEFAULT 0   -- whether a work item took it
);
CREATE TABLE IF NOT EXISTS workitems (
    id         INTEGER PRIMARY KEY,
    series_uid TEXT NOT NULL,
    study_uid  TEXT NOT NULL,
    accession  TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    state      TEXT NOT NULL,
    reason     TEXT NOT NULL DEFAULT '',
    findings   INTEGER
);
"""
STATES = ("SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED")


class Work:
    """Images and work items, on disk.

    Parameters
    ----------
    db : Database
        Has the tables of `SCHEMA`.
    folder : Path
        Where the images are.
    """

    def __init__(self, db: Database, folder: Path) -> None:
        self._db = db
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def keep(self, data: bytes, image: Dataset) -> None:
        """Keep an image; when this returns it is on disk. One that came before stays as it is."""
        uid = str(image.SOPInstanceUID)
        if self._db.row("SELECT 1 FROM images WHERE sop_uid = ?", uid) is not None:
            return
        (self._folder / f"{uid}.dcm").write_bytes(data)
        self._db.upsert(
            "images",
            "sop_uid",
            sop_uid=uid,
            series_uid=str(image.SeriesInstanceUID),
            study_uid=str(image.StudyInstanceUID),
            accession=text_of(image.get("AccessionNumber")),
            patient_id=text_of(image.get("PatientID")),
            done=0,
        )

    def new_series(self) -> list[Row]:
        """Return the series of which something came that no work item has taken."""
        return self._db.rows(
            "SELECT series_uid, MAX(study_uid) AS study_uid, MAX(accession) AS accession, "
            "MAX(patient_id) AS patient_id, COUNT(*) AS images FROM images "
            "GROUP BY series_uid HAVING MIN(done) = 0 ORDER BY MIN(rowid)"
        )

    def schedule(self, series: Row) -> None:
        """Make the work item of a series that is complete."""
        with self._db.transaction():
            kept = {name: series[name] for name in series.keys() if name != "images"}  # noqa: SIM118
            self._db.insert("workitems", **kept, state="SCHEDULED")
            self._db.run("UPDATE images SET done = 1 WHERE series_uid = ?", series["series_uid"])

    def open_items(self) -> list[Row]:
        """Return the work items that have not ended, the oldest first."""
        return self._db.rows(
            "SELECT * FROM workitems WHERE state IN ('SCHEDULED', 'IN PROGRESS') ORDER BY id"
        )

    def change(
        self, number: int, state: str, reason: str = "", findings: int | None = None
    ) -> None:
        """Set the state of a work item."""
        self._db.run(
            "UPDATE workitems SET state = ?, reason = ?, findings = ? WHERE id = ?",
            *(state, reason, findings, number),
        )

    def images(self, series_uid: str) -> list[Dataset]:
        """Return the images of a series."""
        rows = self._db.rows("SELECT sop_uid FROM images WHERE series_uid = ?", series_uid)
        return [dcmread(self._folder / f"{row['sop_uid']}.dcm") for row in rows]
