"""A lumbar spine in space: bodies, discs and canal one behind the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from labsim.imaging.bodies.lumbar import VERTEBRAE, findings, lumbar

Cut = Callable[..., Any]
WELL = next(seed for seed in range(1, 40, 2) if not findings(seed))
NAMED = {vertebra.name: vertebra for vertebra in VERTEBRAE}


def test_vertebrae_follow_each_other_down_the_curve() -> None:
    assert all(upper.z - lower.z > upper.half for upper, lower in pairwise(VERTEBRAE))
    assert min(VERTEBRAE, key=lambda vertebra: vertebra.y).name == "L3"  # the lordosis


@pytest.mark.parametrize("name", ["L1", "L3", "L5"])
def test_marrow_lies_in_front_of_the_canal(cut: Cut, name: str) -> None:
    one = cut(lumbar(WELL), "SAGITTAL", (0, 14, 0))
    _, y, z, _ = NAMED[name]
    assert one.at("red marrow", 0, y - 7, z + 3) > 0.9
    column = np.abs(one.z[:, 0] - z) < 1
    water = one.share("water")[column].sum(0)
    assert y + 12 < one.y[0, np.argmax(water)] < y + 40


def test_the_cord_ends_at_the_first_lumbar_vertebra(cut: Cut) -> None:
    one = cut(lumbar(WELL), "SAGITTAL", (0, 14, 0))
    cord = one.share("cord").sum(1)  # its thickness in mm, row by row
    z = one.z[:, 0]
    assert cord[(z > 100) & (z < 120)].mean() > 6
    assert cord[(z > 20) & (z < 50)].mean() < 4


def test_a_worn_disc_bulges_into_the_canal(cut: Cut) -> None:
    disc = max(findings(2), key=lambda one: one.bulge)
    upper, lower = VERTEBRAE[disc.above], VERTEBRAE[disc.above + 1]
    y, z = (upper.y + lower.y) / 2, (upper.z + lower.z) / 2
    thin = []
    for seed, tissue in ((WELL, "disc"), (2, "dry disc")):
        one = cut(lumbar(seed), "SAGITTAL", (2, 14, 0))
        assert one.at(tissue, 2, y, z) > 0.9
        behind = (np.hypot(one.y - y, one.z - z) < 32) & (one.y > y + 8)
        thin.append((one.share("annulus") * behind).sum())
    assert thin[1] > thin[0] + 30


def test_half_of_the_patients_have_a_disc_that_bulges_far() -> None:
    far = [any(disc.bulge > 5 for disc in findings(seed)) for seed in range(10)]
    assert far == [True, False] * 5
