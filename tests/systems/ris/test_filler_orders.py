"""Orders that begin at the RIS (RAD-3, ORC-1 SN), and the number that the HIS gives them (NA)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.systems.records import Procedure

pytestmark = pytest.mark.usefixtures("small_scans")
Mllp = Callable[[Hospital, str, str], list[str]]


def numbered(hospital: Hospital, procedure: Procedure) -> Procedure:
    """Wait for the number of the HIS, and return the examination with it."""
    assert hospital.journal.wait_for(
        lambda event: (
            event.source == "ris"
            and event.keys.get("filler_order") == procedure.filler_order
            and "has number" in event.summary
        ),
        5,
    )
    return hospital.ris.procedure(procedure.accession)


def test_the_his_gives_an_order_of_the_ris_its_number(clinic: Hospital) -> None:
    patient = clinic.his.register_patient()
    procedure = clinic.ris.request_order(patient.patient_id, "CTHEAD", reason="Fall")
    assert (procedure.placer_order, procedure.status) == ("", "SCHEDULED")
    procedure = numbered(clinic, procedure)
    order = clinic.his.order(procedure.placer_order)
    assert (order.patient_id, order.code, order.reason) == (patient.patient_id, "CTHEAD", "Fall")
    assert order.status == "SCHEDULED"
    assert order.visit == clinic.his.visits(patient.patient_id)[0].visit
    assert len(clinic.ct.query_worklist(accession=procedure.accession)) == 1
    controls = [
        clinic.message(event)["ORC-1"]
        for event in clinic.journal.exam(procedure.accession).of("RAD-3")
        if event.detail.get("request")
    ]
    assert controls == ["SN", "NA"]


def test_what_was_done_unscheduled_keeps_its_study(clinic: Hospital) -> None:
    patient = clinic.his.register_patient()
    study_uid = make_uid("done before it was ordered")
    procedure = clinic.ris.request_order(
        patient.patient_id, "CTTHORAX", study_uid=study_uid, station="CT1", status="COMPLETED"
    )
    procedure = numbered(clinic, procedure)
    assert (procedure.study_uid, procedure.station) == (study_uid, "CT1")
    assert procedure.accession in [p.accession for p in clinic.ris.reading_list()]
    assert clinic.his.order(procedure.placer_order).status == "COMPLETED"
    clinic.ris.report(procedure.accession, "Normal.")
    (result,) = clinic.his.chart(patient.patient_id)
    assert (result.study_uid, result.accession) == (study_uid, procedure.accession)
    with pytest.raises(ConfigurationError, match="has an examination already"):
        clinic.ris.request_order(patient.patient_id, "CTTHORAX", study_uid=study_uid)


def test_a_status_that_overtakes_the_number_is_not_lost(hospital: Hospital) -> None:
    patient = hospital.his.register_patient()
    procedure = hospital.ris.request_order(patient.patient_id, "CTHEAD")
    (entry,) = hospital.ct.query_worklist(accession=procedure.accession)
    hospital.ct.start_step(entry)
    assert hospital.journal.wait_for(
        lambda event: event.source == "his" and event.summary.endswith("is IN PROGRESS"), 5
    )
    placer_order = numbered(hospital, procedure).placer_order
    assert hospital.his.order(placer_order).status == "IN PROGRESS"


def test_the_same_request_again_gets_the_same_number(clinic: Hospital, mllp: Mllp) -> None:
    patient = clinic.his.register_patient()
    procedure = numbered(clinic, clinic.ris.request_order(patient.patient_id, "CTHEAD"))
    before = len(clinic.his.orders())
    sent = next(
        event
        for event in clinic.journal.exam(procedure.accession).of("RAD-3")
        if event.detail.get("request")
    )
    text = clinic.message(sent).text.rstrip("\r").replace("\r", "\n")  # type: ignore[union-attr]
    assert mllp(clinic, "his", text)[1].startswith("MSA|AA|")
    assert len(clinic.his.orders()) == before


def test_nobody_orders_for_a_patient_that_nobody_knows(clinic: Hospital) -> None:
    with pytest.raises(NotFound, match="no patient 'P999999'"):
        clinic.ris.request_order("P999999", "CTHEAD")


@pytest.mark.parametrize(
    ("orc", "why"),
    [
        ("ORC|NA|ORD1|FIL999999", "ORC-3: The RIS has no order 'FIL999999'."),
        ("ORC|NA||{filler}", "ORC-2 Placer Order Number is empty."),
        ("ORC|OK|ORD1|{filler}", "Order control 'OK' (ORC-1) is not taken, only NA."),
    ],
)
def test_an_answer_that_cannot_be_right_is_refused(
    clinic: Hospital, mllp: Mllp, orc: str, why: str
) -> None:
    procedure = clinic.ris.request_order(clinic.his.register_patient().patient_id, "CTHEAD")
    header = "MSH|^~\\&|HIS|R|RIS|R|20260302||ORR^O02|X1|P|2.3.1"
    answer = mllp(clinic, "ris", f"{header}\n{orc.format(filler=procedure.filler_order)}\n")
    assert answer[1] == f"MSA|AE|X1|{why}"
