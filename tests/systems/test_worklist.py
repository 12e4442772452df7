from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from importlib.resources import files
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.sop_classes import MODALITY_WORKLIST
from labsim.systems.ris.tables import FULL
from labsim.systems.worklist import worklist_entry

Dial = Callable[..., AbstractContextManager[Association]]
Ask = Callable[..., list[Dataset]]

SECOND_SCANNER = """
[[modalities]]
name = "ct2"
kind = "CT"
host = "ct2"
dicom_port = 104
ae_title = "CT2"
worklist = "ris"
archive = "pacs"
"""
# name, examination, station, start; the accession numbers are A0000001 and so on
SCHEDULE = [
    ("Müller^Jürgen", "CTTHORAX", "CT1", datetime(2026, 3, 2, 8, 0)),
    ("Mbeki^Amara", "CTHEAD", "CT1", datetime(2026, 3, 2, 13, 30)),
    ("Silva^Ines", "CTTHORAX", "CT2", datetime(2026, 3, 2, 9, 0)),
    ("Rossi^Elena", "CTTHORAX", "CT1", datetime(2026, 3, 3, 8, 0)),
    ("Mei^Silva", "CTHEAD", "CT2", datetime(2026, 3, 10, 7, 0)),
]


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    site = tmp_path_factory.mktemp("site") / "two.toml"
    text = (files("labsim.sites") / "clinic.toml").read_text(encoding="utf-8")
    site.write_text(text + SECOND_SCANNER, encoding="utf-8")
    with Hospital(site=site, clock=ManualClock(datetime(2026, 3, 2, 7, 0))) as hospital:
        for name, code, station, start in SCHEDULE:
            patient = hospital.his.register_patient(name, "1980-02-29", "F")
            order = hospital.his.place_order(patient.patient_id, code, "Cough")
            hospital.ris.schedule(order.placer_order, station=station, start=start)
        yield hospital


@pytest.fixture
def ask(clinic: Hospital, dial: Dial) -> Ask:
    """Query the worklist; keys of the scheduled step go in as ``step``."""

    def query(step: dict[str, Any] | None = None, **keys: Any) -> list[Dataset]:
        identifier, inner = Dataset(), Dataset()
        for keyword, value in (step or {}).items():
            setattr(inner, keyword, value)
        for keyword, value in {"AccessionNumber": "", **keys}.items():
            setattr(identifier, keyword, value)
        identifier.ScheduledProcedureStepSequence = [inner]
        with dial(clinic, "ris", MODALITY_WORKLIST) as association:
            answers = list(association.send_c_find(identifier, MODALITY_WORKLIST))
        assert [status.Status for status, _ in answers] == [0xFF00] * (len(answers) - 1) + [0x0000]
        return [entry for _, entry in answers if entry is not None]

    return query


def numbers(entries: list[Dataset]) -> list[int]:
    return [int(entry.AccessionNumber[1:]) for entry in entries]


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ({}, [1, 3, 2, 4, 5]),
        ({"ScheduledStationAETitle": "CT1"}, [1, 2, 4]),
        ({"ScheduledStationAETitle": "CT2"}, [3, 5]),
        ({"ScheduledStationAETitle": "CT?"}, [1, 3, 2, 4, 5]),
        ({"ScheduledStationAETitle": "ct1"}, []),
        ({"Modality": "CT"}, [1, 3, 2, 4, 5]),
        ({"Modality": "MR"}, []),
        ({"ScheduledProcedureStepStartDate": "20260302"}, [1, 3, 2]),
        ({"ScheduledProcedureStepStartDate": "20260302-20260303"}, [1, 3, 2, 4]),
        ({"ScheduledProcedureStepStartDate": "20260303-"}, [4, 5]),
        ({"ScheduledProcedureStepStartDate": "-20260302"}, [1, 3, 2]),
        ({"ScheduledProcedureStepStartTime": "0800-1200"}, [1, 3, 4]),
        ({"ScheduledProcedureStepID": "SPS000002"}, [2]),
        (
            {
                "ScheduledStationAETitle": "CT1",
                "ScheduledProcedureStepStartDate": "20260302",
                "Modality": "CT",
            },
            [1, 2],
        ),
        ({"ScheduledStationAETitle": "CT2", "ScheduledProcedureStepID": "SPS000002"}, []),
    ],
)
def test_steps_are_matched_inside_their_sequence(
    ask: Ask, step: dict[str, str], found: list[int]
) -> None:
    assert numbers(ask(step)) == found


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"PatientName": "mÜLLER^jürgen"}, [1]),
        ({"PatientName": "M*"}, [1, 2, 5]),
        ({"PatientName": "*silva*"}, [3, 5]),
        ({"PatientName": "R?ssi*"}, [4]),
        ({"PatientName": "Silva"}, []),
        ({"PatientName": "*"}, [1, 3, 2, 4, 5]),
        ({"PatientID": "P000004"}, [4]),
        ({"AccessionNumber": "A0000003"}, [3]),
        ({"RequestedProcedureID": "RP000005"}, [5]),
        ({"RequestedProcedureDescription": "CT head"}, [2, 5]),
        ({"PatientName": "M*", "RequestedProcedureDescription": "CT head"}, [2, 5]),
        ({"PatientID": "P000004", "PatientName": "M*"}, []),
    ],
)
def test_patient_and_procedure_are_matched(
    ask: Ask, keys: dict[str, str], found: list[int]
) -> None:
    assert numbers(ask(**keys)) == found


def test_a_code_is_matched_inside_its_sequence(ask: Ask) -> None:
    code = Dataset()
    code.CodeValue = "CTHEAD"
    assert numbers(ask(RequestedProcedureCodeSequence=[code])) == [2, 5]


def test_keys_come_back_where_they_belong(ask: Ask) -> None:
    step = {"Modality": "", "ScheduledStationAETitle": "CT2", "ScheduledProcedureStepStartTime": ""}
    (entry,) = ask(step, AccessionNumber="A0000003", PatientName="", StudyInstanceUID="")
    (inner,) = entry.ScheduledProcedureStepSequence
    assert {element.keyword for element in inner} == set(step)
    assert (inner.Modality, inner.ScheduledProcedureStepStartTime) == ("CT", "090000")
    assert {element.keyword for element in entry} == {
        "SpecificCharacterSet",
        "AccessionNumber",
        "PatientName",
        "StudyInstanceUID",
        "ScheduledProcedureStepSequence",
    }


def test_an_empty_sequence_asks_for_all_of_it(ask: Ask) -> None:
    (entry,) = ask(AccessionNumber="A0000002", RequestedProcedureCodeSequence=[])
    (code,) = entry.RequestedProcedureCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("CTHEAD", "99LABSIM")


def test_a_key_that_the_worklist_does_not_have_is_left_out(ask: Ask) -> None:
    entries = ask(AccessionNumber="A0000001", EthnicGroup="")
    assert numbers(entries) == [1]
    assert "EthnicGroup" not in entries[0]


def test_names_outside_of_ascii_are_declared(ask: Ask) -> None:
    (entry,) = ask(AccessionNumber="A0000001", PatientName="")
    assert entry.SpecificCharacterSet == "ISO_IR 192"
    assert entry.PatientName == "Müller^Jürgen"


def test_each_scanner_sees_its_own_day(clinic: Hospital) -> None:
    assert numbers(clinic.ct.query_worklist()) == [1, 2]
    ct2 = clinic.systems["ct2"]
    assert numbers(ct2.query_worklist(date="20260302-20260310")) == [3, 5]  # type: ignore[attr-defined]


def test_what_has_begun_is_no_longer_on_the_list(clinic: Hospital, ask: Ask) -> None:
    (entry,) = clinic.ct.query_worklist(accession="A0000004", date="20260303")
    clinic.ct.start_step(entry)
    assert ask(AccessionNumber="A0000004") == []


def test_an_entry_has_every_attribute_that_must_be_returned(clinic: Hospital) -> None:
    """Return Key Types 1 and 2 of PS3.4 Table K.6-1."""
    row = clinic.ris.db.row(FULL)
    assert row is not None
    entry = worklist_entry(row)
    for keyword in (
        "ScheduledProcedureStepSequence", "RequestedProcedureID", "RequestedProcedureDescription",
        "RequestedProcedureCodeSequence", "StudyInstanceUID", "ReferencedStudySequence",
        "RequestedProcedurePriority", "PatientTransportArrangements", "AccessionNumber",
        "RequestingPhysician", "ReferringPhysicianName", "AdmissionID", "CurrentPatientLocation",
        "ReferencedPatientSequence", "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
        "PatientWeight", "ConfidentialityConstraintOnPatientDataDescription", "PatientState",
        "PregnancyStatus", "MedicalAlerts", "Allergies",
    ):  # fmt: skip
        assert keyword in entry, keyword
    for keyword in (
        "ScheduledStationAETitle", "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime", "Modality", "ScheduledPerformingPhysicianName",
        "ScheduledProcedureStepDescription", "ScheduledStationName",
        "ScheduledProcedureStepLocation", "ScheduledProtocolCodeSequence", "PreMedication",
        "ScheduledProcedureStepID", "RequestedContrastAgent",
    ):  # fmt: skip
        assert keyword in entry.ScheduledProcedureStepSequence[0], keyword


def test_a_key_that_is_not_supported_is_told_and_does_not_narrow(
    clinic: Hospital, dial: Dial
) -> None:
    identifier = Dataset()
    identifier.AccessionNumber = ""
    identifier.InstitutionAddress = "Nowhere 1"
    with dial(clinic, "ris", MODALITY_WORKLIST) as association:
        *found, last = association.send_c_find(identifier, MODALITY_WORKLIST)
    assert {status.Status for status, _ in found} == {0xFF01}
    assert last[0].Status == 0x0000
