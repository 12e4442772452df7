"""For tests of the AI node: CT images of a thorax, as the scanner makes them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import datetime

import pytest
from pydicom.dataset import Dataset, FileDataset

from labsim.ids import make_uid
from labsim.imaging.common import Acquisition, request_attributes
from labsim.imaging.ct import PROTOCOLS, acquire

Thorax = Callable[..., list[FileDataset]]


@pytest.fixture(scope="session")
def thorax() -> Thorax:
    """Take a series of a body part; an even seed has a nodule in its thorax."""

    def take(seed: int, part: str = "CHEST", slices: int = 24, **patient: str) -> list[FileDataset]:
        study = Dataset()
        study.SpecificCharacterSet = "ISO_IR 192"
        study.PatientName, study.PatientID = "Silva^Ines", f"AI{seed:05d}"
        study.IssuerOfPatientID = "HILLSIDE"
        study.PatientBirthDate, study.PatientSex = "19700102", "F"
        study.AccessionNumber, study.ReferringPhysicianName = f"AI{seed}", "Lindqvist^Greta"
        study.StudyInstanceUID, study.StudyID = make_uid("ai study", seed), f"RP{seed}"
        study.StudyDescription = "CT thorax"
        study.StudyDate, study.StudyTime = "20260302", "103000"
        study.RequestAttributesSequence = request_attributes(
            accession=f"AI{seed}", procedure_id=f"RP{seed}", step_id="SPS1", description="CT"
        )
        study.PerformedProcedureStepID = "SPS1"
        for keyword, value in patient.items():
            setattr(study, keyword, value)
        acquisition = Acquisition(
            study=study,
            protocol=replace(PROTOCOLS[part], slices=slices),
            series_uid=make_uid("ai series", seed, part),
            frame_of_reference_uid=make_uid("ai frame", seed),
            series_number=2,
            station="CT1",
            institution="Hillside Community Hospital",
            started=datetime(2026, 3, 2, 10, 30),
            seed=seed,
        )
        uids = [make_uid("ai image", seed, part, number) for number in range(slices)]
        # Each of its own: they share the elements of the study.
        return [deepcopy(image) for image in acquire(acquisition, uids)]

    return take
