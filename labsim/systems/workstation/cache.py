"""The images that lie on the disk of a workstation, until others need the room."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from labsim.errors import ConfigurationError, LabError, NotFound
from labsim.systems.facility import System, text_of
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS cached_images (
    sop_uid     TEXT PRIMARY KEY,
    series_uid  TEXT NOT NULL,
    study_uid   TEXT NOT NULL,
    accession   TEXT NOT NULL,
    patient_id  TEXT NOT NULL,
    name        TEXT NOT NULL,
    study_date  TEXT NOT NULL,
    modality    TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    received_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS cached_by_study ON cached_images (study_uid);
CREATE TABLE IF NOT EXISTS cached_studies (
    study_uid TEXT PRIMARY KEY,
    used      INTEGER NOT NULL,     -- a count that grows: the smallest was used longest ago
    is_open   INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS cache_limit (bytes INTEGER NOT NULL);
"""
_LIMIT = 2_000_000_000  # bytes


class CacheFull(LabError):
    """An image has no room, whatever else would go."""


class Cache:
    """Bounded, on disk, and no archive: what is here is in the archive, too.

    The study that was used longest ago goes first; what is open stays.

    Parameters
    ----------
    system : System
        The workstation.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._db = system.db
        self._folder = system.folder / "images"
        self._folder.mkdir(exist_ok=True)
        self._lock = threading.RLock()
        if self._db.row("SELECT 1 FROM cache_limit") is None:
            self._db.insert("cache_limit", bytes=_LIMIT)
        self._db.run("UPDATE cached_studies SET is_open = 0")
        for half in self._folder.glob("*.part"):  # left by a killed process, never acknowledged
            half.unlink()

    # What is seen

    @property
    def limit(self) -> int:
        """How many bytes it holds at most."""
        return int(self._db.value("SELECT bytes FROM cache_limit"))

    @property
    def used(self) -> int:
        """How many bytes it holds."""
        return int(self._db.value("SELECT COALESCE(SUM(bytes), 0) FROM cached_images"))

    def table(self) -> Table:
        """Return the studies that are here, the last used first."""
        rows = self._db.rows(
            "SELECT MAX(accession), MAX(patient_id), MAX(name), MAX(study_date), "
            "GROUP_CONCAT(DISTINCT modality), COUNT(*), SUM(bytes), "
            "CASE is_open WHEN 1 THEN 'open' ELSE '' END, study_uid "
            "FROM cached_images JOIN cached_studies USING (study_uid) "
            "GROUP BY study_uid ORDER BY used DESC"
        )
        columns = ("accession", "patient ID", "name", "date", "modalities", "images", "bytes")
        caption = f"Images on the disk of {self._system.name}: {self.used} of {self.limit} bytes"
        return Table((*columns, "state", "study"), rows, caption)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def uids(self, study_uid: str) -> set[str]:
        """Return the SOP Instance UIDs of a study that are here, each with its file."""
        rows = self._db.rows("SELECT sop_uid FROM cached_images WHERE study_uid = ?", study_uid)
        return {row["sop_uid"] for row in rows if self._file(row["sop_uid"]).is_file()}

    def studies(self, accession: str) -> list[str]:
        """Return the UIDs of the studies here that have an accession number."""
        rows = self._db.rows(
            "SELECT DISTINCT study_uid FROM cached_images WHERE accession = ?", accession
        )
        return [row["study_uid"] for row in rows]

    def image(self, sop_uid: str, *, pixels: bool = True) -> Dataset:
        """Read an image.

        Raises
        ------
        NotFound
            If it is not here any more.
        """
        try:
            return dcmread(self._file(sop_uid), stop_before_pixels=not pixels)
        except OSError as error:
            raise NotFound(
                f"{self._system.name} does not have the image {sop_uid} any more.",
                "Open its study again.",
            ) from error

    # What changes it

    def keep(self, data: bytes, header: Dataset) -> None:
        """Write an image to disk; one that came before is replaced.

        Parameters
        ----------
        data : bytes
            The whole file.
        header : Dataset
            What it says.

        Raises
        ------
        CacheFull
            If it has no room, whatever else would go.
        OSError
            If the disk is full.
        """
        uid, study = str(header.SOPInstanceUID), str(header.StudyInstanceUID)
        with self._lock:
            self._make_room(len(data), study, uid)
            self._system.facility.room(len(data))
            part = self._folder / f"{uid}.part"
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with self._db.transaction():
                self._db.upsert(
                    "cached_images",
                    "sop_uid",
                    sop_uid=uid,
                    series_uid=str(header.SeriesInstanceUID),
                    study_uid=study,
                    accession=text_of(header.get("AccessionNumber")),
                    patient_id=text_of(header.get("PatientID")),
                    name=text_of(header.get("PatientName")),
                    study_date=text_of(header.get("StudyDate")),
                    modality=text_of(header.get("Modality")),
                    bytes=len(data),
                    received_at=self._system.now(),
                )
                self.use(study)
                part.replace(self._file(uid))

    def use(self, study_uid: str) -> None:
        """Note that a study is used now."""
        self._db.run(
            "INSERT INTO cached_studies (study_uid, used) VALUES (?, ?) "
            "ON CONFLICT (study_uid) DO UPDATE SET used = excluded.used",
            *(study_uid, self._db.next("use")),
        )

    def hold(self, study_uids: list[str]) -> None:
        """Say which studies are open now, and so stay; the others are not."""
        with self._lock, self._db.transaction():
            self._db.run("UPDATE cached_studies SET is_open = 0")
            for study_uid in study_uids:
                self.use(study_uid)
                self._db.run("UPDATE cached_studies SET is_open = 1 WHERE study_uid = ?", study_uid)

    def drop(self, sop_uids: set[str]) -> None:
        """Remove images."""
        with self._lock:
            for uid in sop_uids:
                self._db.run("DELETE FROM cached_images WHERE sop_uid = ?", uid)
                self._file(uid).unlink(missing_ok=True)

    def clear(self, study_uid: str = "") -> int:
        """Remove a study, or all of them; return how many images went.

        The archive has them still.
        """
        with self._lock:
            rows = self._db.rows(
                "SELECT sop_uid FROM cached_images WHERE study_uid = ? OR ? = ''",
                *(study_uid, study_uid),
            )
            self.drop({row["sop_uid"] for row in rows})
            self._db.run(
                "DELETE FROM cached_studies WHERE study_uid = ? OR ? = ''", study_uid, study_uid
            )
        what = f"study {study_uid}" if study_uid else "everything"
        self._system.note(f"{what} removed from the cache: {len(rows)} images")
        return len(rows)

    def resize(self, limit: int) -> None:
        """Set how many bytes it holds at most; what is too much goes at once.

        Raises
        ------
        ConfigurationError
            If that is nothing, or less than what is open.
        """
        open_now = self._db.value(
            "SELECT COALESCE(SUM(bytes), 0) FROM cached_images JOIN cached_studies "
            "USING (study_uid) WHERE is_open = 1"
        )
        if limit <= 0 or limit < open_now:
            raise ConfigurationError(
                f"A cache of {limit} bytes cannot be: what is open takes {open_now}.",
                "Give more bytes than that, or close the study first.",
            )
        self._db.run("UPDATE cache_limit SET bytes = ?", limit)
        self._system.note(f"cache limited to {limit} bytes")
        with self._lock:
            self._make_room(0, "", "")

    # How

    def _make_room(self, size: int, study_uid: str, sop_uid: str) -> None:
        """Remove studies, the one used longest ago first, until there is room for an image."""
        known = "SELECT COALESCE(SUM(bytes), 0) FROM cached_images WHERE sop_uid = ?"
        replaced = int(self._db.value(known, sop_uid))
        while self.used - replaced + size > self.limit:
            oldest = self._db.value(
                "SELECT study_uid FROM cached_studies WHERE is_open = 0 AND study_uid != ? "
                "ORDER BY used LIMIT 1",
                study_uid,
            )
            if oldest is None:
                raise CacheFull(
                    f"The cache of {self._system.name} is full: {self.limit} bytes.",
                    "Give it more with cache.resize(…), or close what is open.",
                )
            self.clear(oldest)

    def _file(self, sop_uid: str) -> Path:
        return self._folder / f"{sop_uid}.dcm"


def has_its_uids(header: Dataset) -> bool:
    """Tell whether an image can be kept: the last of its UIDs names a file, so it is no path."""
    uids = [header.get(f"{level}InstanceUID") for level in ("Study", "Series", "SOP")]
    return all(uid and UID(str(uid)).is_valid for uid in uids)
