"""Faults in the configuration: they bite, they can be repaired, they can be taken back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime

import pytest

from labsim import Hospital, faults
from labsim.clock import ManualClock
from labsim.errors import AssociationFailed, NotFound
from labsim.faults import UnknownAeTitle
from labsim.hospital import Fault


@pytest.fixture(scope="module")
def clinic() -> Iterator[Hospital]:
    """A clinic that the tests of this module break and heal."""
    with Hospital(seed=7, clock=ManualClock(datetime(2026, 3, 1, 8))) as running:
        yield running


@pytest.fixture
def broken(clinic: Hospital) -> Iterator[Hospital]:
    """The clinic whose PACS has forgotten the desk."""
    clinic.inject(UnknownAeTitle("TOOLS"))
    yield clinic
    clinic.heal()


def refused(clinic: Hospital) -> str:
    with pytest.raises(AssociationFailed) as caught:
        clinic.tools.findscu()
    return caught.value.reason


def titles(clinic: Hospital) -> list[str]:
    return [str(row[0]) for row in clinic.pacs.ae_titles()]


def test_an_unknown_title_is_rejected_with_1_1_3(broken: Hospital) -> None:
    assert refused(broken) == "rejected 1/1/3"


def test_an_unknown_title_may_still_verify(broken: Hospital) -> None:
    assert broken.tools.echoscu("pacs") == "0x0000 Success"


def test_others_are_not_touched(broken: Hospital) -> None:
    assert titles(broken) == ["CT1", "RIS", "WS1"]


def test_a_running_hospital_is_healed(broken: Hospital) -> None:
    before = titles(broken)
    broken.heal()
    assert titles(broken) == sorted([*before, "TOOLS"])
    assert broken.tools.findscu() == []


def test_an_entry_comes_back_as_it_was(clinic: Hospital) -> None:
    before = clinic.pacs.known_ae("TOOLS")
    clinic.inject(UnknownAeTitle("TOOLS"))
    clinic.heal()
    assert before is not None
    assert clinic.pacs.known_ae("TOOLS") == before


def test_a_learners_repair_works_and_is_left_alone(broken: Hospital) -> None:
    repaired = broken.pacs.register_ae("TOOLS", host="desk", port=4242, may_store=False)
    assert broken.tools.findscu() == []
    broken.heal()
    assert broken.pacs.known_ae("TOOLS") == repaired
    broken.pacs.register_ae("TOOLS", host="desk", port=11112)


def test_learners_do_not_see_who_did_it(clinic: Hospital) -> None:
    before = clinic.journal.all()[-1].seq
    clinic.inject(UnknownAeTitle("TOOLS"))
    clinic.heal()
    hidden = [event for event in clinic.journal.all() if event.seq > before]
    assert {event.summary for event in hidden} >= {
        "fault injected: the PACS does not know the AE title TOOLS",
        "AE title TOOLS removed",
        "fault taken back: the PACS does not know the AE title TOOLS",
    }
    assert list(clinic.journal.events(after=before)) == []


def test_learners_see_the_consequences(broken: Hospital) -> None:
    before = broken.journal.all()[-1].seq
    refused(broken)
    told = broken.journal.events(kind="association", after=before)
    assert any("rejected 1/1/3" in event.summary for event in told)


def test_a_fault_that_cannot_be_is_not_there(clinic: Hospital) -> None:
    before = clinic.journal.all()[-1].seq
    with pytest.raises(NotFound, match="'NOBODY'"):
        clinic.inject(UnknownAeTitle("NOBODY"))
    assert clinic.faults == []
    assert not any("injected" in e.summary for e in clinic.journal.all() if e.seq > before)
    clinic.heal()


def test_several_faults_are_taken_back_together(clinic: Hospital) -> None:
    both = [UnknownAeTitle("TOOLS"), UnknownAeTitle("CT1")]
    for fault in both:
        clinic.inject(fault)
    assert clinic.faults == both
    assert titles(clinic) == ["RIS", "WS1"]
    clinic.heal()
    assert clinic.faults == []
    assert titles(clinic) == ["CT1", "RIS", "TOOLS", "WS1"]


def test_healing_the_healthy_changes_nothing(clinic: Hospital) -> None:
    before = titles(clinic), len(clinic.journal.all())
    clinic.heal()
    assert (titles(clinic), len(clinic.journal.all())) == before


@pytest.mark.parametrize("name", faults.__all__)
def test_a_fault_is_data_with_a_title(name: str) -> None:
    kind = getattr(faults, name)
    fault: Fault = kind(**{field.name: "X" for field in dataclasses.fields(kind)})
    assert "X" in fault.title
    assert fault == kind(**vars(fault))
    with pytest.raises(dataclasses.FrozenInstanceError):
        fault.ae_title = "Y"  # type: ignore[attr-defined]
