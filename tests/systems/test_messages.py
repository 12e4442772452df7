from __future__ import annotations

from datetime import datetime

import pytest

from labsim.errors import Hl7Error
from labsim.systems.messages import patient_of, patient_segments, provider_field, provider_of
from labsim.systems.records import Patient
from labsim.wire.hl7 import Header, Message, segment

HEADER = Header(("A", "F"), ("B", "F"), "ADT^A04", "1", datetime(2026, 3, 2))


def test_a_patient_is_read_as_written() -> None:
    patient = Patient("P&1", "RIVER|SIDE", "O^Connor^A~B".replace("O^", "O'"), "19700131", "O")
    message = Message.build(HEADER, *patient_segments(patient, "V1"))
    assert patient_of(message, "OTHER") == patient
    assert message["PV1-19.1"] == "V1"


def test_the_issuer_is_the_hospitals_where_the_message_has_none() -> None:
    message = Message.build(HEADER, segment("PID", {3: "P1", 5: "Silva^Ines"}))
    assert patient_of(message, "RIVERSIDE").issuer == "RIVERSIDE"


def test_a_time_of_birth_is_cut_to_the_day() -> None:
    message = Message.build(HEADER, segment("PID", {3: "P1", 5: "Silva", 7: "197001312359"}))
    assert patient_of(message, "").birth_date == "19700131"


@pytest.mark.parametrize(
    "fields", [{3: "", 5: "Silva^Ines"}, {3: "P1", 5: ""}, {3: "^^^X", 5: "S"}]
)
def test_nobody_without_identifier_and_name(fields: dict[int, str]) -> None:
    message = Message.build(HEADER, segment("PID", fields))
    with pytest.raises(Hl7Error, match="is empty"):
        patient_of(message, "RIVERSIDE")


def test_a_message_without_a_patient_is_refused() -> None:
    with pytest.raises(Hl7Error, match="PID-3"):
        patient_of(Message.build(HEADER, "EVN|A04"), "RIVERSIDE")


@pytest.mark.parametrize("name", ["Lindqvist^Greta", "Lindqvist", "A&B^C|D"])
def test_a_provider_is_read_as_written(name: str) -> None:
    message = Message.build(HEADER, segment("ORC", {12: provider_field(name)}))
    assert provider_of(message, "ORC-12") == name
