"""Ultrasound images: who is in the picture, how large it is, and that it moves."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from labsim.imaging import us
from labsim.imaging.common import Acquisition
from labsim.imaging.font import glyphs
from labsim.imaging.overlay import STRIP

Take = Callable[..., list[FileDataset]]
PARTS = sorted(us.PROTOCOLS)


def first(image: FileDataset) -> np.ndarray:
    """Return the first frame, grey."""
    pixels = image.pixel_array
    if image.PhotometricInterpretation == "RGB":
        return pixels[:, :, 0]
    return pixels[0] if "NumberOfFrames" in image else pixels


def find(picture: np.ndarray, text: str, scale: int = 2) -> bool:
    """Tell whether a text stands anywhere in the strip at the top, exactly as the font has it."""
    dots = np.kron(glyphs(text), np.ones((scale, scale), bool))
    strip = picture[:STRIP] > 128
    windows = np.lib.stride_tricks.sliding_window_view(strip, dots.shape)
    return bool((windows == dots).all(axis=(2, 3)).any())


# Who it shows


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "text", ["MOLLER, ASE", "P000001", "1970-01-02", "2026-03-01", "Riverside Clinic"]
)
def test_the_picture_says_who_when_and_where(part: str, text: str, take: Take) -> None:
    for image in take(us, part):
        assert find(first(image), text)


@pytest.mark.parametrize("part", PARTS)
def test_the_header_warns_of_it(part: str, take: Take) -> None:
    assert {image.BurnedInAnnotation for image in take(us, part)} == {"YES"}


def test_what_is_written_is_what_the_study_says(take: Take) -> None:
    (image,) = take(us, "KIDNEY", PatientName="Okafor^Ngozi", PatientID="Q-77")
    assert find(first(image), "OKAFOR, NGOZI")
    assert find(first(image), "Q-77")
    assert not find(first(image), "MOLLER, ASE")


def test_a_name_in_three_scripts_is_written_in_the_first(take: Take) -> None:
    (image,) = take(us, "KIDNEY", PatientName="Nakamura^Hiroshi=中村^博=なかむら^ひろし")
    assert find(first(image), "NAKAMURA, HIROSHI")


def test_a_long_name_is_written_small(take: Take) -> None:
    name = "Wolfeschlegelsteinhausen^Hubert Blaine"
    (image,) = take(us, "KIDNEY", PatientName=name)
    assert find(first(image), "WOLFESCHLEGELSTEINHAUSEN, HUBERT BLAINE", scale=1)


def test_a_patient_of_whom_little_is_known_can_be_examined(
    acquisition: Callable[..., Acquisition[Any]],
) -> None:
    wanted = acquisition(us, "KIDNEY", PatientName="", PatientBirthDate="", PatientSex="")
    assert us.burned_in(wanted)[1] == ("", "P000001")


# What it is


def test_single_pictures_and_moving_ones_are_different_objects(take: Take) -> None:
    still, moving = take(us, "ABDOMEN"), take(us, "HEART")
    assert {image.SOPClassUID for image in still} == {UltrasoundImageStorage}
    assert {image.SOPClassUID for image in moving} == {UltrasoundMultiFrameImageStorage}
    assert all("NumberOfFrames" not in image for image in still)


def test_a_moving_picture_tells_its_frames_and_their_time(take: Take) -> None:
    (image,) = take(us, "HEART")
    assert image.NumberOfFrames == 20
    assert image.FrameIncrementPointer == 0x00181063
    assert image[image.FrameIncrementPointer].keyword == "FrameTime"
    assert len(image.PixelData) == 20 * image.Rows * image.Columns
    assert image.HeartRate == pytest.approx(60_000 / (20 * float(image.FrameTime)))


def test_the_heart_beats_and_its_beat_can_be_repeated(take: Take) -> None:
    (image,) = take(us, "HEART")
    frames = image.pixel_array[:, 60:330].astype(float)
    change = [float(abs(frame - frames[0]).mean()) for frame in frames]
    assert change[7] > 1.3 * change[19]
    assert all(abs(b - a).mean() > 0.5 for a, b in pairwise(frames))


def test_what_is_written_stands_still(take: Take) -> None:
    strips = take(us, "HEART")[0].pixel_array[:, :STRIP]
    assert (strips == strips[0]).all()


def test_flow_is_red_and_blue_within_a_grey_picture(take: Take) -> None:
    (image,) = take(us, "KIDNEY")
    assert (image.PhotometricInterpretation, image.SamplesPerPixel) == ("RGB", 3)
    assert image.UltrasoundColorDataPresent == 1
    red, green, blue = np.moveaxis(image.pixel_array[50:380, 60:510].astype(int), 2, 0)
    assert np.count_nonzero(red > blue + 60) > 300
    assert np.count_nonzero(blue > red + 60) > 300
    assert np.mean((red == green) & (green == blue)) > 0.85


@pytest.mark.parametrize("part", ["ABDOMEN", "HEART"])
def test_other_pictures_are_grey(part: str, take: Take) -> None:
    image = take(us, part)[0]
    assert (image.PhotometricInterpretation, image.BitsStored) == ("MONOCHROME2", 8)
    assert image.UltrasoundColorDataPresent == 0


# How large it is


@pytest.mark.parametrize("part", PARTS)
def test_a_region_says_where_the_echoes_are(part: str, take: Take) -> None:
    image = take(us, part)[0]
    region = image.SequenceOfUltrasoundRegions[0]
    assert 0 <= region.RegionLocationMinX0 < region.RegionLocationMaxX1 < image.Columns
    assert STRIP <= region.RegionLocationMinY0 < region.RegionLocationMaxY1 < image.Rows
    inside = first(image)[
        region.RegionLocationMinY0 : region.RegionLocationMaxY1,
        region.RegionLocationMinX0 : region.RegionLocationMaxX1,
    ]
    assert np.mean(inside > 10) > 0.4


@pytest.mark.parametrize("part", PARTS)
def test_a_centimetre_is_as_long_as_the_ticks_beside_the_picture(part: str, take: Take) -> None:
    image = take(us, part)[0]
    region = image.SequenceOfUltrasoundRegions[0]
    assert (region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection) == (3, 3)
    column = min(region.RegionLocationMaxX1 + 14, image.Columns - 30) - 1
    ticks = np.flatnonzero(first(image)[:, column] == 200)
    ticks = ticks[ticks < region.RegionLocationMaxY1 + 2]
    assert len(ticks) == int(image.DepthOfScanField / 10) + 1
    assert np.diff(ticks) * region.PhysicalDeltaY == pytest.approx(1, abs=0.03)
    # Depth is counted from the reference pixel, which lies on the skin.
    assert ticks[0] == region.RegionLocationMinY0 + region.ReferencePixelY0


# What goes wrong


def test_dead_elements_leave_dark_beams(take: Take) -> None:
    good, bad = (first(take(us, "ABDOMEN", artefact=a)[0]).astype(float) for a in ("", "dropout"))
    row = slice(230, 250)
    ratio = bad[row, 150:430].mean(axis=0) / np.maximum(good[row, 150:430].mean(axis=0), 1)
    assert 0.05 < np.mean(ratio < 0.4) < 0.4
    assert np.median(ratio) == pytest.approx(1, abs=0.01)


def test_with_too_much_gain_fluid_is_not_black(take: Take) -> None:
    good, bad = (first(take(us, "HEART", artefact=a)[0]) for a in ("", "overgain"))
    dark = good[100:300, 200:380] < 40
    assert bad[100:300, 200:380][dark].mean() > good[100:300, 200:380][dark].mean() + 40
