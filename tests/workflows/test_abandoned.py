"""The abandoned and the exception case: a step that is given up, with and without images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset

from labsim import Hospital
from labsim.errors import ConfigurationError
from labsim.systems.records import Procedure


def test_a_step_given_up_before_any_image_can_be_scheduled_again(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Callable[..., None]
) -> None:
    procedure, ct = scheduled("CTTHORAX"), department.ct
    step = ct.start_step(ct.worklist())
    ct.discontinue_step(step, "110507")
    [row] = department.ris.performed_steps()
    assert (row[3], row[6], row[8]) == ("DISCONTINUED", 0, "Patient did not arrive")
    seen("his", "is DISCONTINUED", placer_order=procedure.placer_order)
    assert department.his.orders()[0].status == "DISCONTINUED"
    assert len(ct.worklist()) == 0
    department.ris.schedule_again(procedure.accession)
    seen("his", "is SCHEDULED", placer_order=procedure.placer_order)
    again = ct.start_step(ct.worklist())
    ct.acquire(again)
    ct.complete_step(again)
    ct.send()

    assert department.ris.procedure(procedure.accession).status == "COMPLETED"
    assert [row[3] for row in department.ris.performed_steps()] == ["DISCONTINUED", "COMPLETED"]
    assert [row[1:4] for row in ct.table()] == [["DISCONTINUED", 0, 0], ["COMPLETED", 4, 4]]
    assert department.pacs.count(procedure.study_uid) == 4
    seen("his", "is COMPLETED", placer_order=procedure.placer_order)
    with pytest.raises(ConfigurationError, match="not DISCONTINUED"):
        department.ris.schedule_again(procedure.accession)


def test_the_images_of_a_step_given_up_are_kept(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Callable[..., None]
) -> None:
    procedure, ct = scheduled("CTTHORAX"), department.ct
    step = ct.start_step(ct.worklist())
    ct.acquire(step)
    ct.discontinue_step(step, "110505")
    assert ct.send(procedure.accession).sent == 4
    event = department.journal.events(source="ris", transaction="RAD-7", mpps_uid=step)[0]
    message = department.message(event)
    assert isinstance(message, Dataset)
    [reason] = message.PerformedProcedureStepDiscontinuationReasonCodeSequence
    assert (reason.CodeValue, reason.CodingSchemeDesignator) == ("110505", "DCM")

    assert department.ris.procedure(procedure.accession).status == "DISCONTINUED"
    assert department.ris.reading_list() == []
    [study] = department.pacs.table()
    assert (study[3], study[6]) == (procedure.accession, 4)
    assert [row[1:4] for row in ct.table()] == [["DISCONTINUED", 4, 4]]
    seen("his", "is DISCONTINUED", placer_order=procedure.placer_order)


def test_the_wrong_worklist_entry_leaves_no_trace_on_the_wrong_patient(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Callable[..., None]
) -> None:
    wrong, right, ct = scheduled("CTTHORAX"), scheduled("CTTHORAX"), department.ct
    [entry] = ct.query_worklist(accession=wrong.accession)
    step = ct.start_step(entry)
    ct.acquire(step)
    ct.discontinue_step(step, "110514")
    assert str(ct.send()) == "Nothing waited to be sent."
    assert [row[1] for row in ct.images()] == ["withheld"] * 4
    assert [p.status for p in department.ris.procedures()] == ["SCHEDULED", "SCHEDULED"]
    [entry] = ct.query_worklist(accession=right.accession)
    step = ct.start_step(entry)
    ct.acquire(step)
    ct.complete_step(step)
    ct.send()

    assert department.ris.procedure(wrong.accession).status == "SCHEDULED"
    assert department.ris.procedure(right.accession).status == "COMPLETED"
    assert [(row[0], row[3]) for row in department.pacs.table()] == [
        (right.patient_id, right.accession)
    ]
    assert len(department.ris.unmatched()) == 0
    [found] = department.ris.discrepancies()
    assert found[2:] == ("Incorrect worklist entry selected", "4 images to check")
    seen("his", "is COMPLETED", placer_order=right.placer_order)
    assert [o.status for o in department.his.orders()] == ["SCHEDULED", "COMPLETED"]


def test_a_reason_that_is_none_gives_nothing_up(
    department: Hospital, scheduled: Callable[..., Procedure]
) -> None:
    scheduled("CTTHORAX")
    step = department.ct.start_step(department.ct.worklist())
    with pytest.raises(ConfigurationError, match="CID 9301"):
        department.ct.discontinue_step(step, "tired")
    assert [row[3] for row in department.ris.performed_steps()] == ["IN PROGRESS"]
