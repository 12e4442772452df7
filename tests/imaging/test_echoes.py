"""Organs in ultrasound: what is fluid, what beats, what flows."""

from __future__ import annotations

import numpy as np
import pytest

from labsim.imaging.echoes import (
    BLOOD,
    FLUID,
    LIVER,
    Heart,
    gallbladder,
    kidney,
    liver_and_kidney,
    renal_flow,
)

SEEDS = (1, 2, 7001)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_kidney_is_darker_than_liver_around_a_bright_middle(seed: int) -> None:
    scene = kidney(seed)
    middle = np.hypot((scene.x - 2) / 12, (scene.y - 66) / 4) < 1
    rim = np.abs(np.hypot((scene.x - 2) / 50, (scene.y - 66) / 22) - 0.9) < 0.05
    assert scene.scatter[middle].mean() > 1.5 * LIVER
    assert scene.scatter[rim].mean() < 0.8 * LIVER


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gallbladder_is_full_of_fluid(seed: int) -> None:
    scene = gallbladder(seed)
    area = np.count_nonzero(scene.scatter < 1.2 * FLUID) * scene.spacing**2
    assert 800 < area < 3000  # mm²


def test_every_other_patient_has_a_stone() -> None:
    assert [gallbladder(seed).loss.max() > 1 for seed in range(6)] == [True, False] * 3


def test_patients_differ() -> None:
    for paint in (kidney, gallbladder, liver_and_kidney):
        assert not np.array_equal(paint(1).scatter, paint(2).scatter)
    assert Heart(1).strength != Heart(2).strength


def test_the_heart_contracts_once_and_is_back_where_it_began() -> None:
    squeezes = [Heart.squeeze(phase) for phase in np.linspace(0, 1, 41)]
    peak = int(np.argmax(squeezes))
    assert squeezes[0] == pytest.approx(0, abs=1e-6)
    assert squeezes[-1] == pytest.approx(0, abs=1e-6)
    assert max(squeezes) == pytest.approx(1, abs=0.01)
    assert np.all(np.diff(squeezes[: peak + 1]) >= 0)
    assert np.all(np.diff(squeezes[peak:]) <= 0)
    assert peak < 20  # it takes longer to relax


@pytest.mark.parametrize("seed", SEEDS)
def test_the_left_ventricle_becomes_smaller_when_the_heart_contracts(seed: int) -> None:
    heart = Heart(seed)
    x, y = np.meshgrid(np.arange(-8, 38, 0.5), np.arange(34, 88, 0.5))
    areas = []
    for phase in (0.0, 0.35):
        index = heart.scene.index(*heart.where(x.astype("f4"), y.astype("f4"), phase))
        areas.append(np.count_nonzero(heart.scene.scatter.take(index) < 2 * BLOOD))
    assert 0.4 * areas[0] < areas[1] < 0.85 * areas[0]


def test_valves_are_closed_in_systole_and_open_when_the_ventricle_fills() -> None:
    heart = Heart(1)
    x, y = np.meshgrid(np.linspace(0, 32, 65), np.linspace(80, 115, 71))
    across = []
    for phase in (0.2, 0.56):
        seen = heart.leaflets(x.astype("f4"), y.astype("f4"), phase)
        across.append(float(seen[:, 28:37].max()))  # the middle of the mitral valve
    assert across[0] > 0.1 > 0.03 > across[1]


def test_blood_flows_both_ways_through_a_kidney() -> None:
    scene = kidney(3)
    flow = renal_flow(scene, 3)
    assert flow.max() > 0.5
    assert flow.min() < -0.5
    away = np.hypot((scene.x - 2) / 58, (scene.y - 66) / 30)
    assert not flow[away > 1].any()
