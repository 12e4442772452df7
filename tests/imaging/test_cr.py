"""Computed radiography: inverted, on plates in cassettes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import ComputedRadiographyImageStorage

from labsim.imaging import cr, dx

Take = Callable[..., list[FileDataset]]
PARTS = sorted(cr.PROTOCOLS)


@pytest.mark.parametrize("part", PARTS)
def test_air_has_the_highest_value_and_is_to_be_shown_black(part: str, take: Take) -> None:
    (image,) = take(cr, part)
    assert image.SOPClassUID == ComputedRadiographyImageStorage
    assert image.PhotometricInterpretation == "MONOCHROME1"
    assert image.PresentationLUTShape == "INVERSE"
    assert image.pixel_array[:20, :20].min() > 4000
    assert np.percentile(image.pixel_array, 2) < 2600


def test_inverted_it_is_what_a_flat_panel_shows(take: Take) -> None:
    (plate,), (panel,) = take(cr, "HAND_LEFT"), take(dx, "HAND_LEFT")
    inverted = 4095 - plate.pixel_array.astype(int)
    assert np.corrcoef(inverted.ravel(), panel.pixel_array.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("part", PARTS)
def test_a_plate_is_named_and_as_large_as_its_cassette(part: str, take: Take) -> None:
    (image,) = take(cr, part)
    assert image.PlateID
    assert image.CassetteOrientation == "PORTRAIT"
    width, height = (int(text.removesuffix("CM")) * 10 for text in image.CassetteSize.split("X"))
    assert image.Columns * image.ImagerPixelSpacing[1] <= width
    assert image.Rows * image.ImagerPixelSpacing[0] <= height


@pytest.mark.parametrize(("part", "side"), [("HAND_LEFT", "L"), ("HAND_RIGHT", "R")])
def test_the_side_is_told_by_the_series(part: str, side: str, take: Take) -> None:
    (image,) = take(cr, part)
    assert image.Laterality == side


def test_there_is_one_chest(take: Take) -> None:
    assert "Laterality" not in take(cr, "CHEST")[0]


def test_a_mobile_chest_is_taken_from_the_front(take: Take) -> None:
    upright, lying = take(cr, "CHEST")[0], take(cr, "CHEST_BED")[0]
    assert (upright.ViewPosition, lying.ViewPosition) == ("PA", "AP")
    assert float(lying.DistanceSourceToDetector) < float(upright.DistanceSourceToDetector)


def test_twice_the_index_is_half_the_sensitivity(take: Take) -> None:
    normal = take(cr, "CHEST")[0]
    low = take(cr, "CHEST", artefact="underexposed")[0]
    assert float(low.Sensitivity) == pytest.approx(10 * float(normal.Sensitivity), rel=0.03)


def test_plate_lines_are_straight_and_run_through_all_of_the_picture(take: Take) -> None:
    clean, dusty = (
        take(cr, "HAND_LEFT", artefact=artefact)[0].pixel_array.astype(int)
        for artefact in ("", "plate lines")
    )
    difference = clean - dusty  # dust is shown white, which is low here
    columns = np.flatnonzero(difference.any(axis=0))
    assert 4 <= len(columns) <= 8
    assert (difference[:, columns] >= 0).all()
    unsaturated = (clean > 1200)[:, columns]
    assert (difference[:, columns][unsaturated] > 0).all()
