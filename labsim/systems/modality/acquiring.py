"""Acquiring: the images of a step, series by series, onto the scanner's disk."""

from __future__ import annotations

import zlib
from pathlib import Path

from pydicom.dataset import Dataset

from labsim.errors import ConfigurationError
from labsim.ids import make_uid
from labsim.imaging.common import Acquisition, AnyAcquisition
from labsim.imaging.quick import quick
from labsim.imaging.scanners import SCANNERS
from labsim.systems.modality.tables import ModalityTables
from labsim.systems.performed_step import study_attributes


class Acquiring(ModalityTables):
    """Takes images."""

    @property
    def quick_scans(self) -> bool:
        """Whether images are coarse and few, as when a scanner is tried out."""
        return bool(self._setting("quick_scans", 0))

    @quick_scans.setter
    def quick_scans(self, value: bool) -> None:
        self.db.upsert("settings", "name", name="quick_scans", value=int(value))

    def acquire(self, mpps_uid: str, artefact: str = "") -> list[Path]:
        """Take the images of a step, series by series, and keep them on the scanner's disk.

        Parameters
        ----------
        mpps_uid : str
            From `start_step`.
        artefact : str
            What goes wrong with the images: one of those of
            `labsim.imaging.scanners` for this kind of scanner.

        Returns
        -------
        list of Path
            The new files.

        Raises
        ------
        ConfigurationError
            If the step has ended, or the disk of the scanner is full.
        """
        step, status = self._step(mpps_uid), self._step_row(mpps_uid)["status"]
        if status != "IN PROGRESS":
            raise ConfigurationError(
                f"The step is {status}.", "More images of the examination need append(…)."
            )
        self._require_space()
        first = self.db.next("series")
        shared = (self.facility.seed, self.name, first)
        files: list[Path] = []
        keys = [key for wanted in step.performed for key in wanted.series]
        quickly = self.quick_scans
        for offset, key in enumerate(keys):
            protocol = SCANNERS[self.modality].protocols[key]
            number = self.db.next("series") if offset else first
            acquisition: AnyAcquisition = Acquisition(
                study=study_attributes(step),
                protocol=quick(protocol) if quickly else protocol,
                series_uid=make_uid("series", self.facility.seed, self.name, number),
                frame_of_reference_uid=make_uid("frame of reference", *shared),
                series_number=self._count_series(step.study_uid) + 1,
                station=self.ae_title,
                institution=self.facility.institution,
                started=self.facility.clock.now(),
                seed=_body(self.facility.seed, step.entries[0]),
                artefact=artefact,
            )
            files += self._take(mpps_uid, key, number, acquisition)
        self._note_step(step, f"{len(files)} images acquired: {step.description}")
        return files

    def _take(
        self, mpps_uid: str, key: str, number: int, acquisition: AnyAcquisition
    ) -> list[Path]:
        """Take one series, and keep its images."""
        base = ("image", self.facility.seed, self.name, number)
        uids = [make_uid(*base, index) for index in range(acquisition.protocol.images)]
        rows, files = [], []
        for image in SCANNERS[self.modality].acquire(acquisition, uids):
            path = self._images / f"{number:05d}-{int(image.InstanceNumber):04d}.dcm"
            image.save_as(path, enforce_file_format=True)
            files.append(path)
            uid, sop_class = str(image.SOPInstanceUID), str(image.SOPClassUID)
            size = path.stat().st_size
            rows.append((uid, sop_class, acquisition.series_uid, key, mpps_uid, path.name, size))
        self.db.run_many(
            "INSERT INTO images (sop_uid, sop_class, series_uid, protocol, mpps_uid, file, bytes) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        return files

    def _require_space(self) -> None:
        """Refuse to take images when the disk of the scanner is full."""
        used, quota = self._used(), self._setting("quota", 0)
        if quota and used >= quota * 1e6:
            raise ConfigurationError(
                f"The disk of {self.ae_title} is full: {used / 1e6:.1f} of {quota:g} MB.",
                f'hospital.modality("{self.name}").delete_committed() makes room.',
            )

    def _used(self) -> int:
        return int(self.db.value("SELECT COALESCE(SUM(bytes), 0) FROM images WHERE deleted = 0"))

    def _count_series(self, study_uid: str) -> int:
        return int(
            self.db.value(
                "SELECT COUNT(DISTINCT i.series_uid) FROM images i JOIN steps s USING (mpps_uid) "
                "WHERE s.study_uid = ?",
                study_uid,
            )
        )


def _body(seed: int, entry: Dataset) -> int:
    """Return what decides the anatomy: a patient has the same body in every exam."""
    return zlib.crc32(f"{seed}/{entry.PatientID}".encode())
