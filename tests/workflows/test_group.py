"""The group case: one performed step for two scheduled ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from labsim import Hospital
from labsim.errors import ConfigurationError
from labsim.systems.records import Procedure


def test_one_study_is_read_for_two_orders(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Callable[..., None]
) -> None:
    ct, first = department.ct, scheduled("CTTHORAX")
    second = scheduled("CTABDOMEN", first.patient_id)
    accessions = [first.accession, second.accession]
    step = ct.start_step(ct.worklist(date="20260302"))
    images = [dcmread(path) for path in ct.acquire(step)]
    assert {len(image.RequestAttributesSequence) for image in images} == {2}
    assert {image.AccessionNumber for image in images} == {""}
    [study_uid] = {image.StudyInstanceUID for image in images}
    assert study_uid not in (first.study_uid, second.study_uid)
    [event] = department.journal.events(source="ris", transaction="RAD-6", mpps_uid=step)[:1]
    message = department.message(event)
    assert isinstance(message, Dataset)
    items = message.ScheduledStepAttributesSequence
    assert [item.AccessionNumber for item in items] == accessions
    assert {item.StudyInstanceUID for item in items} == {study_uid}
    seen("pacs", "study announced", study_uid=study_uid, accession=second.accession)
    ct.send()
    ct.complete_step(step)
    for accession in accessions:
        procedure = department.ris.procedure(accession)
        assert (procedure.status, procedure.study_uid) == ("COMPLETED", study_uid)
        department.ris.report(accession, f"Report of {accession}.")
        seen("his", "filed in the chart", accession=accession)

    results = department.his.chart(first.patient_id)
    assert [result.accession for result in results] == accessions
    assert {result.study_uid for result in results} == {study_uid}
    assert [order.status for order in department.his.orders()] == ["RESULTED", "RESULTED"]
    assert len(department.ris.discrepancies()) == len(department.ris.unmatched()) == 0
    [study] = department.pacs.table()
    assert (study[0], study[3], study[6]) == (first.patient_id, "", len(images))
    [row] = department.pacs.db.rows("SELECT * FROM expected_studies")
    assert row["accession"] == "\\".join(accessions)
    assert [row[0] for row in ct.table()] == [" ".join(accessions)]
    for accession in accessions:  # the performed step is part of the story of both
        assert department.journal.exam(accession).of("RAD-6")


def test_entries_of_two_patients_are_no_group(
    department: Hospital, scheduled: Callable[..., Procedure]
) -> None:
    scheduled("CTTHORAX")
    scheduled("CTHEAD")
    with pytest.raises(ConfigurationError, match="A step is of one patient"):
        department.ct.start_step(department.ct.worklist())
    assert len(department.ct.table()) == len(department.ris.performed_steps()) == 0


def test_a_group_that_was_given_up_before_any_image_is_two_examinations_again(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Callable[..., None]
) -> None:
    ct, first = department.ct, scheduled("CTTHORAX")
    second = scheduled("CTABDOMEN", first.patient_id)
    before = department.journal.all()[-1].seq
    step = ct.start_step(ct.worklist())
    together = department.ris.procedure(second.accession).study_uid
    seen("pacs", "study announced", after=before, study_uid=together, accession=second.accession)
    before = department.journal.all()[-1].seq
    ct.discontinue_step(step, "110514")
    assert [(p.status, p.study_uid) for p in department.ris.procedures()] == [
        ("SCHEDULED", first.study_uid),
        ("SCHEDULED", second.study_uid),
    ]
    seen("pacs", "study announced", after=before, accession=second.accession)
    rows = department.pacs.db.rows("SELECT study_uid FROM expected_studies ORDER BY accession")
    assert [row["study_uid"] for row in rows] == [first.study_uid, second.study_uid]
