"""An order is cancelled, or changed: by who placed it, and by who fills it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError
from labsim.systems.records import Procedure

Until = Callable[[Callable[[], Any]], Any]


def ordered(department: Hospital, until: Until, code: str = "CTHEAD") -> Procedure:
    """Take an examination from the door to the worklist."""
    patient = department.his.register_patient()
    number = department.his.place_order(patient.patient_id, code, "Fall").placer_order
    until(lambda: number in [order.placer_order for order in department.ris.orders()])
    procedure = department.ris.schedule(number)
    until(lambda: announced(department, procedure))
    until(lambda: department.his.order(number).status == "SCHEDULED")
    return procedure


def announced(department: Hospital, procedure: Procedure) -> list[str]:
    """Return what the archive expects under the study of an examination."""
    rows = department.pacs.db.rows(
        "SELECT description FROM expected_studies WHERE study_uid = ?", procedure.study_uid
    )
    return [row["description"] for row in rows]


def listed(department: Hospital, procedure: Procedure) -> list[str]:
    """Return what the scanner's worklist has for an examination."""
    scanner = department.scanner(procedure.station)
    entries = scanner.query_worklist(accession=procedure.accession)
    return [str(entry.RequestedProcedureDescription) for entry in entries]


def test_an_order_cancelled_by_the_placer_is_gone_everywhere(
    department: Hospital, until: Until
) -> None:
    procedure = ordered(department, until)
    assert listed(department, procedure) == ["CT head"]
    department.his.cancel_order(procedure.placer_order)
    until(lambda: not announced(department, procedure))
    assert department.his.order(procedure.placer_order).status == "CANCELLED"
    assert department.ris.procedure(procedure.accession).status == "CANCELLED"
    assert listed(department, procedure) == []
    assert department.pacs.count(procedure.study_uid) == 0


def test_an_order_changed_by_the_placer_is_cancelled_and_placed_anew(
    department: Hospital, until: Until
) -> None:
    his, ris = department.his, department.ris
    old = ordered(department, until)
    new = his.change_order(old.placer_order, code="MRHEAD", priority="A")
    assert new.placer_order != old.placer_order
    until(lambda: new.placer_order in [order.placer_order for order in ris.orders()])
    until(lambda: not announced(department, old))
    procedure = ris.schedule(new.placer_order)
    until(lambda: announced(department, procedure) == ["MR head"])
    assert [order.status for order in ris.orders()] == ["CANCELLED", "SCHEDULED"]
    until(lambda: [o.status for o in his.orders()] == ["CANCELLED", "SCHEDULED"])
    assert (new.reason, new.priority) == ("Fall", "A")
    assert procedure.station == "MR1"
    assert (listed(department, old), listed(department, procedure)) == ([], ["MR head"])
    # A number that was given is not given again: the two never meet.
    assert procedure.accession != old.accession
    assert procedure.study_uid != old.study_uid


def test_an_examination_changed_by_the_filler_keeps_its_numbers(
    department: Hospital, until: Until
) -> None:
    procedure = ordered(department, until)
    changed = department.ris.change(procedure.accession, code="CTTHORAX", reason="Cough")
    assert (changed.accession, changed.study_uid) == (procedure.accession, procedure.study_uid)
    until(lambda: announced(department, procedure) == ["CT thorax"])
    until(lambda: department.his.order(procedure.placer_order).code == "CTTHORAX")
    order = department.his.order(procedure.placer_order)
    assert (order.description, order.reason, order.status) == ("CT thorax", "Cough", "SCHEDULED")
    assert listed(department, procedure) == ["CT thorax"]
    scanner = department.scanner(procedure.station)
    [entry] = scanner.query_worklist(accession=procedure.accession)
    scanner.acquire(scanner.start_step(entry))
    scanner.send()
    [study] = department.tools.findscu(AccessionNumber=procedure.accession, StudyDescription="")
    assert (study.StudyInstanceUID, study.StudyDescription) == (procedure.study_uid, "CT thorax")


def test_an_examination_cancelled_by_the_filler_says_why(
    department: Hospital, until: Until
) -> None:
    procedure = ordered(department, until)
    department.ris.cancel(procedure.accession, "patient has a pacemaker")
    until(lambda: not announced(department, procedure))
    until(lambda: department.his.order(procedure.placer_order).status == "CANCELLED")
    assert [order.status for order in department.ris.orders()] == ["CANCELLED"]
    assert listed(department, procedure) == []
    said = department.journal.events(source="his", placer_order=procedure.placer_order)
    assert any("patient has a pacemaker" in event.summary for event in said)


def test_what_has_begun_is_neither_changed_nor_cancelled(
    department: Hospital, until: Until
) -> None:
    his, ris = department.his, department.ris
    procedure = ordered(department, until)
    scanner = department.scanner(procedure.station)
    [entry] = scanner.query_worklist(accession=procedure.accession)
    scanner.start_step(entry)
    until(lambda: his.order(procedure.placer_order).status == "IN PROGRESS")
    before = (his.orders(), ris.orders(), ris.procedures())
    with pytest.raises(ConfigurationError, match=r"Too late: order .* is IN PROGRESS"):
        his.change_order(procedure.placer_order, code="CTTHORAX")
    for attempt in (
        lambda: ris.change(procedure.accession, code="CTTHORAX"),
        lambda: ris.cancel(procedure.accession, "no time"),
        lambda: ris.reschedule(procedure.accession),
    ):
        with pytest.raises(ConfigurationError, match=r"Too late: examination .* is IN PROGRESS"):
            attempt()
    assert (his.orders(), ris.orders(), ris.procedures()) == before
    assert announced(department, procedure) == ["CT head"]
