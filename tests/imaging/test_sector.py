"""A scanner: beams fan out, fluid is black, stones throw shadows."""

from __future__ import annotations

import numpy as np
import pytest

from labsim.imaging.sector import Probe, Scanner, Scene, Screen, distance

PROBE = Probe(radius=55, half_angle=32, depth=120)
SHAPE = (400, 560)


def scene(level: float = 0.1) -> Scene:
    return Scene(240, 150, level, np.random.default_rng(1))


def scanned(before: Scene, gain: float = 0.0) -> np.ndarray:
    scanner = Scanner(PROBE, before, np.random.default_rng(2), gain)
    return scanner.echoes(scanner.x, scanner.y)


def near(echoes: np.ndarray, x: float, y: float, radius: float = 6) -> float:
    """Return the mean of the echoes around a place in mm."""
    across, down = PROBE.grid()
    return float(echoes[np.hypot(across - x, down - y) < radius].mean())


def test_the_middle_beam_goes_straight_down_from_the_skin() -> None:
    x, y = Probe(55, 32, 120, beams=151).grid()
    assert x.shape == (380, 151)
    assert np.allclose(x[:, 75], 0, atol=1e-4)
    assert (y[0, 75], y[-1, 75]) == (pytest.approx(0, abs=1e-4), pytest.approx(120))
    assert y[0, 0] < 0  # the face of the probe is curved


def test_echoes_stay_within_what_can_be_shown() -> None:
    echoes = scanned(scene())
    assert echoes.min() >= 0
    assert echoes.max() <= 1
    assert echoes.dtype == np.float32


def test_tissue_has_speckle_as_large_as_the_pulse() -> None:
    echoes = scanned(scene())[100:300, 40:110]
    assert echoes.std() > 0.05
    neighbours = np.corrcoef(echoes[:, :-1].ravel(), echoes[:, 1:].ravel())[0, 1]
    far = np.corrcoef(echoes[:, :-8].ravel(), echoes[:, 8:].ravel())[0, 1]
    assert neighbours > 0.5 > 0.1 > abs(far)


def test_fluid_is_black_and_what_is_behind_it_is_brighter() -> None:
    with_fluid = scene()
    with_fluid.ellipse((0, 50), (30, 15), 0.003, loss=-0.15)
    plain, seen = scanned(scene()), scanned(with_fluid)
    assert near(seen, 0, 50) < 0.4 * near(plain, 0, 50)
    assert near(seen, 0, 85) > near(plain, 0, 85) + 0.03


def test_a_stone_throws_a_shadow_along_its_beam() -> None:
    with_stone = scene()
    with_stone.ellipse((20, 40), (5, 5), 0.3, wall=1.0, loss=4.0)
    seen, plain = scanned(with_stone), scanned(scene())
    behind = 20 * (55 + 90) / (55 + 40), 90.0
    front = 20 * (55 + 35.5) / (55 + 40), 35.5
    assert near(seen, *front, 1.5) > near(plain, *front, 1.5) + 0.1
    assert near(seen, *behind, 3) < 0.5 * near(plain, *behind, 3)
    assert near(seen, -30, 90) == pytest.approx(near(plain, -30, 90), abs=0.02)


def test_gain_makes_everything_brighter() -> None:
    assert scanned(scene(), 12).mean() > scanned(scene()).mean() + 0.1


def test_speckle_moves_with_the_tissue() -> None:
    scanner = Scanner(PROBE, scene(), np.random.default_rng(2))
    still = scanner.echoes(scanner.x, scanner.y)
    moved = scanner.echoes(scanner.x, scanner.y - np.float32(5 * scanner.step))
    middle = slice(60, 90)
    assert np.corrcoef(still[100:200, middle].ravel(), moved[105:205, middle].ravel())[0, 1] > 0.5
    assert np.corrcoef(still[100:200, middle].ravel(), moved[100:200, middle].ravel())[0, 1] < 0.3


def test_a_vessel_is_black_between_bright_walls() -> None:
    with_vessel = scene()
    with_vessel.strand([(-20, 60), (20, 60)], [3, 3], 0.002, wall=0.4)
    echoes = scanned(with_vessel)
    assert near(echoes, 0, 60, 1.5) < 0.5 * near(echoes, 0, 45)
    for wall in (slice(110, 126), slice(128, 144)):  # halves of a mm above and below
        beside = [near(echoes, 0, y / 2, 1.5) for y in range(wall.start, wall.stop)]
        assert max(beside) > near(echoes, 0, 45) + 0.05


def test_distance_is_that_from_the_nearest_point_of_a_line() -> None:
    x, y = np.array([0.0, 5.0, 20.0], np.float32), np.array([3.0, 3.0, 0.0], np.float32)
    assert np.allclose(distance(x, y, (0, 0), (10, 0)), (3, 3, 10))


def test_a_screen_draws_a_fan_and_leaves_the_rest() -> None:
    screen = Screen(PROBE, SHAPE, 40, 2.5)
    picture = np.full(SHAPE, 7, np.uint8)
    screen.draw(np.ones((PROBE.samples, PROBE.beams), np.float32), picture)
    assert picture[0, 0] == picture[-1, -1] == 7
    assert picture[screen.place(0, 60)] == 255
    top, bottom, left, right = screen.box
    assert bottom == pytest.approx(40 + 120 * 2.5, abs=1)
    assert picture[top : bottom + 1, left : right + 1].max() == 255
    outside = picture.copy()
    outside[top : bottom + 1, left : right + 1] = 7
    assert (outside == 7).all()


def test_what_is_drawn_lies_where_it_is_measured() -> None:
    marked = scene(0.001)
    marked.ellipse((-30, 70), (3, 3), 1.0)
    screen, picture = Screen(PROBE, SHAPE, 40, 2.5), np.zeros(SHAPE, np.uint8)
    screen.draw(scanned(marked), picture)
    rows, columns = np.nonzero(picture > 180)
    expected = screen.place(-30, 70)
    assert rows.mean() == pytest.approx(expected[0], abs=4)
    assert columns.mean() == pytest.approx(expected[1], abs=4)
