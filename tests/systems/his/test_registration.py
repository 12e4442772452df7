"""Visits, numbers of other houses, and people whom nobody knows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.systems.records import Identifier, Patient, Visit
from labsim.wire.hl7 import Message

Mllp = Callable[[Hospital, str, str], list[str]]

ADMISSION = """MSH|^~\\&|HIS|R|RIS|R|20260302103000||ADT^{event}|X1|P|2.3.1
EVN|{event}|20260302103000
PID|1||{numbers}||{name}||19800229|F
PV1|1|I|3W^12^A||||^Okafor^Ngozi||||||||||||V9^^^RIVERSIDE"""


def at_the_ris(hospital: Hospital, patient: Patient) -> list[Visit]:
    return hospital.ris.registry.visits(hospital.ris.patient(patient.patient_id))


def last_adt(hospital: Hospital, patient: Patient) -> Message:
    """Return what the RIS was told of a patient last."""
    events = hospital.journal.events(source="ris", kind="hl7", patient_id=patient.patient_id)
    sent = [event for event in events if event.detail.get("request")]
    message = hospital.message([e for e in sent if str(e.detail["type"]).startswith("ADT")][-1])
    assert isinstance(message, Message)
    return message


def test_a_stay_from_admission_to_discharge(hospital: Hospital) -> None:
    his, patient = hospital.his, hospital.his.register_patient("Silva^Ines")
    stay = his.admit(patient.patient_id, "3W^12^A", "Okafor^Ngozi")
    message = last_adt(hospital, patient)
    assert (message.type, message["PV1-2"]) == ("ADT^A01", "I")
    assert [message[f"PV1-3.{n}"] for n in (1, 2, 3)] == ["3W", "12", "A"]
    assert (message["PV1-7.2"], message["PV1-19.1"]) == ("Okafor", stay.visit)
    with pytest.raises(ConfigurationError, match=r"lies in 3W\^12\^A already"):
        his.admit(patient.patient_id, "3W^12^B")
    his.transfer(patient.patient_id, "ICU^1^1")
    assert [visit.location for visit in at_the_ris(hospital, patient)] == ["OUT", "ICU^1^1"]
    his.discharge(patient.patient_id)
    assert [visit.status for visit in at_the_ris(hospital, patient)] == ["ACTIVE", "DISCHARGED"]
    his.discharge(patient.patient_id)  # the outpatient visit, that was left open
    with pytest.raises(ConfigurationError, match="is not in the house"):
        his.discharge(patient.patient_id)
    his.cancel_discharge(patient.patient_id)
    assert his.visits(patient.patient_id)[-1].status == "ACTIVE"
    assert at_the_ris(hospital, patient)[-1].status == "ACTIVE"
    his.cancel_admit(patient.patient_id)
    assert at_the_ris(hospital, patient)[-1].status == "CANCELLED"
    for step, event in zip(
        hospital.journal.events(source="ris", patient_id=patient.patient_id, kind="state"),
        ("received", "admitted", "transferred", "discharged", "discharged"),
        strict=False,
    ):
        assert step.summary.endswith(event)


def test_an_outpatient_is_kept_in_within_one_visit(clinic: Hospital) -> None:
    patient = clinic.his.register_patient()
    clinic.his.make_inpatient(patient.patient_id, "5E^2^A", "Okafor^Ngozi")
    assert [(v.patient_class, v.location) for v in at_the_ris(clinic, patient)] == [("I", "5E^2^A")]
    clinic.his.make_outpatient(patient.patient_id)
    assert [(v.patient_class, v.location) for v in at_the_ris(clinic, patient)] == [("O", "OUT")]
    with pytest.raises(ConfigurationError, match="is no inpatient"):
        clinic.his.transfer(patient.patient_id, "5E^2^A")


def test_two_do_not_lie_in_one_bed(clinic: Hospital) -> None:
    first, second = (clinic.his.register_patient() for _ in range(2))
    clinic.his.admit(first.patient_id, "7N^1^A")
    with pytest.raises(ConfigurationError, match=rf"{first.patient_id} lies in 7N\^1\^A"):
        clinic.his.admit(second.patient_id, "7N^1^A")
    assert clinic.his.admit(second.patient_id, "7N^1^B").location == "7N^1^B"
    clinic.his.discharge(second.patient_id)
    clinic.his.transfer(first.patient_id, "7N^1^B")


@pytest.mark.parametrize("location", ["", "3W^1^A^x", "3W\\1", "^1^A"])
def test_what_is_no_location_is_refused(clinic: Hospital, location: str) -> None:
    patient = clinic.his.register_patient()
    with pytest.raises(ConfigurationError, match="is no location"):
        clinic.his.admit(patient.patient_id, location)
    assert [visit.patient_class for visit in clinic.his.visits(patient.patient_id)] == ["O"]


def test_the_archive_hears_of_a_transfer_and_not_of_an_admission(hospital: Hospital) -> None:
    patient = hospital.his.register_patient()
    hospital.his.admit(patient.patient_id, "3W^12^A")
    hospital.his.transfer(patient.patient_id, "3W^12^B")
    assert hospital.journal.wait_for(
        lambda event: event.source == "pacs" and event.detail.get("type", "").startswith("ACK"), 5
    )
    heard = hospital.journal.events(source="pacs", kind="hl7")
    assert [event.detail["type"] for event in heard] == ["ADT^A02", "ACK^A02"]


def test_the_worklist_has_ward_and_visit(clinic: Hospital) -> None:
    patient = clinic.his.register_patient()
    stay = clinic.his.admit(patient.patient_id, "8S^3^C")
    order = clinic.his.place_order(patient.patient_id, priority="A")
    accession = clinic.ris.schedule(order.placer_order).accession
    asked = dict.fromkeys(
        ("CurrentPatientLocation", "AdmissionID", "RequestedProcedurePriority"), ""
    )
    day = {"ScheduledProcedureStepStartDate": ""}
    [entry] = clinic.tools.findscu("ris", AccessionNumber=accession, **asked, **day)
    assert (entry.CurrentPatientLocation, entry.AdmissionID) == ("8S^3^C", stay.visit)
    assert entry.RequestedProcedurePriority == "HIGH"


# Numbers of other houses


def test_a_number_of_another_house_goes_along(clinic: Hospital) -> None:
    patient = clinic.his.register_patient()
    clinic.his.add_identifier(patient.patient_id, "4711", "LAKESIDE", "MR")
    known = clinic.his.patient(patient.patient_id)
    assert known.identifiers == (Identifier("4711", "LAKESIDE", "MR"),)
    assert clinic.ris.patient(patient.patient_id) == known
    text = last_adt(clinic, patient).text
    assert f"|{patient.patient_id}^^^RIVERSIDE^PI~4711^^^LAKESIDE^MR|" in text
    clinic.his.update_patient(patient.patient_id, sex="O")
    assert clinic.ris.patient(patient.patient_id).identifiers == known.identifiers


@pytest.mark.parametrize(("number", "issuer"), [("", "X"), ("1", ""), ("P000001", "RIVERSIDE")])
def test_a_number_that_is_not_anothers_is_refused(
    clinic: Hospital, number: str, issuer: str
) -> None:
    patient = clinic.his.register_patient()
    with pytest.raises(ConfigurationError, match="somebody else"):
        clinic.his.add_identifier(patient.patient_id, number, issuer)
    assert clinic.his.patient(patient.patient_id).identifiers == ()


def test_one_number_of_two_houses_is_two_people(clinic: Hospital, mllp: Mllp) -> None:
    patient = clinic.his.register_patient("Silva^Ines")
    number = patient.patient_id
    message = ADMISSION.format(event="A01", numbers=f"{number}^^^LAKESIDE^PI", name="Weber^Liam")
    assert mllp(clinic, "ris", message)[1] == "MSA|AA|X1"
    assert clinic.ris.patient(number).name == "Silva^Ines"
    assert clinic.ris.patient(f"{number}^^^LAKESIDE").name == "Weber^Liam"
    with pytest.raises(NotFound):
        clinic.his.patient(f"{number}^^^LAKESIDE")
    # An order under the stranger's number is the stranger's, down to the worklist.
    procedure = clinic.ris.request_order(f"{number}^^^LAKESIDE", "CTHEAD")
    [entry] = clinic.tools.findscu(
        "ris",
        AccessionNumber=procedure.accession,
        PatientName="",
        PatientID="",
        IssuerOfPatientID="",
        ScheduledProcedureStepStartDate="",
    )
    assert (entry.PatientID, entry.IssuerOfPatientID) == (number, "LAKESIDE")
    assert entry.PatientName == "Weber^Liam"
    # A merge of our patient leaves the stranger alone.
    keep = clinic.his.register_patient()
    clinic.his.merge_patients(keep.patient_id, number)
    assert clinic.ris.patient(f"{number}^^^LAKESIDE").name == "Weber^Liam"
    assert clinic.ris.procedure(procedure.accession).patient_id == number


def test_the_number_of_this_house_counts_wherever_it_stands(clinic: Hospital, mllp: Mllp) -> None:
    patient = clinic.his.register_patient("Silva^Ines")
    numbers = f"99^^^LAKESIDE^PI~{patient.patient_id}^^^RIVERSIDE^PI"
    message = ADMISSION.format(event="A08", numbers=numbers, name="Silva^Inez")
    assert mllp(clinic, "ris", message)[1] == "MSA|AA|X1"
    known = clinic.ris.patient(patient.patient_id)
    assert known.name == "Silva^Inez"
    assert known.identifiers == (Identifier("99", "LAKESIDE"),)


def test_a_message_with_a_number_that_was_given_up_renames_nobody(
    clinic: Hospital, mllp: Mllp
) -> None:
    keep, prior = clinic.his.register_patient("Vega^Ines"), clinic.his.register_patient("Vega^Inez")
    clinic.his.merge_patients(keep.patient_id, prior.patient_id)
    numbers = f"{prior.patient_id}^^^RIVERSIDE^PI"
    message = ADMISSION.format(event="A08", numbers=numbers, name="Vega^Inez")
    assert mllp(clinic, "ris", message)[1] == "MSA|AA|X1"
    assert clinic.ris.patient(keep.patient_id).name == "Vega^Ines"
    with pytest.raises(NotFound):
        clinic.ris.patient(prior.patient_id)


def test_a_merge_the_other_way_round_takes_the_first_back(clinic: Hospital, mllp: Mllp) -> None:
    keep, prior = clinic.his.register_patient("Vega^Ines"), clinic.his.register_patient("Vega^Inez")
    order = clinic.his.place_order(keep.patient_id)
    clinic.his.merge_patients(keep.patient_id, prior.patient_id)
    numbers = f"{prior.patient_id}^^^RIVERSIDE^PI"
    message = ADMISSION.format(event="A40", numbers=numbers, name="Vega^Inez")
    merge = f"{message}\nMRG|{keep.patient_id}^^^RIVERSIDE^PI"
    assert mllp(clinic, "ris", merge)[1] == "MSA|AA|X1"
    assert clinic.ris.patient(prior.patient_id).name == "Vega^Inez"
    with pytest.raises(NotFound):
        clinic.ris.patient(keep.patient_id)
    procedure = clinic.ris.schedule(order.placer_order)
    assert procedure.patient_id == prior.patient_id


# People whom nobody knows


def test_an_order_of_v251_says_that_nobody_knows_the_patient(hospital: Hospital) -> None:
    unknown = hospital.his.register_unidentified("F", reason="found at the lake")
    hospital.his.order_message = "OMG^O19"
    hospital.his.place_order(unknown.patient_id)
    message = hospital.message(hospital.journal.events(source="his", transaction="RAD-2")[0])
    assert (message["PID-31"], message["PID-32"], message["PID-7"]) == ("Y", "AL", "")
    assert isinstance(message, Message)
    assert message.repetitions("PID-32") == ["AL", "UD"]  # HL7 table 0445
    assert message["PV1-2"] == "E"
    hospital.his.identify(unknown.patient_id, name="Silva^Ines")
    hospital.his.place_order(unknown.patient_id)
    message = hospital.message(hospital.journal.events(source="his", transaction="RAD-2")[2])
    assert (message["PID-5.1"], message["PID-31"]) == ("Silva", "")


def test_a_sex_that_nobody_could_see_is_unknown(clinic: Hospital) -> None:
    patient = clinic.his.register_unidentified()
    assert (patient.sex, patient.name[:-1]) == ("U", "Doe^Unknown U")
    with pytest.raises(ConfigurationError, match="table 0001"):
        clinic.his.register_unidentified("?")
    assert clinic.his.unidentified()[-1] == patient
