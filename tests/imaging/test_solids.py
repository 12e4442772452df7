"""Shapes in space: the right size in each view, in the right place, however they are turned."""

from __future__ import annotations

import numpy as np
import pytest

from labsim.imaging.solids import FAR, VIEWS, Plane, Section, Waves, around

SPACING = 1.5
UNITS = np.eye(3)


def section(view: str, centre: tuple[float, float, float] = (0, 0, 0), size: int = 160) -> Section:
    return Section(Plane(centre, view, size, size, SPACING), 0)


def area(one: Section) -> float:
    return float(one.image.sum()) * SPACING**2


def middle(one: Section) -> tuple[float, ...]:
    """Return the centre of what is painted."""
    weight = one.image / one.image.sum()
    return tuple(float((axis * weight).sum()) for axis in (one.x, one.y, one.z))


# Planes


@pytest.mark.parametrize("view", VIEWS)
def test_the_middle_of_a_plane_is_where_it_is_told(view: str) -> None:
    plane = Plane((10, -20, 30), view, 64, 48, 2.0)
    right, down = (np.array(axis) for axis in plane.directions)
    last = np.array(plane.first) + 2.0 * (47 * right + 63 * down)
    assert np.allclose((np.array(plane.first) + last) / 2, (10, -20, 30))


@pytest.mark.parametrize("view", VIEWS)
def test_what_columns_and_rows_add_is_what_the_header_says(view: str) -> None:
    """Position = first + column * row direction + row * column direction (PS3.3 C.7.6.2.1.1)."""
    plane = Plane((3, 4, 5), view, 6, 7, 1.5)
    right, down = (np.array(axis) for axis in plane.directions)
    for axis in range(3):
        across, below = plane.along(UNITS[axis].tolist())
        expected = plane.first[axis] + 1.5 * (4 * right[axis] + 2 * down[axis])
        assert (across + below)[2, 4] == pytest.approx(expected)


def test_viewers_see_the_left_side_on_the_right_and_the_head_above() -> None:
    assert Plane((0, 0, 0), "AXIAL", 4, 4, 1).directions == ((1, 0, 0), (0, 1, 0))
    assert Plane((0, 0, 0), "CORONAL", 4, 4, 1).directions == ((1, 0, 0), (0, 0, -1))
    assert Plane((0, 0, 0), "SAGITTAL", 4, 4, 1).directions == ((0, 1, 0), (0, 0, -1))


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_painted_on_a_part_is_on_the_whole(view: str) -> None:
    whole, other = section(view), section(view)
    part = whole.part((slice(20, 120), slice(35, 140)))
    part.ellipsoid((5, 6, -7), (30, 20, 25), 1.0)
    other.ellipsoid((5, 6, -7), (30, 20, 25), 1.0)
    assert np.array_equal(whole.image, other.image)


def test_a_box_is_as_small_as_it_can_be() -> None:
    inside = np.zeros((9, 9), dtype=bool)
    assert around(inside) is None
    inside[2, 3] = inside[5, 4] = True
    assert around(inside) == (slice(2, 6), slice(3, 5))


# Shapes


@pytest.mark.parametrize(
    ("view", "a", "b"), [("AXIAL", 40, 30), ("SAGITTAL", 30, 20), ("CORONAL", 40, 20)]
)
def test_an_ellipsoid_is_cut_as_it_should_be(view: str, a: float, b: float) -> None:
    one = section(view, (4, 5, 6))
    one.ellipsoid((4, 5, 6), (40, 30, 20), 1.0)
    assert area(one) == pytest.approx(np.pi * a * b, rel=0.01)
    assert middle(one) == pytest.approx((4, 5, 6), abs=0.1)


def test_an_ellipsoid_is_smaller_off_its_middle_and_gone_beyond_its_end() -> None:
    areas = []
    for z in (0, 12, 19, 21):
        one = section("AXIAL", (0, 0, z))
        one.ellipsoid((0, 0, 0), (40, 30, 20), 1.0)
        areas.append(area(one))
    assert areas[0] > areas[1] > areas[2] > 0
    assert areas[1] == pytest.approx(np.pi * 40 * 30 * (1 - 0.6**2), rel=0.02)
    assert areas[3] < 0.2 * areas[2]


@pytest.mark.parametrize(
    ("turn", "point"),
    [((0, 0, 0.5), (1, 0, 0)), ((0, 0.5, 0), (1, 0, 0)), ((0.5, 0, 0), (0, 1, 0))],
)
def test_a_turn_goes_the_right_way(
    turn: tuple[float, float, float], point: tuple[float, float, float]
) -> None:
    """A turn around z takes x to y, around x takes y to z, around y takes z to x."""
    axis = int(np.argmax(turn))
    angle = turn[axis]
    goal = {2: (np.cos(angle), np.sin(angle), 0), 1: (np.cos(angle), 0, -np.sin(angle)),
            0: (0, np.cos(angle), np.sin(angle))}[axis]  # fmt: skip
    axes = tuple(60.0 if part else 6.0 for part in point)
    view = {2: "AXIAL", 1: "CORONAL", 0: "SAGITTAL"}[axis]
    one = section(view)
    one.ellipsoid((0, 0, 0), (axes[0], axes[1], axes[2]), 1.0, turn=turn)
    along = one.x * goal[0] + one.y * goal[1] + one.z * goal[2]
    assert along[one.image > 0.9].max() > 55


def test_a_block_is_fuller_than_an_ellipsoid() -> None:
    areas = []
    for square in (False, True):
        one = section("AXIAL")
        one.ellipsoid((0, 0, 0), (40, 30, 20), 1.0, square=square)
        areas.append(area(one))
    assert 1.1 * areas[0] < areas[1] < 4 * 40 * 30


def test_a_tube_is_as_thick_as_its_radii() -> None:
    across = section("AXIAL")
    across.tube([(0, 0, -50), (0, 0, 50)], [20, 10], 1.0)
    assert area(across) == pytest.approx(np.pi * 15**2, rel=0.02)
    along = section("SAGITTAL")
    along.tube([(0, 0, -40), (0, 0, 40)], 10, 1.0)
    assert area(along) == pytest.approx(80 * 20 + np.pi * 10**2, rel=0.02)


def test_a_band_is_drawn_out_to_the_sides_only() -> None:
    one = section("AXIAL")
    one.tube([(0, 0, -50), (0, 0, 50)], 5, 1.0, wide=30)
    assert area(one) == pytest.approx(60 * 10 + np.pi * 5**2, rel=0.03)
    assert np.ptp(one.x[one.image > 0.5]) > 4 * np.ptp(one.y[one.image > 0.5])


def test_what_is_painted_later_covers_what_was_there() -> None:
    one = section("AXIAL")
    one.ellipsoid((0, 0, 0), (40, 40, 40), 1.0)
    one.ellipsoid((0, 0, 0), (20, 20, 20), 5.0)
    assert one.image[80, 80] == 5.0
    assert one.image[80, 80 + 20] == pytest.approx(1.0)


@pytest.mark.parametrize("centre", [(500, 0, 0), (0, -500, 0), (0, 0, 500)])
def test_what_lies_elsewhere_is_not_painted(centre: tuple[float, float, float]) -> None:
    one = section("AXIAL")
    one.ellipsoid(centre, (30, 30, 30), 1.0)
    one.tube([centre, (centre[0], centre[1] + 5, centre[2])], 9, 1.0)
    assert not one.image.any()


def test_depth_is_a_distance_near_the_surface() -> None:
    one = section("AXIAL")
    depth = one.depth((0, 0, 0), (60, 40, 50))
    row, column = 80, 80
    for inside in (-8, -2, 3, 9):
        column = round((60 - inside - one.x[0, 0]) / SPACING)
        true = float(60 - one.x[row, column])
        assert depth[row, column] == pytest.approx(true, abs=0.15 * abs(true) + 0.1)
    assert depth[0, 0] < -FAR


# Irregularity


def test_waves_are_smooth_and_as_strong_as_said() -> None:
    waves = Waves.random(np.random.default_rng(1), 30, 40)
    pattern = waves.on(Plane((0, 0, 0), "AXIAL", 256, 256, 2.0))
    assert pattern.std() == pytest.approx(1, abs=0.15)
    assert np.abs(np.diff(pattern)).max() < 2 * np.pi / 30 * 2.0 * 4


def test_waves_agree_where_two_planes_meet() -> None:
    waves = Waves.random(np.random.default_rng(1), 40, 6)
    axial = waves.on(Plane((0, 0, 10), "AXIAL", 65, 65, 2.0))
    coronal = waves.on(Plane((0, 0, 10), "CORONAL", 65, 65, 2.0))
    assert np.allclose(axial[32], coronal[32], atol=1e-4)


def test_a_bend_moves_edges_and_no_more() -> None:
    bend = [Waves.random(np.random.default_rng(seed), 80, 5) for seed in range(3)]
    straight, bent = section("AXIAL"), Section(section("AXIAL").plane, 0, bend, 1.5)
    for one in (straight, bent):
        one.ellipsoid((0, 0, 0), (60, 50, 40), 1.0)
    assert not np.array_equal(straight.image, bent.image)
    assert area(bent) == pytest.approx(area(straight), rel=0.1)
    assert bent.image[80, 80] == 1.0
