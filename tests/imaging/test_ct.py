"""CT images: valid, in their place, and the same for the same seed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from labsim.errors import NotFound
from labsim.ids import is_uid, make_uid
from labsim.imaging.ct import (
    ARTEFACTS,
    PROTOCOLS,
    STUDIES,
    Acquisition,
    CtProtocol,
    acquire,
    request_attributes,
)

PARTS = sorted(PROTOCOLS)
AXIAL = [part for part in PARTS if not PROTOCOLS[part].localizer]


def order() -> Dataset:
    """Return what a worklist entry gives an image."""
    study = Dataset()
    study.SpecificCharacterSet = "ISO_IR 192"
    study.PatientName, study.PatientID = "Møller^Åse", "P000001"
    study.IssuerOfPatientID = "RIVERSIDE"
    study.PatientBirthDate, study.PatientSex = "19700102", "F"
    study.AccessionNumber, study.ReferringPhysicianName = "A0000001", "Lindqvist^Greta"
    study.StudyInstanceUID, study.StudyID = make_uid("study", 1), "RP000001"
    study.StudyDescription = "CT"
    study.StudyDate, study.StudyTime = "20260301", "080000"
    study.RequestAttributesSequence = request_attributes(
        accession="A0000001", procedure_id="RP000001", step_id="SPS000001", description="CT"
    )
    study.PerformedProcedureStepID = "SPS000001"
    return study


def acquisition(part: str, seed: int = 7001) -> Acquisition:
    return Acquisition(
        study=order(),
        protocol=PROTOCOLS[part],
        series_uid=make_uid("series", part),
        frame_of_reference_uid=make_uid("frame", PROTOCOLS[part].body_part),
        series_number=1,
        station="CT1",
        institution="Riverside Clinic",
        started=datetime(2026, 3, 1, 8, 5),
        seed=seed,
    )


def scanned(wanted: Acquisition, slices: int | None = None) -> list[FileDataset]:
    count = wanted.protocol.slices if slices is None else slices
    return list(acquire(wanted, image_uids(wanted.series_uid, count)))


def image_uids(series_uid: str, count: int) -> list[str]:
    return [make_uid("image", series_uid, index) for index in range(count)]


@pytest.fixture(scope="module")
def series() -> dict[str, list[FileDataset]]:
    """One whole series of each protocol."""
    return {part: scanned(acquisition(part)) for part in PARTS}


def hounsfield(image: Dataset) -> NDArray[np.float64]:
    return np.asarray(image.pixel_array * image.RescaleSlope + image.RescaleIntercept)


def mean_at(image: Dataset, x: float, y: float) -> float:
    """Return the mean HU around a point of the patient, found as a viewer finds it."""
    first, spacing = image.ImagePositionPatient, image.PixelSpacing
    column, row = round((x - first[0]) / spacing[1]), round((y - first[1]) / spacing[0])
    return float(hounsfield(image)[row - 2 : row + 3, column - 2 : column + 3].mean())


def slice_at(images: list[FileDataset], z: float) -> FileDataset:
    return min(images, key=lambda image: abs(image.ImagePositionPatient[2] - z))


# Validity


@pytest.mark.parametrize("part", PARTS)
def test_an_image_is_valid(
    series: dict[str, list[FileDataset]],
    part: str,
    tmp_path: Path,
    peer: Callable[[str], Path],
) -> None:
    for image in (series[part][0], series[part][-1]):
        path = tmp_path / "image.dcm"
        image.save_as(path, enforce_file_format=True)
        report = _run(peer("dciodvfy"), path)
        assert "CTImage" in report  # it has seen what it is about
        assert [line for line in report.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("part", PARTS)
def test_the_images_of_a_series_agree_with_each_other(
    series: dict[str, list[FileDataset]],
    part: str,
    tmp_path: Path,
    peer: Callable[[str], Path],
) -> None:
    paths = [tmp_path / f"{image.InstanceNumber}.dcm" for image in series[part]]
    for image, path in zip(series[part], paths, strict=True):
        image.save_as(path, enforce_file_format=True)
    report = _run(peer("dcentvfy"), *paths)
    assert [line for line in report.splitlines() if line.startswith("Error")] == []


def test_the_judges_find_what_is_wrong(
    series: dict[str, list[FileDataset]], tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    good, bad = tmp_path / "good.dcm", tmp_path / "bad.dcm"
    series["HEAD"][0].save_as(good, enforce_file_format=True)
    broken = dcmread(good)
    del broken.PixelSpacing
    broken.SeriesNumber = 99
    broken.SOPInstanceUID = broken.file_meta.MediaStorageSOPInstanceUID = make_uid("bad")
    broken.save_as(bad, enforce_file_format=True)
    assert "Error" in _run(peer("dciodvfy"), bad)
    assert "Error" in _run(peer("dcentvfy"), good, bad)


def _run(*command: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("part", PARTS)
def test_an_image_is_the_same_after_it_was_written(
    series: dict[str, list[FileDataset]], part: str, tmp_path: Path
) -> None:
    path = tmp_path / "image.dcm"
    image = series[part][0]
    image.save_as(path, enforce_file_format=True)
    again = dcmread(path)
    assert again == image
    assert again.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert again.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
    assert again.file_meta.MediaStorageSOPClassUID == image.SOPClassUID == CTImageStorage


# Identity


@pytest.mark.parametrize("part", PARTS)
def test_each_image_has_a_uid_and_a_number_of_its_own(
    series: dict[str, list[FileDataset]], part: str
) -> None:
    images = series[part]
    expected = image_uids(make_uid("series", part), PROTOCOLS[part].slices)
    assert [image.SOPInstanceUID for image in images] == expected
    assert [image.InstanceNumber for image in images] == list(range(1, len(images) + 1))
    assert is_uid(images[0].file_meta.ImplementationClassUID)


def test_every_image_names_patient_study_and_order(
    series: dict[str, list[FileDataset]],
) -> None:
    for image in series["CHEST"]:
        for element in order():
            assert image[element.tag] == element
        assert image.RequestAttributesSequence[0].AccessionNumber == "A0000001"
        assert image.BodyPartExamined == "CHEST"


@pytest.mark.parametrize("part", AXIAL)
def test_what_a_series_shares_is_the_same_in_each_image(
    series: dict[str, list[FileDataset]], part: str
) -> None:
    for keyword in (
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "Rows",
        "Columns",
        "RescaleIntercept",
    ):
        assert len({str(image[keyword].value) for image in series[part]}) == 1


# Geometry


@pytest.mark.parametrize("part", AXIAL)
def test_slices_follow_each_other_at_equal_distance_towards_the_feet(
    series: dict[str, list[FileDataset]], part: str
) -> None:
    positions = np.array([image.ImagePositionPatient for image in series[part]], dtype=float)
    steps = np.diff(positions, axis=0)
    expected = [0, 0, -float(series[part][0].SpacingBetweenSlices)]
    assert np.allclose(steps, expected)
    assert [image.SliceLocation for image in series[part]] == list(positions[:, 2])


@pytest.mark.parametrize("part", AXIAL)
def test_the_image_covers_its_field_of_view_around_the_middle(
    series: dict[str, list[FileDataset]], part: str
) -> None:
    image = series[part][0]
    width = image.PixelSpacing[0] * image.Rows
    assert width == pytest.approx(image.ReconstructionDiameter, abs=0.01)
    last = image.ImagePositionPatient[0] + (image.Columns - 1) * image.PixelSpacing[1]
    assert last == pytest.approx(-image.ImagePositionPatient[0], abs=1e-3)


@pytest.mark.parametrize("part", PARTS)
def test_numbers_fit_into_sixteen_characters(
    series: dict[str, list[FileDataset]], part: str
) -> None:
    for element in series[part][-1].iterall():
        if element.VR == "DS":
            values = element.value if element.VM > 1 else [element.value]
            assert all(len(str(value)) <= 16 for value in values)


# Pixels


def test_a_chest_shows_lung_muscle_bone_and_air_where_they_belong(
    series: dict[str, list[FileDataset]],
) -> None:
    middle = slice_at(series["CHEST"], -20)
    assert hounsfield(middle)[:20, :20].mean() == pytest.approx(-1000, abs=4)  # air
    assert -950 < mean_at(middle, -100, -20) < -700
    assert 20 < mean_at(middle, 24, 44) < 70  # blood
    assert mean_at(middle, 0, 64) > 100  # bone
    low = slice_at(series["CHEST"], -60)
    assert mean_at(low, 65, -25) > 0 > mean_at(low, -65, -25)  # the heart is on the left


def test_a_head_shows_brain_skull_and_air_where_they_belong(
    series: dict[str, list[FileDataset]],
) -> None:
    middle = slice_at(series["HEAD"], 0)
    assert hounsfield(middle)[:20, :20].mean() == pytest.approx(-1000, abs=4)  # air
    assert 15 < mean_at(middle, 50, 30) < 50
    assert hounsfield(middle).max() > 700


@pytest.mark.parametrize("part", PARTS)
def test_pixels_fit_into_the_bits_that_are_declared(
    series: dict[str, list[FileDataset]], part: str
) -> None:
    for image in series[part]:
        assert len(image.PixelData) == image.Rows * image.Columns * 2
        assert image.pixel_array.max() < 2**image.BitsStored
        assert image.HighBit == image.BitsStored - 1


@pytest.mark.parametrize("part", AXIAL)
def test_the_first_window_shows_the_organ(series: dict[str, list[FileDataset]], part: str) -> None:
    image = slice_at(series[part], 0)
    windows = len(image.WindowCenter), len(image.WindowWidth)
    assert windows == (len(image.WindowCenterWidthExplanation),) * 2
    low = image.WindowCenter[0] - image.WindowWidth[0] / 2
    pixels = hounsfield(image)
    shown = (pixels > low) & (pixels < low + image.WindowWidth[0])
    assert shown.mean() > 0.1


# Seeds


@pytest.mark.parametrize("part", ["CHEST", "HEAD"])
def test_the_same_seed_gives_the_same_bytes(part: str, tmp_path: Path) -> None:
    files = []
    for number in range(2):
        path = tmp_path / f"{number}.dcm"
        scanned(acquisition(part), 1)[0].save_as(path, enforce_file_format=True)
        files.append(path.read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("part", ["CHEST", "HEAD"])
def test_another_seed_gives_another_patient(part: str) -> None:
    first, other = (scanned(acquisition(part, seed), 1)[0] for seed in (1, 2))
    assert first.PixelData != other.PixelData


def test_a_second_series_is_the_same_patient_with_other_noise() -> None:
    first = acquisition("CHEST")
    pixels = [hounsfield(scanned(one, 1)[0]) for one in (first, replace(first, series_number=2))]
    difference = pixels[0] - pixels[1]
    assert difference.any()
    assert abs(difference).max() < 10 * first.protocol.noise


def test_noise_differs_from_slice_to_slice(series: dict[str, list[FileDataset]]) -> None:
    corners = [hounsfield(image)[:20, :20] for image in series["HEAD"][:2]]
    assert not np.array_equal(*corners)


def test_fewer_images_than_the_protocol_has_are_the_first_ones(
    series: dict[str, list[FileDataset]],
) -> None:
    few = scanned(acquisition("HEAD"), 2)
    whole = series["HEAD"][:2]
    assert [image.SOPInstanceUID for image in few] == [image.SOPInstanceUID for image in whole]
    assert [image.PixelData for image in few] == [image.PixelData for image in whole]


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS.keys())
def test_a_protocol_is_one_that_a_scanner_could_have(protocol: CtProtocol) -> None:
    assert 70 <= protocol.kvp <= 150
    assert all(width > 0 for _, _, width in protocol.windows)


# Studies of several series


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_planned_on_a_localizer_of_the_same_place(study: str) -> None:
    localizer, *others = (PROTOCOLS[key] for key in STUDIES[study])
    assert localizer.localizer
    for protocol in others:
        assert (protocol.body_part, protocol.localizer) == (study, False)
        last = protocol.top - (protocol.slices - 1) * protocol.thickness
        assert localizer.top > protocol.top
        assert last > localizer.top - localizer.field_of_view


def test_every_protocol_is_part_of_a_study() -> None:
    assert sorted(key for keys in STUDIES.values() for key in keys) == PARTS


@pytest.mark.parametrize("study", STUDIES)
def test_the_series_of_a_study_agree_with_each_other(
    series: dict[str, list[FileDataset]],
    study: str,
    tmp_path: Path,
    peer: Callable[[str], Path],
) -> None:
    paths = []
    for key in STUDIES[study]:
        for image in series[key]:
            paths.append(tmp_path / f"{key}-{image.InstanceNumber}.dcm")
            image.save_as(paths[-1], enforce_file_format=True)
    report = _run(peer("dcentvfy"), *paths)
    assert [line for line in report.splitlines() if line.startswith("Error")] == []


def test_two_kernels_show_the_same_slices(series: dict[str, list[FileDataset]]) -> None:
    for soft, sharp in (("CHEST", "CHEST_LUNG"), ("HEAD", "HEAD_BONE")):
        for one, other in zip(series[soft], series[sharp], strict=True):
            assert one.ImagePositionPatient == other.ImagePositionPatient
            assert one.PixelSpacing == other.PixelSpacing
            assert one.ConvolutionKernel != other.ConvolutionKernel
            assert one.WindowCenterWidthExplanation[0] != other.WindowCenterWidthExplanation[0]


def test_a_sharp_kernel_is_noisier(series: dict[str, list[FileDataset]]) -> None:
    for soft, sharp, x, y in (("CHEST", "CHEST_LUNG", 24, 44), ("HEAD", "HEAD_BONE", 40, 40)):
        grain = [deviation_at(slice_at(series[key], 0), x, y) for key in (soft, sharp)]
        assert grain[1] > 2 * grain[0]


def test_a_sharp_kernel_has_steep_edges(series: dict[str, list[FileDataset]]) -> None:
    for soft, sharp in (("CHEST", "CHEST_LUNG"), ("HEAD", "HEAD_BONE")):
        steps = [
            np.abs(np.diff(hounsfield(slice_at(series[key], 0)), axis=0)) for key in (soft, sharp)
        ]
        assert np.percentile(steps[1], 99.5) > 1.15 * np.percentile(steps[0], 99.5)


def deviation_at(image: Dataset, x: float, y: float) -> float:
    """Return the standard deviation of what ought to be even tissue."""
    first, spacing = image.ImagePositionPatient[0], image.PixelSpacing[0]
    column, row = round((x - first) / spacing), round((y - first) / spacing)
    return float(hounsfield(image)[row - 4 : row + 5, column - 4 : column + 5].std())


# Localizers


def grey_at(image: Dataset, point: tuple[float, float, float]) -> float:
    """Return the mean grey around a point of the patient on a localizer."""
    first = np.array(image.ImagePositionPatient, dtype=float)
    cosines = np.array(image.ImageOrientationPatient, dtype=float)
    offset = (np.array(point) - first) / float(image.PixelSpacing[0])
    column, row = round(np.dot(offset, cosines[:3])), round(np.dot(offset, cosines[3:]))
    assert min(row, column) >= 2  # else Python would count from the other edge
    return float(hounsfield(image)[row - 2 : row + 3, column - 2 : column + 3].mean())


def test_a_localizer_says_so_and_claims_no_hounsfield_units(
    series: dict[str, list[FileDataset]],
) -> None:
    for key, images in series.items():
        expected = ("LOCALIZER", "US") if PROTOCOLS[key].localizer else ("AXIAL", "HU")
        assert {(image.ImageType[2], image.RescaleType) for image in images} == {expected}


def test_the_localizer_of_a_thorax_shows_heart_and_liver_on_their_sides(
    series: dict[str, list[FileDataset]],
) -> None:
    front, left = series["CHEST_LOCALIZER"]
    assert list(front.ImageOrientationPatient) == [1, 0, 0, 0, 0, -1]
    assert grey_at(front, (60, 0, -55)) > grey_at(front, (-60, 0, -55)) + 100  # heart
    assert grey_at(front, (-70, 0, -110)) > grey_at(front, (-70, 0, -20)) + 150  # liver, lung
    assert list(left.ImageOrientationPatient) == [0, 1, 0, 0, 0, -1]
    assert grey_at(left, (0, 64, 0)) > grey_at(left, (0, -160, 0)) + 500  # spine, and air


def test_the_localizer_of_a_head_shows_the_face_in_front(
    series: dict[str, list[FileDataset]],
) -> None:
    front, left = series["HEAD_LOCALIZER"]
    assert grey_at(left, (0, -80, -95)) > grey_at(left, (0, 95, -95)) + 300
    for image in (front, left):
        assert grey_at(image, (0, 0, 0)) > 0  # the skull
        assert grey_at(image, (0, 0, 102)) < -900  # above it


def test_the_localizer_of_an_abdomen_shows_ribs_no_less_than_a_slice_does(
    series: dict[str, list[FileDataset]],
) -> None:
    front, left = series["ABDOMEN_LOCALIZER"]
    assert grey_at(front, (0, 0, 0)) > grey_at(front, (40, 0, 0)) + 50  # spine
    assert grey_at(left, (0, -58, 66)) < grey_at(left, (0, -20, 66))  # air in the stomach


# Contrast medium and artefacts


def test_contrast_medium_is_named_where_it_was_given(
    series: dict[str, list[FileDataset]],
) -> None:
    assert all(image.ContrastBolusAgent for image in series["ABDOMEN"])
    assert not any("ContrastBolusAgent" in image for image in series["CHEST"])
    middle = slice_at(series["ABDOMEN"], -20)
    assert mean_at(middle, 5, 25) > 130  # aorta
    assert mean_at(slice_at(series["ABDOMEN"], 60), -90, 20) > 90  # liver


def test_rings_lie_around_the_middle_and_change_nothing_else(
    series: dict[str, list[FileDataset]],
) -> None:
    good = slice_at(series["HEAD"], 70)
    (bad,) = scanned(replace(acquisition("HEAD"), artefact="ring"), 1)
    difference = hounsfield(bad) - hounsfield(good)
    x = (np.arange(256) - 127.5) / 256
    away = np.hypot(x[np.newaxis, :], x[:, np.newaxis])
    assert np.abs(difference[np.abs(away - 0.06) < 0.002]).mean() > 3 * PROTOCOLS["HEAD"].noise
    assert np.abs(difference[away > 0.3]).max() <= 1


def test_motion_doubles_the_contours(series: dict[str, list[FileDataset]]) -> None:
    good = series["CHEST"][1]
    bad = scanned(replace(acquisition("CHEST"), artefact="motion"), 2)[1]
    inside, outside = ((hounsfield(good) > -200), (hounsfield(good) < -900))
    shadow = (hounsfield(bad) > -650) & outside
    assert shadow.sum() > 300  # a second contour beside the first
    assert hounsfield(bad)[inside].mean() < hounsfield(good)[inside].mean() - 50


def test_only_what_can_go_wrong_can_be_asked_for() -> None:
    assert set(ARTEFACTS) == {"motion", "ring"}
    with pytest.raises(NotFound, match=r"'wrap'.*motion, ring"):
        scanned(replace(acquisition("HEAD"), artefact="wrap"), 1)
