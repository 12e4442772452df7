"""A head in space: what lies where, and what differs from patient to patient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from labsim.imaging.bodies.head import head, plaques

SEEDS = (1, 2, 7001)
Cut = Callable[..., Any]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_ventricles_hold_water(cut: Cut, seed: int) -> None:
    one = cut(head(seed), "AXIAL", (0, 0, 8))
    for side in (-1, 1):
        assert one.at("water", side * 22, 38, 7, radius=1.5) > 0.9
        assert one.at("water", side * 50, 38, 7, radius=6) < 0.6


@pytest.mark.parametrize("seed", SEEDS)
def test_the_cortex_lies_around_the_white_matter(cut: Cut, seed: int) -> None:
    one = cut(head(seed), "AXIAL", (0, 0, 36))
    depth = 1 - np.hypot(one.x / 62, (one.y + 2) / 80)
    rim, core = (depth > 0.02) & (depth < 0.06), (depth > 0.45) & (np.abs(one.x) > 12)
    assert one.within("cortex", rim) > 1.5 * one.within("cortex", core)
    assert one.within("white", core) > 2 * one.within("white", rim)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_middle_shows_callosum_pons_cord_and_clivus(cut: Cut, seed: int) -> None:
    one = cut(head(seed), "SAGITTAL", (0, 0, -30))
    assert one.at("white", 0, 10, 26, radius=2) > 0.9
    assert one.at("white", 0, 6, -33) > 0.9
    assert one.at("cord", 0, 29, -130, radius=2) > 0.9
    assert one.at("marrow", 0, -2, -44, radius=2) > 0.9


@pytest.mark.parametrize("side", [-1, 1])
def test_the_eyes_are_in_front_and_the_cerebellum_behind(cut: Cut, side: int) -> None:
    eyes = cut(head(1), "AXIAL", (0, 0, -24))
    assert eyes.at("water", side * 33, -72, -24, radius=6) > 0.95
    below = cut(head(1), "AXIAL", (0, 0, -36))
    assert below.at("white", side * 25, 44, -36, radius=4) > 0.5
    assert below.at("water", side * 25, -44, -36, radius=4) == 0


def test_the_fissure_parts_the_hemispheres(cut: Cut) -> None:
    one = cut(head(1), "AXIAL", (0, 0, 48))
    fissure = (np.abs(one.x) < 0.6) & (np.abs(one.y) < 40)
    assert one.within("cortex", fissure) + one.within("white", fissure) < 0.2


def test_another_patient_has_other_folds_in_the_same_skull(cut: Cut) -> None:
    one, other = (cut(head(seed), "AXIAL", (0, 0, 30)) for seed in (1, 3))
    assert np.abs(one.share("cortex") - other.share("cortex")).mean() > 0.02
    assert np.array_equal(one.share("bone"), other.share("bone"))


def test_half_of_the_patients_have_plaques_beside_the_ventricles(cut: Cut) -> None:
    found = [plaques(seed) for seed in range(20)]
    assert [bool(lesions) for lesions in found] == [True, False] * 10
    lesion = found[2][0]
    assert cut(head(2), "AXIAL", lesion.centre).at("plaque", *lesion.centre, radius=1.5) > 0.95
    assert not cut(head(1), "AXIAL", lesion.centre).share("plaque").any()
