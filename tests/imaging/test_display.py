"""The standard display function, and monitors that follow it or do not."""

from __future__ import annotations

import numpy as np
import pytest

from labsim.errors import ConfigurationError
from labsim.imaging.display import Monitor, jnd_index, luminance


@pytest.mark.parametrize(  # lines of PS3.14 table B-1
    ("index", "cd_per_m2"), [(1, 0.0500), (2, 0.0547), (3, 0.0594), (4, 0.0643), (1023, 3993.4040)]
)
def test_the_function_has_the_values_of_the_standard(index: int, cd_per_m2: float) -> None:
    assert float(luminance(index)) == pytest.approx(cd_per_m2, rel=1e-3)


def test_it_rises_all_the_way_and_the_way_back_leads_back() -> None:
    indices = np.arange(1, 1024)
    assert (np.diff(luminance(indices)) > 0).all()
    assert np.abs(jnd_index(luminance(indices)) - indices).max() < 0.5


@pytest.mark.parametrize("index", [0, 1024, [5, 2000]])
def test_an_index_that_the_function_has_not_is_refused(index: int) -> None:
    with pytest.raises(ConfigurationError, match="1 to 1023"):
        luminance(index)


def test_a_monitor_as_it_comes_does_not_follow_and_a_calibrated_one_does() -> None:
    new = Monitor()
    assert not new.measure().follows
    assert new.calibrated().measure().follows
    assert new.calibrated().measure().worst < 5


def test_calibrated_each_value_is_as_many_differences_above_the_one_before() -> None:
    steps = np.diff(jnd_index(Monitor().calibrated().shows(np.arange(0, 256, 15))))
    assert steps.std() / steps.mean() < 0.02


def test_more_light_in_the_room_spoils_the_dark_greys_until_it_is_calibrated_again() -> None:
    dark = Monitor(ambient=0.1).calibrated()
    bright = dark.in_light(8.0)
    assert bright.measure().ratio < dark.measure().ratio / 5
    assert not bright.measure().follows
    deviations = [abs(each) for each in bright.measure().deviations]
    assert deviations[0] == max(deviations)
    assert bright.calibrated().measure().follows


def test_a_backlight_grows_darker_with_its_hours() -> None:
    new = Monitor(white=400, half_life=20_000).calibrated()
    old = new.aged(20_000)
    assert float(old.shows(255)) == pytest.approx(200, rel=0.01)
    assert old.aged(0).hours == 20_000


def test_two_calibrated_monitors_show_the_same_number_of_differences_in_each_part() -> None:
    ends = [Monitor(white=white).calibrated() for white in (250, 1000)]
    parts = []
    for monitor in ends:
        indices = jnd_index(monitor.shows([0, 64, 128, 192, 255]))
        parts.append(np.diff(indices) / (indices[-1] - indices[0]))
    assert np.abs(parts[0] - parts[1]).max() < 0.01


@pytest.mark.parametrize(
    "wrong",
    [
        {"black": 0.0},
        {"black": 5, "white": 4},
        {"ambient": -1},
        {"white": 5000},
        {"black": 0.01, "ambient": 0.01},
    ],
)
def test_a_monitor_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Monitor(**wrong)


def test_a_measurement_is_read_as_a_table() -> None:
    told = str(Monitor().calibrated().measure())
    assert "follows the standard display function" in told
    assert len(Monitor().measure(levels=11).values) == 11
