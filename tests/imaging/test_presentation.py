"""Presentation states as they are made: complete, judged by dciodvfy, and of one study."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset

from labsim.errors import ConfigurationError
from labsim.ids import make_uid
from labsim.imaging import ct, dx, us
from labsim.imaging.presentation import Area, Mark, Shutter, Text, Window, make

Take = Callable[..., list[FileDataset]]
Verdict = Callable[[Dataset], list[str]]
NOW = datetime(2026, 3, 2, 10, 30)


def state_for(images: list[FileDataset], **wanted: Any) -> Dataset:
    uids = {"series_uid": make_uid("pr series"), "sop_uid": make_uid("pr")}
    return make(images, **uids, now=NOW, **wanted)


@pytest.fixture
def slices(take: Take) -> list[FileDataset]:
    return take(ct, "CHEST_LOCALIZER")[:1]


EVERYTHING: dict[str, Any] = {
    "label": "LUNG NODULE",
    "description": "What was found",
    "creator": "Møller^Åse",
    "institution": "Riverside Clinic",
    "window": Window(-600, 1500, "SIGMOID", "LUNG"),
    "inverse": True,
    "rotation": 90,
    "flip": True,
    "area": Area(11, 21, 90, 60, "MAGNIFY", 2.0),
    "shutter": Shutter((20, 80, 30, 60), (50, 50, 30), [(20, 20), (80, 20), (50, 70)], 30000),
    "annotations": [
        Mark("CIRCLE", [(40, 40), (50, 40)]),
        Mark("ELLIPSE", [(10, 30), (50, 30), (30, 20), (30, 40)], layer="AREA", filled=True),
        Text("Nodule", at=(50, 40), pointing=True),
        Text("Second\nline", box=(0.1, 0.1, 0.5, 0.3), units="DISPLAY", layer="WORDS"),
    ],
}


@pytest.mark.parametrize("wanted", [{}, EVERYTHING], ids=["as it is", "with everything"])
def test_dciodvfy_finds_no_error(
    slices: list[FileDataset], verdict: Verdict, wanted: dict[str, Any]
) -> None:
    said = verdict(state_for(slices, **wanted))
    assert any("GrayscaleSoftcopyPresentationState" in line for line in said)
    assert [line for line in said if line.startswith(("Error", "Warning"))] == []


def test_a_state_says_the_side_that_its_images_show(take: Take, verdict: Verdict) -> None:
    (left,) = take(dx, "HAND_LEFT")[:1]
    assert left.ImageLaterality == "L"
    state = state_for([left])
    assert state.Laterality == "L"
    assert [line for line in verdict(state) if line.startswith("Error")] == []
    right = deepcopy(left)
    right.ImageLaterality, right.SOPInstanceUID = "R", make_uid("right")
    assert state_for([left, right]).Laterality == ""  # of both
    chest = take(dx, "CHEST")[:1]
    assert chest[0].ImageLaterality == "U"
    assert "Laterality" not in state_for(chest)


def test_dcmtk_finds_no_error(
    slices: list[FileDataset], peer: Callable[[str], Path], tmp_path: Path
) -> None:
    (plain,) = deepcopy(slices)
    plain.PatientName = "Moller^Aase"  # dcmpschk takes a letter beyond ASCII for an error
    path = tmp_path / "state.dcm"
    wanted = EVERYTHING | {"creator": "Moller^Aase"}
    state_for([plain], **wanted).save_as(path, enforce_file_format=True)
    run = subprocess.run([peer("dcmpschk"), path], capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert "Test passed" in run.stdout + run.stderr
    assert "Error" not in run.stdout + run.stderr


@pytest.mark.parametrize("part", ["ABDOMEN", "KIDNEY", "HEART"])
def test_dciodvfy_finds_no_error_in_states_of_ultrasound(
    take: Take, verdict: Verdict, part: str
) -> None:
    shutter = Shutter(circle=(200, 200, 100), value=30000)
    state = state_for(take(us, part), annotations=[Mark("POINT", [(30, 30)])], shutter=shutter)
    assert [line for line in verdict(state) if line.startswith(("Error", "Warning"))] == []


def test_a_coloured_image_gets_a_state_of_colour(take: Take) -> None:
    state = state_for(take(us, "KIDNEY"))
    assert state.SOPClassUID.name == "Color Softcopy Presentation State Storage"
    assert "SoftcopyVOILUTSequence" not in state


def test_it_survives_being_written_and_read(slices: list[FileDataset], tmp_path: Path) -> None:
    state = state_for(slices, **EVERYTHING)
    state.save_as(tmp_path / "state.dcm", enforce_file_format=True)
    back = dcmread(tmp_path / "state.dcm")
    assert [str(element) for element in back] == [str(element) for element in state]
    assert back.ContentCreatorName == "Møller^Åse"
    assert back.file_meta.ImplementationVersionName == "LABSIM"


def test_it_belongs_to_the_patient_and_study_and_refers_to_the_images(
    slices: list[FileDataset],
) -> None:
    state = state_for(slices)
    for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "StudyInstanceUID"):
        assert state[keyword].value == slices[0][keyword].value
    (series,) = state.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == slices[0].SeriesInstanceUID != state.SeriesInstanceUID
    uids = [str(each.ReferencedSOPInstanceUID) for each in series.ReferencedImageSequence]
    assert uids == [str(image.SOPInstanceUID) for image in slices]
    assert (state.PresentationCreationDate, state.PresentationCreationTime) == (
        "20260302",
        "103000",
    )


def test_the_images_stay_as_they_are(slices: list[FileDataset]) -> None:
    before = deepcopy(slices)
    state_for(slices, **EVERYTHING)
    assert slices == before


def test_the_same_wishes_give_the_same_file(slices: list[FileDataset], tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("first.dcm", "second.dcm")]
    for path in paths:
        state_for(slices, **EVERYTHING).save_as(path, enforce_file_format=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_images_with_different_windows_keep_each_its_own(slices: list[FileDataset]) -> None:
    other = deepcopy(slices[0])
    other.SOPInstanceUID, other.WindowCenter, other.WindowWidth = make_uid("other"), 60, 400
    state = state_for([slices[0], other])
    assert [
        (float(item.WindowCenter), item.ReferencedImageSequence[0].ReferencedSOPInstanceUID)
        for item in state.SoftcopyVOILUTSequence
    ] == [(-50, slices[0].SOPInstanceUID), (60, other.SOPInstanceUID)]


def test_low_values_of_monochrome1_are_white(slices: list[FileDataset]) -> None:
    negative = deepcopy(slices[0])
    negative.PhotometricInterpretation = "MONOCHROME1"
    shapes = [
        state_for([image], inverse=inverse).PresentationLUTShape
        for image in (slices[0], negative)
        for inverse in (False, True)
    ]
    assert shapes == ["IDENTITY", "INVERSE", "INVERSE", "IDENTITY"]


@pytest.mark.parametrize(
    ("wanted", "corners"),
    [
        ({}, [(11, 21), (50, 41)]),
        ({"rotation": 90}, [(11, 41), (50, 21)]),
        ({"rotation": 180}, [(50, 41), (11, 21)]),
        ({"rotation": 270, "flip": True}, [(50, 41), (11, 21)]),
        ({"flip": True}, [(50, 21), (11, 41)]),
    ],
)
def test_the_corners_of_the_area_are_named_as_they_lie_after_the_turn(
    slices: list[FileDataset], wanted: dict[str, Any], corners: list[tuple[int, int]]
) -> None:
    (item,) = state_for(slices, area=Area(11, 21, 50, 41), **wanted).DisplayedAreaSelectionSequence
    assert [
        tuple(item.DisplayedAreaTopLeftHandCorner),
        tuple(item.DisplayedAreaBottomRightHandCorner),
    ] == corners


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"label": "lower case"}, "cannot label"),
        ({"rotation": 45}, "turned by 45 degrees"),
        ({"area": Area(50, 1, 10, 10)}, "is empty"),
        ({"area": Area(mode="HUGE")}, "no Presentation Size Mode"),
        ({"shutter": Shutter()}, "needs a shape"),
        ({"annotations": [Mark("CIRCLE", [(1, 1)])]}, "two (column, row) pairs"),
        ({"annotations": [Mark("POINT", [(1, 1)], images=["1.2.3"])]}, "not about"),
        ({"annotations": [Text("nowhere")]}, "anchor point"),
        ({"window": Window(40, 400, "CURVED")}, "CURVED"),
    ],
)
def test_what_the_standard_does_not_have_is_refused(
    slices: list[FileDataset], wanted: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        state_for(slices, **wanted)
    assert words in refused.value.what


def test_images_of_two_studies_or_rescales_cannot_share_a_state(slices: list[FileDataset]) -> None:
    for keyword, value in (("StudyInstanceUID", "1.2.3"), ("RescaleSlope", "2"), ("Rows", 3)):
        other = deepcopy(slices[0])
        setattr(other, keyword, value)
        with pytest.raises(ConfigurationError, match="differ in"):
            state_for([slices[0], other])
    with pytest.raises(ConfigurationError, match="needs an image"):
        state_for([])
