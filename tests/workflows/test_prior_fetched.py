"""A second exam of a patient: the prior is on the reader's workstation before the new images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from labsim import Hospital
from labsim.systems.records import Procedure


def test_the_prior_is_there_before_the_exam(
    department: Hospital,
    station: Callable[..., AbstractContextManager[Any]],
    scheduled: Callable[..., Procedure],
    until: Callable[[Callable[[], Any]], Any],
) -> None:
    pacs, first = department.pacs, department.exam("CTTHORAX", name="Vega^Ines")
    other = department.exam("CTTHORAX", name="Else^Somebody")
    assert (first.problem, other.problem) == ("", "")
    assert first.patient is not None
    assert first.procedure is not None
    with station(department, "READER") as reader:
        pacs.prefetch.add("priors", "READER", parts="related")
        procedure = scheduled("DXCHEST", first.patient.patient_id)
        assert department.journal.wait_for(
            lambda e: e.source == "pacs" and "5 images sent to READER: prefetch" in e.summary, 5
        )
        # The patient has not been at the scanner yet.
        assert department.ris.procedure(procedure.accession).status == "SCHEDULED"
        assert pacs.count(procedure.study_uid) == 0
        arrived = list(reader.images)
    assert {i.PatientID for i in arrived} == {first.patient.patient_id}
    assert {i.StudyInstanceUID for i in arrived} == {first.procedure.study_uid}

    scanner = department.scanner(procedure.station)
    [entry] = scanner.query_worklist(accession=procedure.accession)
    step = scanner.start_step(entry)
    scanner.acquire(step)
    assert scanner.send(procedure.accession).waiting == 0
    scanner.complete_step(step)
    department.ris.report(procedure.accession, "Compared with the CT: no change.")

    # Every system at the end
    until(lambda: [order.status for order in department.his.orders()] == ["RESULTED"] * 3)
    chart = department.his.chart(first.patient.patient_id)
    assert [result.accession for result in chart] == [first.accession, procedure.accession]
    assert {p.status for p in department.ris.procedures()} == {"REPORTED"}
    assert scanner.waiting() == 0
    studies = department.tools.findscu(PatientID=first.patient.patient_id, StudyInstanceUID="")
    assert len(studies) == 2
    [row] = pacs.prefetches()
    assert tuple(row)[:4] == (
        procedure.accession,
        first.patient.patient_id,
        "priors",
        first.accession,
    )
    assert tuple(row)[5:] == ("READER", "5 sent", "1 of 1 earlier")
    [queued] = pacs.queue()
    assert (queued[0], queued[4], queued[5]) == ("prefetch priors", 5, "sent")
    assert len(pacs.consistency()) == 0
    assert len(pacs.qc.table()) == 0
    assert department.journal.events(kind="error").steps() == []
