"""The append case: a second performed step after the first has ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom import dcmread

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.systems.records import Procedure


def performed(department: Hospital, procedure: Procedure) -> str:
    ct = department.ct
    [entry] = ct.query_worklist(accession=procedure.accession)
    step = ct.start_step(entry)
    ct.acquire(step)
    ct.complete_step(step)
    ct.send()
    return step


def test_more_series_of_the_same_study_come_with_a_step_of_their_own(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Callable[..., None]
) -> None:
    procedure, ct = scheduled("CTTHORAX"), department.ct
    first = performed(department, procedure)
    assert department.ris.procedure(procedure.accession).status == "COMPLETED"
    second = ct.append(procedure.accession)
    assert department.ris.procedure(procedure.accession).status == "IN PROGRESS"
    ct.acquire(second)
    ct.complete_step(second)
    ct.send()

    assert department.ris.procedure(procedure.accession).status == "COMPLETED"
    steps = {row[0]: (row[1], row[3], row[6]) for row in department.ris.performed_steps()}
    scheduled_step = (procedure.step_id, "COMPLETED", 4)
    assert steps == {first: scheduled_step, second: scheduled_step}
    [study] = department.pacs.table()
    assert (study[3], study[5], study[6]) == (procedure.accession, 2, 8)
    images = department.tools.getscu(procedure.study_uid)
    assert {int(image.SeriesNumber) for image in images} == {1, 2}
    assert [row[1:4] for row in ct.table()] == [["COMPLETED", 4, 4], ["COMPLETED", 4, 4]]
    assert department.ris.reading_list()[0].flag == ""
    seen("his", "is COMPLETED", placer_order=procedure.placer_order)
    assert department.his.orders()[0].status == "COMPLETED"


def test_what_is_said_of_the_study_stays_as_its_first_step_said_it(
    department: Hospital, scheduled: Callable[..., Procedure]
) -> None:
    ct, patient = department.ct, department.his.register_patient()
    group = [scheduled(code, patient.patient_id) for code in ("CTTHORAX", "CTHEAD")]
    step = ct.start_step([ct.query_worklist(accession=p.accession)[0] for p in group])
    files = ct.acquire(step)
    ct.complete_step(step)
    appended = ct.append(group[0].accession, perform="CTHEAD")
    files += ct.acquire(appended)
    ct.complete_step(appended)

    def of_study(keyword: str) -> set[str]:
        return {str(dcmread(file).get(keyword)) for file in files}

    assert of_study("StudyDescription") == {"CT thorax + CT head"}
    for keyword in ("StudyID", "StudyDate", "StudyTime", "ProcedureCodeSequence"):
        assert len(of_study(keyword)) == 1, keyword
    assert len(of_study("PerformedProcedureStepID")) == 2


def test_images_after_the_report_call_the_reader_back(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Callable[..., None]
) -> None:
    procedure, ct = scheduled("CTTHORAX"), department.ct
    performed(department, procedure)
    department.ris.report(procedure.accession, "Normal.")
    assert department.ris.reading_list() == []
    second = ct.append(procedure.accession)
    assert department.ris.reading_list() == []  # nothing to see yet
    ct.acquire(second)
    ct.complete_step(second)
    ct.send()
    [flagged] = department.ris.reading_list()
    assert flagged.flag == "images after report"
    assert department.ris.procedure(procedure.accession).status == "REPORTED"
    assert [row[0] for row in department.ris.discrepancies()] == [procedure.accession]
    department.ris.addendum(procedure.accession, "The later series: normal, too.")
    assert department.ris.reading_list() == []
    assert department.settle()
    [result] = department.his.chart(procedure.patient_id)
    assert (result.status, department.his.orders()[0].status) == ("C", "RESULTED")
    assert department.pacs.count(procedure.study_uid) == 8
    assert len(department.pacs.documents(procedure.study_uid)) == 2  # report and addendum


def test_a_given_up_second_step_leaves_the_examination_complete(
    department: Hospital, scheduled: Callable[..., Procedure]
) -> None:
    procedure, ct = scheduled("CTTHORAX"), department.ct
    performed(department, procedure)
    ct.discontinue_step(ct.append(procedure.accession, perform="CTHEAD"))
    done = department.ris.procedure(procedure.accession)
    assert (done.status, done.performed_code, done.study_uid) == (
        "COMPLETED",
        "",
        procedure.study_uid,
    )


def test_nothing_is_appended_to_what_is_unknown_or_goes_on(
    department: Hospital, scheduled: Callable[..., Procedure]
) -> None:
    procedure, ct = scheduled("CTTHORAX"), department.ct
    with pytest.raises(NotFound, match="no examination"):
        ct.append(procedure.accession)
    ct.start_step(ct.worklist())
    with pytest.raises(ConfigurationError, match="still in progress"):
        ct.append(procedure.accession)
    assert len(department.ris.performed_steps()) == 1
