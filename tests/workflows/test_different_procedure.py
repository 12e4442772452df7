"""Another examination was performed than the one that was asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom import dcmread

from labsim import Hospital
from labsim.errors import ConfigurationError
from labsim.systems.records import Procedure
from labsim.wire.hl7 import Message


def test_what_was_performed_is_reported_and_charged(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Callable[..., None]
) -> None:
    procedure, ct = scheduled("CTTHORAX"), department.ct
    step = ct.start_step(ct.worklist(), perform="CTHEAD")
    image = dcmread(ct.acquire(step)[0])
    assert (image.BodyPartExamined, image.StudyDescription) == ("HEAD", "CT head")
    [code] = image.ProcedureCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("CTHEAD", "99LABSIM")
    ct.complete_step(step)
    ct.send()
    seen("his", "changed to CT head", placer_order=procedure.placer_order)
    [row] = department.ris.discrepancies()
    assert tuple(row) == (procedure.accession, "CT thorax", "CT head", "charge CTHEAD")
    department.ris.report(procedure.accession, "No bleeding.")
    seen("his", "filed in the chart", accession=procedure.accession)

    done = department.ris.procedure(procedure.accession)
    assert (done.code, done.performed_code, done.description) == ("CTTHORAX", "CTHEAD", "CT head")
    assert (done.status, done.study_uid) == ("REPORTED", procedure.study_uid)
    [order] = department.his.orders()
    assert (order.code, order.description, order.status) == ("CTHEAD", "CT head", "RESULTED")
    sent = [
        department.message(event)
        for event in department.journal.events(source="his", transaction="RAD-128")
        if event.detail.get("request")
    ]
    assert [m["OBR-4.1"] for m in sent if isinstance(m, Message)] == ["CTHEAD"]
    [study] = department.pacs.table()
    assert (study[3], study[4]) == (procedure.accession, "CT head")
    assert [row[1:4] for row in ct.table()] == [["COMPLETED", 4, 4]]


def test_the_order_is_as_before_when_the_other_one_left_no_images(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Callable[..., None]
) -> None:
    procedure, ct = scheduled("CTTHORAX"), department.ct
    ct.discontinue_step(ct.start_step(ct.worklist(), perform="CTHEAD"), "110502")
    seen("his", "changed to CT thorax", placer_order=procedure.placer_order)
    assert department.his.orders()[0].code == "CTTHORAX"
    given_up = department.ris.procedure(procedure.accession)
    assert (given_up.performed_code, given_up.description) == ("", "CT thorax")
    assert len(department.ris.discrepancies()) == department.pacs.count(procedure.study_uid) == 0


def test_a_scanner_does_nothing_that_it_cannot(
    department: Hospital, scheduled: Callable[..., Procedure]
) -> None:
    scheduled("CTTHORAX")
    with pytest.raises(ConfigurationError, match="does no MR head"):
        department.ct.start_step(department.ct.worklist(), perform="MRHEAD")
    assert len(department.ris.performed_steps()) == 0
