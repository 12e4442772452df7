"""Breasts in projection: chest wall, nipple, muscle, and what is to be found."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from labsim.imaging.projection import Beam, Film, coarse
from labsim.imaging.shadows.breast import Breast, craniocaudal, deodorant, oblique

VIEWS = (craniocaudal, oblique)


@cache
def cast(view: Callable[[Film, Breast], None], breast: Breast, spacing: float = 0.6) -> Film:
    film = Film(round(240 / spacing), round(180 / spacing), spacing, Beam(28), (-90, 0))
    view(film, breast)
    return film


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("seed", [1, 2, 7001])
def test_a_breast_reaches_from_the_chest_wall_to_its_nipple(
    view: Callable[[Film, Breast], None], seed: int
) -> None:
    breast = Breast(seed, "L")
    film = cast(view, breast)
    shadow = film.depth > 0.1
    assert shadow[:, 0].any()
    farthest = float(film.x[0, np.flatnonzero(shadow.any(axis=0))[-1]])
    assert farthest == pytest.approx(breast.reach + 5, abs=2)


def test_muscle_is_in_the_upper_corner_of_an_oblique_view_only() -> None:
    for seed in (1, 3, 5):
        breast = Breast(seed, "L")
        corner = cast(oblique, breast).depth[:60, :30]
        assert corner.min() > 1.2
        assert np.count_nonzero(cast(craniocaudal, breast).depth[:30, :30] > 1.2) == 0


def test_dense_breasts_are_whiter() -> None:
    breasts = [Breast(seed, "L") for seed in range(1, 25, 2)]
    dense = max(breasts, key=lambda breast: breast.density)
    fatty = min(breasts, key=lambda breast: breast.density)
    white = [
        float(np.mean(cast(craniocaudal, one).depth[cast(craniocaudal, one).depth > 0.5] > 1.2))
        for one in (fatty, dense)
    ]
    assert white[0] < 0.3 < 0.45 < white[1]


def test_both_breasts_of_a_patient_are_alike_and_not_the_same() -> None:
    left, right, other = Breast(1, "L"), Breast(1, "R"), Breast(3, "L")
    assert abs(left.reach - right.reach) < 6
    assert abs(left.density - right.density) < 0.08
    assert left.reach != right.reach
    assert left.reach != other.reach
    assert not np.array_equal(cast(craniocaudal, left).depth, cast(craniocaudal, right).depth)


def test_half_of_the_patients_have_a_mass_in_one_breast() -> None:
    found = [(Breast(seed, "L").mass, Breast(seed, "R").mass) for seed in range(40)]
    counts = [sum(mass is not None for mass in pair) for pair in found]
    assert counts == [1, 0] * 20


@pytest.mark.parametrize("seed", [2, 4, 12])
def test_a_mass_is_white_where_it_is_said_to_be(seed: int) -> None:
    for view, place in ((craniocaudal, 1), (oblique, 2)):
        for side in "LR":
            breast = Breast(seed, side)
            if breast.mass is not None:
                film = cast(view, breast)
                nipple = 0 if view is craniocaudal else 12 * breast.half_height / 90
                x, y = breast.mass[0], breast.mass[place] + nipple * 0.6
                near = np.hypot(film.x - x, film.y - y)
                assert film.depth[near < 3].mean() > film.depth[(near > 14) & (near < 18)].mean()


def test_a_cluster_of_calcifications_is_in_a_third_of_the_patients() -> None:
    def specks(seed: int) -> int:
        films = [cast(craniocaudal, Breast(seed, side), 0.3) for side in "LR"]
        return sum(int(np.sum(film.depth - coarse(film.depth, 5) > 0.5)) for film in films)

    with_cluster = [specks(seed) for seed in (3, 9, 15)]
    without = [specks(seed) for seed in (1, 5, 7)]
    assert min(with_cluster) > max(without)


def test_deodorant_lies_in_the_armpit() -> None:
    breast = Breast(1, "L")
    film = Film(800, 600, 0.3, Beam(28), (-90, 0))
    deodorant(film, breast)
    rows = np.flatnonzero((film.depth > 0.3).any(axis=1))
    assert len(rows) > 50
    assert film.y[rows].max() < -60
