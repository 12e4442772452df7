"""Pictures of what is no CT: radiographs, inverted ones, and moving ones."""

from collections.abc import Iterator

import numpy as np
import pytest

from labsim import Hospital
from labsim.exam import Exam
from labsim.widgets import SeriesViewer, hospital_map, show_slices
from labsim.widgets.hospital_map import _words
from labsim.widgets.slices import values_of, where


@pytest.fixture(scope="module")
def community() -> Iterator[Hospital]:
    with Hospital(seed=7, site="community") as running:
        yield running


@pytest.fixture(scope="module")
def heart(community: Hospital) -> Exam:
    return community.exam("USHEART")


def test_an_image_without_a_position_is_named_by_its_number(community: Hospital) -> None:
    exam = community.exam("DXCHEST")
    assert [where(image) for image in exam.images] == ["image 1", "image 2"]
    assert "2 of 2 images" in show_slices(exam.images).alt


def test_low_values_of_monochrome_1_are_shown_white(community: Hospital) -> None:
    [image] = community.exam("CRCHEST").images
    assert image.PhotometricInterpretation == "MONOCHROME1"
    inverted = show_slices([image]).png
    image.PhotometricInterpretation = "MONOCHROME2"
    assert show_slices([image]).png != inverted


def test_of_a_moving_picture_the_middle_frame_is_shown(heart: Exam) -> None:
    [image] = heart.images
    frames = image.pixel_array
    assert np.array_equal(values_of(image), frames[len(frames) // 2])
    canvas = SeriesViewer(heart.images).canvas
    assert (canvas.rows, canvas.columns) == values_of(image).shape


def test_map_draws_many_scanners_as_one_box_and_the_one_of_an_exam_as_itself(
    community: Hospital, heart: Exam
) -> None:
    assert "us1 to ris worklist, MPPS by DICOM" in hospital_map(community).alt
    assert _words(community, "scanners") == ("Scanners", "CT1, MR1, DX1\nCR1, US1, MG1")
    assert "engine to pacs ris-to-pacs by HL7" in hospital_map(community).alt
    alt = hospital_map(community, heart.transcript()).alt
    assert "his to engine to ris RAD-2 by HL7" in alt
    assert "us1 to pacs RAD-8" in alt
    assert "ct1" not in alt
