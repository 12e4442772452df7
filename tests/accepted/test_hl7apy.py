"""hl7apy, a validator that knows nothing of labsim, judges every message that the systems send."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hl7_traffic import all_that_is_said, controls_in_the_code, kinds_in_the_code
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message
from hl7apy.validation import Validator
from orm_rules import problems

from labsim.wire.hl7 import Message

_RULED_HERE = ("ORM^O01", "ORR^O02")
# What hl7apy finds and what is right nevertheless. It only warns of these.
_RIGHT = {
    "a local coding system (HL7 v2.5.1, table 0396: 99zzz)": r"Value 99LABSIM not in table HL70396",
    "UTF-8, for which table 0211 of v2.3.1 has no name": (
        r"Value UNICODE UTF-8 not in table HL70211 in element MSH\.MSH_18"
    ),
    "no visit (IHE RAD TF-2, RAD-12; table 0004 is user-defined)": (
        r"Value N not in table HL70004 in element PV1\.PV1_2"
    ),
    "the Study Instance UID as IHE has it (RAD-128)": (
        r"Value HD not in table HL70125 in element OBX\.OBX_2"
    ),
}


@pytest.fixture(scope="module", params=["clinic", "community"])
def messages(request: pytest.FixtureRequest) -> tuple[Message, ...]:
    return all_that_is_said(request.param)


def test_all_that_can_be_said_was_said(messages: tuple[Message, ...]) -> None:
    kinds = kinds_in_the_code()
    assert {"ADT^A01", "ADT^A40", "ORM^O01", "OMG^O19", "OMI^O23", "ORU^R01", "ORR^O02"} <= kinds
    assert kinds - {message.type for message in messages} == set()
    assert {"NW", "CA", "SN", "NA", "SC", "XX", "OC", "XO", "RE"} <= controls_in_the_code()
    assert controls_in_the_code() - {message["ORC-1"] for message in messages} == set()
    acknowledged = {message["MSH-9.2"] for message in messages if message["MSH-9.1"] == "ACK"}
    assert {kind[4:] for kind in kinds} == acknowledged


def test_hl7apy_finds_nothing_wrong(messages: tuple[Message, ...], tmp_path: Path) -> None:
    excused: set[str] = set()
    judgeable = {message.text for message in messages if message.type not in _RULED_HERE}
    for text in judgeable:
        for problem in judged(text, tmp_path):
            reason = next((why for why, what in _RIGHT.items() if re.search(what, problem)), "")
            assert reason, f"{problem}\n{Message(text)}"
            excused.add(reason)
    assert excused == set(_RIGHT)  # what is not found any more needs no excuse


def test_orders_keep_the_rules_of_chapter_4(messages: tuple[Message, ...]) -> None:
    orders = [message for message in messages if message.type in _RULED_HERE]
    assert {message.type for message in orders} == set(_RULED_HERE)
    for message in orders:
        assert problems(message.text) == [], message
        to_archive = message["MSH-5"] in ("PACS", "ARCHIVE")
        assert not to_archive or message["ZDS-1"], message


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "problem"),
    [
        ("ADT^A04", "\rEVN", "\rZVN", "Missing required child ADT_A01.EVN"),
        ("ADT^A40", "\rMRG", "\rZRG", "Missing required child ADT_A39_PATIENT.MRG"),
        ("OMI^O23", "\rIPC", "\rZPC", "Missing required child OMI_O23_ORDER.IPC"),
        ("OMG^O19", "TQ1|1|", "TQ1|one|", "one"),
        ("ORU^R01", "|P000", "||P000", "Missing required child PID.PID_3"),
        ("ACK^A04", "MSA|AA", "MSA|ZZ", "Value ZZ not in table HL70008"),
    ],
)
def test_hl7apy_would_find_a_defect(
    messages: tuple[Message, ...], tmp_path: Path, kind: str, right: str, wrong: str, problem: str
) -> None:
    text = next(message.text for message in messages if message.type == kind)
    assert right in text
    found = judged(text.replace(right, wrong), tmp_path)
    assert any(problem in each for each in found), found


def judged(text: str, folder: Path) -> list[str]:
    """Return the errors and warnings of hl7apy, at the version of the message, strict."""
    report = folder / "hl7apy.txt"
    try:
        message = parse_message(text, validation_level=VALIDATION_LEVEL.STRICT)
        Validator.validate(message, report_file=str(report))
    except (HL7apyException, ValueError) as error:
        return [f"{type(error).__name__}: {error}"]
    return report.read_text("utf-8").splitlines()
