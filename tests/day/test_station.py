"""Who is called in next, and how the queue is counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from labsim.day.plan import Planned
from labsim.day.records import DayExam
from labsim.day.station import Station
from labsim.systems.catalogue import examination

MONDAY = datetime(2026, 3, 2)


@dataclass
class Sign:
    """The sign at the door is all that the queue needs of a scanner."""

    ae_title: str = "CT1"
    modality: str = "CT"


def at(minutes: int) -> datetime:
    return MONDAY + timedelta(hours=8, minutes=minutes)


def exam(number: int, kind: str, due: int | None = None) -> DayExam:
    planned = Planned(
        number=number,
        kind=kind,
        ordered=at(0),
        arrives=at(0),
        wanted=examination("CTHEAD"),
        reason="Fall",
        fate="completed",
        returns=1,
        sex="M",
        scan=timedelta(minutes=10),
        read=timedelta(minutes=5),
    )
    return DayExam(planned, due=None if due is None else at(due))


def station() -> Station:
    door: Any = Sign()
    return Station(door, MONDAY, timedelta(days=1))


def test_the_urgent_overtake_then_the_earlier_appointment_counts() -> None:
    door = station()
    first = exam(1, "outpatient", 0)
    door.enter(first, at(0))
    assert door.call(at(0)) is first
    late = exam(2, "outpatient", 30)
    early = exam(3, "outpatient", 20)
    ward = exam(4, "inpatient", 40)
    urgent = exam(5, "emergency")
    for minutes, comes in enumerate((late, early, ward, urgent), start=1):
        door.enter(comes, at(minutes))
    assert door.call(at(5)) is None  # somebody is in
    order = []
    for minutes in (10, 20, 30, 40):
        door.free(at(minutes))
        order.append(door.call(at(minutes)))
    assert order == [urgent, ward, early, late]
    door.free(at(50))
    assert door.call(at(50)) is None


def test_the_queue_is_counted_once_for_each_moment() -> None:
    door = station()
    door.enter(exam(1, "outpatient", 0), at(0))
    door.call(at(0))  # at once: nobody has waited
    door.enter(exam(2, "outpatient", 5), at(5))
    door.free(at(10))
    door.call(at(10))
    assert door.worked.queue == [(MONDAY, 0), (at(0), 0), (at(5), 1), (at(10), 0)]
    assert door.worked.busy == [(at(0), at(10))]
    assert door.worked.worked == timedelta(minutes=10)
    assert door.load == 1
