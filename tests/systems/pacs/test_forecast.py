"""The growth forecast: right on a straight line, and silent where it knows too little."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.systems.pacs.forecast import ENOUGH, forecast

TODAY = date(2026, 3, 2)


def history(days: int, size: int = 100) -> dict[date, int]:
    return {TODAY - timedelta(days=n): size for n in range(1, days + 1)}


def test_an_even_growth_reaches_a_mark_on_the_day_it_must() -> None:
    made = forecast(history(30), 3000, TODAY, {"quota": 4000}, 365)
    assert made.based_on == 30
    assert made.per_day == pytest.approx(100)
    assert made.uncertainty == pytest.approx(0)
    assert made.reached == {"quota": TODAY + timedelta(days=10)}


def test_days_without_any_count() -> None:
    every_other = {day: size for day, size in history(30).items() if day.day % 2}
    made = forecast(every_other, 1500, TODAY, {}, 30)
    assert made.per_day == pytest.approx(50, rel=0.1)
    assert made.uncertainty > 5


def test_too_short_a_history_tells_no_date() -> None:
    made = forecast(history(ENOUGH - 1), 1300, TODAY, {"quota": 1400}, 365)
    assert made.per_day is None
    assert made.reached == {"quota": None}
    assert "too few" in made.caution


def test_today_is_not_over_and_does_not_count() -> None:
    made = forecast(history(20) | {TODAY: 1_000_000}, 3000, TODAY, {}, 20)
    assert made.based_on == 20
    assert made.per_day == pytest.approx(100)


def test_a_mark_beyond_the_horizon_has_no_date() -> None:
    assert forecast(history(30), 3000, TODAY, {"quota": 10_000}, 30).reached == {"quota": None}


def test_a_mark_that_is_passed_is_reached_today() -> None:
    assert forecast(history(30), 3000, TODAY, {"quota": 10}, 30).reached == {"quota": TODAY}


def test_looking_further_than_back_is_said() -> None:
    assert "far" in forecast(history(30), 3000, TODAY, {}, 365).caution
    assert "far" not in forecast(history(30), 3000, TODAY, {}, 30).caution


def test_the_archive_tells_from_what_it_took_in(
    archive: Hospital, clock: ManualClock, store: Callable[..., list[FileDataset]]
) -> None:
    for number in range(ENOUGH):
        store(archive, number, count=1)
        clock.advance(timedelta(days=1))
    size = archive.pacs.sql("SELECT SUM(bytes) FROM instances").rows[0][0]
    archive.pacs.storage.configure(online_quota=2 * size, high=0.9)
    told = archive.pacs.storage.forecast(30)
    assert (told.based_on, told.used) == (ENOUGH, size)
    assert told.per_day == pytest.approx(size / ENOUGH, rel=0.01)
    day = told.reached["quota"]
    assert day is not None
    today = clock.now().date()
    assert timedelta(days=13) <= day - today <= timedelta(days=15)
    assert told.reached["high watermark"] == today + timedelta(days=12)
    assert "quota reached" in str(told)
