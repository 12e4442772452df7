"""What a screen says beside the echoes."""

from __future__ import annotations

import numpy as np
import pytest

from labsim.imaging.font import glyphs
from labsim.imaging.overlay import STRIP, colored, electrocardiogram, identity, write
from labsim.imaging.sector import Probe, Screen

SHAPE = (432, 576)


def test_a_text_is_drawn_as_the_font_has_it() -> None:
    picture = np.zeros((40, 90), np.uint8)
    write(picture, "Ab", 3, 5, 2, 200)
    dots = np.kron(glyphs("Ab"), np.ones((2, 2), bool))
    assert np.array_equal(picture[3 : 3 + dots.shape[0], 5 : 5 + dots.shape[1]] == 200, dots)
    assert np.count_nonzero(picture) == np.count_nonzero(dots)


@pytest.mark.parametrize("place", [(36, 5), (3, 80), (38, 88), (3, -4)])
def test_what_does_not_fit_is_cut_off(place: tuple[int, int]) -> None:
    picture = np.zeros((40, 90), np.uint8)
    write(picture, "HHHHHHHHHHHHHHHHHHHH", *place, 1, 200)
    assert picture.any()


def test_who_it_is_stays_within_its_strip() -> None:
    picture = np.zeros(SHAPE, np.uint8)
    identity(picture, (("gjpqy", "2026-03-01"), ("gjpqy" * 10, "P1")))
    rows = np.flatnonzero(picture.any(axis=1))
    assert rows[-1] < STRIP
    assert picture[:, : SHAPE[1] // 2].any()
    assert picture[:20, SHAPE[1] // 2 :].any()


def test_an_electrocardiogram_has_one_tall_wave_and_a_smaller_one_after_it() -> None:
    trace = electrocardiogram(500)
    assert trace.max() == pytest.approx(1, abs=0.1)
    assert trace[:20].max() == trace.max()
    assert 0.2 < trace[100:250].max() < 0.4


def test_flow_towards_the_probe_is_red_and_away_from_it_blue() -> None:
    probe = Probe(55, 32, 120)
    screen = Screen(probe, SHAPE, 70, 2.4)
    flow = np.zeros((probe.samples, probe.beams), np.float32)
    flow[180:220, 40:60], flow[180:220, 90:110] = 0.8, -0.8
    seen = colored(screen, np.full(SHAPE, 50, np.uint8), flow, np.random.default_rng(1))
    across, down = probe.grid()
    red, _, blue = (int(v) for v in seen[screen.place(across[200, 50], down[200, 50])])
    assert red > 100 > blue
    red, _, blue = (int(v) for v in seen[screen.place(across[200, 100], down[200, 100])])
    assert blue > 100 > red
    assert tuple(seen[300, 20]) == (50, 50, 50)


def test_flow_outside_of_the_box_is_not_shown() -> None:
    probe = Probe(55, 32, 120)
    screen = Screen(probe, SHAPE, 70, 2.4)
    flow = np.ones((probe.samples, probe.beams), np.float32)
    seen = colored(screen, np.full(SHAPE, 50, np.uint8), flow, np.random.default_rng(1))
    across, down = probe.grid()
    assert tuple(seen[screen.place(across[20, 75], down[20, 75])]) == (50, 50, 50)
    assert tuple(seen[screen.place(across[200, 75], down[200, 75])]) != (50, 50, 50)
