"""The images that the AI node has, on disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Row

from pydicom import dcmread
from pydicom.dataset import Dataset

from labsim.database import Database
from labsim.systems.facility import text_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    sop_uid    TEXT PRIMARY KEY,
    sop_class  TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    study_uid  TEXT NOT NULL,
    accession  TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    done       INTEGER NOT NULL DEFAULT 0   -- whether a work item took it
);
"""


class Images:
    """Images, as they came.

    Parameters
    ----------
    db : Database
        Has the table of `SCHEMA`.
    folder : Path
        Where they lie.
    room : callable
        Asked before a file of so many bytes is written; raises `OSError` if the disk is full.
    """

    def __init__(self, db: Database, folder: Path, room: Callable[[int], None]) -> None:
        self._db = db
        self._room = room
        self._folder = folder
        self._keeping = threading.Lock()  # the same image may come on two associations at once
        folder.mkdir(exist_ok=True)

    def keep(self, data: bytes, image: Dataset, *, done: bool = False) -> None:
        """Keep an image; when this returns it is on disk. One that came before stays as it is.

        Parameters
        ----------
        data : bytes
            The whole file.
        image : Dataset
            The same, read.
        done : bool
            Whether it was fetched for a work item, and so needs none.
        """
        with self._keeping:
            self._keep(data, image, done)

    def _keep(self, data: bytes, image: Dataset, done: bool) -> None:
        uid = str(image.SOPInstanceUID)
        if self._db.row("SELECT 1 FROM images WHERE sop_uid = ?", uid) is not None:
            return
        self._room(len(data))
        write_durably(self._folder / f"{uid}.dcm", data)
        self._db.upsert(
            "images",
            "sop_uid",
            sop_uid=uid,
            sop_class=str(image.SOPClassUID),
            series_uid=str(image.SeriesInstanceUID),
            study_uid=str(image.StudyInstanceUID),
            accession=text_of(image.get("AccessionNumber")),
            patient_id=text_of(image.get("PatientID")),
            done=int(done),
        )

    def new_series(self) -> list[Row]:
        """Return the series of which something came that no work item has taken."""
        return self._db.rows(
            "SELECT series_uid, MAX(study_uid) AS study_uid, MAX(accession) AS accession, "
            "MAX(patient_id) AS patient_id, COUNT(*) AS images FROM images "
            "GROUP BY series_uid HAVING MIN(done) = 0 ORDER BY MIN(rowid)"
        )

    def take(self, series_uid: str) -> None:
        """Remember that a work item has taken a series."""
        self._db.run("UPDATE images SET done = 1 WHERE series_uid = ?", series_uid)

    def count(self, series_uid: str) -> int:
        """Return how many images of a series are here."""
        counted = "SELECT COUNT(*) FROM images WHERE series_uid = ?"
        return int(self._db.value(counted, series_uid))

    def of(self, series_uid: str) -> list[Dataset]:
        """Return the images of a series."""
        rows = self._db.rows("SELECT sop_uid FROM images WHERE series_uid = ?", series_uid)
        return [dcmread(self._folder / f"{row['sop_uid']}.dcm") for row in rows]


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that it is whole and on disk when it has its name."""
    half = path.with_suffix(".part")
    with half.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)
