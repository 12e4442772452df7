"""Faults of the engine: they bite, they can be repaired, they can be taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labsim import Hospital
from labsim.faults import StoppedQueue

_FAULT = StoppedQueue("his-to-ris", "ris")


@pytest.fixture
def broken() -> Iterator[Hospital]:
    with Hospital(seed=7, site="community") as running:
        running.inject(_FAULT)
        yield running


def test_a_stopped_queue_thanks_and_keeps(broken: Hospital) -> None:
    broken.his.register_patient()
    [row] = broken.his.outbox.table()
    assert row[3] == "delivered"
    assert broken.engine.waiting() == 1
    assert broken.ris.patients() == []


def test_what_waited_goes_when_the_fault_is_taken_back(broken: Hospital) -> None:
    patient = broken.his.register_patient()
    broken.heal()
    assert broken.settle()
    assert [p.patient_id for p in broken.ris.patients()] == [patient.patient_id]


def test_learners_are_not_told(broken: Hospital) -> None:
    told = " ".join(event.summary for event in broken.journal.events())
    assert "fault" not in told
    assert "stopped" not in told
