from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from labsim import Hospital
from labsim.errors import ConfigurationError, DeliveryFailed, DimseFailed, NotFound
from labsim.ids import make_uid
from labsim.journal import Event
from labsim.sop_classes import MODALITY_WORKLIST, MPPS, VERIFICATION
from labsim.systems.records import Procedure
from labsim.wire.hl7 import Header, Message, segment
from labsim.wire.network import Address

pytestmark = pytest.mark.usefixtures("small_scans")
Dial = Callable[..., AbstractContextManager[Association]]
Mllp = Callable[[Hospital, str, str], list[str]]
Keys = Callable[..., Dataset]

ORDER = """MSH|^~\\&|HIS|RIVERSIDE|RIS|RIVERSIDE|20260302103000||ORM^O01|X1|P|2.3.1
PID|1||{patient}^^^RIVERSIDE^PI||{name}||19800229|F
PV1|1|O|OUT||||||||||||||||V000001^^^RIVERSIDE
ORC|{control}|{order}^HIS|||||||||||^Lindqvist^Greta
OBR|1|{order}^HIS||{code}^CT thorax^99LABSIM
"""


def an_order(**changes: str) -> str:
    plain = {
        "patient": "X1",
        "name": "Silva^Ines",
        "control": "NW",
        "order": "O1",
        "code": "CTTHORAX",
    }
    return ORDER.format(**plain | changes)


def scheduled(hospital: Hospital, code: str = "CTTHORAX") -> Procedure:
    """Take an examination from the door to the worklist."""
    patient = hospital.his.register_patient()
    order = hospital.his.place_order(patient.patient_id, code)
    return hospital.ris.schedule(order.placer_order)


# Orders


def test_the_same_order_again_is_no_new_one(clinic: Hospital, mllp: Mllp) -> None:
    before = len(clinic.ris.orders())
    for _ in range(2):
        assert mllp(clinic, "ris", an_order(order="AGAIN"))[1] == "MSA|AA|X1"
    assert len(clinic.ris.orders()) == before + 1


def test_an_order_resent_after_scheduling_stays_scheduled(clinic: Hospital, mllp: Mllp) -> None:
    mllp(clinic, "ris", an_order(order="RESENT"))
    accession = clinic.ris.schedule("RESENT").accession
    mllp(clinic, "ris", an_order(order="RESENT"))
    (order,) = [o for o in clinic.ris.orders() if o.placer_order == "RESENT"]
    assert order.status == "SCHEDULED"
    with pytest.raises(ConfigurationError, match="RESENT is SCHEDULED already"):
        clinic.ris.schedule("RESENT")
    assert [p.accession for p in clinic.ris.procedures() if p.placer_order == "RESENT"] == [
        accession
    ]


def test_an_order_number_of_another_patient_is_refused(clinic: Hospital, mllp: Mllp) -> None:
    mllp(clinic, "ris", an_order(order="MINE", patient="X2"))
    answer = mllp(clinic, "ris", an_order(order="MINE", patient="X3", name="Rossi^Liam"))
    assert answer[1] == "MSA|AE|X1|Order MINE is known for another patient."
    with pytest.raises(NotFound):
        clinic.ris.patient("X3")  # nothing of a refused message is kept


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"control": "PA"}, "Order control 'PA' (ORC-1) is not taken, only NW, XO, CA and DC."),
        ({"control": "XO"}, "Patient X1 has no order 'O1'."),
        ({"control": "CA"}, "Patient X1 has no order 'O1'."),
        ({"order": ""}, "ORC-2 Placer Order Number is empty."),
        ({"code": "MRKNEE"}, "OBR-4: No examination has the code 'MRKNEE'."),
        ({"patient": ""}, "PID-3 Patient Identifier List or PID-5 Patient Name is empty."),
        ({"name": ""}, "PID-3 Patient Identifier List or PID-5 Patient Name is empty."),
    ],
)
def test_an_order_that_cannot_be_right_is_refused(
    clinic: Hospital, mllp: Mllp, changes: dict[str, str], reason: str
) -> None:
    before = clinic.ris.orders()
    assert mllp(clinic, "ris", an_order(**changes))[1] == f"MSA|AE|X1|{reason}"
    assert clinic.ris.orders() == before


def test_results_are_not_for_the_ris(clinic: Hospital, mllp: Mllp) -> None:
    answer = mllp(clinic, "ris", an_order().replace("ORM^O01", "ORU^R01"))
    assert answer[1].startswith("MSA|AR|X1|ORU\\S\\R01 is not taken here")


# Scheduling


def test_scheduling_gives_numbers_and_tells_the_archive(clinic: Hospital) -> None:
    procedure = scheduled(clinic, "CTHEAD")
    assert re.fullmatch(r"A\d{7}", procedure.accession)
    assert re.fullmatch(r"2\.25\.\d+", procedure.study_uid)
    assert (procedure.modality, procedure.body_part, procedure.station) == ("CT", "HEAD", "CT1")
    announced = clinic.pacs.db.row(
        "SELECT * FROM expected_studies WHERE study_uid = ?", procedure.study_uid
    )
    assert announced is not None
    assert (announced["accession"], announced["patient_id"], announced["description"]) == (
        procedure.accession,
        procedure.patient_id,
        "CT head",
    )


def test_a_station_that_the_hospital_does_not_have_is_refused(clinic: Hospital) -> None:
    order = clinic.his.place_order(clinic.his.register_patient().patient_id)
    with pytest.raises(ConfigurationError, match=r"'MR1' is no CT station.*Use CT1"):
        clinic.ris.schedule(order.placer_order, station="MR1")
    assert clinic.ris.schedule(order.placer_order, station="CT1").station == "CT1"


def test_an_unknown_order_cannot_be_scheduled(clinic: Hospital) -> None:
    with pytest.raises(NotFound, match="no order 'ORD999999'"):
        clinic.ris.schedule("ORD999999")


def test_an_examination_is_scheduled_though_the_archive_was_not_told(hospital: Hospital) -> None:
    hospital.network.withdraw(Address("pacs", 2575))
    with pytest.raises(DeliveryFailed, match=r"ORM\^O01 to PACS"):
        scheduled(hospital)
    (procedure,) = hospital.ris.procedures()
    assert procedure.status == "SCHEDULED"
    assert len(hospital.ct.query_worklist()) == 1


# Patients


def corrected(source: str) -> Callable[[Event], bool]:
    return lambda event: event.source == source and event.summary.endswith("updated")


def test_a_correction_before_the_exam_reaches_the_worklist(hospital: Hospital) -> None:
    procedure = scheduled(hospital)
    hospital.his.update_patient(procedure.patient_id, name="Müller^Chloé", sex="F")
    (entry,) = hospital.ct.query_worklist(accession=procedure.accession)
    assert (entry.PatientName, entry.PatientSex) == ("Müller^Chloé", "F")
    hospital.ct.acquire(hospital.ct.start_step(entry))
    assert hospital.ct.send().waiting == 0
    (image, *_) = hospital.tools.getscu(procedure.study_uid)
    assert image.PatientName == "Müller^Chloé"


def test_a_correction_after_the_exam_reaches_archive_and_images(hospital: Hospital) -> None:
    exam = hospital.exam(name="Sliva^Ines")
    assert exam.patient is not None
    assert exam.procedure is not None
    patient_id = exam.patient.patient_id
    hospital.his.update_patient(patient_id, name="Silva^Łucja", birth_date="1980-02-29")
    assert hospital.journal.wait_for(corrected("pacs"), 5)
    kept = hospital.pacs.patient(patient_id)
    assert kept is not None
    assert (kept.name, kept.birth_date) == ("Silva^Łucja", "19800229")
    assert hospital.ris.patient(patient_id) == kept
    assert hospital.tools.findscu("pacs", PatientName="SLIVA*") == []
    (found,) = hospital.tools.findscu("pacs", PatientName="SILVA*", PatientID=patient_id)
    assert found.StudyInstanceUID == exam.procedure.study_uid
    for fetch in (hospital.tools.getscu, hospital.tools.movescu):
        images = fetch(exam.procedure.study_uid)
        assert len(images) == 5  # and the report
        assert {str(image.PatientName) for image in images} == {"Silva^Łucja"}
        assert {image.PatientBirthDate for image in images} == {"19800229"}


def test_a_correction_between_scan_and_sending_reaches_the_images(hospital: Hospital) -> None:
    procedure = scheduled(hospital)
    (entry,) = hospital.ct.query_worklist(accession=procedure.accession)
    hospital.ct.acquire(hospital.ct.start_step(entry))
    seen = hospital.journal.all()[-1].seq
    hospital.his.update_patient(procedure.patient_id, name="Müller^Chloé")
    assert hospital.journal.wait_for(
        lambda event: event.source == "pacs" and event.transaction == "RAD-12", 5, after=seen
    )
    hospital.ct.send()
    kept = hospital.pacs.patient(procedure.patient_id)
    assert kept is not None
    assert kept.name == "Müller^Chloé"
    (image, *_) = hospital.tools.getscu(procedure.study_uid)
    assert image.PatientName == "Müller^Chloé"


# Performed procedure steps (PS3.4 F.7.2)


def begin(**attributes: Any) -> Dataset:
    scheduled_step = Dataset()
    scheduled_step.ScheduledProcedureStepID = attributes.pop("step_id", "SPS999999")
    step = Dataset()
    step.ScheduledStepAttributesSequence = [scheduled_step]
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.PerformedStationAETitle = "CT1"
    for keyword, value in attributes.items():
        setattr(step, keyword, value)
    return step


def end(status: str = "COMPLETED", images: int = 2) -> Dataset:
    references = [Dataset() for _ in range(images)]
    for number, reference in enumerate(references):
        reference.ReferencedSOPInstanceUID = make_uid("image", number)
    series = Dataset()
    series.SeriesInstanceUID = make_uid("series")
    series.ReferencedImageSequence = references
    changes = Dataset()
    changes.PerformedProcedureStepStatus = status
    changes.PerformedSeriesSequence = [series] if images else []
    return changes


def states(hospital: Hospital) -> dict[str, tuple[str, int]]:
    return {row[0]: (row[3], row[6]) for row in hospital.ris.performed_steps()}


def test_a_step_is_followed_from_begin_to_end(clinic: Hospital, dial: Dial) -> None:
    procedure, uid = scheduled(clinic), make_uid("followed")
    with dial(clinic, "ris", MPPS) as association:
        status, created = association.send_n_create(begin(step_id=procedure.step_id), MPPS, uid)
        assert status.Status == 0x0000
        assert created.PerformedProcedureStepStatus == "IN PROGRESS"
        assert clinic.ris.procedure(procedure.accession).status == "IN PROGRESS"
        status, _ = association.send_n_set(end(images=7), MPPS, uid)
        assert status.Status == 0x0000
    assert clinic.ris.procedure(procedure.accession).status == "COMPLETED"
    assert states(clinic)[uid] == ("COMPLETED", 7)
    assert procedure.accession in [p.accession for p in clinic.ris.reading_list()]


def test_a_step_can_be_changed_while_it_is_in_progress(clinic: Hospital, dial: Dial) -> None:
    uid = make_uid("changed twice")
    with dial(clinic, "ris", MPPS) as association:
        association.send_n_create(begin(), MPPS, uid)
        assert association.send_n_set(end("IN PROGRESS", 3), MPPS, uid)[0].Status == 0x0000
        assert states(clinic)[uid] == ("IN PROGRESS", 3)
        assert association.send_n_set(end("COMPLETED", 5), MPPS, uid)[0].Status == 0x0000
    assert states(clinic)[uid] == ("COMPLETED", 5)


def test_a_step_without_a_scheduled_one_is_kept(clinic: Hospital, dial: Dial) -> None:
    uid = make_uid("unscheduled")
    with dial(clinic, "ris", MPPS) as association:
        assert association.send_n_create(begin(), MPPS, uid)[0].Status == 0x0000
    assert states(clinic)[uid] == ("IN PROGRESS", 0)
    assert clinic.journal.events(source="ris", mpps_uid=uid)[-1].kind == "dimse"


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({"ScheduledStepAttributesSequence": []}, 0x0120),
        ({"PerformedProcedureStepStatus": ""}, 0x0120),
        ({"PerformedProcedureStepStatus": "COMPLETED"}, 0x0106),
    ],
)
def test_a_step_that_does_not_begin_right_is_refused(
    clinic: Hospital, dial: Dial, attributes: dict[str, Any], status: int
) -> None:
    uid = make_uid("bad begin", attributes)
    with dial(clinic, "ris", MPPS) as association:
        answer, _ = association.send_n_create(begin(**attributes), MPPS, uid)
    assert answer.Status == status
    assert uid not in states(clinic)


def test_a_step_that_exists_is_not_created_again(clinic: Hospital, dial: Dial) -> None:
    uid = make_uid("created twice")
    with dial(clinic, "ris", MPPS) as association:
        association.send_n_create(begin(), MPPS, uid)
        answer, _ = association.send_n_create(begin(), MPPS, uid)
    assert (answer.Status, answer.ErrorComment) == (0x0111, "this step exists already")


@pytest.mark.parametrize("last", ["COMPLETED", "DISCONTINUED"])
def test_a_finished_step_is_not_changed(clinic: Hospital, dial: Dial, last: str) -> None:
    uid = make_uid("finished", last)
    with dial(clinic, "ris", MPPS) as association:
        association.send_n_create(begin(), MPPS, uid)
        association.send_n_set(end(last, 2), MPPS, uid)
        answer, _ = association.send_n_set(end("COMPLETED", 9), MPPS, uid)
    assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)  # PS3.4 F.7.2.2.2
    assert states(clinic)[uid] == (last, 2)


def test_an_unknown_step_is_not_changed(clinic: Hospital, dial: Dial) -> None:
    with dial(clinic, "ris", MPPS) as association:
        answer, _ = association.send_n_set(end(), MPPS, make_uid("never created"))
    assert answer.Status == 0x0112


@pytest.mark.parametrize(
    ("changes", "status"), [(end("COMPLETED", 0), 0x0120), (end("FINISHED"), 0x0106)]
)
def test_a_step_that_does_not_end_right_stays_in_progress(
    clinic: Hospital, dial: Dial, changes: Dataset, status: int
) -> None:
    uid = make_uid("bad end", status)
    with dial(clinic, "ris", MPPS) as association:
        association.send_n_create(begin(), MPPS, uid)
        assert association.send_n_set(changes, MPPS, uid)[0].Status == status
    assert states(clinic)[uid] == ("IN PROGRESS", 0)


def test_a_discontinued_exam_is_neither_on_the_worklist_nor_reported(clinic: Hospital) -> None:
    procedure = scheduled(clinic)
    (entry,) = clinic.ct.query_worklist(accession=procedure.accession)
    clinic.ct.discontinue_step(clinic.ct.start_step(entry))
    assert clinic.ris.procedure(procedure.accession).status == "DISCONTINUED"
    assert clinic.ct.query_worklist(accession=procedure.accession) == []
    with pytest.raises(ConfigurationError, match="is DISCONTINUED"):
        clinic.ris.report(procedure.accession, "Nothing to see")


def test_a_scanner_cannot_complete_a_step_without_images(clinic: Hospital) -> None:
    procedure = scheduled(clinic)
    (entry,) = clinic.ct.query_worklist(accession=procedure.accession)
    uid = clinic.ct.start_step(entry)
    with pytest.raises(DimseFailed, match=r"0x0120 Missing attribute \(a completed step needs"):
        clinic.ct.complete_step(uid)
    assert clinic.ris.procedure(procedure.accession).status == "IN PROGRESS"


# Reports


def test_a_report_needs_text(clinic: Hospital, dial: Dial) -> None:
    procedure = scheduled(clinic)
    with dial(clinic, "ris", MPPS) as association:
        uid = make_uid("to report")
        association.send_n_create(begin(step_id=procedure.step_id), MPPS, uid)
        association.send_n_set(end(), MPPS, uid)
    with pytest.raises(ConfigurationError, match="A report needs text"):
        clinic.ris.report(procedure.accession, " \n")
    assert clinic.his.chart(procedure.patient_id) == []
    clinic.ris.report(procedure.accession, "Preliminary", status="P")
    clinic.ris.report(procedure.accession, "Final", interpreter="Quist^Noah")
    (result,) = clinic.his.chart(procedure.patient_id)
    assert (result.text, result.status, result.interpreter) == ("Final", "F", "Quist^Noah")


def test_more_images_after_the_report_do_not_take_the_report_back(
    clinic: Hospital, dial: Dial
) -> None:
    procedure = scheduled(clinic)
    with dial(clinic, "ris", MPPS) as association:
        for round_ in ("first", "appended"):
            uid = make_uid("reported", round_)
            association.send_n_create(begin(step_id=procedure.step_id), MPPS, uid)
            association.send_n_set(end(), MPPS, uid)
            if round_ == "first":
                clinic.ris.report(procedure.accession, "Final")
    assert clinic.ris.procedure(procedure.accession).status == "REPORTED"


def test_an_unknown_examination_cannot_be_reported(clinic: Hospital) -> None:
    with pytest.raises(NotFound, match="no examination 'A9999999'"):
        clinic.ris.report("A9999999", "x")


# Associations


def test_anybody_may_verify(clinic: Hospital, dial: Dial) -> None:
    with dial(clinic, "ris", VERIFICATION, calling="STRANGER") as association:
        assert association.send_c_echo().Status == 0x0000


def test_a_wrong_called_title_is_rejected(clinic: Hospital, dial: Dial) -> None:
    with dial(clinic, "ris", MODALITY_WORKLIST, called="RIS2") as association:
        assert association.is_rejected
        answer = association.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 7)


def test_a_schedule_may_be_for_later(clinic: Hospital) -> None:
    order = clinic.his.place_order(clinic.his.register_patient().patient_id)
    later = clinic.ris.schedule(order.placer_order, start=datetime(2026, 4, 1, 9, 15))
    assert clinic.ct.query_worklist(accession=later.accession) == []
    (entry,) = clinic.ct.query_worklist(accession=later.accession, date="20260401")
    step = entry.ScheduledProcedureStepSequence[0]
    assert step.ScheduledProcedureStepStartTime == "091500"


def test_an_order_is_scheduled_at_once_if_so_configured(hospital: Hospital) -> None:
    hospital.ris.schedules_at_once = True
    patient = hospital.his.register_patient()
    order = hospital.his.place_order(patient.patient_id)
    [procedure] = hospital.ris.procedures()
    assert (procedure.placer_order, procedure.status) == (order.placer_order, "SCHEDULED")
    assert hospital.journal.wait_for(
        lambda event: event.source == "pacs" and "study announced" in event.summary, 5
    )


def test_what_no_scanner_can_do_waits_for_a_clerk(hospital: Hospital) -> None:
    hospital.ris.schedules_at_once = True
    patient = hospital.his.register_patient()
    hospital.his.place_order(patient.patient_id, "MRHEAD")
    assert [order.status for order in hospital.ris.orders()] == ["RECEIVED"]
    assert hospital.ris.procedures() == []
    assert any("waits for a clerk" in event.summary for event in hospital.journal.events())


@pytest.mark.parametrize("kind", ["ADT^A04", "ADT^A08"])
def test_a_strangers_number_does_not_rename_a_patient_of_the_house(
    hospital: Hospital, kind: str
) -> None:
    patient = hospital.his.register_patient("Vega^Ines")
    message = Message.build(
        Header(("OUTSIDE", "X"), ("RIS", "X"), kind, "STRANGER1", hospital.journal.now()),
        segment("PID", {3: f"{patient.patient_id}^^^OUTSIDE^PI", 5: "Doe^Jane"}),
    )
    address = next(e.address for e in hospital.endpoints() if e.system == "ris")
    hospital.his.outbox.send(message, address, "RAD-1")
    assert hospital.ris.patient(patient.patient_id).name == "Vega^Ines"
    assert hospital.ris.patient(f"{patient.patient_id}^^^OUTSIDE").name == "Doe^Jane"
