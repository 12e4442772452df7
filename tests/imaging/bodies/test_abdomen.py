"""An abdomen in space: organs on their sides, as dense as contrast medium makes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from labsim.imaging.bodies.abdomen import abdomen, bend, metastasis
from labsim.imaging.solids import Plane, Section

SEEDS = (1, 2, 7001)


def painted(seed: int, z: float) -> Section:
    section = Section(Plane((0, 0, z), "AXIAL", 256, 256, 400 / 256, 5.0), -1000, bend(seed), 2.2)
    abdomen(seed)(section)
    return section


def at(section: Section, x: float, y: float, radius: float = 5) -> float:
    away = np.hypot(section.x - x, section.y - y)
    return float(np.median(section.image[away < radius]))


@pytest.fixture(params=SEEDS)
def patient(request: pytest.FixtureRequest) -> Callable[[float], Section]:
    return lambda z: painted(request.param, z)


def test_the_liver_is_right_and_spleen_and_stomach_are_left(
    patient: Callable[[float], Section],
) -> None:
    one = patient(60)
    assert at(one, -90, 20, 12) == pytest.approx(112, abs=15)
    assert at(one, 105, 45, 4) == pytest.approx(124, abs=15)
    assert at(one, 58, -20) == pytest.approx(28, abs=15)  # what was drunk
    assert at(one, 58, -58) < -800  # the air above it


def test_both_kidneys_are_brighter_than_muscle(patient: Callable[[float], Section]) -> None:
    one = patient(-5)
    muscle = at(one, 54, 90)
    for side in (-1, 1):
        region = (np.hypot(one.x - side * 72, one.y - 48) < 25) & (one.image > 160)
        assert region.sum() * (400 / 256) ** 2 > 500
    assert 40 < muscle < 80


def test_aorta_and_cava_lie_before_the_spine(patient: Callable[[float], Section]) -> None:
    one = patient(-20)
    assert at(one, 5, 25, 3) == pytest.approx(152, abs=12)
    assert at(one, -23, 24, 3) == pytest.approx(146, abs=12)
    assert one.image[(np.abs(one.x) < 25) & (one.y > 40) & (one.y < 75)].max() > 400


def test_fat_lies_around_and_air_beyond(patient: Callable[[float], Section]) -> None:
    one = patient(-60)
    assert one.image[0].max() == -1000
    fat = (one.image > -125) & (one.image < -80)
    outside = np.hypot(one.x / 145, one.y / 102) > 1
    assert (fat & outside).sum() > 1000
    air = np.hypot(one.x / 205, (one.y + 2) / 150) > 1
    assert not (fat & air & (one.y < 118)).any()


def test_half_of_the_patients_have_a_metastasis_that_is_duller_than_the_liver() -> None:
    assert [metastasis(seed) is None for seed in range(6)] == [False, True] * 3
    for seed in (2, 4, 6):
        lesion = metastasis(seed)
        assert lesion is not None
        x, y, z = lesion.centre
        assert at(painted(seed, z), x, y, 4) < 80 < at(painted(seed + 1, z), x, y, 4)
