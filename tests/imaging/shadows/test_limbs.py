"""Hands and knees in projection: the right number of bones, on the right side."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from labsim.imaging.projection import Beam, Film
from labsim.imaging.shadows.limbs import hand, knee

SEEDS = (1, 2, 7001)


@cache
def cast(part: Callable[[Film, int], None], seed: int) -> Film:
    film = Film(400, 300, 0.6, Beam(55))
    part(film, seed)
    return film


def runs(line: np.ndarray) -> int:
    """Count how often a line becomes true."""
    return int(np.count_nonzero(np.diff(line.astype(int), prepend=0) == 1))


def row_at(film: Film, y: float) -> np.ndarray:
    return film.depth[int(np.argmin(abs(film.y[:, 0] - y)))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hand_has_four_fingers_side_by_side_and_a_thumb_to_the_right(seed: int) -> None:
    film = cast(hand, seed)
    fingers = row_at(film, -52) > 0.05
    assert runs(fingers) == 4
    thumb = row_at(film, -10) > 0.05
    assert np.flatnonzero(thumb).max() > np.flatnonzero(fingers).max() + 10


@pytest.mark.parametrize("seed", SEEDS)
def test_the_middle_finger_is_the_longest_and_lies_on_the_film(seed: int) -> None:
    film = cast(hand, seed)
    tip = np.flatnonzero((film.depth > 0.05).any(axis=1))[0]
    assert 3 < tip < 60
    assert abs(float(film.x[0, film.depth[tip].argmax()])) < 20


@pytest.mark.parametrize("seed", SEEDS)
def test_bones_stop_more_than_flesh_and_joints_are_gaps(seed: int) -> None:
    film = cast(hand, seed)
    middle = film.depth[:, abs(film.x[0]) < 12].max(axis=1)  # along the middle finger
    along = middle[(film.y[:, 0] > -100) & (film.y[:, 0] < 20)]
    assert runs(along < 0.55 * np.percentile(along, 75)) >= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_knee_has_a_gap_between_thigh_and_shin(seed: int) -> None:
    film = cast(knee, seed)
    column = film.depth[:, int(np.argmin(abs(film.x[0] + 22)))]
    y = film.y[:, 0]
    gap = column[(y > 1) & (y < 8)].min()
    assert gap < 0.75 * np.median(column[(y > -20) & (y < -8)])
    assert gap < 0.75 * np.median(column[(y > 15) & (y < 30)])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_fibula_is_to_the_right_of_a_left_knee(seed: int) -> None:
    film = cast(knee, seed)
    row, x = row_at(film, 90), film.x[0]
    beside = [row[(x > low) & (x < low + 16)].max() for low in (26, -42)]
    assert beside[0] > 1.25 * beside[1]


@pytest.mark.parametrize("part", [hand, knee])
def test_patients_differ(part: Callable[[Film, int], None]) -> None:
    assert not np.array_equal(cast(part, 1).depth, cast(part, 2).depth)
