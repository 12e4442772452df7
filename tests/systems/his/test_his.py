from __future__ import annotations

from collections.abc import Callable

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError, DeliveryFailed, NotFound
from labsim.wire.network import Address

Mllp = Callable[[Hospital, str, str], list[str]]

RESULT = """MSH|^~\\&|RIS|RIVERSIDE|HIS|RIVERSIDE|20260302||ORU^R01|X1|P|2.5.1||||||UNICODE UTF-8
PID|1||{patient}^^^RIVERSIDE^PI||Silva^Ines
OBR|1|{order}^HIS|FIL1^RIS|CTTHORAX^CT thorax^99LABSIM||||||||||||||A1|RP1|SPS1||||CT|F
OBX|1|HD|113014^DICOM Study^DCM||1.2.3||||||O
OBX|2|TX|18782-3^Narrative^LN||{text}||||||F
"""


def test_a_patient_is_registered_at_his_and_ris(clinic: Hospital) -> None:
    patient = clinic.his.register_patient("Silva^Ines", "1980-02-29", "F")
    assert (patient.name, patient.birth_date, patient.sex) == ("Silva^Ines", "19800229", "F")
    assert patient.issuer == "RIVERSIDE"
    assert clinic.his.patient(patient.patient_id) == patient
    assert clinic.ris.patient(patient.patient_id) == patient


def test_an_invented_patient_is_the_same_for_the_same_seed() -> None:
    seen = []
    for seed in (5, 5, 6):
        with Hospital(seed=seed) as hospital:
            seen.append([hospital.his.register_patient() for _ in range(3)])
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize(
    "name", ["O'Connor & Sons^Ann|e~B", "Łuk^Żaneta", "中村^博", "Ende\N{EM DASH}Lang^A B"]
)
def test_a_name_survives_the_way_through_hl7(clinic: Hospital, name: str) -> None:
    patient = clinic.his.register_patient(name)
    assert clinic.ris.patient(patient.patient_id).name == name


@pytest.mark.parametrize("name", ["^", " ", "A\\B", "A=B", "A\rB", "x" * 65])
def test_what_cannot_be_a_name_is_refused(clinic: Hospital, name: str) -> None:
    before = clinic.his.patients()
    with pytest.raises(ConfigurationError, match="is no name"):
        clinic.his.register_patient(name)
    assert clinic.his.patients() == before


@pytest.mark.parametrize("text", ["1980-02-29", "19800229"])
def test_a_date_of_birth_is_taken_with_and_without_dashes(clinic: Hospital, text: str) -> None:
    assert clinic.his.register_patient("Silva^Ines", text).birth_date == "19800229"


@pytest.mark.parametrize(
    "date", ["31.01.1970", "1970-13-01", "1970-02-30", "1970-2-3", "0070-01-31"]
)
def test_what_is_no_date_of_birth_is_refused(clinic: Hospital, date: str) -> None:
    with pytest.raises(ConfigurationError, match="is no date of birth"):
        clinic.his.register_patient("Silva^Ines", date)


def test_what_is_no_sex_of_table_0001_is_refused(clinic: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="table 0001"):
        clinic.his.register_patient("Silva^Ines", sex="female")


def test_an_unknown_patient_has_no_chart_and_no_orders(clinic: Hospital) -> None:
    for ask in (clinic.his.patient, clinic.his.chart, clinic.his.place_order):
        with pytest.raises(NotFound, match="no patient 'P999999'"):
            ask("P999999")


def test_only_name_birth_date_and_sex_can_be_corrected(clinic: Hospital) -> None:
    patient = clinic.his.register_patient()
    with pytest.raises(ConfigurationError, match="no 'visit' that can be corrected"):
        clinic.his.update_patient(patient.patient_id, name="New^Name", visit="V1")
    assert clinic.his.patient(patient.patient_id) == patient


def test_a_correction_with_a_bad_value_changes_nothing(clinic: Hospital) -> None:
    patient = clinic.his.register_patient()
    with pytest.raises(ConfigurationError, match="no date of birth"):
        clinic.his.update_patient(patient.patient_id, name="New^Name", birth_date="soon")
    assert clinic.his.patient(patient.patient_id) == patient


def test_an_order_reaches_the_ris_as_it_was_placed(clinic: Hospital) -> None:
    patient = clinic.his.register_patient()
    order = clinic.his.place_order(
        patient.patient_id, "CTHEAD", "Fall | 2 m & more\nGCS 15", "Okafor^Ngozi"
    )
    (received,) = [o for o in clinic.ris.orders() if o.placer_order == order.placer_order]
    assert vars(received) == vars(order) | {"status": "RECEIVED"}


def test_an_order_that_could_not_be_sent_is_kept(hospital: Hospital) -> None:
    patient = hospital.his.register_patient()
    hospital.network.withdraw(Address("ris", 2575))
    with pytest.raises(DeliveryFailed, match="was not delivered"):
        hospital.his.place_order(patient.patient_id)
    assert [order.status for order in hospital.his.orders()] == ["ORDERED"]
    assert hospital.ris.orders() == []


def test_a_result_is_filed(clinic: Hospital, mllp: Mllp) -> None:
    patient = clinic.his.register_patient()
    order = clinic.his.place_order(patient.patient_id)
    text = RESULT.format(
        patient=patient.patient_id, order=order.placer_order, text="Line 1\\.br\\A\\T\\B"
    )
    assert mllp(clinic, "his", text)[1] == "MSA|AA|X1"
    (result,) = clinic.his.chart(patient.patient_id)
    assert (result.text, result.study_uid, result.status) == ("Line 1\nA&B", "1.2.3", "F")


def test_a_corrected_result_replaces_the_first(clinic: Hospital, mllp: Mllp) -> None:
    patient = clinic.his.register_patient()
    order = clinic.his.place_order(patient.patient_id)
    for text in ("first", "second"):
        message = RESULT.format(patient=patient.patient_id, order=order.placer_order, text=text)
        mllp(clinic, "his", message)
    assert [result.text for result in clinic.his.chart(patient.patient_id)] == ["second"]


def test_a_result_for_another_patients_order_is_refused(clinic: Hospital, mllp: Mllp) -> None:
    patient, other = clinic.his.register_patient(), clinic.his.register_patient()
    order = clinic.his.place_order(patient.patient_id)
    message = RESULT.format(patient=other.patient_id, order=order.placer_order, text="x")
    assert mllp(clinic, "his", message)[1].startswith("MSA|AE|X1|Order ORD")
    assert clinic.his.chart(patient.patient_id) == clinic.his.chart(other.patient_id) == []


def test_a_result_without_an_order_is_refused(clinic: Hospital, mllp: Mllp) -> None:
    patient = clinic.his.register_patient()
    message = RESULT.format(patient=patient.patient_id, order="ORD999999", text="x")
    answer = mllp(clinic, "his", message)[1]
    assert answer == "MSA|AE|X1|The HIS placed no order 'ORD999999' (OBR-2)."
    assert clinic.his.chart(patient.patient_id) == []


def test_the_his_fills_no_orders(clinic: Hospital, mllp: Mllp) -> None:
    message = RESULT.format(patient="P1", order="O1", text="x").replace("ORU^R01", "ORM^O01")
    answer = mllp(clinic, "his", message.replace("OBR|", "ORC|NW|O1\nOBR|", 1))[1]
    assert answer == "MSA|AE|X1|Order control 'NW' (ORC-1) is not taken, only SN, SC, XX and OC."
