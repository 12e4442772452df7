"""Shadows: as deep as what casts them is thick, and developed into white on black."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labsim.imaging.projection import (
    TILE,
    Beam,
    Development,
    Film,
    Strokes,
    Union,
    coarse,
    curve,
    develop,
    lead_letter,
    repeated,
    speckles,
)

BEAM = Beam(60)
PLAIN = Development(photons=1e9, scatter=0, detail=0, low=0, high=2)


def film() -> Film:
    return Film(200, 160, 0.5, BEAM)


def at(film: Film, x: float, y: float) -> float:
    """Return how deep the shadow is at a place in mm."""
    row, column = np.argmin(abs(film.y[:, 0] - y)), np.argmin(abs(film.x[0] - x))
    return float(film.depth[row, column])


def test_the_middle_of_the_film_is_the_origin() -> None:
    empty = film()
    assert empty.x[0, 0] == -empty.x[0, -1]
    assert np.allclose(np.diff(empty.y[:, 0]), 0.5)
    assert not empty.depth.any()


def test_a_shifted_body_lies_elsewhere_on_the_film() -> None:
    moved = Film(200, 160, 0.5, BEAM, (10, -20))
    moved.ellipsoid((0, 0), (5, 5, 5), 1.0)
    row, column = np.unravel_index(int(moved.depth.argmax()), moved.shape)
    assert (row, column) == (pytest.approx(60, abs=1), pytest.approx(100, abs=1))


def test_harder_radiation_shows_less_difference_between_tissues() -> None:
    soft, hard = Beam(50), Beam(120)
    assert soft.bone > hard.bone
    assert soft.bone / soft.tissue > hard.bone / hard.tissue


# Shapes


def test_a_ball_stops_what_its_thickness_says() -> None:
    one = film()
    one.ellipsoid((4, -6), (20, 20, 20), 0.1)
    assert at(one, 4, -6) == pytest.approx(4, abs=0.01)
    assert at(one, 16, -6) == pytest.approx(2 * 16 * 0.1, rel=0.02)
    assert at(one, 30, -6) == 0
    volume = one.depth.sum() * 0.25 / 0.1
    assert volume == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.01)


def test_what_lies_behind_each_other_adds_up() -> None:
    one, two = film(), film()
    one.ellipsoid((0, 0), (10, 10, 10), 0.1)
    two.ellipsoid((0, 0), (10, 10, 10), 0.1)
    two.ellipsoid((0, 0), (10, 10, 10), 0.1)
    assert np.allclose(two.depth, 2 * one.depth)


def test_a_bone_is_brightest_where_the_beam_runs_along_its_wall() -> None:
    one = film()
    wall: tuple[tuple[float, float, float, float], ...] = ((0, 8, 8, 2), (1, 8, 8, 2))
    one.bone((0, -40), (0, 40), wall)
    assert at(one, 7, 0) > at(one, 0, 0) > 0
    assert at(one, 9, 0) == at(one, 0, 42) == 0


def test_a_bone_may_be_wider_on_one_side() -> None:
    one = film()
    one.bone((0, 40), (0, -40), ((0, 5, 20, 1), (1, 5, 20, 1)))  # upwards: right is right
    assert at(one, 15, 0) > 0
    assert at(one, -8, 0) == 0


def test_a_column_has_its_borders_where_they_are_given() -> None:
    one = film()
    one.column((-30, 0, 30), (-20, -10, -20), (20, 30, 20), (10, 10, 10), 1.0)
    assert at(one, 10, 0) == pytest.approx(20, rel=0.01)
    assert at(one, 29, 0) > 0 == at(one, 31, 0)
    assert at(one, -12, 0) == 0
    assert at(one, 0, 31) == 0


def test_bones_that_have_grown_together_do_not_add_up() -> None:
    one, grown = film(), Union(film())
    for x in (-3, 3):
        one.ellipsoid((x, 0), (10, 10, 10), 1, wall=1.0, union=grown)
    assert not one.depth.any()
    assert grown.outer.max() == pytest.approx(20, rel=0.01)
    one.cast(grown, 0.1)
    assert at(one, 0, 0) < at(one, 12.5, 0)


def test_a_strand_is_as_thick_as_its_radius() -> None:
    one = film()
    strand = Strokes(one)
    strand.add([(-30, 0), (0, 0), (30, 20)], [4, 4, 4])
    strand.cast(0.1)
    assert at(one, -15, 0) == pytest.approx(0.8, rel=0.02)
    assert at(one, 0, 0) == pytest.approx(0.8, rel=0.02)  # a joint is no thicker
    assert at(one, -15, 5) == 0


def test_where_strands_cross_the_thicker_one_counts() -> None:
    strands = Strokes(film())
    strands.add([(-30, 0), (30, 0)], [4, 4])
    strands.add([(0, -30), (0, 30)], [2, 2])
    assert strands.path().max() == pytest.approx(8, rel=0.02)


@pytest.mark.parametrize("place", [(900, 0), (0, -900)])
def test_what_lies_outside_is_not_cast(place: tuple[float, float]) -> None:
    one = film()
    one.ellipsoid(place, (10, 10, 10), 1)
    strand = Strokes(one)
    strand.add([place, (place[0] + 5, place[1])], [3, 3])
    strand.cast(1.0)
    assert not one.depth.any()


def test_a_curve_goes_through_its_points_and_does_not_overshoot() -> None:
    smooth = curve((0, 1, 2, 3), (0, 0, 10, 10))
    assert np.allclose(smooth((0, 1, 2, 3)), (0, 0, 10, 10))
    fine = smooth(np.linspace(-1, 4, 200))
    assert fine.min() == 0
    assert fine.max() == pytest.approx(10, abs=1e-5)
    assert np.all(np.diff(fine) > -1e-5)


# Letters


def test_a_letter_is_as_high_as_asked_for() -> None:
    lead = lead_letter("L", 40)
    rows = np.flatnonzero((lead > 0.5).any(axis=1))
    assert np.ptp(rows) == pytest.approx(40, abs=4)
    assert lead.max() == 1


def test_a_letter_lies_where_it_is_put_whatever_becomes_of_the_body() -> None:
    one, moved = film(), Film(200, 160, 0.5, BEAM, (30, 30))
    for each in (one, moved):
        each.letter("R", (0.5, 0.1), 10)
    assert np.array_equal(one.depth, moved.depth)
    assert one.depth[:, :80].max() == 0
    assert one.depth.max() == pytest.approx(BEAM.lead)


# Developing


def test_what_stops_more_is_whiter() -> None:
    one = film()
    one.ellipsoid((0, 0), (20, 20, 20), 0.03)
    seen = develop(one, PLAIN, np.random.default_rng(1), 12)
    assert seen[0, 0] == 0
    assert seen.max() == pytest.approx(4095 * 1.2 / 2, rel=0.01)


def test_fewer_quanta_give_more_noise() -> None:
    one = film()
    one.depth += 1
    noise = [
        float(develop(one, replace(PLAIN, photons=n), np.random.default_rng(1), 12).std())
        for n in (10_000, 1_000, 100)
    ]
    assert noise[1] == pytest.approx(noise[0] * np.sqrt(10), rel=0.1)
    assert noise[2] == pytest.approx(noise[1] * np.sqrt(10), rel=0.1)


def test_scatter_takes_contrast_away() -> None:
    one = film()
    for column in range(0, 160, 8):
        one.depth[:, column : column + 4] = 2
    contrasts = [
        float(np.ptp(develop(one, replace(PLAIN, scatter=s), np.random.default_rng(1), 12)))
        for s in (0, 0.3)
    ]
    assert contrasts[1] < 0.8 * contrasts[0]


def test_a_coarse_image_keeps_means_and_loses_detail() -> None:
    fine = np.random.default_rng(1).normal(5, 1, (90, 110)).astype(np.float32)
    rough = coarse(fine, 20)
    assert rough.shape == fine.shape
    assert rough.mean() == pytest.approx(fine.mean(), abs=0.02)
    assert rough.std() < 0.2


def test_a_texture_repeats_without_a_seam() -> None:
    tile = speckles(np.random.default_rng(1), 20, 5)
    wide = repeated(tile, (TILE + 50, 2 * TILE))
    assert wide.shape == (TILE + 50, 2 * TILE)
    step = abs(np.diff(wide, axis=1)).mean(axis=0)
    assert step[TILE - 1] < 2 * step.mean()
    assert tile.std() == pytest.approx(1, rel=1e-3)
