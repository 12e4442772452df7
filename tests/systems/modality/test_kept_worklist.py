"""The worklist on the scanner's disk, and work while the RIS does not answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import AssociationFailed
from labsim.systems.records import Procedure
from labsim.wire.network import Address

pytestmark = pytest.mark.usefixtures("small_scans")
RIS = Address("ris", 104)
Bring = Callable[..., tuple[Procedure, Dataset]]


def test_a_worklist_is_narrowed(hospital: Hospital, entry_of: Bring) -> None:
    first, second = entry_of(hospital)[0], entry_of(hospital)[0]
    name = hospital.ris.patient(second.patient_id).name
    ct = hospital.ct
    assert [e.AccessionNumber for e in ct.worklist(patient_id=first.patient_id)] == [
        first.accession
    ]
    assert [e.AccessionNumber for e in ct.worklist(name=f"{name[:4]}*")] == [second.accession]
    assert len(ct.worklist(date="19700101-19700102")) == len(ct.worklist(station="CT9")) == 0
    assert len(ct.worklist(station="", modality="")) == 2


def test_a_kept_worklist_is_shown_with_its_age(tmp_path: Path, entry_of: Bring) -> None:
    clock = ManualClock(datetime(2026, 3, 2, 8, 0))
    with Hospital(path=tmp_path, clock=clock) as hospital:
        procedure, _ = entry_of(hospital)
        assert hospital.ct.worklist().problem == ""
    clock.advance(timedelta(minutes=25))
    with Hospital(path=tmp_path, clock=clock) as hospital:  # it is on the disk
        hospital.network.withdraw(RIS)
        kept = hospital.ct.worklist()
        assert [entry.AccessionNumber for entry in kept] == [procedure.accession]
        assert (kept.read_at, kept.age) == ("2026-03-02T08:00:00", 25)
        assert "kept from 08:00, 25 minutes ago. The RIS does not answer" in str(kept)
        assert "kept from 08:00" in hospital.ct.console().caption


def test_what_is_no_longer_offered_is_not_kept(hospital: Hospital, entry_of: Bring) -> None:
    procedure, _ = entry_of(hospital)
    hospital.his.cancel_order(procedure.placer_order)
    assert len(hospital.ct.worklist()) == 0
    hospital.network.withdraw(RIS)
    assert len(hospital.ct.worklist()) == 0


def test_the_scanner_works_while_the_ris_is_away(hospital: Hospital, entry_of: Bring) -> None:
    procedure, ct = entry_of(hospital)[0], hospital.ct
    local = hospital.network.resolve(RIS).port
    hospital.network.withdraw(RIS)
    with pytest.raises(AssociationFailed):
        ct.start_step(ct.worklist())
    step = ct.start_step(ct.worklist(), offline=True)
    ct.acquire(step)
    ct.complete_step(step)
    assert len(ct.worklist()) == 0  # it is not offered twice
    assert ct.send().sent == 4
    assert [row[5] for row in ct.steps()] == ["not told"]
    assert hospital.ris.procedure(procedure.accession).status == "SCHEDULED"
    with pytest.raises(AssociationFailed):
        ct.tell_ris()
    hospital.network.publish(RIS, local)
    assert ct.tell_ris() == 1
    assert ct.tell_ris() == 0
    assert hospital.ris.procedure(procedure.accession).status == "COMPLETED"
    assert [(row[3], row[6]) for row in hospital.ris.performed_steps()] == [("COMPLETED", 4)]
