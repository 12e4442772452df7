"""Views of radiography: codes, sides, markers, and what exposure says."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from labsim.imaging.projection import lead_letter
from labsim.imaging.radiograph import (
    ARTEFACTS,
    CHEST,
    HAND,
    KNEE,
    TARGET_INDEX,
    VIEWS,
    WHITE,
    WRONG_MARKER,
    Exposure,
    View,
    add_exposure,
    add_exposure_index,
    expose,
    share_of,
    shown_marker,
)

NAMES = sorted(VIEWS)


@cache
def taken(view: View, artefact: str = "", seed: int = 7001) -> np.ndarray:
    return expose(view, seed, "M", artefact, np.random.default_rng(1))


def read_marker(view: View, picture: np.ndarray) -> str:
    """Return the letter that the picture has in its place, as a reader would see it."""
    row, column = round(view.corner[1] * view.size[0]), round(view.corner[0] * view.size[1])
    likeness = {}
    for letter in "LR":
        lead = lead_letter(letter, 13 / view.spacing)
        patch = picture[row : row + lead.shape[0], column : column + lead.shape[1]]
        likeness[letter] = float(
            np.corrcoef(patch.ravel(), lead[:, : patch.shape[1]].ravel())[0, 1]
        )
    return max(likeness, key=likeness.__getitem__)


@pytest.mark.parametrize("name", NAMES)
def test_codes_are_those_of_the_standard(name: str) -> None:
    view = VIEWS[name]
    regions = {codes.CID4009.Chest: CHEST, codes.CID4009.Hand: HAND, codes.CID4009.Knee: KNEE}
    assert any(
        known.value == view.region.value and mine is view.region for known, mine in regions.items()
    )
    known = {code.value: code.meaning for code in map(_code, codes.CID4010.dir())}
    assert known[view.code.value].lower() == view.code.meaning.lower()


def _code(keyword: str) -> object:
    return getattr(codes.CID4010, keyword)


@pytest.mark.parametrize("name", NAMES)
def test_the_letter_in_the_picture_is_that_of_the_view(name: str) -> None:
    view = VIEWS[name]
    assert read_marker(view, taken(view)) == view.marker == shown_marker(view, "")
    if view.laterality != "U":
        assert view.marker == view.laterality


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_marker_is_the_other_letter_and_nothing_else(name: str) -> None:
    view = VIEWS[name]
    good, wrong = taken(view), taken(view, WRONG_MARKER)
    assert {read_marker(view, good), read_marker(view, wrong)} == {"L", "R"}
    rows = np.flatnonzero((good != wrong).any(axis=1))
    # The letter alone has changed, and what is processed together with it.
    assert np.ptp(rows) * view.spacing < 13 + 5 * 24 * view.spacing


@pytest.mark.parametrize("part", ["HAND", "KNEE"])
def test_a_right_one_is_the_mirror_image_of_a_left_one(part: str) -> None:
    left, right = taken(VIEWS[f"{part}_LEFT"]), taken(VIEWS[f"{part}_RIGHT"])
    mirrored = np.corrcoef(left[150:].ravel(), right[150:, ::-1].ravel())[0, 1]
    unmirrored = np.corrcoef(left[150:].ravel(), right[150:].ravel())[0, 1]
    assert mirrored > 0.97
    assert mirrored > unmirrored + 0.02


@pytest.mark.parametrize("name", NAMES)
def test_a_badly_placed_body_is_the_same_body_elsewhere(name: str) -> None:
    view = VIEWS[name]
    good, clipped = taken(view).astype(float), taken(view, "clipped").astype(float)
    across, down = (
        round((there - here) / view.spacing)
        for here, there in zip(view.place, view.misplaced, strict=True)
    )
    if view.laterality == "R":
        across = -across  # the mirror image of a left one
    back = np.roll(clipped, (-down, -across), (0, 1))
    rows = slice(140, 550)
    columns = slice(max(0, -across), view.size[1] - max(0, across))
    inner = rows, columns
    assert np.corrcoef(good[inner].ravel(), back[inner].ravel())[0, 1] > 0.9
    assert np.corrcoef(good[inner].ravel(), clipped[inner].ravel())[0, 1] < 0.9


def test_fingertips_are_missing_when_a_hand_is_clipped() -> None:
    view = VIEWS["HAND_LEFT"]
    assert taken(view)[0].max() < 0.05 * WHITE
    assert taken(view, "clipped")[0].max() > 0.1 * WHITE


def test_less_exposure_is_grainier_and_is_told() -> None:
    view = VIEWS["KNEE_LEFT"]
    grain = [
        float(np.diff(taken(view, artefact)[600:700, 130:180].astype(float)).std())
        for artefact in ("", "underexposed")
    ]
    assert grain[1] > 2 * grain[0]
    normal, low = Dataset(), Dataset()
    for image, artefact in ((normal, ""), (low, "underexposed")):
        add_exposure(image, view.exposure, share_of(artefact))
        add_exposure_index(image, 1, share_of(artefact))
    assert low.ExposureInuAs == normal.ExposureInuAs / 10
    assert low.DeviationIndex == pytest.approx(normal.DeviationIndex - 10)


def test_numbers_of_an_exposure_agree_with_each_other() -> None:
    image = Dataset()
    add_exposure(image, Exposure(70, 200, 25, 1150, 0.2, 0.8))
    assert image.ExposureInuAs == image.XRayTubeCurrent * image.ExposureTime == 5000
    assert image.Exposure == 5
    add_exposure_index(image, 3)
    expected = 10 * np.log10(float(image.ExposureIndex) / TARGET_INDEX)
    assert float(image.DeviationIndex) == pytest.approx(expected, abs=0.06)


def test_every_artefact_says_what_it_is() -> None:
    assert all(len(words) > 20 for words in ARTEFACTS.values())
