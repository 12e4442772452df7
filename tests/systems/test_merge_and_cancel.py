"""Two records of one person are merged; an order is taken back: what every system then holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError, DeliveryFailed, NotFound
from labsim.systems.records import Procedure
from labsim.wire.hl7 import Header, Message, segment

PENDING = 5.0  # seconds that the archive is given to hear of it

pytestmark = pytest.mark.usefixtures("small_scans")


@pytest.fixture
def clinic() -> Iterator[Hospital]:
    with Hospital(seed=7) as running:
        yield running


def scheduled(hospital: Hospital, patient_id: str) -> Procedure:
    return hospital.ris.schedule(hospital.his.place_order(patient_id).placer_order)


def scanned(hospital: Hospital, procedure: Procedure) -> str:
    [entry] = hospital.ct.query_worklist(accession=procedure.accession)
    step = hospital.ct.start_step(entry)
    hospital.ct.acquire(step)
    return step


def heard(hospital: Hospital, text: str, by: str = "pacs") -> None:
    """Wait until a system has noted something: the RIS passes messages on in its own time."""
    assert hospital.journal.wait_for(
        lambda event: event.source == by and text in event.summary, PENDING
    )


# Merge (ADT^A40)


def test_a_merge_moves_orders_examinations_and_studies(clinic: Hospital) -> None:
    keep, prior = clinic.his.register_patient("Vega^Ines"), clinic.his.register_patient("Vega^Inez")
    procedure = scheduled(clinic, prior.patient_id)
    scanned(clinic, procedure)
    clinic.ct.send()
    clinic.his.merge_patients(keep.patient_id, prior.patient_id)
    heard(clinic, "1 studies moved")

    assert [p.patient_id for p in clinic.his.patients()] == [keep.patient_id]
    assert {o.patient_id for o in clinic.his.orders()} == {keep.patient_id}
    assert clinic.ris.procedure(procedure.accession).patient_id == keep.patient_id
    with pytest.raises(NotFound):
        clinic.ris.patient(prior.patient_id)
    assert clinic.pacs.patient(prior.patient_id) is None
    found = clinic.tools.findscu(PatientID=keep.patient_id, PatientName="")
    assert [(str(f.StudyInstanceUID), str(f.PatientName)) for f in found] == [
        (procedure.study_uid, "Vega^Ines")
    ]


def test_images_of_a_merged_patient_are_sent_under_the_identity_that_stayed(
    clinic: Hospital,
) -> None:
    keep, prior = clinic.his.register_patient("Vega^Ines"), clinic.his.register_patient("Vega^Inez")
    procedure = scheduled(clinic, prior.patient_id)
    scanned(clinic, procedure)
    clinic.ct.send()
    clinic.his.merge_patients(keep.patient_id, prior.patient_id)
    heard(clinic, "1 studies moved")
    images = clinic.tools.getscu(procedure.study_uid)
    assert {(i.PatientID, str(i.PatientName)) for i in images} == {(keep.patient_id, "Vega^Ines")}


def test_images_that_come_after_the_merge_are_filed_under_the_identity_that_stayed(
    clinic: Hospital,
) -> None:
    keep, prior = clinic.his.register_patient("Vega^Ines"), clinic.his.register_patient("Vega^Inez")
    procedure = scheduled(clinic, prior.patient_id)
    scanned(clinic, procedure)
    clinic.his.merge_patients(keep.patient_id, prior.patient_id)
    heard(clinic, "0 studies moved")
    assert clinic.ct.send().waiting == 0
    assert clinic.pacs.patient(prior.patient_id) is None
    [study] = clinic.tools.findscu(PatientID=keep.patient_id)
    assert study.StudyInstanceUID == procedure.study_uid


def test_a_report_after_the_merge_reaches_the_chart_that_stayed(clinic: Hospital) -> None:
    keep, prior = clinic.his.register_patient(), clinic.his.register_patient()
    procedure = scheduled(clinic, prior.patient_id)
    step = scanned(clinic, procedure)
    clinic.ct.complete_step(step)
    clinic.his.merge_patients(keep.patient_id, prior.patient_id)
    clinic.ris.report(procedure.accession, "Normal.")
    assert [r.accession for r in clinic.his.chart(keep.patient_id)] == [procedure.accession]


def test_another_patients_studies_are_left_alone(clinic: Hospital) -> None:
    keep, prior, other = (clinic.his.register_patient() for _ in range(3))
    procedure = scheduled(clinic, other.patient_id)
    scanned(clinic, procedure)
    clinic.ct.send()
    clinic.his.merge_patients(keep.patient_id, prior.patient_id)
    heard(clinic, "0 studies moved")
    [study] = clinic.tools.findscu(AccessionNumber=procedure.accession, PatientID="")
    assert study.PatientID == other.patient_id


def test_nobody_is_merged_with_himself(clinic: Hospital) -> None:
    patient = clinic.his.register_patient()
    with pytest.raises(ConfigurationError, match="merged with itself"):
        clinic.his.merge_patients(patient.patient_id, patient.patient_id)


@pytest.mark.parametrize(
    ("mrg", "why"),
    [
        ({1: "P000001^^^RIVERSIDE^PI"}, "MRG-1 and PID-3 are both P000001"),
        ({1: "P000001"}, "MRG-1 and PID-3 are both P000001"),
        ({7: "Nobody"}, "MRG-1 Prior Patient Identifier List is empty"),
    ],
)
def test_a_merge_that_cannot_be_right_is_refused(
    clinic: Hospital, mrg: dict[int, str], why: str
) -> None:
    patient = clinic.his.register_patient()
    message = Message.build(
        Header(("X", "Y"), ("RIS", "Y"), "ADT^A40", "MERGE1", clinic.journal.now()),
        segment("PID", {3: "P000001^^^RIVERSIDE^PI", 5: "Vega^Ines"}),
        segment("MRG", mrg),
    )
    with pytest.raises(DeliveryFailed, match=why):
        clinic.his.outbox.send(message, clinic.ris.endpoints[0].address, "RAD-12")
    assert clinic.ris.patient(patient.patient_id) == patient


# Cancel (ORM^O01 with ORC-1 CA)


def test_a_cancelled_order_leaves_worklist_and_archive(clinic: Hospital) -> None:
    procedure = scheduled(clinic, clinic.his.register_patient().patient_id)
    assert len(clinic.ct.query_worklist()) == 1
    assert clinic.his.cancel_order(procedure.placer_order).status == "CANCELLED"
    heard(clinic, "will not come")
    assert clinic.ct.query_worklist() == []
    assert clinic.ris.procedure(procedure.accession).status == "CANCELLED"
    assert [o.status for o in clinic.ris.orders()] == ["CANCELLED"]
    assert clinic.pacs.db.rows("SELECT * FROM expected_studies") == []
    transactions = [step.transaction for step in clinic.journal.exam(procedure.accession).steps()]
    assert transactions[-2:] == ["RAD-5", "RAD-13"]


def test_an_order_that_was_not_scheduled_yet_can_be_cancelled(clinic: Hospital) -> None:
    order = clinic.his.place_order(clinic.his.register_patient().patient_id)
    clinic.his.cancel_order(order.placer_order)
    with pytest.raises(ConfigurationError, match="CANCELLED already"):
        clinic.ris.schedule(order.placer_order)


def test_it_is_too_late_when_the_scan_has_begun(clinic: Hospital) -> None:
    procedure = scheduled(clinic, clinic.his.register_patient().patient_id)
    scanned(clinic, procedure)
    with pytest.raises(DeliveryFailed, match=f"Too late: examination {procedure.accession}"):
        clinic.his.cancel_order(procedure.placer_order)
    heard(clinic, "is IN PROGRESS", by="his")
    assert [o.status for o in clinic.his.orders()] == ["IN PROGRESS"]
    assert clinic.ris.procedure(procedure.accession).status == "IN PROGRESS"


def test_an_order_of_another_patient_is_not_cancelled(clinic: Hospital) -> None:
    procedure = scheduled(clinic, clinic.his.register_patient().patient_id)
    message = Message.build(
        Header(("X", "Y"), ("RIS", "Y"), "ORM^O01", "CANCEL1", clinic.journal.now()),
        segment("PID", {3: "P000099^^^RIVERSIDE^PI", 5: "Else^Somebody"}),
        segment("ORC", {1: "CA", 2: f"{procedure.placer_order}^HIS"}),
    )
    with pytest.raises(DeliveryFailed, match="has no order"):
        clinic.his.outbox.send(message, clinic.ris.endpoints[0].address, "RAD-2")
    assert clinic.ris.procedure(procedure.accession).status == "SCHEDULED"


def test_an_unknown_order_cannot_be_cancelled(clinic: Hospital) -> None:
    with pytest.raises(NotFound, match="no order 'ORD999999'"):
        clinic.his.cancel_order("ORD999999")
