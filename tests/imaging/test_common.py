"""What all images share: pixels of every depth, sides, artefacts that are known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from labsim.errors import NotFound
from labsim.ids import make_uid
from labsim.imaging.common import (
    Acquisition,
    add_image,
    add_pixels,
    add_series,
    check_artefact,
    new_image,
    number,
)


@dataclass(frozen=True)
class Photo:
    name: str = "Photo"
    body_part: str = "HAND"
    series_description: str = "A photo"
    images: int = 1


def acquisition(artefact: str = "") -> Acquisition[Photo]:
    study = Dataset()
    study.PatientID = "P1"
    return Acquisition(
        study=study,
        protocol=Photo(),
        series_uid=make_uid("series"),
        frame_of_reference_uid=make_uid("frame"),
        series_number=3,
        station="X1",
        institution="Clinic",
        started=datetime(2026, 3, 1, 8, 5, 9),
        seed=1,
        artefact=artefact,
    )


def test_a_new_image_says_what_it_is_in_file_and_data_set() -> None:
    uid = make_uid("image")
    image = new_image(acquisition(), SecondaryCaptureImageStorage, uid)
    assert image.file_meta.MediaStorageSOPClassUID == image.SOPClassUID
    assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID == uid
    assert image.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert image.PatientID == "P1"


def test_images_of_one_study_do_not_share_their_data_sets() -> None:
    one, other = (new_image(acquisition(), SecondaryCaptureImageStorage, "1.2") for _ in "ab")
    one.PatientID = "P2"
    assert other.PatientID == "P1"


@pytest.mark.parametrize(
    ("bits", "allocated", "expected"), [(8, 8, "OB"), (12, 16, "OW"), (16, 16, "OW")]
)
def test_pixels_come_back_as_they_went_in(bits: int, allocated: int, expected: str) -> None:
    image = new_image(acquisition(), SecondaryCaptureImageStorage, "1.2")
    stored = np.arange(15).reshape(3, 5) + 2**bits - 15
    add_pixels(image, stored, bits)
    assert np.array_equal(image.pixel_array, stored)
    element = image["PixelData"]
    found = (element.VR, image.BitsAllocated, image.BitsStored)
    assert found == (expected, allocated, bits)
    assert len(image.PixelData) % 2 == 0  # PS3.5 8: an even number of bytes, always


def test_a_series_has_a_side_and_a_position_only_where_it_is_told() -> None:
    plain, sided = Dataset(), Dataset()
    add_series(plain, acquisition(), "OT")
    add_series(sided, acquisition(), "MR", position="FFS", laterality="R")
    assert "Laterality" not in plain
    assert "PatientPosition" not in plain
    assert (sided.Laterality, sided.PatientPosition) == ("R", "FFS")
    assert (sided.SeriesNumber, sided.SeriesTime) == (3, "080509")
    assert (sided.BodyPartExamined, sided.SeriesDescription) == ("HAND", "A photo")


def test_images_are_counted_from_one() -> None:
    image = Dataset()
    add_image(image, acquisition(), 4, ("ORIGINAL", "PRIMARY"))
    assert image.InstanceNumber == 5
    assert image.ImageType == ["ORIGINAL", "PRIMARY"]


def test_only_an_artefact_that_is_known_can_be_asked_for() -> None:
    known = {"motion": "ghosts", "wrap": "folds"}
    check_artefact(acquisition(), known)
    check_artefact(acquisition("wrap"), known)
    with pytest.raises(NotFound, match=r"'rings'.*motion, wrap"):
        check_artefact(acquisition("rings"), known)


@pytest.mark.parametrize(
    ("value", "written"), [(1 / 3, "0.333333"), (-189.2578125, "-189.258"), (5.0, "5")]
)
def test_decimal_strings_are_short(value: float, written: str) -> None:
    assert number(value) == written
