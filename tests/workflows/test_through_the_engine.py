"""An exam whose every HL7 message goes by way of the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from labsim import Hospital
from labsim.errors import LabError
from labsim.journal import Event
from labsim.wire.hl7 import Message


def test_an_exam_goes_through_the_engine_and_every_system_has_its_part(
    department: Hospital,
) -> None:
    exam = department.exam("CTTHORAX", name="Doe^Jane")
    assert exam.problem == ""
    assert department.settle()
    assert exam.order is not None
    assert exam.procedure is not None
    number, accession = exam.order.placer_order, exam.accession

    # HIS: the order has its result, in the chart of its patient.
    [order] = department.his.orders()
    assert (order.placer_order, order.status) == (number, "RESULTED")
    [result] = department.his.chart("P000001")
    assert (result.accession, result.status) == (accession, "F")
    assert {row[2] for row in department.his.outbox.table()} == {"engine:2575"}

    # RIS: the patient and the order as the HIS sent them; the examination is reported.
    assert department.ris.patient("P000001").name == "Doe^Jane"
    [procedure] = department.ris.procedures()
    assert (procedure.placer_order, procedure.status) == (number, "REPORTED")
    assert {row[2] for row in department.ris.outbox.table()} == {"engine:2575"}
    assert [row[3] for row in department.ris.performed_steps()] == ["COMPLETED"]

    # The scanner and the PACS: announced, acquired, stored, committed.
    expected = department.pacs.sql("SELECT accession FROM expected_studies").rows
    assert [row[0] for row in expected] == [accession]
    # The reader fetched the images; the report came after.
    assert len(department.pacs.paths(procedure.study_uid)) == len(exam.images) + 1 > 1
    assert department.ct.waiting() == 0

    # The engine: everything that came went on, under the name that it came with.
    messages = department.engine.messages()
    assert {row[7] for row in messages} == {"sent"}
    assert department.engine.errors().rows == []
    came = {event.keys["control_id"] for event in of_hop(department, "his", "engine")}
    went = {event.keys["control_id"] for event in of_hop(department, "engine", "ris")}
    assert came == went != set()
    [stored] = department.engine.messages(text="ORU^R01").rows
    stored_result = department.engine.message(stored[0])
    assert stored_result.caller == "ris"
    assert stored_result.raw.text == stored_result.transformed["his"].text

    # The journal: real hops, and one line for each transaction.
    ways = {step.transaction: step.way for step in exam.transcript().steps()}
    assert ways["RAD-1"] == "his → engine → ris"
    assert ways["RAD-2"] == "his → engine → ris"
    assert ways["RAD-4"] == "ris → engine → pacs"
    assert ways["RAD-5"] == "ct1 → ris"
    assert ways["RAD-128"] == "ris → engine → his"


def of_hop(hospital: Hospital, sender: str, receiver: str) -> list[object]:
    events = hospital.journal.events(kind="hl7").once()
    requests = [event for event in events if event.detail.get("request")]
    return [event for event in requests if (event.sender, event.receiver) == (sender, receiver)]


def test_an_order_that_waits_in_the_engine_is_seen_there_and_goes_on(department: Hospital) -> None:
    patient = department.his.register_patient()
    assert department.settle()
    ris = department.engine.channel("his-to-ris").destination("ris")
    ris.stop()
    order = department.his.place_order(patient.patient_id)
    assert department.his.outbox.table().rows[-1][3:] == ("delivered", "AA")
    assert department.ris.orders() == []
    [waiting] = department.engine.messages(state="queued")
    assert waiting[3] == "ORM^O01"
    [*_, step] = department.journal.events(placer_order=order.placer_order).steps()
    assert (step.transaction, step.way) == ("RAD-2", "his → engine")
    ris.start()
    assert department.ris.wait_for_order(order.placer_order).status == "RECEIVED"
    assert department.settle()
    [*_, step] = department.journal.events(placer_order=order.placer_order).steps()
    assert (step.way, step.outcome, step.messages) == ("his → engine → ris", "ACK AA", 1)


def test_an_exam_waits_for_the_report_to_reach_the_chart(department: Hospital) -> None:
    his = department.engine.channel("ris-to-his").destination("his")
    his.stop()
    department.journal.subscribe(lambda event: later(his.start) if is_report(event) else None)
    exam = department.exam("CTHEAD")
    assert (exam.problem, exam.complete) == ("", True)


def test_an_exam_says_where_to_look_for_a_report_that_did_not_arrive(
    department: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labsim.exam.TIMEOUT", 0.2)
    department.engine.channel("ris-to-his").destination("his").stop()
    exam = department.exam("CTHEAD")
    assert "did not reach the HIS within 0.2 s. hospital.engine" in exam.problem
    assert not department.settle(0.1)


def is_report(event: Event) -> bool:
    """Tell whether the engine has thanked the RIS for a report."""
    return (event.source, event.summary[:6], event.transaction) == ("ris", "ACK AA", "RAD-128")


def later(act: Callable[[], None]) -> None:
    """Do something when the RIS has long gone on."""
    threading.Timer(0.2, act).start()


def test_what_the_ris_refuses_lands_in_the_error_queue_and_is_mended_there(
    department: Hospital,
) -> None:
    department.engine.channel("his-to-ris").change(steps=[{"set": "OBR-4.1", "to": "CTHED"}])
    patient = department.his.register_patient()
    order = department.his.place_order(patient.patient_id, "CTHEAD")  # the engine said AA
    assert department.settle()
    [error] = department.engine.errors()
    assert "CTHED" in error[9]
    steps = {s.transaction: s for s in department.journal.events(visit=order.visit).steps()}
    assert steps["RAD-2"].outcome == "ACK AE"
    department.engine.channel("his-to-ris").change(steps=[])
    department.engine.resend(error[0])
    assert department.ris.wait_for_order(order.placer_order).code == "CTHEAD"
    assert department.settle()
    assert len(department.engine.errors()) == 0


def test_an_outside_code_is_translated_on_its_way(department: Hospital) -> None:
    patient = department.his.register_patient()
    order = department.his.place_order(patient.patient_id)
    assert department.settle()
    [first] = department.engine.messages(text=order.placer_order).rows
    copy = department.engine.message(first[0]).raw
    changes = {"ORC-2": "OUT1^LAB", "OBR-2": "OUT1^LAB", "OBR-4": "CT-BRAIN^CT brain^L"}
    department.engine.resend(first[0], changes | {"MSH-10": "OUT1"})
    assert isinstance(copy, Message)
    assert department.ris.wait_for_order("OUT1").code == "CTHEAD"
    assert department.settle()


def test_the_clinic_has_no_engine_and_says_what_to_do(hospital: Hospital) -> None:
    with pytest.raises(LabError, match="no integration engine") as caught:
        _ = hospital.engine
    assert "community" in caught.value.next_step


def test_the_university_takes_whole_exams_too(small_scans: None) -> None:
    with Hospital(seed=7, site="university") as hospital:
        exam = hospital.exam("CTHEAD")
        assert exam.problem == ""
        kinds = [scanner.modality for scanner in hospital.modalities()]
        assert kinds == ["CT", "CT", "MR", "MR", "DX", "DX", "CR", "US", "US", "MG"]
        assert hospital.his.patients()[0].issuer == "NORTHGATE"
        assert ("engine", "mllp") in {(e.system, e.protocol) for e in hospital.endpoints()}


def test_a_clerk_may_schedule_what_is_still_on_its_way(department: Hospital) -> None:
    patient = department.his.register_patient()
    assert department.settle()
    queue = department.engine.channel("his-to-ris").destination("ris")
    queue.stop()
    order = department.his.place_order(patient.patient_id, "DXCHEST")
    assert department.ris.orders() == []
    with ThreadPoolExecutor(1) as clerk:
        scheduled = clerk.submit(department.ris.schedule, order.placer_order)
        queue.start()
        assert scheduled.result(10).placer_order == order.placer_order
