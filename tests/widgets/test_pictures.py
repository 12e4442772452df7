from collections.abc import Iterator

import numpy as np
import pytest
from pydicom.dataset import Dataset

from labsim import Hospital
from labsim.errors import LabError
from labsim.exam import Exam
from labsim.widgets import SeriesViewer, hospital_map, show_slices
from labsim.widgets.slices import apply_window, in_order, values_of, windows

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def exam() -> Iterator[Exam]:
    with Hospital(seed=7) as running:
        yield running.exam()


def test_map_says_in_words_what_it_draws(exam: Exam) -> None:
    picture = hospital_map(exam.hospital, exam.transcript())
    assert picture.png.startswith(PNG)
    for way in ("his to ris RAD-1 by HL7", "ct1 to pacs RAD-8 by DICOM", "ris to his RAD-128"):
        assert way in picture.alt
    assert f"alt='{picture.alt}'" in picture._repr_html_()


def test_map_without_an_exam_draws_the_configured_ways(exam: Exam) -> None:
    alt = hospital_map(exam.hospital).alt
    assert "his to ris orders by HL7" in alt
    assert "RAD-8" not in alt


def test_slices_are_windowed_by_name(exam: Exam) -> None:
    lung, bone = show_slices(exam.images, "LUNG"), show_slices(exam.images, "BONE")
    assert lung.png != bone.png
    assert "centre -600 and width 1500." in lung.alt


def test_unknown_window_is_named_with_the_known_ones(exam: Exam) -> None:
    with pytest.raises(LabError, match=r"'LIVER'.*MEDIASTINUM, LUNG, BONE"):
        show_slices(exam.images, "LIVER")


def test_no_images_is_one_sentence() -> None:
    with pytest.raises(LabError, match="no image"):
        show_slices([])
    with pytest.raises(LabError, match="no image"):
        SeriesViewer([])


def test_viewer_holds_the_hounsfield_units_of_every_slice(exam: Exam) -> None:
    canvas = SeriesViewer(exam.images).canvas
    shape = (len(exam.images), canvas.rows, canvas.columns)
    stack = np.frombuffer(canvas.pixels, "<i2").reshape(shape)
    for values, image in zip(stack, in_order(exam.images), strict=True):
        assert np.array_equal(values, values_of(image))
    assert canvas.places[0] == "-65 mm"
    assert canvas.places[-1] == "50 mm"


def test_viewer_preset_sets_the_window(exam: Exam) -> None:
    viewer = SeriesViewer(exam.images)
    viewer.preset.label = "Lung"
    assert (viewer.canvas.center, viewer.canvas.width) == (-600, 1500)


def test_window_is_the_linear_function_of_the_standard() -> None:
    # PS3.3 C.11.2.1.2.1: below c - 0.5 - (w-1)/2 black, above c - 0.5 + (w-1)/2 white.
    values = np.array([-161.0, 39.5, 241.0], dtype=np.float32)
    assert apply_window(values, 40, 400).tolist() == pytest.approx([0.0, 0.5, 1.0])


def test_windows_of_an_image_with_one_unnamed_window() -> None:
    image = Dataset()
    image.WindowCenter, image.WindowWidth = "50", "350"
    assert windows(image) == {"window 1": (50.0, 350.0)}


def test_two_series_are_not_shown_as_one(exam: Exam) -> None:
    other = Dataset()
    other.Rows, other.Columns, other.SeriesInstanceUID = 512, 512, "1.2.3"
    other.InstanceNumber = 1
    with pytest.raises(LabError, match="several series"):
        SeriesViewer([*exam.images, other])
