"""Two records of one person become one: in HIS, RIS, PACS, and in the images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labsim import Hospital
from labsim.errors import NotFound
from labsim.systems.records import Procedure

Until = Callable[[Callable[[], Any]], Any]


def examined(department: Hospital, until: Until, patient_id: str, code: str) -> Procedure:
    """Take an examination as far as the archive."""
    number = department.his.place_order(patient_id, code).placer_order
    until(lambda: number in [order.placer_order for order in department.ris.orders()])
    procedure = department.ris.schedule(number)
    scanner = department.scanner(procedure.station)
    [entry] = scanner.query_worklist(accession=procedure.accession)
    step = scanner.start_step(entry)
    scanner.acquire(step)
    assert scanner.send(procedure.accession).waiting == 0
    scanner.complete_step(step)
    return procedure


def test_two_records_of_one_person_become_one_everywhere(
    department: Hospital, until: Until
) -> None:
    his, ris, pacs = department.his, department.ris, department.pacs
    keep = his.register_patient("Vega^Ines", "1970-01-31", "F")
    prior = his.register_patient("Vega^Inez", "1970-01-31", "F")
    other = his.register_patient("Weber^Liam")
    first = examined(department, until, keep.patient_id, "DXCHEST")
    second = examined(department, until, prior.patient_id, "DXHANDL")
    apart = examined(department, until, other.patient_id, "CTHEAD")
    ris.report(second.accession, "Normal hand.")
    until(lambda: his.chart(prior.patient_id))

    his.merge_patients(keep.patient_id, prior.patient_id)
    until(lambda: pacs.patient(prior.patient_id) is None)

    # HIS: one record with the orders, the results and the visits of both.
    assert [p.patient_id for p in his.patients()] == [keep.patient_id, other.patient_id]
    assert {o.patient_id for o in his.orders()} == {keep.patient_id, other.patient_id}
    assert [r.accession for r in his.chart(keep.patient_id)] == [second.accession]
    assert len(his.visits(keep.patient_id)) == 2
    # RIS
    with pytest.raises(NotFound):
        ris.patient(prior.patient_id)
    assert {p.patient_id for p in ris.procedures()} == {keep.patient_id, other.patient_id}
    assert ris.procedure(apart.accession).patient_id == other.patient_id
    # PACS: both studies under the name that stayed, in answers and in images.
    found = department.tools.findscu(PatientID=keep.patient_id, PatientName="")
    assert {str(f.StudyInstanceUID) for f in found} == {first.study_uid, second.study_uid}
    assert {str(f.PatientName) for f in found} == {"Vega^Ines"}
    images = department.tools.getscu(second.study_uid)
    assert {(i.PatientID, str(i.PatientName)) for i in images} == {(keep.patient_id, "Vega^Ines")}
    assert {i.PatientID for i in department.tools.getscu(apart.study_uid)} == {other.patient_id}


def test_what_was_under_way_during_a_merge_arrives_under_the_name_that_stayed(
    department: Hospital, until: Until
) -> None:
    his, ris = department.his, department.ris
    keep, prior = his.register_patient("Vega^Ines"), his.register_patient("Vega^Inez")
    procedure = examined(department, until, prior.patient_id, "DXCHEST")
    late = his.place_order(prior.patient_id, "CTHEAD")
    until(lambda: late.placer_order in [order.placer_order for order in ris.orders()])
    his.merge_patients(keep.patient_id, prior.patient_id)
    until(lambda: department.pacs.patient(prior.patient_id) is None)
    ris.report(procedure.accession, "Normal.")
    [result] = until(lambda: his.chart(keep.patient_id))
    assert result.accession == procedure.accession
    second = ris.schedule(late.placer_order)
    assert second.patient_id == keep.patient_id
    until(lambda: his.order(late.placer_order).status == "SCHEDULED")
    [entry] = department.scanner(second.station).query_worklist(accession=second.accession)
    assert (entry.PatientID, str(entry.PatientName)) == (keep.patient_id, "Vega^Ines")
