"""Presentation states applied to small images whose every pixel is known."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels import apply_windowing

from labsim.errors import LabError
from labsim.ids import make_uid
from labsim.imaging import ct, us
from labsim.imaging.common import add_pixels
from labsim.imaging.presentation import Area, Mark, Shutter, Text, Window, make
from labsim.imaging.presentation_applying import apply, is_presentation_state
from labsim.imaging.presentation_references import NotReferenced, refers_to

Take = Callable[..., list[FileDataset]]


@pytest.fixture
def image(take: Take) -> FileDataset:
    """4 rows of 6 columns with the values 0, 10, 20 … 230, of 8 bits; no slope, no window."""
    made = deepcopy(take(ct, "CHEST_LOCALIZER")[0])
    for keyword in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"):
        delattr(made, keyword)
    add_pixels(made, np.arange(24, dtype=np.uint8).reshape(4, 6) * 10, 8)
    return made


def state_for(image: FileDataset, **wanted: Any) -> Dataset:
    uids = {"series_uid": make_uid("pr series"), "sop_uid": make_uid("pr")}
    return make([image], **uids, now=datetime(2026, 3, 2, 10, 30), **wanted)


def shown(image: FileDataset, **wanted: Any) -> NDArray[np.uint8]:
    return apply(state_for(image, **wanted), image).values


def table(first: int, entries: list[int], bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = np.array(entries, dtype="<u2").tobytes()
    return item


# Grey


def test_without_a_window_all_values_are_shown(image: FileDataset) -> None:
    assert np.array_equal(shown(image), image.pixel_array)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_as_pydicom_has_them(image: FileDataset, function: str) -> None:
    judge = deepcopy(image)
    judge.WindowCenter, judge.WindowWidth, judge.VOILUTFunction = 100, 120, function
    expected = apply_windowing(judge.pixel_array, judge)
    ours = shown(image, window=Window(100, 120, function)).astype(float)
    assert np.abs(ours - expected).max() <= 0.5
    assert 20 < ours.std() < 128


def test_a_window_of_width_1_is_a_threshold(image: FileDataset) -> None:
    assert np.array_equal(shown(image, window=(100, 1)) == 255, image.pixel_array > 99.5)


def test_the_tables_of_the_state_take_the_place_of_the_images_own(image: FileDataset) -> None:
    state = state_for(image, window=(100, 200))
    before = apply(state, image).values
    image.RescaleSlope, image.RescaleIntercept = 3, 500
    image.WindowCenter, image.WindowWidth = 7, 5
    image.PhotometricInterpretation = "MONOCHROME1"
    assert np.array_equal(apply(state, image).values, before)
    state.RescaleIntercept = 100
    assert np.array_equal(apply(state, image).values[0, :3], [128, 141, 154])


def test_a_modality_table_comes_before_the_window(image: FileDataset) -> None:
    state = state_for(image)
    state.ModalityLUTSequence = [table(20, [5, *[7] * 19, 9], 8)]
    state.SoftcopyVOILUTSequence[0].WindowCenter = 7.5
    state.SoftcopyVOILUTSequence[0].WindowWidth = 5
    # Below the table counts its first entry, beyond it the last.
    assert list(apply(state, image).values[0]) == [0, 0, 0, 128, 255, 255]


def test_a_table_of_signed_values_begins_below_zero_whatever_its_vr_says(
    image: FileDataset,
) -> None:
    state = state_for(image)
    state.RescaleIntercept = -100
    item = Dataset()
    item.VOILUTSequence = [table(65536 - 100, list(range(256)), 8)]
    state.SoftcopyVOILUTSequence = [item]
    assert np.array_equal(apply(state, image).values, image.pixel_array)


def test_a_presentation_table_has_the_last_word(image: FileDataset) -> None:
    state = state_for(image)
    state.PresentationLUTSequence = [table(0, [1023, 0], 10)]
    assert set(np.unique(apply(state, image).values)) == {0, 255}
    assert apply(state, image).values[0, 0] == 255


def test_each_image_gets_the_window_that_names_it(image: FileDataset) -> None:
    other = deepcopy(image)
    other.SOPInstanceUID = make_uid("other")
    for one, center in ((image, 50), (other, 150)):
        one.WindowCenter, one.WindowWidth = center, 1
    uids = {"series_uid": make_uid("pr series"), "sop_uid": make_uid("pr")}
    state = make([image, other], **uids, now=datetime(2026, 3, 2))
    assert [(apply(state, one).values > 0).sum() for one in (image, other)] == [19, 9]


# Space


def test_it_is_turned_clockwise_and_then_flipped(image: FileDataset) -> None:
    pixels = image.pixel_array
    for turns in range(4):
        turned = np.rot90(pixels, -turns)
        assert np.array_equal(shown(image, rotation=90 * turns), turned)
        assert np.array_equal(shown(image, rotation=90 * turns, flip=True), turned[:, ::-1])


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [False, True])
def test_the_area_shows_the_same_pixels_however_it_is_turned(
    image: FileDataset, rotation: int, flip: bool
) -> None:
    seen = shown(image, area=Area(2, 3, 5, 4), rotation=rotation, flip=flip)
    expected = np.rot90(image.pixel_array[2:4, 1:5], -rotation // 90)
    assert np.array_equal(seen, expected[:, ::-1] if flip else expected)


def test_an_area_beyond_the_image_is_black_there(image: FileDataset) -> None:
    state = state_for(image)
    item = state.DisplayedAreaSelectionSequence[0]
    item.DisplayedAreaTopLeftHandCorner = [-1, 0]
    item.DisplayedAreaBottomRightHandCorner = [3, 5]
    seen = apply(state, image).values
    assert seen.shape == (6, 5)
    assert np.array_equal(seen[1:5, 2:], image.pixel_array[:, :3])
    assert not seen[0].any()
    assert not seen[:, :2].any()


def test_sizes_follow_the_mode(image: FileDataset) -> None:
    image.PixelSpacing = [0.5, 0.5]
    magnified = state_for(image, area=Area(mode="MAGNIFY", magnification=2.0))
    assert apply(magnified, image).values.shape == (8, 12)
    true = state_for(image, area=Area(mode="TRUE SIZE"))
    assert apply(true, image, pitch=0.25).values.shape == (8, 12)
    assert apply(true, image).values.shape == (4, 6)
    fitting = state_for(image)
    assert apply(fitting, image, screen=(400, 300)).values.shape == (200, 300)
    assert apply(fitting, image, screen=(100, 900)).values.shape == (100, 150)


def test_pixels_that_are_not_square_are_not_shown_square(image: FileDataset) -> None:
    image.PixelSpacing = [1.0, 0.5]  # rows twice as far apart as columns
    assert shown(image).shape == (8, 6)
    assert shown(image, rotation=90).shape == (3, 4)


# Shutters


def test_shutters_hide_together_what_each_of_them_hides(image: FileDataset) -> None:
    hidden = {
        "rectangle": shown(image, shutter=Shutter(rectangle=(2, 5, 2, 4), value=65535)) == 255,
        "circle": shown(image, shutter=Shutter(circle=(3, 2, 1), value=65535)) == 255,
        "polygon": shown(image, shutter=Shutter(polygon=[(1, 1), (5, 1), (1, 4)], value=65535))
        == 255,
    }
    assert np.array_equal(~hidden["rectangle"][1:4, 1:5], np.ones((3, 4), dtype=bool))
    assert (~hidden["rectangle"]).sum() == 12
    assert [tuple(at) for at in np.argwhere(~hidden["circle"])] == [
        (0, 2),
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 2),
    ]
    assert not hidden["polygon"][1, 1]
    assert hidden["polygon"][3, 5]
    both = shown(image, shutter=Shutter((2, 5, 2, 4), (3, 2, 1), value=65535)) == 255
    assert np.array_equal(both, hidden["rectangle"] | hidden["circle"])


def test_a_shutter_turns_with_the_image(image: FileDataset) -> None:
    shutter = Shutter(rectangle=(1, 2, 1, 1), value=30000)
    straight, turned = shown(image, shutter=shutter), shown(image, shutter=shutter, rotation=90)
    assert np.array_equal(turned, np.rot90(straight, -1))
    assert list(straight[0]) == [0, 10, 117, 117, 117, 117]


def overlay(dataset: Dataset, bits: NDArray[np.uint8], origin: tuple[int, int]) -> None:
    dataset.add_new(0x60000010, "US", bits.shape[0])
    dataset.add_new(0x60000011, "US", bits.shape[1])
    dataset.add_new(0x60000040, "CS", "G")
    dataset.add_new(0x60000050, "SS", list(origin))
    dataset.add_new(0x60000100, "US", 1)
    dataset.add_new(0x60000102, "US", 0)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    dataset.add_new(0x60003000, "OW", packed + b"\0" * (len(packed) % 2))


def test_a_bitmap_hides_where_its_bits_are_set(image: FileDataset) -> None:
    state = state_for(image)
    overlay(state, np.eye(4, 6, dtype=np.uint8), (1, 1))
    state.ShutterShape, state.ShutterOverlayGroup = "BITMAP", 0x6000
    state.ShutterPresentationValue = 65535
    assert np.array_equal(apply(state, image).values == 255, np.eye(4, 6) > 0)


def test_an_overlay_is_drawn_only_if_its_layer_is_activated(image: FileDataset) -> None:
    overlay(image, np.ones((2, 2), dtype=np.uint8), (2, 4))
    state = state_for(image)
    assert np.array_equal(apply(state, image).values, image.pixel_array)
    state.add_new(0x60001001, "CS", "OVER")
    seen = apply(state, image)
    assert seen.layers == ("OVER",)
    assert [tuple(at) for at in np.argwhere(seen.values == 255)] == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert np.array_equal(seen.plain, image.pixel_array)


# Annotations


@pytest.fixture
def black(image: FileDataset) -> FileDataset:
    """An image of 100 × 80 black pixels."""
    add_pixels(image, np.zeros((80, 100), dtype=np.uint8), 8)
    return image


def test_a_circle_is_drawn_where_it_is_also_after_turn_and_magnification(
    black: FileDataset,
) -> None:
    circle = [Mark("CIRCLE", [(30, 20), (40, 20)])]
    row, column = np.nonzero(shown(black, annotations=circle))
    assert np.abs(np.hypot(row + 0.5 - 20, column + 0.5 - 30) - 10).max() < 1.2
    area = Area(mode="MAGNIFY", magnification=3.0)
    row, column = np.nonzero(shown(black, annotations=circle, rotation=90, area=area))
    # (30, 20) is turned to (80 - 20, 30).
    assert np.abs(np.hypot(row + 0.5 - 90, column + 0.5 - 180) - 30).max() < 1.2


def test_graphics_of_each_type_are_drawn_and_filled(black: FileDataset) -> None:
    corners = [(10.0, 10.0), (50.0, 10.0), (50.0, 40.0), (10.0, 40.0), (10.0, 10.0)]
    axes = [(10.0, 30.0), (50.0, 30.0), (30.0, 20.0), (30.0, 40.0)]
    areas = {
        "POLYLINE": (corners, 40 * 30),
        "ELLIPSE": (axes, np.pi * 20 * 10),
        "CIRCLE": ([(40.0, 40.0), (60.0, 40.0)], np.pi * 20**2),
    }
    for kind, (points, area) in areas.items():
        filled = shown(black, annotations=[Mark(kind, points, filled=True)])
        assert (filled > 0).sum() == pytest.approx(area, rel=0.12)
        assert 0 < (shown(black, annotations=[Mark(kind, points)]) > 0).sum() < 0.4 * area
    curve = shown(black, annotations=[Mark("INTERPOLATED", corners)])
    assert all(curve[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].any() for x, y in corners)
    point = shown(black, annotations=[Mark("POINT", [(0.5, 0.5)], units="DISPLAY")])
    assert point[40, 50] == 255


def test_layers_lie_over_each_other_in_their_order(black: FileDataset) -> None:
    square = [(10.0, 10.0), (50.0, 10.0), (50.0, 40.0), (10.0, 40.0), (10.0, 10.0)]
    marks = [Mark("POLYLINE", square, layer=name, filled=True) for name in ("ONE", "TWO")]
    state = state_for(black, annotations=marks)
    one, two = state.GraphicLayerSequence
    one.GraphicLayerRecommendedDisplayGrayscaleValue = 65535 // 5 * 2
    two.GraphicLayerRecommendedDisplayGrayscaleValue = 65535 // 5 * 4
    assert apply(state, black).layers == ("ONE", "TWO")
    assert apply(state, black).values[20, 20] == 204
    one.GraphicLayerOrder, two.GraphicLayerOrder = 2, 1
    assert apply(state, black).layers == ("TWO", "ONE")
    assert apply(state, black).values[20, 20] == 102


def test_texts_are_written_and_told(black: FileDataset) -> None:
    texts = [
        Text("Nodule 87 %", at=(20, 70), pointing=True),
        Text("one\ntwo", box=(0.1, 0.1, 0.9, 0.6), units="DISPLAY"),
    ]
    seen = apply(state_for(black, annotations=texts), black)
    assert seen.texts == ("Nodule 87 %", "one\ntwo")
    assert seen.values[8:48, 10:90].any()
    assert seen.values[70, 20] == 255  # the line begins at the point
    assert not seen.plain.any()


def test_letters_can_be_read_on_white_too(black: FileDataset) -> None:
    add_pixels(black, np.full((80, 100), 255, dtype=np.uint8), 8)
    seen = shown(black, annotations=[Text("I", at=(40, 40))])
    stem = np.argwhere(seen == 0)[:, 1]
    assert (seen == 0).sum() > 20
    assert seen[:, stem.min() : stem.max()].max() == 255


def test_marks_are_only_on_the_images_and_frames_that_they_name(take: Take) -> None:
    image = take(us, "HEART")[0]
    state = state_for(image, annotations=[Mark("CIRCLE", [(90, 90), (99, 90)], frames=[3, 4])])
    assert [bool(apply(state, image, frame).layers) for frame in (2, 3, 4, 5)] == [0, 1, 1, 0]


def test_a_state_of_colour_keeps_the_colours(take: Take) -> None:
    image = take(us, "KIDNEY")[0]
    state = state_for(image, flip=True, annotations=[Text("left kidney", at=(200, 200))])
    seen = apply(state, image)
    assert np.array_equal(seen.plain, image.pixel_array[:, ::-1])
    assert (seen.values != seen.plain).any()


def test_colours_of_shutter_and_layers_are_shown_in_a_state_of_colour(take: Take) -> None:
    image = take(us, "KIDNEY")[0]
    square = [(30.0, 30.0), (60.0, 30.0), (60.0, 60.0), (30.0, 60.0), (30.0, 30.0)]
    state = state_for(
        image,
        shutter=Shutter(circle=(200, 200, 100), value=128 * 257),
        annotations=[Mark("POLYLINE", square, filled=True)],
    )
    (layer,) = state.GraphicLayerSequence
    layer.GraphicLayerRecommendedDisplayCIELabValue = list(CIELabColor.from_rgb(255, 165, 0).value)
    seen = apply(state, image).values
    assert list(seen[0, 0]) == [128, 128, 128]
    assert list(seen[45, 45]) == [255, 165, 0]
    layer.GraphicLayerRecommendedDisplayCIELabValue = [1, 2]
    with pytest.raises(LabError, match="colour of the presentation state"):
        apply(state, image)


# What it is about, and what cannot be


def test_an_image_that_it_does_not_refer_to_is_refused(image: FileDataset) -> None:
    state = state_for(image, label="LUNG")
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        other = deepcopy(image)
        setattr(other, keyword, "1.2.3")
        assert not refers_to(state, other)
        with pytest.raises(NotReferenced, match="LUNG does not refer to image"):
            apply(state, other)


def test_a_frame_that_it_does_not_refer_to_is_refused(take: Take) -> None:
    image = take(us, "HEART")[0]
    state = state_for(image)
    reference = state.ReferencedSeriesSequence[0].ReferencedImageSequence[0]
    reference.ReferencedFrameNumber = [2, 3]
    assert [refers_to(state, image, frame) for frame in (1, 2, 3)] == [False, True, True]
    with pytest.raises(NotReferenced, match="frame 4"):
        apply(state, image, 4)


def test_what_cannot_be_applied_is_said_in_words(image: FileDataset) -> None:
    assert not is_presentation_state(image)
    with pytest.raises(LabError, match="no presentation state"):
        apply(image, image)
    faults: list[tuple[Callable[[Dataset], object], str]] = [
        (lambda s: setattr(s, "MaskSubtractionSequence", [Dataset()]), "subtracts a mask"),
        (lambda s: setattr(s, "PresentationLUTShape", "LIN OD"), "LIN OD"),
        (lambda s: setattr(s.SoftcopyVOILUTSequence[0], "VOILUTFunction", "X"), "Function 'X'"),
        (lambda s: setattr(s.SoftcopyVOILUTSequence[0], "WindowWidth", 0), "width 0"),
        (lambda s: setattr(s, "ImageRotation", 30), "30 degrees"),
        (lambda s: setattr(s, "ShutterShape", "CIRCULAR"), "CIRCULAR shutter cannot be read"),
        (lambda s: s.add_new(0x60001001, "CS", "OVER"), "no overlay in group 6000"),
        (lambda s: setattr(s, "ModalityLUTSequence", [Dataset()]), "lookup table cannot be read"),
    ]
    for break_it, words in faults:
        state = state_for(image)
        break_it(state)
        with pytest.raises(LabError, match=words):
            apply(state, image)
    state = state_for(image)
    with pytest.raises(LabError, match="no frame 2"):
        apply(state, image, 2)
    huge = state_for(image, area=Area(mode="MAGNIFY", magnification=1e6))
    with pytest.raises(LabError, match="a smaller area"):
        apply(huge, image)
    del image.PixelData
    with pytest.raises(LabError, match="cannot be read"):
        apply(state, image)


def test_a_state_of_colour_is_not_for_grey_images(image: FileDataset, take: Take) -> None:
    state = state_for(take(us, "KIDNEY")[0])
    grey = deepcopy(take(us, "KIDNEY")[0])
    grey.SamplesPerPixel = 1
    with pytest.raises(LabError, match="for grey images"):
        apply(state, grey)
