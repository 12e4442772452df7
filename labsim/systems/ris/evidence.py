"""Which images a report is about: those that the scanners said they made."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from labsim.systems.facility import System, text_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS performed_images (
    mpps_uid   TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    sop_class  TEXT NOT NULL,
    sop_uid    TEXT NOT NULL,
    PRIMARY KEY (mpps_uid, sop_uid)
);
"""
_STEPS = "performed_procedures l JOIN performed_steps s USING (mpps_uid) "


@dataclass(frozen=True)
class Reference:
    """One image, and where it belongs."""

    study_uid: str
    series_uid: str
    sop_class: str
    sop_uid: str


class Evidence:
    """Keeps what the performed procedure steps say of their images (PS3.4 Table F.7.2-1).

    Parameters
    ----------
    system : System
        Its database has the table of `SCHEMA`, and what the scanners performed.
    """

    def __init__(self, system: System) -> None:
        self._system = system

    def keep(self, mpps_uid: str, changes: Dataset) -> None:
        """Take over from an N-SET which images a step has made."""
        if "PerformedSeriesSequence" in changes:  # it takes the place of what was said before
            self._system.db.run("DELETE FROM performed_images WHERE mpps_uid = ?", mpps_uid)
            self._system.db.run_many(
                "INSERT OR REPLACE INTO performed_images VALUES (?, ?, ?, ?)",
                [(mpps_uid, *image) for image in _images(changes)],
            )

    def of(self, accession: str) -> list[Reference]:
        """Return the images of an examination, in the order of their making."""
        rows = self._system.db.rows(
            "SELECT s.study_uid, i.series_uid, i.sop_class, i.sop_uid "
            f"FROM {_STEPS} JOIN performed_images i USING (mpps_uid) "
            "WHERE l.accession = ? ORDER BY i.rowid",
            accession,
        )
        return [Reference(**dict(row)) for row in rows]

    def started(self, accession: str) -> str:
        """Return when an examination began, ISO 8601, empty if it has not."""
        return text_of(
            self._system.db.value(
                f"SELECT MIN(s.started) FROM {_STEPS} WHERE l.accession = ?", accession
            )
        )


def _images(changes: Dataset) -> list[tuple[str, str, str]]:
    return [
        (
            text_of(series.get("SeriesInstanceUID")),
            text_of(image.get("ReferencedSOPClassUID")),
            text_of(image.get("ReferencedSOPInstanceUID")),
        )
        for series in changes.PerformedSeriesSequence or []
        for image in series.get("ReferencedImageSequence") or []
    ]
