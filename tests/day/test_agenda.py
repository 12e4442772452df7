"""What is due comes in its order."""

from __future__ import annotations

from datetime import datetime, timedelta

from labsim.clock import ManualClock
from labsim.day.agenda import Agenda

MONDAY = datetime(2026, 3, 2)


def test_time_then_priority_then_entry_decides() -> None:
    clock = ManualClock(MONDAY)
    agenda, done = Agenda(clock), []
    for name, minutes, priority in (("d", 5, 1), ("a", 1, 9), ("b", 5, 0), ("c", 5, 0)):
        agenda.at(
            MONDAY + timedelta(minutes=minutes),
            lambda name=name: done.append((name, clock.now())),  # type: ignore[misc]
            priority,
        )
    rests: list[datetime] = []
    agenda.run(lambda: rests.append(clock.now()))
    times = [MONDAY + timedelta(minutes=minutes) for minutes in (1, 5, 5, 5)]
    assert done == list(zip("abcd", times, strict=True))
    assert rests == times


def test_what_is_entered_late_is_due_now() -> None:
    clock = ManualClock(MONDAY)
    agenda, done = Agenda(clock), []

    def first() -> None:
        agenda.at(MONDAY - timedelta(hours=1), lambda: done.append(clock.now()))

    agenda.at(MONDAY + timedelta(hours=1), first)
    agenda.run(lambda: None)
    assert done == [MONDAY + timedelta(hours=1)]
