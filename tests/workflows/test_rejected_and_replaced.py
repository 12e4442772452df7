"""A blurred image: rejected by the technologist, taken again, and everywhere replaced."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from pydicom.uid import KeyObjectSelectionDocumentStorage

from labsim import Hospital
from labsim.systems.records import Procedure


def test_an_image_is_rejected_and_replaced(
    department: Hospital,
    station: Callable[..., AbstractContextManager[Any]],
    scheduled: Callable[..., Procedure],
    until: Callable[[Callable[[], Any]], Any],
) -> None:
    pacs = department.pacs
    patient = department.his.register_patient("Vega^Ines")
    procedure = scheduled("DXHANDL", patient.patient_id)
    scanner = department.scanner(procedure.station)
    [entry] = scanner.query_worklist(accession=procedure.accession)
    with station(department, "READER") as reader:
        pacs.routes.add("hands", "READER", BodyPartExamined="HAND")
        step = scanner.start_step(entry)
        scanner.acquire(step)
        scanner.send(procedure.accession)
        bad = [str(i.SOPInstanceUID) for i in department.tools.getscu(procedure.study_uid)]
        pacs.retry()
        assert sorted(reader.uids) == sorted(bad)

        [note] = pacs.reject(*bad, reason="quality", modifier="positioning", text="thumb is off")
        assert department.tools.findscu(StudyInstanceUID=procedure.study_uid) == []
        scanner.acquire(step)
        scanner.send(procedure.accession)
        scanner.complete_step(step)
        pacs.retry()
        received = list(reader.images)

    good = [str(i.SOPInstanceUID) for i in department.tools.getscu(procedure.study_uid)]
    assert len(good) == len(bad)
    assert not set(good) & set(bad)
    department.ris.report(procedure.accession, "No fracture.")

    # The workstation has all of them, and the note that tells which not to use.
    assert {str(i.SOPInstanceUID) for i in received} == {*bad, note, *good}
    notes = [i for i in received if i.SOPClassUID == KeyObjectSelectionDocumentStorage]
    assert [i.ConceptNameCodeSequence[0].CodeValue for i in notes] == ["113001"]
    # Every system at the end
    until(lambda: [order.status for order in department.his.orders()] == ["RESULTED"])
    [result] = department.his.chart(patient.patient_id)
    assert result.accession == procedure.accession
    assert department.ris.procedure(procedure.accession).status == "REPORTED"
    assert scanner.waiting() == 0
    assert [row[2] for row in scanner.table()] == [len(bad) + len(good)]
    assert [(row[2], row[7]) for row in pacs.rejected()] == [(uid, "rejected") for uid in bad]
    assert {row[5] for row in pacs.queue()} == {"sent"}
    assert len(pacs.consistency()) == 0
    [study] = department.tools.findscu(
        StudyInstanceUID=procedure.study_uid, NumberOfStudyRelatedInstances=""
    )
    assert study.NumberOfStudyRelatedInstances == len(good) + 1  # and the report
