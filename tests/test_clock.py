"""Hospital time."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest

from labsim.clock import HospitalClock, ManualClock, ScaledClock, WallClock

NOON = datetime(2026, 3, 1, 12)


def test_a_manual_clock_stands_still() -> None:
    clock = ManualClock(NOON)
    assert clock.now() == clock.now() == NOON


def test_a_manual_clock_moves_by_what_it_is_told() -> None:
    clock = ManualClock(NOON)
    assert clock.advance(timedelta(minutes=5)) == NOON + timedelta(minutes=5)
    assert clock.now() == NOON + timedelta(minutes=5)


def test_a_clock_does_not_run_backwards() -> None:
    clock = ManualClock(NOON)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(timedelta(seconds=-1))
    assert clock.now() == NOON


def test_the_wall_clock_shows_local_time_without_a_zone() -> None:
    before = datetime.now()
    shown = WallClock().now()
    assert shown.tzinfo is None
    assert before <= shown <= datetime.now()


def test_a_scaled_clock_runs_as_many_times_faster_as_it_is_told() -> None:
    before = time.monotonic()
    clock = ScaledClock(NOON, 3600)
    after = time.monotonic()
    while time.monotonic() - after < 0.05:  # the passing of time is what is tested here
        pass
    least = time.monotonic() - after
    shown = (clock.now() - NOON).total_seconds() / 3600
    most = time.monotonic() - before
    assert least - 1e-6 <= shown <= most + 1e-6


@pytest.mark.parametrize("speed", [0, -1])
def test_a_clock_that_does_not_run_forward_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="stand still or run backwards"):
        ScaledClock(NOON, speed)


def test_a_hospitals_clock_follows_another_and_goes_on_from_there() -> None:
    outer = ManualClock(NOON)
    clock = HospitalClock(outer)
    inner = ManualClock(NOON + timedelta(hours=1))
    with clock.following(inner):
        assert clock.now() == NOON + timedelta(hours=1)
        outer.advance(timedelta(minutes=10))  # nobody looks at it now
        inner.advance(timedelta(hours=2))
        assert clock.now() == NOON + timedelta(hours=3)
    assert clock.now() == NOON + timedelta(hours=3)
    outer.advance(timedelta(minutes=5))
    assert clock.now() == NOON + timedelta(hours=3, minutes=5)


def test_a_hospitals_clock_goes_on_after_an_interrupt_too() -> None:
    clock = HospitalClock(ManualClock(NOON))
    with (
        pytest.raises(KeyboardInterrupt),
        clock.following(ManualClock(NOON + timedelta(hours=1))),
    ):
        raise KeyboardInterrupt
    assert clock.now() == NOON + timedelta(hours=1)


def test_a_hospitals_clock_does_not_run_backwards() -> None:
    outer = ManualClock(NOON)
    clock = HospitalClock(outer)
    clock.not_before(NOON + timedelta(hours=1))
    clock.not_before(NOON)
    assert clock.now() == NOON + timedelta(hours=1)
    with (
        pytest.raises(ValueError, match="backwards"),
        clock.following(ManualClock(NOON)),
    ):
        pass
    with clock.following(ManualClock(NOON + timedelta(hours=2))):
        pass
    assert clock.now() == NOON + timedelta(hours=2)
