"""Knees in space: the outside is outside on both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from labsim.imaging.bodies.knee import APART, findings, knee

Cut = Callable[..., Any]


@pytest.mark.parametrize("side", [-1, 1])
def test_the_fibula_is_on_the_outside(cut: Cut, side: int) -> None:
    one = cut(knee(1, side), "CORONAL", (side * APART, 19, 0))
    assert one.at("marrow", side * (APART + 35), 19, -50, radius=2) > 0.9
    assert one.at("marrow", side * (APART - 35), 19, -50, radius=2) == 0


def test_left_and_right_are_mirror_images(cut: Cut) -> None:
    left, right = (
        cut(knee(1, side), "CORONAL", (side * APART, 5, 0)).share("bone") for side in (1, -1)
    )
    assert np.abs(left - right[:, ::-1]).mean() < 0.1 * np.abs(left - right).mean()


@pytest.mark.parametrize("side", [-1, 1])
def test_the_patella_is_in_front_of_the_femur(cut: Cut, side: int) -> None:
    x = side * (APART + 2)
    one = cut(knee(1, side), "SAGITTAL", (x, 0, 0))
    assert one.at("marrow", x, -46, 30) > 0.9
    assert one.at("bone", x, -36, 30, radius=6) > 0.1  # between the two
    assert one.at("marrow", x, -10, 44) > 0.9
    assert one.at("marrow", x, 60, 30) == 0


@pytest.mark.parametrize("side", [-1, 1])
def test_menisci_are_wedges_that_are_high_outside(cut: Cut, side: int) -> None:
    one = cut(knee(1, side), "CORONAL", (side * APART, 4, 0), 0.5)
    heights = [
        one.share("meniscus")[np.abs(one.x - side * (APART + x)) < 0.3].sum() for x in (38, 32, 22)
    ]
    assert heights[0] > heights[1] > heights[2]


def test_a_torn_meniscus_shines_where_it_is_torn_and_only_there(cut: Cut) -> None:
    assert [findings(seed).torn for seed in (1, 2, 3, 4)] == [False, True, False, True]
    for seed, torn in ((1, False), (2, True)):
        one = cut(knee(seed, 1), "SAGITTAL", (APART - 24, 0, 0), 0.5)
        horn = (np.abs(one.z + 3) < 4) & (one.y > 14) & (one.y < 30)
        assert bool((one.share("fluid") > 0.8)[horn].any()) is torn


def test_a_knee_with_a_tear_is_swollen(cut: Cut) -> None:
    amounts = []
    for seed in (1, 2):
        amounts.append(cut(knee(seed, 1), "SAGITTAL", (APART + 2, 0, 30)).share("fluid").sum())
    assert amounts[1] > 2 * amounts[0]
