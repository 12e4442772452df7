"""For tests of whole workflows: a community hospital whose scanners make small images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import NotFound
from labsim.systems.records import Procedure


@pytest.fixture
def department(small_scans: None) -> Iterator[Hospital]:
    """A running community hospital of its own; it is eight o'clock, 2 March 2026."""
    clock = ManualClock(datetime(2026, 3, 2, 8, 0))
    with Hospital(seed=7, site="community", clock=clock) as running:
        yield running


@pytest.fixture
def until(department: Hospital) -> Callable[[Callable[[], Any]], Any]:
    """Wait until something is true of the department, and return it.

    Messages may go by way of an engine, so that a system hears of something
    after its sender was thanked. Each event of the journal is a reason to look
    again; the looking is done outside of the journal, which others write to.
    """

    def wait(test: Callable[[], Any]) -> Any:
        end = time.monotonic() + 5
        while True:
            seen = department.journal.all()[-1].seq
            with suppress(NotFound):
                if found := test():
                    return found
            left = max(0.0, end - time.monotonic())
            if not department.journal.wait_for(lambda event: True, left, after=seen):
                pytest.fail("it did not come true within 5 seconds")

    return wait


@pytest.fixture
def seen(department: Hospital) -> Callable[..., None]:
    """Wait until a system has written a line into the journal: messages take their time."""

    def wait(source: str, words: str, *, after: int = 0, **keys: str) -> None:
        found = department.journal.wait_for(
            lambda event: (
                event.source == source
                and words in event.summary
                and all(event.keys.get(name) == value for name, value in keys.items())
            ),
            5,
            after,
        )
        assert found, f"{source} never wrote {words!r} with {keys}"

    return wait


@pytest.fixture
def scheduled(department: Hospital, seen: Callable[..., None]) -> Callable[..., Procedure]:
    """Bring an order from the HIS onto a worklist, for a new patient or for a known one."""

    def schedule(code: str, patient_id: str = "") -> Procedure:
        who = patient_id or department.his.register_patient().patient_id
        order = department.his.place_order(who, code, "Cough")
        seen("ris", "received", placer_order=order.placer_order)
        return department.ris.schedule(order.placer_order)

    return schedule
