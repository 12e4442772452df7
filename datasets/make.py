"""Write the sample images of this folder: ``python datasets/make.py [FOLDER]``.

Everything is computed and nobody is shown. The same code writes the same bytes,
so the files can be made anew at any time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from labsim.ids import make_uid
from labsim.imaging.ct import PROTOCOLS, Acquisition, CtProtocol, acquire, request_attributes

_TAKEN = datetime(2026, 3, 2, 10, 30)
_SMALL = 128  # rows and columns
_THORAX = replace(PROTOCOLS["CHEST"], size=_SMALL, slices=5, top=10.0)
_THORAX_SLICE = replace(PROTOCOLS["CHEST"], size=_SMALL, slices=1, top=-20.0)
_HEAD_SLICE = replace(PROTOCOLS["HEAD"], size=_SMALL, slices=1, top=0.0)


def images() -> Iterator[tuple[str, FileDataset]]:
    """Yield every sample with the name of its file."""
    for number, image in enumerate(_series(1, "Vega^Carlos", "M", "CT thorax", _THORAX), start=1):
        yield f"thorax-{number}.dcm", image

    (head,) = _series(2, "Ivanova^Nadia", "F", "CT head", _HEAD_SLICE)
    head.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    yield "head-implicit.dcm", head

    (packed,) = _series(3, "Patel^Ravi", "M", "CT thorax", _THORAX_SLICE)
    # It is the same image, so it keeps its UID; pydicom's own encoder is always there.
    packed.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    yield "thorax-rle.dcm", packed

    name = "Nakamura^Hiroshi=中村^博=なかむら^ひろし"
    (named,) = _series(4, name, "M", "CT thorax", _THORAX_SLICE)
    yield "name-utf8.dcm", named


def main(folder: Path) -> None:
    """Write every sample into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images():
        image.save_as(folder / name, enforce_file_format=True)


def _series(
    number: int, name: str, sex: str, description: str, protocol: CtProtocol
) -> list[FileDataset]:
    acquisition = Acquisition(
        study=_study(number, name, sex, description),
        protocol=protocol,
        series_uid=make_uid("sample series", number),
        frame_of_reference_uid=make_uid("sample frame of reference", number),
        series_number=1,
        station="CT1",
        institution="Riverside Clinic",
        started=_TAKEN,
        seed=number,
    )
    uids = [make_uid("sample image", number, index) for index in range(protocol.slices)]
    return list(acquire(acquisition, uids))


def _study(number: int, name: str, sex: str, description: str) -> Dataset:
    study = Dataset()
    study.SpecificCharacterSet = "ISO_IR 192"
    study.PatientName = name
    study.PatientID = f"S{number:06d}"
    study.IssuerOfPatientID = "SAMPLES"
    study.PatientBirthDate = "19700131"
    study.PatientSex = sex
    study.AccessionNumber = f"S{number:07d}"
    study.ReferringPhysicianName = "Lindqvist^Greta"
    study.StudyInstanceUID = make_uid("sample study", number)
    study.StudyID = f"RP{number:06d}"
    study.StudyDescription = description
    study.StudyDate, study.StudyTime = _TAKEN.strftime("%Y%m%d"), _TAKEN.strftime("%H%M%S")
    study.PerformedProcedureStepID = f"SPS{number:06d}"
    study.RequestAttributesSequence = request_attributes(
        accession=str(study.AccessionNumber),
        procedure_id=str(study.StudyID),
        step_id=str(study.PerformedProcedureStepID),
        description=description,
    )
    return study


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
