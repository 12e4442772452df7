"""For tests of de-identification: images of a patient who has something to hide everywhere."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest
from pydicom.dataset import Dataset, FileDataset

from labsim.ids import make_uid
from labsim.imaging import ct
from labsim.imaging.common import Acquisition, request_attributes
from labsim.imaging.quick import quick

Original = Callable[..., FileDataset]


@pytest.fixture(scope="session")
def original() -> Original:
    """Take the first image of a protocol, of Åse Møller, born 2 January 1970."""

    def take(modality: ModuleType = ct, part: str = "CHEST", **changes: str) -> FileDataset:
        study = Dataset()
        study.SpecificCharacterSet = "ISO_IR 192"
        study.PatientName, study.PatientID = "Møller^Åse", "P000123"
        study.IssuerOfPatientID = "RIVERSIDE"
        study.PatientBirthDate, study.PatientSex = "19700102", "F"
        study.AccessionNumber, study.ReferringPhysicianName = "A0000456", "Lindqvist^Greta"
        study.StudyInstanceUID, study.StudyID = make_uid("secret study"), "RP000789"
        study.StudyDescription = "CT thorax of Møller"
        study.StudyDate, study.StudyTime = "20260301", "080000"
        study.PerformedProcedureStepID = "SPS000001"
        study.RequestAttributesSequence = request_attributes(
            accession="A0000456", procedure_id="RP000789", step_id="SPS1", description="CT thorax"
        )
        acquisition = Acquisition(
            study=study,
            protocol=quick(modality.PROTOCOLS[part]),
            series_uid=make_uid("secret series", part),
            frame_of_reference_uid=make_uid("secret frame", part),
            series_number=1,
            station="ROOM1",
            institution="Riverside Clinic",
            started=datetime(2026, 3, 1, 8, 5, 9),
            seed=7001,
        )
        uids = [make_uid("secret image", part, n) for n in range(acquisition.protocol.images)]
        image = deepcopy(next(iter(modality.acquire(acquisition, uids))))
        for keyword, value in changes.items():
            setattr(image, keyword, value)
        return image

    return take


@pytest.fixture
def errors(peer: Callable[[str], Path], tmp_path: Path) -> Callable[[Dataset], list[str]]:
    """Let dciodvfy judge a data set; return the errors it finds."""

    def judged(dataset: Dataset) -> list[str]:
        file = tmp_path / "judged.dcm"
        dataset.save_as(file, enforce_file_format=True)
        command = [peer("dciodvfy"), file]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return [line for line in done.stderr.splitlines() if line.startswith("Error")]

    return judged
