"""A thorax in projection: everything is where a radiologist looks for it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from labsim.imaging.phantom import Nodule
from labsim.imaging.projection import Beam, Film, Image
from labsim.imaging.shadows.thorax import CARINA, Chest, from_the_front, from_the_left

BACK, FRONT = slice(250, 270), slice(90, 110)  # columns
PLAIN = Chest(seed=1, female=False, nodule=None)


@cache
def front(chest: Chest = PLAIN) -> Film:
    film = Film(380, 360, 1.0, Beam(117))
    from_the_front(film, chest)
    return film


@cache
def side(chest: Chest = PLAIN) -> Film:
    film = Film(380, 360, 1.0, Beam(117))
    from_the_left(film, chest)
    return film


def around(film: Film, x: float, y: float, radius: float = 8) -> float:
    """Return the median depth of a disc."""
    image: Image = film.depth
    return float(np.median(image[np.hypot(film.x - x, film.y - y) < radius]))


def test_lungs_are_darker_than_what_is_between_and_below_them() -> None:
    for lung in (-85, 85):
        assert around(front(), lung, -40) < 0.7 * around(front(), 20, 30)
        assert around(front(), lung, -40) < 0.7 * around(front(), lung, 150)


def test_the_heart_is_on_the_left() -> None:
    assert around(front(), 60, 45) > 1.3 * around(front(), -60, 45)


def test_the_right_half_of_the_diaphragm_stands_higher() -> None:
    tops = []
    for x in (-108, 108):
        level = (around(front(), x, -20) + around(front(), x, 150)) / 2
        column = front().depth[:, int(np.argmin(abs(front().x[0] - x)))]
        tops.append(float(front().y[np.flatnonzero(column < level)[-1], 0]))
    assert tops[0] < tops[1]


def test_air_is_in_the_stomach_on_the_left_only() -> None:
    low = 122 + PLAIN.diaphragm
    assert around(front(), 62, low) < around(front(), -62, low)


def test_the_patient_looks_to_the_left_in_a_lateral_view() -> None:
    low = PLAIN.diaphragm
    assert around(side(), -40, 50 + low) > around(side(), 45, 50 + low)  # heart, lung behind it
    # Vertebrae and the discs between them take turns along the back.
    down = [np.diff(side().depth[150:230, part], axis=0).std() for part in (BACK, FRONT)]
    assert down[0] > 1.5 * down[1]


@pytest.mark.parametrize("radius", [6.0, 9.0])
def test_a_nodule_is_seen_in_both_views_at_the_same_height(radius: float) -> None:
    nodule = Nodule((80.0, -20.0, -30.0), radius)
    with_it = replace(PLAIN, nodule=nodule)
    for seen, plain, x in ((front(with_it), front(), 80), (side(with_it), side(), -20)):
        extra = seen.depth - plain.depth
        row, column = np.unravel_index(int(extra.argmax()), extra.shape)
        assert float(seen.x[0, column]) == pytest.approx(x, abs=2)
        assert float(seen.y[row, 0]) == pytest.approx(CARINA + 30, abs=2)


def test_breasts_are_seen_in_women_only() -> None:
    extra = front(replace(PLAIN, female=True)).depth - front().depth
    assert extra.min() >= -1e-3
    assert extra.max() > 0.2
    assert around(front(replace(PLAIN, female=True)), 0, -120) == around(front(), 0, -120)


def test_lying_makes_the_heart_wider_and_lifts_the_diaphragm() -> None:
    lying = replace(PLAIN, lying=True)
    assert lying.heart > PLAIN.heart
    assert lying.diaphragm < PLAIN.diaphragm


def test_patients_differ() -> None:
    others = [Chest(seed, False, None) for seed in range(12)]
    assert len({chest.heart for chest in others}) == 12
    assert len({chest.build for chest in others}) == 12
    assert not np.array_equal(front(others[2]).depth, front(others[3]).depth)
