"""Pictures of a day say in words what they draw."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from labsim.day import Day
from labsim.day.plan import Planned
from labsim.day.records import DayExam, Worked
from labsim.errors import NotFound
from labsim.systems.catalogue import examination
from labsim.widgets.day_plots import queues, throughput, waiting_times

MONDAY = datetime(2026, 3, 2)
PNG = b"\x89PNG\r\n\x1a\n"


def at(hour: int, minute: int = 0) -> datetime:
    return MONDAY + timedelta(hours=hour, minutes=minute)


def planned(code: str) -> Planned:
    return Planned(
        number=1,
        kind="outpatient",
        ordered=at(7),
        arrives=at(8),
        wanted=examination(code),
        reason="Cough",
        fate="completed",
        returns=1,
        sex="F",
        scan=timedelta(minutes=10),
        read=timedelta(minutes=5),
    )


@pytest.fixture
def day() -> Day:
    """A day of three exams, of which one is not reported, one not begun."""
    exams = [
        DayExam(
            planned("CTTHORAX"),
            arrived=at(8),
            begun=at(8, 20),
            completed=at(8, 30),
            reported=at(9, 10),
        ),
        DayExam(planned("DXCHEST"), arrived=at(8, 10), begun=at(8, 14), completed=at(8, 19)),
        DayExam(planned("CTTHORAX")),
    ]
    scanners = [
        Worked(
            "CT1",
            "CT",
            timedelta(days=1),
            [(at(8, 20), at(8, 30))],
            [(MONDAY, 0), (at(8), 1), (at(8, 20), 0)],
        ),
        Worked("DX1", "DX", timedelta(days=1), [(at(8, 14), at(8, 19))], [(MONDAY, 0)]),
        Worked("MR1", "MR", timedelta(days=1), [], [(MONDAY, 0)]),
    ]
    nobody: Any = None
    return Day(nobody, MONDAY, MONDAY + timedelta(days=1), exams, scanners, [], [], 1.0)


def test_queues_are_drawn_for_the_scanners_that_worked(day: Day) -> None:
    picture = queues(day)
    assert picture.png.startswith(PNG)
    assert picture.alt == (
        "People waiting for each scanner over the day. "
        "CT1: at most 1, at 08:00; DX1: nobody waited."
    )


def test_throughput_names_the_busiest_hours(day: Day) -> None:
    picture = throughput(day)
    assert picture.png.startswith(PNG)
    assert "2 arrived, most of them (2) from 08:00" in picture.alt
    assert "1 reported, most of them (1) from 09:00" in picture.alt


def test_waiting_times_are_told_as_medians(day: Day) -> None:
    picture = waiting_times(day)
    assert picture.png.startswith(PNG)
    assert picture.alt == (
        "Door to scan, median in minutes: CT 20, DX 4. Scan to report, median in minutes: CT 40."
    )


def test_a_day_without_exams_is_one_sentence(day: Day) -> None:
    idle = [Worked("CT1", "CT", timedelta(days=1), [], [(MONDAY, 0)])]
    empty = replace(day, exams=[], scanners=idle)
    for draw in (queues, waiting_times):
        with pytest.raises(NotFound, match="Nobody was examined"):
            draw(empty)
    assert "0 arrived" in throughput(empty).alt
