"""Computed anatomy: Hounsfield units where a radiologist would look for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from labsim.imaging.phantom import (
    AIR,
    FACE,
    SHOULDERS,
    SOFT,
    Canvas,
    Grid,
    Image,
    Nodule,
    anatomy,
    head,
    place_nodule,
    planted,
    project,
    scan,
    thorax,
)

SIZE, SPACING = 256, 1.5
SEEDS = (1, 2, 7001)
Paint = Callable[[Canvas], None]


def painted(paint: Paint, z: float) -> Canvas:
    canvas = Canvas(Grid(SIZE, SPACING, z, 5.0))
    paint(canvas)
    return canvas


def at(canvas: Canvas, x: float, y: float, radius: float = 4) -> float:
    """Return the median of a disc, in HU: a vessel in it does not count."""
    near = np.hypot(canvas.x - x, canvas.y - y) < radius
    return float(np.median(canvas.image[near]))


def noisy(paint: Paint, seed: int, noise: float = 10) -> Image:
    return scan(paint, Grid(SIZE, SPACING, 0.0, 5.0), np.random.default_rng(seed), noise)


def water(canvas: Canvas) -> None:
    canvas.ellipse(0, 0, 150, 150, 0)


# A slice and what is painted on it


def test_the_middle_of_the_image_is_the_middle_of_the_patient() -> None:
    x, y = Grid(256, 1.5, 0.0).axes()
    assert x.shape == (1, 256)
    assert y.shape == (256, 1)
    assert x[0, 0] == y[0, 0] == -x[0, -1] == Grid(256, 1.5, 0.0).first
    assert np.allclose(np.diff(x), 1.5)


def test_an_empty_slice_is_air() -> None:
    assert np.all(Canvas(Grid(16, 1.0, 0.0)).image == AIR)


def test_an_ellipse_has_the_area_that_it_should() -> None:
    canvas = Canvas(Grid(SIZE, SPACING, 0.0))
    canvas.ellipse(10, -20, 60, 30, 0)
    area = (canvas.image - AIR).sum() / -AIR * SPACING**2
    assert area == pytest.approx(np.pi * 60 * 30, rel=0.01)
    assert at(canvas, 10, -20) == 0


def test_an_ellipse_can_be_turned() -> None:
    canvas = Canvas(Grid(SIZE, SPACING, 0.0))
    canvas.ellipse(0, 0, 80, 10, 0, tilt=np.pi / 2)
    assert (at(canvas, 0, 60), at(canvas, 60, 0)) == (0, AIR)


@pytest.mark.parametrize(("a", "b"), [(0, 10), (10, 0), (-5, 10)])
def test_an_ellipse_without_extent_is_not_painted(a: float, b: float) -> None:
    canvas = Canvas(Grid(SIZE, SPACING, 0.0))
    canvas.ellipse(0, 0, a, b, 0)
    assert np.all(canvas.image == AIR)


@pytest.mark.parametrize(("x", "y"), [(900, 0), (-900, 0), (0, 900), (0, -900)])
def test_what_lies_outside_is_not_painted(x: float, y: float) -> None:
    canvas = Canvas(Grid(SIZE, SPACING, 0.0))
    canvas.ellipse(x, y, 50, 50, 0)
    canvas.ball((x, y, 0.0), 50, 0)
    assert np.all(canvas.image == AIR)


def test_an_ellipse_may_reach_over_the_edge() -> None:
    canvas = Canvas(Grid(SIZE, SPACING, 0.0))
    canvas.ellipse(-190, 0, 50, 50, 0)
    assert at(canvas, -180, 0) == 0
    assert at(canvas, 180, 0) == AIR


def test_a_ball_is_seen_in_the_slices_that_it_reaches_only() -> None:
    widths = []
    for z in (0.0, 6.0, 12.0, 13.0):
        canvas = Canvas(Grid(SIZE, SPACING, z, 5.0))
        canvas.ball((0, 0, 0), 10, 0)
        widths.append(float((canvas.image - AIR).sum()))
    assert widths[0] > widths[1] > widths[2] > widths[3] == 0


# Anatomy


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thorax_has_the_densities_of_one(seed: int) -> None:
    middle = painted(thorax(None, seed), -20.0)
    assert at(middle, 185, -120) == AIR  # beside the patient
    for side in (-1, 1):
        assert -950 < at(middle, side * 90, -10, radius=25) < -750  # lung
    assert 30 < at(middle, 24, 44) < 50  # aorta
    assert 100 < at(middle, 0, 64) < 500  # vertebra
    muscle = painted(thorax(None, seed), 45.0)
    assert 30 < np.median(muscle.image[(muscle.image > 0) & (muscle.image < 100)]) < 70
    assert middle.image.max() > 400  # cortical bone
    assert middle.image.min() >= AIR


def test_the_heart_is_on_the_left() -> None:
    low = painted(thorax(None, 1), -60.0)
    assert at(low, 65, -25) > 0
    assert at(low, -65, -25, radius=12) < -700


def test_the_spine_is_at_the_back_and_the_breastbone_in_front() -> None:
    middle = painted(thorax(None, 1), -20.0)
    assert at(middle, 0, 64) > 100
    assert at(middle, 0, -87) > 100
    assert at(middle, 0, -64) < 100


def test_the_trachea_is_above_its_bifurcation_only() -> None:
    assert at(painted(thorax(None, 1), 40.0), 0, 12) < -800
    assert at(painted(thorax(None, 1), -60.0), 0, 12) > -200


def test_the_patient_lies_on_the_table() -> None:
    middle = painted(thorax(None, 1), 0.0)
    behind = middle.image[middle.y[:, 0] > 119]
    in_front = middle.image[middle.y[:, 0] < -119]
    assert behind.max() > -200
    assert in_front.max() == AIR


@pytest.mark.parametrize("seed", SEEDS)
def test_a_head_has_the_densities_of_one(seed: int) -> None:
    middle = painted(head(seed), 0.0)
    assert at(middle, 150, 0) == AIR
    assert 20 < at(middle, 50, 30) < 45  # brain
    assert 0 <= at(middle, 13, 24) < 15  # ventricle
    assert middle.image.max() > 1000  # skull


@pytest.mark.parametrize("seed", range(30))
def test_a_nodule_is_dense_in_what_would_be_lung(seed: int) -> None:
    nodule = place_nodule(seed)
    x, y, z = nodule.center
    assert 4 <= nodule.radius <= 9
    assert at(painted(thorax(nodule, seed), z), x, y) > -100
    assert at(painted(thorax(None, seed), z), x, y) < -300


def test_half_of_the_thoraces_have_a_nodule_and_no_head_has() -> None:
    found = [planted("CHEST", seed) for seed in range(100)]
    assert sum(nodule is not None for nodule in found) == 50
    assert all(planted("HEAD", seed) is None for seed in range(100))


def test_a_nodule_lies_where_its_seed_says() -> None:
    assert place_nodule(3) == place_nodule(3)
    assert place_nodule(3) != place_nodule(4)
    assert isinstance(place_nodule(3), Nodule)


def test_the_same_seed_is_the_same_patient_and_another_is_another() -> None:
    for body_part in ("CHEST", "HEAD"):
        first, again, other = (painted(anatomy(body_part, s), 10.0).image for s in (3, 3, 4))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_what_there_is_no_phantom_of_is_an_error() -> None:
    with pytest.raises(KeyError):
        anatomy("KNEE", 1)


# Scanning


def test_noise_is_as_strong_as_asked_for() -> None:
    image = noisy(water, 1, noise=12)
    inside = image[100:156, 100:156]
    assert inside.std() == pytest.approx(12, rel=0.1)
    assert inside.mean() == pytest.approx(0, abs=1)


def test_noise_is_decided_by_its_generator() -> None:
    assert np.array_equal(noisy(water, 1), noisy(water, 1))
    assert not np.array_equal(noisy(water, 1), noisy(water, 2))


def test_an_edge_is_soft_and_in_its_place() -> None:
    row = noisy(water, 1, noise=0.001)[SIZE // 2]
    x = Grid(SIZE, SPACING, 0.0).axes()[0][0]
    assert abs(row[np.argmin(abs(x - 140))]) < 5
    assert abs(row[np.argmin(abs(x - 160))] - AIR) < 5
    assert np.interp(-500, row[::-1][:128], x[::-1][:128]) == pytest.approx(150, abs=1)


def test_a_sharp_kernel_overshoots_at_an_edge_and_a_soft_one_does_not() -> None:
    most = []
    for detail in (SOFT, 1.8):
        grid = Grid(SIZE, SPACING, 0.0, 5.0)
        most.append(scan(water, grid, np.random.default_rng(1), 0.001, detail).max())
    assert most[0] == pytest.approx(0, abs=1)
    assert most[1] > 100


# Localizers


def test_a_projection_measures_how_much_water_lies_in_the_way() -> None:
    front, left = project(lambda canvas: canvas.ellipse(0, 0, 60, 40, 0), 100, 200, 128, 5.0)
    middle = front[32:96].mean(0)
    assert middle.max() == pytest.approx(80, rel=0.03)
    assert left[64].max() == pytest.approx(120, rel=0.03)
    assert front[64].sum() == pytest.approx(left[64].sum(), rel=0.01)
    assert np.ptp(np.flatnonzero(middle > 8)) * 200 / 128 == pytest.approx(120, abs=5)


def test_a_projection_shows_heights_where_they_are() -> None:
    def ball(canvas: Canvas) -> None:
        canvas.ball((0, 0, 40), 15, 0)

    front, _ = project(ball, 100, 200, 100, 4.0)
    row, column = np.unravel_index(front.argmax(), front.shape)
    assert 100 - (row + 0.5) * 2 == pytest.approx(40, abs=4)
    assert (column + 0.5) * 2 - 100 == pytest.approx(0, abs=4)


@pytest.mark.parametrize("part", ["CHEST", "HEAD"])
def test_what_only_localizers_see_joins_what_slices_show(part: str) -> None:
    border, away = {"CHEST": (SHOULDERS, 1), "HEAD": (FACE, -1)}[part]
    one, other = (painted(anatomy(part, 1), border + away * d).image for d in (-0.5, 0.5))
    wide = [np.ptp(np.flatnonzero((image > -500).any(0))) for image in (one, other)]
    assert wide[1] == pytest.approx(wide[0], abs=8)
    assert painted(anatomy("HEAD", 1), 120.0).image.max() == AIR
