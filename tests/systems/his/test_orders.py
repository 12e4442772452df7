"""Orders in both versions of HL7, their priority, and what the HIS hears of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError, DeliveryFailed, NotFound
from labsim.journal import Event
from labsim.wire.hl7 import Message

pytestmark = pytest.mark.usefixtures("small_scans")
Mllp = Callable[[Hospital, str, str], list[str]]

STATUS = """MSH|^~\\&|RIS|RIVERSIDE|HIS|RIVERSIDE|20260302||ORM^O01|X1|P|2.3.1
PID|1||{patient}^^^RIVERSIDE^PI||Silva^Ines
ORC|SC|{order}^HIS|FIL999^RIS||{status}
OBR|1|{order}^HIS|FIL999^RIS|CTTHORAX^CT thorax^99LABSIM"""


def noted(hospital: Hospital, source: str, text: str) -> None:
    def test(event: Event) -> bool:
        return event.source == source and text in event.summary

    assert hospital.journal.wait_for(test, 5)


def sent(hospital: Hospital, transaction: str, source: str) -> list[Message]:
    """Return what a system sent in a transaction."""
    events = hospital.journal.events(source=source, transaction=transaction, kind="hl7")
    requests = [e for e in events if e.detail.get("request") and e.detail["direction"] == "sent"]
    return [message for message in map(hospital.message, requests) if isinstance(message, Message)]


@pytest.mark.parametrize(
    ("placed", "announced", "told"),
    [("ORM^O01", "ORM^O01", "ORM^O01"), ("OMG^O19", "OMI^O23", "OMG^O19")],
)
def test_both_versions_carry_an_order_from_his_to_archive_and_back(
    hospital: Hospital, placed: str, announced: str, told: str
) -> None:
    hospital.his.order_message, hospital.ris.order_message = placed, announced
    exam = hospital.exam("CTHEAD", name="Silva^Ines", reason="Fall & cough")
    assert exam.problem == ""
    assert exam.procedure is not None
    [order] = sent(hospital, "RAD-2", "his")
    [scheduled] = sent(hospital, "RAD-4", "ris")
    statuses = sent(hospital, "RAD-3", "ris")
    assert (order.type, scheduled.type) == (placed, announced)
    assert [status.type for status in statuses] == [told] * 3
    assert [status["ORC-5"] for status in statuses] == ["SC", "IP", "CM"]
    [received] = hospital.ris.orders()
    assert (received.reason, received.priority) == ("Fall & cough", "R")
    assert [row[0] for row in hospital.pacs.sql("SELECT accession FROM expected_studies")] == [
        exam.accession
    ]
    if announced == "OMI^O23":
        numbers = [scheduled[f"IPC-{n}.1"] for n in range(1, 7)] + [scheduled["IPC-9"]]
        procedure = exam.procedure
        assert numbers == [
            procedure.accession,
            procedure.procedure_id,
            procedure.study_uid,
            procedure.step_id,
            "CT",
            "CTHEAD",
            "CT1",
        ]
        assert [line[:3] for line in scheduled.text.split("\r")[1:-1]] == [
            "PID", "PV1", "ORC", "TQ1", "OBR", "IPC",
        ]  # fmt: skip
        assert (scheduled["MSH-9"], scheduled["MSH-12"]) == ("OMI^O23^OMI_O23", "2.5.1")
        assert (scheduled["TQ1-9"], scheduled["ORC-7"], scheduled["OBR-27"]) == ("R", "", "")
        assert (scheduled["OBR-18"], scheduled["ZDS-1"]) == ("", "")
    else:
        assert scheduled["ZDS-1.1"] == exam.procedure.study_uid
        assert (scheduled["ORC-7.6"], scheduled["OBR-27.6"], scheduled["TQ1-9"]) == ("R", "R", "")


def test_a_cancelled_order_of_v251_leaves_the_archive(hospital: Hospital) -> None:
    hospital.his.order_message, hospital.ris.order_message = "OMG^O19", "OMI^O23"
    order = hospital.his.place_order(hospital.his.register_patient().patient_id)
    hospital.ris.schedule(order.placer_order)
    hospital.his.cancel_order(order.placer_order)
    noted(hospital, "pacs", "will not come")
    assert len(hospital.pacs.sql("SELECT * FROM expected_studies")) == 0
    assert hospital.ct.query_worklist() == []


def test_the_form_of_orders_is_a_setting_that_stays(tmp_path: Path) -> None:
    with Hospital(path=tmp_path) as first:
        assert (first.his.order_message, first.ris.order_message) == ("ORM^O01", "ORM^O01")
        first.ris.order_message = "OMI^O23"
        with pytest.raises(ConfigurationError, match=r"'ORM' is no order_message of the RIS"):
            first.ris.order_message = "ORM"
    with Hospital(path=tmp_path) as again:
        assert (again.his.order_message, again.ris.order_message) == ("ORM^O01", "OMI^O23")


def test_a_site_says_which_form_it_begins_with(tmp_path: Path) -> None:
    text = (files("labsim.sites") / "clinic.toml").read_text(encoding="utf-8")
    mine = tmp_path / "mine.toml"
    with_form = 'orders_to = "ris"\norder_message = "OMG^O19"'
    mine.write_text(text.replace('orders_to = "ris"', with_form), encoding="utf-8")
    with Hospital(site=mine) as hospital:
        assert (hospital.his.order_message, hospital.ris.order_message) == ("OMG^O19", "ORM^O01")


@pytest.mark.parametrize("form", ["ORM^O01", "OMG^O19"])
@pytest.mark.parametrize("priority", ["R", "A", "S"])
def test_the_priority_goes_along(clinic: Hospital, form: str, priority: str) -> None:
    clinic.his.order_message = form
    order = clinic.his.place_order(clinic.his.register_patient().patient_id, priority=priority)
    received = next(o for o in clinic.ris.orders() if o.placer_order == order.placer_order)
    assert (order.priority, received.priority) == (priority, priority)


def test_what_is_no_priority_is_refused(clinic: Hospital) -> None:
    patient = clinic.his.register_patient()
    before = clinic.his.orders()
    with pytest.raises(ConfigurationError, match="no priority"):
        clinic.his.place_order(patient.patient_id, priority="urgent")
    assert clinic.his.orders() == before


def test_the_his_follows_an_order_to_its_report(hospital: Hospital) -> None:
    patient = hospital.his.register_patient()
    number = hospital.his.place_order(patient.patient_id).placer_order
    seen = [hospital.his.order(number).status]
    procedure = hospital.ris.schedule(number)
    noted(hospital, "his", "is SCHEDULED")
    seen.append(hospital.his.order(number).status)
    [entry] = hospital.ct.query_worklist()
    step = hospital.ct.start_step(entry)
    noted(hospital, "his", "is IN PROGRESS")
    seen.append(hospital.his.order(number).status)
    hospital.ct.acquire(step)
    hospital.ct.complete_step(step)
    noted(hospital, "his", "is COMPLETED")
    seen.append(hospital.his.order(number).status)
    hospital.ris.report(procedure.accession, "Normal so far.", status="P")
    seen.append(hospital.his.order(number).status)
    hospital.ris.report(procedure.accession, "Normal.")
    seen.append(hospital.his.order(number).status)
    assert seen == [
        "ORDERED",
        "SCHEDULED",
        "IN PROGRESS",
        "COMPLETED",
        "PRELIMINARY",
        "RESULTED",
    ]
    assert [order.status for order in hospital.ris.orders()] == ["REPORTED"]


def test_an_abandoned_examination_is_told(hospital: Hospital) -> None:
    order = hospital.his.place_order(hospital.his.register_patient().patient_id)
    hospital.ris.schedule(order.placer_order)
    [entry] = hospital.ct.query_worklist()
    hospital.ct.discontinue_step(hospital.ct.start_step(entry))
    noted(hospital, "his", "is DISCONTINUED")
    assert hospital.his.order(order.placer_order).status == "DISCONTINUED"


def test_a_status_after_the_report_takes_nothing_back(hospital: Hospital, mllp: Mllp) -> None:
    exam = hospital.exam()
    assert exam.order is not None
    text = STATUS.format(patient=exam.order.patient_id, order=exam.order.placer_order, status="CM")
    assert mllp(hospital, "his", text)[1] == "MSA|AA|X1"
    assert hospital.his.order(exam.order.placer_order).status == "RESULTED"


def test_a_status_of_another_patients_order_is_refused(clinic: Hospital, mllp: Mllp) -> None:
    mine, other = clinic.his.register_patient(), clinic.his.register_patient()
    order = clinic.his.place_order(mine.patient_id)
    text = STATUS.format(patient=other.patient_id, order=order.placer_order, status="CA")
    assert mllp(clinic, "his", text)[1].startswith("MSA|AE|X1|Order ORD")
    assert clinic.his.order(order.placer_order) == order


def test_the_his_need_not_listen_for_the_department_to_work(hospital: Hospital) -> None:
    order = hospital.his.place_order(hospital.his.register_patient().patient_id)
    address = next(e.address for e in hospital.endpoints() if e.system == "his")
    local = hospital.network.resolve(address)
    hospital.network.withdraw(address)
    hospital.ris.schedule(order.placer_order)
    [entry] = hospital.ct.query_worklist()
    hospital.ct.start_step(entry)
    assert hospital.his.order(order.placer_order).status == "ORDERED"
    hospital.network.publish(address, local.port)
    assert hospital.ris.outbox.resend() == 2
    assert hospital.his.order(order.placer_order).status == "IN PROGRESS"


def test_an_order_from_elsewhere_is_not_told_to_our_his(hospital: Hospital, mllp: Mllp) -> None:
    text = STATUS.format(patient="X9", order="EXT1", status="").replace("ORC|SC", "ORC|NW")
    assert mllp(hospital, "ris", text.replace("^HIS", "^ELSEWHERE"))[1] == "MSA|AA|X1"
    hospital.ris.schedule("EXT1")
    [scheduled] = sent(hospital, "RAD-4", "ris")
    assert (scheduled["ORC-2.1"], scheduled["ORC-2.2"]) == ("EXT1", "ELSEWHERE")
    assert sent(hospital, "RAD-3", "ris") == []


def test_a_change_is_a_cancellation_and_a_new_order(hospital: Hospital) -> None:
    patient = hospital.his.register_patient()
    old = hospital.his.place_order(patient.patient_id, "CTHEAD", "Fall")
    new = hospital.his.change_order(old.placer_order, code="CTTHORAX")
    assert [message["ORC-1"] for message in sent(hospital, "RAD-2", "his")] == ["NW", "CA", "NW"]
    assert (new.code, new.reason) == ("CTTHORAX", "Fall")
    assert [o.status for o in hospital.his.orders()] == ["CANCELLED", "ORDERED"]
    with pytest.raises(NotFound):
        hospital.his.change_order(new.placer_order, code="NOTHING")
    assert hospital.his.order(new.placer_order).status == "ORDERED"


@pytest.mark.parametrize("begun", [False, True])
def test_a_placer_that_sends_xo_is_understood_until_it_is_too_late(
    hospital: Hospital, mllp: Mllp, begun: bool
) -> None:
    patient = hospital.his.register_patient()
    order = hospital.his.place_order(patient.patient_id, "CTHEAD", "Fall")
    procedure = hospital.ris.schedule(order.placer_order)
    if begun:
        [entry] = hospital.ct.query_worklist()
        hospital.ct.start_step(entry)
    text = STATUS.format(patient=patient.patient_id, order=order.placer_order, status="")
    text = text.replace("ORC|SC", "ORC|XO")
    answer = mllp(hospital, "ris", text)[1]
    changed = hospital.ris.procedure(procedure.accession)
    if begun:
        assert answer.startswith(f"MSA|AE|X1|Too late: examination {procedure.accession}")
        assert (changed.code, hospital.ris.orders()[0].reason) == ("CTHEAD", "Fall")
    else:
        assert answer == "MSA|AA|X1"
        assert (changed.code, changed.study_uid) == ("CTTHORAX", procedure.study_uid)
        assert len(hospital.ct.query_worklist(accession=procedure.accession)) == 1
        assert sent(hospital, "RAD-13", "ris")[0]["ORC-1"] == "XO"


def test_a_refused_cancellation_that_nobody_waited_for_is_put_right(
    hospital: Hospital, mllp: Mllp
) -> None:
    patient = hospital.his.register_patient()
    order = hospital.his.place_order(patient.patient_id)
    hospital.ris.schedule(order.placer_order)
    [entry] = hospital.ct.query_worklist()
    hospital.ct.start_step(entry)
    noted(hospital, "his", "is IN PROGRESS")
    with pytest.raises(DeliveryFailed, match="Too late"):
        hospital.his.cancel_order(order.placer_order)
    hospital.ris.worker.submit(lambda: None).result(5)  # what it told of the refusal is delivered
    # As if an engine had thanked for the cancellation before the RIS refused it.
    text = STATUS.format(patient=patient.patient_id, order=order.placer_order, status="CA")
    mllp(hospital, "his", text)
    assert hospital.his.order(order.placer_order).status == "CANCELLED"
    cancel = STATUS.format(patient=patient.patient_id, order=order.placer_order, status="")
    assert mllp(hospital, "ris", cancel.replace("ORC|SC", "ORC|CA"))[1].startswith("MSA|AE")
    hospital.ris.worker.submit(lambda: None).result(5)
    assert hospital.his.order(order.placer_order).status == "IN PROGRESS"
