from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pydicom import dcmread

from labsim import Hospital, LabError
from labsim.exam import Exam

JOURNEY = [
    ("RAD-1", "his", "ris", 1),
    ("RAD-2", "his", "ris", 1),
    ("RAD-3", "ris", "his", 3),  # scheduled, in progress, completed
    ("RAD-4", "ris", "pacs", 1),
    ("RAD-5", "ct1", "ris", 1),
    ("RAD-6", "ct1", "ris", 1),
    ("RAD-8", "ct1", "pacs", 24),
    ("RAD-7", "ct1", "ris", 1),
    ("RAD-10", "ct1", "pacs", 2),
    ("RAD-14", "desk", "pacs", 3),
    ("RAD-16", "desk", "pacs", 25),
    ("RAD-128", "ris", "his", 1),
    ("RAD-25", "ris", "pacs", 1),
]


@pytest.fixture(scope="module")
def clinic() -> Iterator[Hospital]:
    with Hospital(seed=7) as running:
        yield running


@pytest.fixture(scope="module")
def exam(clinic: Hospital) -> Exam:
    return clinic.exam("CTHEAD", name="Vega^Zoë", reason="Fall")


def test_an_exam_goes_through(exam: Exam) -> None:
    assert exam.problem == ""
    assert exam.complete


def test_the_chart_has_the_result(clinic: Hospital, exam: Exam) -> None:
    assert exam.patient is not None
    assert exam.order is not None
    assert exam.procedure is not None
    (result,) = clinic.his.chart(exam.patient.patient_id)
    assert result.placer_order == exam.order.placer_order
    assert result.accession == exam.accession
    assert result.study_uid == exam.procedure.study_uid
    assert result.status == "F"
    assert result.text.splitlines()[1] == "Impression: No acute finding."
    assert result.interpreter == "Okafor^Ngozi"
    assert [order.status for order in clinic.his.orders()] == ["RESULTED"]


def test_the_ris_has_procedure_and_performed_step(clinic: Hospital, exam: Exam) -> None:
    procedure = clinic.ris.procedure(exam.accession)
    assert (procedure.status, procedure.code, procedure.station) == ("REPORTED", "CTHEAD", "CT1")
    (step,) = clinic.ris.performed_steps()
    assert (step[0], step[1], step[2], step[3]) == (
        exam.mpps_uid,
        procedure.step_id,
        "CT1",
        "COMPLETED",
    )
    assert step[6] == 24
    assert clinic.ris.reading_list() == []


def test_the_scanner_has_sent_everything_and_has_the_promise(clinic: Hospital, exam: Exam) -> None:
    (row,) = clinic.ct.table()
    assert list(row) == [exam.accession, "COMPLETED", 24, 24, 24, "0x0000 Success"]
    assert clinic.ct.waiting() == 0


def test_the_archive_has_one_study_of_images_and_report(clinic: Hospital, exam: Exam) -> None:
    assert exam.procedure is not None
    (row,) = clinic.pacs.table()
    assert row[1] == "Vega^Zoë"
    assert row[3:] == (exam.accession, "CT head", 2, 24)
    assert clinic.pacs.count(exam.procedure.study_uid) == 24


def test_the_files_of_the_archive_are_the_scanners_images(clinic: Hospital, exam: Exam) -> None:
    assert exam.procedure is not None
    kept = [dcmread(path) for path in clinic.pacs.paths(exam.procedure.study_uid)]
    taken = [dcmread(path) for path in sorted((clinic.path / "ct1" / "images").iterdir())]
    assert len(taken) == 24
    assert kept[:-1] == taken
    assert kept[-1].Modality == "SR"


def test_the_reader_gets_the_images_of_the_order(clinic: Hospital, exam: Exam) -> None:
    assert exam.patient is not None
    assert exam.procedure is not None
    assert sorted(int(image.InstanceNumber) for image in exam.images) == list(range(1, 25))
    for image in exam.images:
        assert image.StudyInstanceUID == exam.procedure.study_uid
        assert image.AccessionNumber == exam.accession
        assert image.PatientID == exam.patient.patient_id
        assert image.PatientName == "Vega^Zoë"
        assert image.RequestAttributesSequence[0].ScheduledProcedureStepID == (
            exam.procedure.step_id
        )
    pixels = np.stack([image.pixel_array for image in exam.images])
    taken = [dcmread(path) for path in sorted((clinic.path / "ct1" / "images").iterdir())]
    assert np.array_equal(pixels, np.stack([image.pixel_array for image in taken]))


def test_the_journey_has_every_transaction_in_order(exam: Exam) -> None:
    steps = exam.transcript().steps()
    assert [(s.transaction, s.sender, s.receiver, s.messages) for s in steps] == JOURNEY
    assert {s.outcome.split("× ")[-1] for s in steps} == {"ACK AA", "0x0000 Success"}


def test_every_message_was_journaled_by_both_sides(exam: Exam) -> None:
    sides: dict[tuple[str, str], set[str]] = {}
    for event in exam.transcript():
        if event.kind in ("hl7", "dimse"):
            message = (event.kind, event.keys["message"])
            sides.setdefault(message, set()).add(str(event.detail["direction"]))
    assert len(sides) > 100
    assert [message for message, seen in sides.items() if seen != {"sent", "received"}] == []


def test_an_unknown_examination_stops_at_the_order(clinic: Hospital) -> None:
    stopped = clinic.exam("MRKNEE")
    assert stopped.problem.startswith("The exam stopped at the order. No examination has the code")
    assert stopped.accession == ""
    assert not stopped.complete
    assert "nothing ordered" in str(stopped)


@pytest.mark.usefixtures("small_scans")
def test_two_exams_of_one_patient_are_kept_apart() -> None:
    with Hospital(seed=3) as clinic:
        patient = clinic.his.register_patient("Rossi^Elena", "1950-05-05", "F")
        orders = [clinic.his.place_order(patient.patient_id, c) for c in ("CTTHORAX", "CTHEAD")]
        first, second = [clinic.ris.schedule(order.placer_order) for order in orders]
        steps = {}
        for procedure in (second, first):  # taken in another order than scheduled, interleaved
            (entry,) = clinic.ct.query_worklist(accession=procedure.accession)
            steps[procedure.accession] = clinic.ct.start_step(entry)
        for procedure in (first, second):
            clinic.ct.acquire(steps[procedure.accession])
        assert clinic.ct.send(first.accession).sent == 4
        assert (clinic.pacs.count(first.study_uid), clinic.pacs.count(second.study_uid)) == (4, 0)
        assert clinic.ct.send(second.accession).sent == 4
        for procedure in (second, first):
            clinic.ct.complete_step(steps[procedure.accession])
            clinic.ris.report(procedure.accession, f"Report of {procedure.description}")

        chart = {result.accession: result for result in clinic.his.chart(patient.patient_id)}
        for order, procedure in zip(orders, (first, second), strict=True):
            assert clinic.pacs.count(procedure.study_uid) == 4
            assert chart[procedure.accession].placer_order == order.placer_order
            assert chart[procedure.accession].text == f"Report of {order.description}"
            accessions = {
                event.keys.get("accession", procedure.accession)
                for event in clinic.journal.exam(procedure.accession)
            }
            assert accessions == {procedure.accession}
        (found,) = clinic.tools.findscu(
            "pacs", level="STUDY", AccessionNumber=second.accession, StudyDescription=""
        )
        assert found.StudyDescription == "CT head"


def test_nobody_reports_before_the_step_is_completed(hospital: Hospital) -> None:
    patient = hospital.his.register_patient()
    order = hospital.his.place_order(patient.patient_id)
    accession = hospital.ris.schedule(order.placer_order).accession
    with pytest.raises(LabError, match="is SCHEDULED: there is nothing to report yet"):
        hospital.ris.report(accession, "Too early")
    assert hospital.his.chart(patient.patient_id) == []
