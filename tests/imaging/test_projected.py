"""What holds for every protocol of radiography, mammography and ultrasound."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian

from labsim.errors import NotFound
from labsim.ids import make_uid
from labsim.imaging import cr, dx, mg, us
from labsim.imaging.common import Acquisition

Take = Callable[..., list[FileDataset]]
MODALITIES = (dx, cr, mg, us)
CASES = [
    pytest.param(modality, part, id=f"{modality.__name__.rpartition('.')[2]}-{part}")
    for modality in MODALITIES
    for part in modality.PROTOCOLS
]
BODIES = [case for case in CASES if "RIGHT" not in str(case.id) and case.id != "mg-SCREENING"]
ARTEFACTS = [
    pytest.param(modality, artefact, id=f"{modality.__name__.rpartition('.')[2]}-{artefact}")
    for modality in MODALITIES
    for artefact in modality.ARTEFACTS
]
# dciodvfy knows the defined terms of radiography only; mammography's own are CC, MLO and so on.
KNOWN = "defined term <CC> for value 1 of attribute <View Position>"


@pytest.mark.parametrize(("modality", "part"), CASES)
def test_an_image_is_valid(
    modality: ModuleType,
    part: str,
    take: Take,
    verdict: Callable[[FileDataset], list[str]],
) -> None:
    for image in take(modality, part):
        name, *remarks = verdict(image)
        assert "Image" in name  # it has seen what it is about
        assert [line for line in remarks if KNOWN not in line.replace("MLO", "CC")] == []


def test_the_judge_finds_what_is_wrong(
    take: Take, verdict: Callable[[FileDataset], list[str]]
) -> None:
    (good,) = take(dx, "HAND_LEFT")
    broken = deepcopy(good)
    del broken.ImagerPixelSpacing
    assert any(line.startswith("Error") for line in verdict(broken))


@pytest.mark.parametrize(("modality", "part"), CASES)
def test_each_image_has_a_uid_and_a_number_of_its_own(
    modality: ModuleType, part: str, take: Take
) -> None:
    images = take(modality, part)
    assert len(images) == modality.PROTOCOLS[part].images > 0
    uids = [make_uid("image", part, index) for index in range(len(images))]
    assert [image.SOPInstanceUID for image in images] == uids
    assert [image.InstanceNumber for image in images] == list(range(1, len(images) + 1))


@pytest.mark.parametrize(("modality", "part"), CASES)
def test_every_image_names_patient_study_and_order(
    modality: ModuleType, part: str, take: Take, acquisition: Callable[..., Acquisition[Any]]
) -> None:
    wanted = acquisition(modality, part)
    for image in take(modality, part):
        for element in wanted.study:
            assert image[element.tag] == element
        assert image.SeriesInstanceUID == wanted.series_uid
        assert image.BodyPartExamined == wanted.protocol.body_part


@pytest.mark.parametrize(("modality", "part"), CASES)
def test_an_image_is_the_same_after_it_was_written(
    modality: ModuleType, part: str, take: Take, tmp_path: Path
) -> None:
    image, path = take(modality, part)[-1], tmp_path / "image.dcm"
    image.save_as(path, enforce_file_format=True)
    again = dcmread(path)
    assert again == image
    assert again.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert again.file_meta.MediaStorageSOPClassUID == image.SOPClassUID


@pytest.mark.parametrize(("modality", "part"), CASES)
def test_pixels_fill_the_bits_that_are_declared_and_no_more(
    modality: ModuleType, part: str, take: Take
) -> None:
    for image in take(modality, part):
        pixels = image.pixel_array
        assert image.HighBit == image.BitsStored - 1
        assert pixels.max() < 2**image.BitsStored
        assert np.ptp(pixels) > 0.8 * 2**image.BitsStored


@pytest.mark.parametrize(("modality", "part"), CASES)
def test_numbers_fit_into_sixteen_characters(modality: ModuleType, part: str, take: Take) -> None:
    for element in take(modality, part)[0].iterall():
        if element.VR == "DS" and element.value is not None:
            values = element.value if element.VM > 1 else [element.value]
            assert all(len(str(value)) <= 16 for value in values)


@pytest.mark.parametrize(("modality", "part"), BODIES)
def test_the_same_seed_gives_the_same_image_and_another_seed_another(
    modality: ModuleType, part: str, take: Take, acquisition: Callable[..., Acquisition[Any]]
) -> None:
    uid = [make_uid("image", part, 0)]
    (again,) = modality.acquire(acquisition(modality, part), uid)
    (other,) = modality.acquire(acquisition(modality, part, seed=7002), uid)
    first = take(modality, part)[0]
    assert again == first
    assert other.PixelData != first.PixelData


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_artefact_that_is_unknown_is_refused(
    modality: ModuleType, acquisition: Callable[..., Acquisition[Any]]
) -> None:
    part = next(iter(modality.PROTOCOLS))
    with pytest.raises(NotFound):
        list(modality.acquire(acquisition(modality, part, artefact="gremlins"), ["1.2.3"]))


@pytest.mark.parametrize(("modality", "artefact"), ARTEFACTS)
def test_an_artefact_changes_the_picture_and_leaves_it_valid(
    modality: ModuleType,
    artefact: str,
    take: Take,
    verdict: Callable[[FileDataset], list[str]],
) -> None:
    part = "LEFT" if modality is mg else next(iter(modality.PROTOCOLS))
    good, bad = take(modality, part)[-1], take(modality, part, artefact=artefact)[-1]
    difference = bad.pixel_array.astype(int) - good.pixel_array
    assert np.count_nonzero(abs(difference) > 0.05 * 2**good.BitsStored) > 50
    assert not any(line.startswith("Error") for line in verdict(bad))
