"""What tests of modalities share: an order, a way to take its images, and a judge."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset

from labsim.ids import make_uid
from labsim.imaging.common import Acquisition, request_attributes

Take = Callable[..., list[FileDataset]]


@pytest.fixture(scope="session")
def acquisition() -> Callable[..., Acquisition[Any]]:
    """Make an acquisition of a protocol; keywords change it, or the patient."""

    def made(
        modality: ModuleType, part: str, seed: int = 7001, artefact: str = "", **patient: str
    ) -> Acquisition[Any]:
        study = Dataset()
        study.SpecificCharacterSet = "ISO_IR 192"
        study.PatientName, study.PatientID = "Møller^Åse", "P000001"
        study.IssuerOfPatientID = "RIVERSIDE"
        study.PatientBirthDate, study.PatientSex = "19700102", "F"
        study.AccessionNumber, study.ReferringPhysicianName = "A0000001", "Lindqvist^Greta"
        study.StudyInstanceUID, study.StudyID = make_uid("study", 1), "RP000001"
        study.StudyDescription = part
        study.StudyDate, study.StudyTime = "20260301", "080000"
        study.RequestAttributesSequence = request_attributes(
            accession="A0000001", procedure_id="RP000001", step_id="SPS000001", description=part
        )
        study.PerformedProcedureStepID = "SPS000001"
        for keyword, value in patient.items():
            setattr(study, keyword, value)
        return Acquisition(
            study=study,
            protocol=modality.PROTOCOLS[part],
            series_uid=make_uid("series", modality.__name__, part),
            frame_of_reference_uid=make_uid("frame", modality.__name__, part),
            series_number=1,
            station="ROOM1",
            institution="Riverside Clinic",
            started=datetime(2026, 3, 1, 8, 5, 9),
            seed=seed,
            artefact=artefact,
        )

    return made


@pytest.fixture(scope="session")
def take(acquisition: Callable[..., Acquisition[Any]]) -> Take:
    """Take the images of a protocol; those that were taken already are not taken again."""
    taken: dict[object, list[FileDataset]] = {}

    def images(modality: ModuleType, part: str, **changes: Any) -> list[FileDataset]:
        key = (modality.__name__, part, *sorted(changes.items()))
        if key not in taken:
            wanted = acquisition(modality, part, **changes)
            uids = [make_uid("image", part, index) for index in range(wanted.protocol.images)]
            taken[key] = list(modality.acquire(wanted, uids))
        return taken[key]

    return images


@pytest.fixture
def verdict(peer: Callable[[str], Path], tmp_path: Path) -> Callable[[FileDataset], list[str]]:
    """Let dciodvfy judge an image; return what it says, line by line."""

    def judged(image: FileDataset) -> list[str]:
        path = tmp_path / "image.dcm"
        image.save_as(path, enforce_file_format=True)
        command = [peer("dciodvfy"), path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return (done.stdout + done.stderr).splitlines()

    return judged
