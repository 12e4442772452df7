"""MR images: valid, in their place, weighted as asked, and wrong only where it is asked for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from labsim.errors import NotFound
from labsim.ids import make_uid
from labsim.imaging.common import Acquisition, request_attributes
from labsim.imaging.mr import ARTEFACTS, PROTOCOLS, STUDIES, MrProtocol, acquire

KEYS = sorted(PROTOCOLS)
STACKS = [key for key in KEYS if len(PROTOCOLS[key].views) == 1]
Series = Callable[[str], list[FileDataset]]
Pixels = NDArray[Any]


def order() -> Dataset:
    """Return what a worklist entry gives an image."""
    study = Dataset()
    study.SpecificCharacterSet = "ISO_IR 192"
    study.PatientName, study.PatientID = "Møller^Åse", "P000001"
    study.IssuerOfPatientID = "RIVERSIDE"
    study.PatientBirthDate, study.PatientSex = "19700102", "F"
    study.AccessionNumber, study.ReferringPhysicianName = "A0000001", "Lindqvist^Greta"
    study.StudyInstanceUID, study.StudyID = make_uid("study", 1), "RP000001"
    study.StudyDescription = "MR"
    study.StudyDate, study.StudyTime = "20260301", "080000"
    study.RequestAttributesSequence = request_attributes(
        accession="A0000001", procedure_id="RP000001", step_id="SPS000001", description="MR"
    )
    study.PerformedProcedureStepID = "SPS000001"
    return study


def acquisition(key: str, seed: int = 7001, artefact: str = "") -> Acquisition[MrProtocol]:
    return Acquisition(
        study=order(),
        protocol=PROTOCOLS[key],
        series_uid=make_uid("series", key),
        frame_of_reference_uid=make_uid("frame", key.partition("_")[0]),
        series_number=1,
        station="MR1",
        institution="Riverside Clinic",
        started=datetime(2026, 3, 1, 8, 5),
        seed=seed,
        artefact=artefact,
    )


def taken(wanted: Acquisition[MrProtocol], count: int | None = None) -> list[FileDataset]:
    images = wanted.protocol.images if count is None else count
    uids = [make_uid(wanted.protocol.series_description, index) for index in range(images)]
    return list(acquire(wanted, uids))


@pytest.fixture(scope="module")
def series() -> Series:
    """One whole series of a protocol, made when it is first asked for."""
    made: dict[str, list[FileDataset]] = {}

    def get(key: str) -> list[FileDataset]:
        if key not in made:
            made[key] = taken(acquisition(key))
        return made[key]

    return get


def mean_at(image: Dataset, point: tuple[float, float, float], reach: int = 2) -> float:
    """Return the mean around a point of the patient, found as a viewer finds it."""
    first = np.array(image.ImagePositionPatient, dtype=float)
    cosines = np.array(image.ImageOrientationPatient, dtype=float)
    offset = np.array(point) - first
    column = round(np.dot(offset, cosines[:3]) / image.PixelSpacing[1])
    row = round(np.dot(offset, cosines[3:]) / image.PixelSpacing[0])
    assert min(row, column) >= reach  # else Python would count from the other edge
    around = image.pixel_array[row - reach : row + reach + 1, column - reach : column + reach + 1]
    return float(around.mean())


def dark_at(image: Dataset, point: tuple[float, float, float]) -> float:
    """Return how much around a point gives no signal."""
    first, spacing = image.ImagePositionPatient, float(image.PixelSpacing[0])
    column, row = round((point[0] - first[0]) / spacing), round((first[2] - point[2]) / spacing)
    return float((image.pixel_array[row - 10 : row + 11, column - 14 : column + 15] < 250).mean())


def slice_at(images: list[FileDataset], place: float) -> FileDataset:
    return min(images, key=lambda image: abs(image.SliceLocation - place))


# Validity


@pytest.mark.parametrize("key", KEYS)
def test_an_image_is_valid(
    series: Series, key: str, tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    for image in (series(key)[0], series(key)[-1]):
        path = tmp_path / "image.dcm"
        image.save_as(path, enforce_file_format=True)
        report = _run(peer("dciodvfy"), path).splitlines()
        assert report == ["MRImage"]  # neither errors nor warnings


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_an_image_with_an_artefact_is_valid(
    tmp_path: Path, peer: Callable[[str], Path], artefact: str
) -> None:
    path = tmp_path / "image.dcm"
    (image,) = taken(acquisition("LSPINE", artefact=artefact), 1)
    image.save_as(path, enforce_file_format=True)
    assert _run(peer("dciodvfy"), path).splitlines() == ["MRImage"]


@pytest.mark.parametrize("study", STUDIES)
def test_the_images_of_a_study_agree_with_each_other(
    series: Series, study: str, tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    paths = []
    for key in STUDIES[study]:
        for image in series(key):
            paths.append(tmp_path / f"{key}-{image.InstanceNumber}.dcm")
            image.save_as(paths[-1], enforce_file_format=True)
    report = _run(peer("dcentvfy"), *paths)
    assert [line for line in report.splitlines() if line.startswith("Error")] == []


def _run(*command: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_an_image_is_the_same_after_it_was_written(series: Series, tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    image = series("HEAD_FLAIR")[0]
    image.save_as(path, enforce_file_format=True)
    again = dcmread(path)
    assert again == image
    assert again.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert again.file_meta.MediaStorageSOPClassUID == image.SOPClassUID == MRImageStorage


# Identity


@pytest.mark.parametrize("key", KEYS)
def test_a_series_has_as_many_images_as_its_protocol_says(series: Series, key: str) -> None:
    images = series(key)
    assert len(images) == PROTOCOLS[key].images
    assert [image.InstanceNumber for image in images] == list(range(1, len(images) + 1))
    assert len({image.SOPInstanceUID for image in images}) == len(images)


def test_every_image_names_patient_study_and_order(series: Series) -> None:
    for image in series("LSPINE"):
        for element in order():
            assert image[element.tag] == element
        assert (image.Modality, image.BodyPartExamined) == ("MR", "LSPINE")


def test_a_study_begins_with_a_localizer_in_three_planes() -> None:
    for keys in STUDIES.values():
        assert set(PROTOCOLS[keys[0]].views) == {"SAGITTAL", "CORONAL", "AXIAL"}
        assert len({PROTOCOLS[key].body_part for key in keys}) == 1
        assert len({PROTOCOLS[key].laterality for key in keys}) == 1
    assert sorted(key for keys in STUDIES.values() for key in keys) == KEYS


# Geometry


@pytest.mark.parametrize("key", STACKS)
def test_slices_lie_one_behind_the_other(series: Series, key: str) -> None:
    images, protocol = series(key), PROTOCOLS[key]
    positions = np.array([image.ImagePositionPatient for image in images], dtype=float)
    cosines = np.array(images[0].ImageOrientationPatient, dtype=float)
    normal = np.abs(np.cross(cosines[:3], cosines[3:]))
    assert np.allclose(np.diff(positions, axis=0), normal * protocol.distance, atol=1e-3)
    assert len({str(image.ImageOrientationPatient) for image in images}) == 1
    assert images[0].SpacingBetweenSlices >= images[0].SliceThickness


@pytest.mark.parametrize(
    ("key", "cosines", "letters"),
    [
        ("HEAD_T2", [1, 0, 0, 0, 1, 0], ["L", "P"]),
        ("HEAD_T1_SAG", [0, 1, 0, 0, 0, -1], ["P", "F"]),
        ("KNEE_LEFT_COR", [1, 0, 0, 0, 0, -1], ["L", "F"]),
    ],
)
def test_orientation_is_said_in_numbers_and_in_letters(
    series: Series, key: str, cosines: list[int], letters: list[str]
) -> None:
    image = series(key)[0]
    assert list(image.ImageOrientationPatient) == cosines
    assert list(image.PatientOrientation) == letters


def test_the_localizer_shows_one_point_three_times(series: Series) -> None:
    images = series("HEAD_LOCALIZER")
    values = [mean_at(image, (0, 14, -60), reach=1) for image in images[:2]]  # medulla
    assert len({str(image.ImageOrientationPatient) for image in images}) == 3
    assert values[0] == pytest.approx(values[1], rel=0.3)


@pytest.mark.parametrize("key", KEYS)
def test_pixels_fit_into_the_bits_that_are_declared(series: Series, key: str) -> None:
    for image in series(key):
        assert len(image.PixelData) == image.Rows * image.Columns * 2
        assert image.pixel_array.max() < 2**image.BitsStored
        assert image.pixel_array.max() > 2**9


# Sequences


def test_what_a_sequence_is_stands_in_the_header(series: Series) -> None:
    flair, scout, knee = (series(key)[0] for key in ("HEAD_FLAIR", "HEAD_LOCALIZER", "KNEE_LEFT"))
    assert list(flair.ScanningSequence) == ["SE", "IR"]
    assert flair.InversionTime == 2450
    assert (scout.ScanningSequence, "InversionTime" in scout) == ("GR", False)
    assert (knee.RepetitionTime, knee.EchoTime, knee.EchoTrainLength) == (3000, 28, 7)
    assert {image.MRAcquisitionType for image in (flair, scout, knee)} == {"2D"}


@pytest.mark.parametrize("key", KEYS)
def test_the_acquisition_matrix_agrees_with_the_phase_direction(series: Series, key: str) -> None:
    image = series(key)[0]
    frequency = image.AcquisitionMatrix[:2]
    assert list(map(bool, frequency)) == (
        [True, False] if image.InPlanePhaseEncodingDirection == "ROW" else [False, True]
    )
    assert max(image.AcquisitionMatrix[2:]) == image.NumberOfPhaseEncodingSteps


def test_water_is_dark_in_t1_bright_in_t2_and_gone_in_flair(series: Series) -> None:
    ventricle, white = (20.0, 34.0, 8.0), (26.0, -36.0, 38.0)
    ratios = []
    for key in ("HEAD_T1", "HEAD_T2", "HEAD_FLAIR"):
        water = mean_at(slice_at(series(key), 8), ventricle, reach=1)
        ratios.append(water / mean_at(slice_at(series(key), 38), white))
    assert ratios[0] < 0.6
    assert ratios[1] > 1.8
    assert ratios[2] < 0.3


def test_the_spine_lies_behind_and_its_coil_too(series: Series) -> None:
    middle = slice_at(series("LSPINE"), 0)
    assert mean_at(middle, (0, 26, 0)) > 2 * mean_at(middle, (0, -6, 3))  # water, marrow
    assert mean_at(middle, (0, 100, -60)) > 2 * mean_at(middle, (0, -100, -60))


def test_air_holds_the_noise_of_a_magnitude(series: Series) -> None:
    corner = series("HEAD_T2")[5].pixel_array[:30, :30]
    noise = 1800 * PROTOCOLS["HEAD_T2"].noise
    assert corner.mean() == pytest.approx(noise * np.sqrt(np.pi / 2), rel=0.1)


# Sides


@pytest.mark.parametrize(("key", "side"), [("KNEE_LEFT", 1), ("KNEE_RIGHT", -1)])
def test_a_knee_is_on_its_side_of_the_body_in_picture_and_header(
    series: Series, key: str, side: int
) -> None:
    letter = "L" if side > 0 else "R"
    for name in STUDIES[key]:
        for image in series(name):
            assert (image.Laterality, image.PatientPosition) == (letter, "FFS")
            assert image.SeriesDescription.endswith(f"_{letter}")
    coronal = slice_at(series(f"{key}_COR"), 19)
    fibula, other = (dark_at(coronal, (side * (95 + x), 19.0, -50.0)) for x in (35, -35))
    assert fibula > 0.1 > other  # the cortex of the bone
    # Each in its own slice of the sagittal stack, counted from the right side of the patient.
    sagittal = series(key)
    outside = sagittal[-2 if side > 0 else 1]
    assert side * outside.SliceLocation > 95
    assert mean_at(outside, (outside.SliceLocation, 19, -50)) > 400


def test_a_head_has_no_side(series: Series) -> None:
    assert "Laterality" not in series("HEAD_T2")[0]


# Seeds and artefacts


@pytest.mark.parametrize("key", ["HEAD_T2", "KNEE_RIGHT", "LSPINE"])
def test_the_same_seed_gives_the_same_bytes_and_another_another_patient(key: str) -> None:
    one, same, other = (taken(acquisition(key, seed), 1)[0] for seed in (1, 1, 2))
    assert one.PixelData == same.PixelData
    assert one.PixelData != other.PixelData


def test_fewer_images_than_the_protocol_has_are_the_first_ones(series: Series) -> None:
    few = taken(acquisition("HEAD_T2"), 2)
    assert [image.PixelData for image in few] == [
        image.PixelData for image in series("HEAD_T2")[:2]
    ]


@pytest.mark.parametrize("key", ["HEAD_T2", "LSPINE"])
def test_motion_makes_ghosts_along_the_phase_direction(series: Series, key: str) -> None:
    still = series(key)[0].pixel_array.astype(float)
    moved = taken(acquisition(key, artefact="motion"), 1)[0].pixel_array.astype(float)
    empty = still < np.percentile(still, 15)
    assert moved[empty].mean() > 1.3 * still[empty].mean()
    # What the lines that are read at once add up to stays the same.
    axis = 1 if PROTOCOLS[key].phase == "ROW" else 0
    along, across = (
        np.abs(moved.sum(one) - still.sum(one)).mean() / still.sum(one).mean()
        for one in (axis, 1 - axis)
    )
    assert along < across


@pytest.mark.parametrize(("key", "axis"), [("HEAD_T2", 1), ("LSPINE", 0)])
def test_wrap_folds_what_is_outside_the_field_of_view(series: Series, key: str, axis: int) -> None:
    index = 9
    whole = series(key)[index].pixel_array.astype(float)
    folded = taken(acquisition(key, artefact="wrap"), index + 1)[index]
    small = folded.pixel_array.astype(float)
    size, full = small.shape[axis], whole.shape[axis]
    assert size == full // 2
    assert small.shape[1 - axis] == whole.shape[1 - axis]
    assert folded.PercentPhaseFieldOfView == 50
    start = (full - size) // 2
    before, inside, after = np.split(whole, (start, start + size), axis)
    expected = inside + np.concatenate((after, before), axis)
    assert np.abs(small - expected).mean() < 0.5 * np.abs(small - inside).mean()


def test_a_place_in_a_small_field_of_view_is_where_it_was(series: Series) -> None:
    folded = taken(acquisition("HEAD_T2", artefact="wrap"), 10)[9]
    whole = series("HEAD_T2")[9]
    point = (20.0, 26.0, float(whole.SliceLocation))  # a ventricle
    assert mean_at(folded, point, reach=1) == pytest.approx(mean_at(whole, point, reach=1), rel=0.1)
    assert mean_at(whole, point, reach=1) > 1.3 * whole.pixel_array[whole.pixel_array > 100].mean()


def test_only_what_can_go_wrong_can_be_asked_for() -> None:
    with pytest.raises(NotFound, match=r"'ring'.*motion, wrap"):
        taken(acquisition("HEAD_T2", artefact="ring"), 1)
