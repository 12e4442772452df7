"""The unscheduled case: images first, then somebody says whose they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.systems.records import Procedure

Seen = Callable[..., None]


def emergency(department: Hospital, name: str = "Unknown^Male") -> str:
    """Scan somebody whom no order has announced."""
    ct = department.ct
    step = ct.start_unscheduled(name, perform="CTHEAD")
    ct.acquire(step)
    assert ct.send(step).waiting == 0
    ct.complete_step(step)
    return step


def retrieved(department: Hospital, study_uid: str) -> list[Dataset]:
    return department.tools.getscu(study_uid)


def test_the_images_of_an_unscheduled_step_name_no_order(department: Hospital) -> None:
    ct = department.ct
    step = ct.start_unscheduled("Unknown^Male", perform="CTHEAD")
    image = dcmread(ct.acquire(step)[0])
    assert (image.AccessionNumber, image.PatientName) == ("", "Unknown^Male")
    assert "RequestAttributesSequence" not in image
    [event] = department.journal.events(source="ris", transaction="RAD-6", mpps_uid=step)[:1]
    message = department.message(event)
    assert isinstance(message, Dataset)
    [item] = message.ScheduledStepAttributesSequence
    for keyword in ("AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID"):
        assert item[keyword].is_empty
    assert item.StudyInstanceUID == image.StudyInstanceUID


def test_a_step_without_an_order_gets_one_when_it_is_matched(
    department: Hospital, seen: Seen
) -> None:
    step = emergency(department)
    [waiting] = department.ris.unmatched()
    assert (waiting[0], waiting[4], waiting[7]) == (step, "Unknown^Male", 4)
    patient = department.his.register_patient("Okoye^Ada")
    seen("ris", "received", patient_id=patient.patient_id)
    procedure = department.ris.match(step, patient.patient_id, reason="Fall")
    seen("pacs", "correction", study_uid=procedure.study_uid)
    seen("ris", "has number", filler_order=procedure.filler_order)
    department.ris.report(procedure.accession, "No bleeding.")
    seen("his", "filed in the chart", accession=procedure.accession)

    [order] = department.his.orders()
    assert (order.patient_id, order.code, order.status) == (
        patient.patient_id,
        "CTHEAD",
        "RESULTED",
    )
    [result] = department.his.chart(patient.patient_id)
    assert result.study_uid == procedure.study_uid
    assert department.ris.procedure(procedure.accession).status == "REPORTED"
    assert len(department.ris.unmatched()) == 0
    [study] = department.pacs.table()
    assert (study[0], study[1], study[3]) == (patient.patient_id, "Okoye^Ada", procedure.accession)
    images = retrieved(department, procedure.study_uid)
    assert {(i.PatientID, i.AccessionNumber) for i in images} == {
        (patient.patient_id, procedure.accession)
    }
    assert [row[1:4] for row in department.ct.table()] == [["COMPLETED", 4, 4]]


def test_images_that_come_after_the_match_are_filed_with_it(
    department: Hospital, seen: Seen
) -> None:
    ct = department.ct
    step = ct.start_unscheduled("Unknown^Male", perform="CTHEAD")
    ct.acquire(step)
    patient = department.his.register_patient("Okoye^Ada")
    seen("ris", "received", patient_id=patient.patient_id)
    procedure = department.ris.match(step, patient.patient_id)
    assert procedure.status == "IN PROGRESS"
    seen("pacs", "study announced", study_uid=procedure.study_uid)
    ct.send()
    ct.complete_step(step)
    assert department.ris.procedure(procedure.accession).status == "COMPLETED"
    [study] = department.pacs.table()
    assert (study[0], study[3], study[6]) == (patient.patient_id, procedure.accession, 4)


def test_what_is_appended_to_a_matched_study_belongs_to_it(
    department: Hospital, seen: Seen
) -> None:
    ct, step = department.ct, emergency(department)
    patient = department.his.register_patient("Okoye^Ada")
    seen("ris", "received", patient_id=patient.patient_id)
    procedure = department.ris.match(step, patient.patient_id)
    seen("pacs", "correction", study_uid=procedure.study_uid)
    more = ct.append(step)
    assert len(department.ris.unmatched()) == 0
    ct.acquire(more)
    assert ct.send().waiting == 0
    ct.complete_step(more)
    assert department.ris.procedure(procedure.accession).status == "COMPLETED"
    [study] = department.pacs.table()
    assert (study[3], study[5], study[6]) == (procedure.accession, 2, 8)


def test_a_step_is_matched_with_an_examination_that_was_scheduled_meanwhile(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Seen
) -> None:
    step, procedure = emergency(department), scheduled("CTHEAD")
    matched = department.ris.match(step, accession=procedure.accession)
    assert (matched.accession, matched.status) == (procedure.accession, "COMPLETED")
    assert matched.study_uid != procedure.study_uid
    seen("pacs", "correction", study_uid=matched.study_uid)
    assert department.ct.worklist().entries == ()
    [study] = department.pacs.table()
    assert (study[0], study[3]) == (procedure.patient_id, procedure.accession)
    seen("his", "is COMPLETED", placer_order=procedure.placer_order)
    assert len(department.his.orders()) == 1


def test_two_unknown_patients_are_not_one(department: Hospital) -> None:
    emergency(department)
    emergency(department)
    assert len({row[0] for row in department.pacs.table()}) == 2
    assert len(department.ris.unmatched()) == 2


def test_a_step_is_matched_once_and_with_somebody_known(department: Hospital, seen: Seen) -> None:
    step = emergency(department)
    with pytest.raises(NotFound):
        department.ris.match(step, "P999999")
    with pytest.raises(ConfigurationError, match="Give patient_id or accession"):
        department.ris.match(step)
    assert len(department.ris.unmatched()) == 1
    patient = department.his.register_patient()
    seen("ris", "received", patient_id=patient.patient_id)
    procedure = department.ris.match(step, patient.patient_id)
    with pytest.raises(ConfigurationError, match=f"performed {procedure.accession}"):
        department.ris.match(step, patient.patient_id)
    with pytest.raises(NotFound, match="waits to be matched"):
        department.ris.match("1.2.3", patient.patient_id)
    assert len(department.ris.procedures()) == 1
