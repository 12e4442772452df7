"""HL7 v2 messages: written, read, and refused with words."""

from __future__ import annotations

import random
from datetime import datetime

import pytest

from labsim.errors import Hl7Error
from labsim.wire.hl7 import (
    Header,
    Message,
    acknowledge,
    escape,
    reject_unreadable,
    segment,
    timestamp,
    unescape,
    with_structure,
)
from labsim.wire.hl7_fields import FIELD_NAMES, SEGMENT_NAMES

NOON = datetime(2026, 3, 1, 12, 0, 5)
HEADER = Header(("HIS", "RIVERSIDE"), ("RIS", "RIVERSIDE"), "ADT^A04", "HIS1", NOON)
PID = segment("PID", {1: "1", 3: "P1^^^RIVERSIDE^PI", 5: "Møller^Åse", 7: "19700102"})


@pytest.fixture
def message() -> Message:
    return Message.build(HEADER, PID)


# Text


@pytest.mark.parametrize(
    "text", ["", "plain", "a|b^c&d~e\\f", "\\F\\", "\\", "\\\\", "two\nlines\n", "Åse \U0001f9b4"]
)
def test_escaping_can_be_undone(text: str) -> None:
    escaped = escape(text)
    assert not set(escaped) & set("|^&~\r\n")
    assert unescape(escaped) == text


def test_all_line_ends_become_the_same_escape() -> None:
    assert escape("a\r\nb\rc\nd") == "a\\.br\\b\\.br\\c\\.br\\d"


@pytest.mark.parametrize(("text", "plain"), [("\\H\\bold\\N\\", "bold"), ("a\\F", "aF")])
def test_what_cannot_be_shown_is_left_out(text: str, plain: str) -> None:
    assert unescape(text) == plain


def test_a_time_stamp_has_seconds() -> None:
    assert timestamp(NOON) == "20260301120005"


# Writing


def test_fields_stand_where_their_numbers_say() -> None:
    assert segment("OBR", {1: "1", 4: "CT"}) == "OBR|1|||CT"
    assert segment("EVN", {}) == "EVN"


def test_a_header_puts_its_parts_where_hl7_wants_them() -> None:
    line = str(HEADER)
    assert line.startswith("MSH|^~\\&|HIS|RIVERSIDE|RIS|RIVERSIDE|20260301120005||ADT^A04|HIS1|P|")
    fields = line.split("|")
    assert fields[11] == "2.3.1"  # MSH-12: the name of the segment counts, MSH-1 does not
    assert fields[17] == "UNICODE UTF-8"  # MSH-18


def test_a_name_with_a_separator_does_not_move_the_fields() -> None:
    header = Header(("A|B", "X"), ("C^D", "Y"), "ADT^A04", "1", NOON)
    message = Message.build(header)
    assert (message["MSH-3"], message["MSH-5"], message["MSH-9"]) == ("A|B", "C^D", "ADT^A04")


@pytest.mark.parametrize(
    ("kind", "structure"),
    [
        ("ADT^A02", "ADT_A02"),
        ("ADT^A31", "ADT_A01"),
        ("ADT^A40", "ADT_A39"),
        ("ORU^R01", "ORU_R01"),
    ],
)
def test_a_message_type_says_of_which_structure_it_is(kind: str, structure: str) -> None:
    assert with_structure(kind) == f"{kind}^{structure}"


def test_segments_end_with_carriage_returns(message: Message) -> None:
    assert message.text.endswith("\r")
    assert "\n" not in message.text
    assert message.text.count("\r") == 2


# Reading


def test_fields_and_components_are_found_by_their_numbers(message: Message) -> None:
    assert message["PID-5"] == "Møller^Åse"
    assert message["PID-5.1"] == "Møller"
    assert message["PID-3.4"] == "RIVERSIDE"
    assert (message["MSH-1"], message["MSH-2"], message["MSH-10"]) == ("|", "^~\\&", "HIS1")
    assert message.type == "ADT^A04"
    assert message.control_id == "HIS1"


@pytest.mark.parametrize("path", ["PID-99", "PID-5.9", "PV1-2", "PV1-19.1", "MSH-99"])
def test_what_is_not_there_is_empty(message: Message, path: str) -> None:
    assert message[path] == ""


def test_text_is_read_without_its_escapes() -> None:
    message = Message.build(HEADER, segment("OBX", {5: escape("50 % | 5^2\nend")}))
    assert message["OBX-5"] == "50 % | 5^2\nend"


def test_the_first_repetition_counts() -> None:
    message = Message.build(HEADER, segment("PID", {3: "P1^^^A~P2^^^B"}))
    assert message["PID-3.1"] == "P1"
    assert message["PID-3.4"] == "A"


def test_every_segment_of_a_name_can_be_asked() -> None:
    lines = [segment("OBX", {1: str(n), 5: text}) for n, text in ((1, "one"), (2, ""), (3, "x^y"))]
    message = Message.build(HEADER, *lines)
    assert message.all("OBX-5") == ["one", "", "x^y"]
    assert message.all("OBX-5.2") == ["", "", "y"]
    assert message["OBX-5"] == "one"


def test_a_message_may_lack_its_last_carriage_return() -> None:
    text = f"{HEADER}\r{PID}"
    assert Message(text)["PID-5.1"] == "Møller"
    assert Message(text).text == text + "\r"


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("UNICODE UTF-8", "utf-8"),
        ("unicode utf-8", "utf-8"),
        ("8859/1", "iso8859-1"),
        ("8859/15", "iso8859-15"),
        ("UNICODE UTF-8~8859/1", "utf-8"),
    ],
)
def test_bytes_are_read_as_msh_18_declares(declared: str, encoding: str) -> None:
    text = f"{HEADER}\r{PID}\r".replace("UNICODE UTF-8", declared)
    message = Message.decode(text.encode(encoding))
    assert message["PID-5"] == "Møller^Åse"
    assert message.encode() == text.encode(encoding)


def test_ascii_needs_no_declaration() -> None:
    data = b"MSH|^~\\&|A|B|C|D|||ADT^A04|1|P|2.3.1\rPID|||P1||Doe^Jane\r"
    assert Message.decode(data)["PID-5.1"] == "Doe"


def test_bytes_that_were_not_declared_are_refused_with_their_place() -> None:
    data = b"MSH|^~\\&|A|B|C|D|||ADT^A04|1|P|2.3.1\rPID|||P1||M\xf8ller\r"
    with pytest.raises(Hl7Error, match=f"0xF8 at offset {data.index(0xF8)} ") as caught:
        Message.decode(data)
    assert "MSH-18" in str(caught.value)
    assert caught.value.code == "AE"


def test_a_character_set_that_is_not_supported_is_refused() -> None:
    data = f"{HEADER}\r".replace("UNICODE UTF-8", "ISO IR87").encode()
    with pytest.raises(Hl7Error, match="ISO IR87") as caught:
        Message.decode(data)
    assert caught.value.code == "AR"


@pytest.mark.parametrize("text", ["", "PID|1\r", "XMSH|^~\\&\r", "\nMSH|^~\\&|\r", "msh|^~\\&\r"])
def test_a_message_begins_with_msh(text: str) -> None:
    with pytest.raises(Hl7Error, match="instead of MSH") as caught:
        Message(text)
    assert caught.value.code == "AR"


@pytest.mark.parametrize("text", ["MSH", "MSH|", "MSH\r"])
def test_a_header_that_breaks_off_is_refused(text: str) -> None:
    with pytest.raises(Hl7Error, match="cannot be parsed") as caught:
        Message(text)
    assert caught.value.code == "AR"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_segments_that_end_with_line_feeds_are_refused(ending: str) -> None:
    with pytest.raises(Hl7Error, match="line feed") as caught:
        Message(f"{HEADER}{ending}{PID}{ending}")
    assert caught.value.code == "AR"


def test_a_single_segment_may_end_with_anything() -> None:
    for ending in ("", "\r", "\n", "\r\n"):
        assert Message(f"{HEADER}{ending}").control_id == "HIS1"


def test_damaged_bytes_are_read_or_refused_and_nothing_else() -> None:
    rng = random.Random(1)
    good = f"{HEADER}\r{PID}\r".encode()
    outcomes = set()
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(data))
            data[place : place + rng.randint(0, 2)] = rng.choices(b"\r\n|^~&\\\0\xc3AMSH", k=2)
        try:
            message = Message.decode(bytes(data))
            ack = acknowledge(message, "AA", "X1", NOON)
        except Hl7Error as error:
            outcomes.add(error.code)
            continue
        outcomes.add("read")
        str(message.table())
        assert message.encode().decode(errors="replace")
        assert (ack["MSA-1"], ack["MSA-2"]) == ("AA", message.control_id)
    assert outcomes == {"read", "AE", "AR"}


# Showing


def test_a_message_is_shown_line_by_line(message: Message) -> None:
    assert str(message).splitlines() == [str(HEADER), PID]


def test_the_table_names_each_field_that_has_a_value(message: Message) -> None:
    rows = [tuple(row) for row in message.table("PID")]
    assert rows == [
        ("PID-1", "Set ID", "1"),
        ("PID-3", "Patient Identifier List", "P1^^^RIVERSIDE^PI"),
        ("PID-5", "Patient Name", "Møller^Åse"),
        ("PID-7", "Date/Time of Birth", "19700102"),
    ]
    assert ("MSH-10", "Message Control ID", "HIS1") in [tuple(row) for row in message.table()]


def test_every_named_field_is_of_a_named_segment() -> None:
    assert {name.split("-")[0] for name in FIELD_NAMES} == set(SEGMENT_NAMES)


# Acknowledging


def test_an_acknowledgment_goes_back_to_the_sender(message: Message) -> None:
    ack = acknowledge(message, "AE", "RIS-ACK1", NOON, "PID-3 | is empty")
    assert (ack["MSH-3"], ack["MSH-5"]) == ("RIS", "HIS")
    assert (ack["MSA-1"], ack["MSA-2"], ack["MSA-3"]) == ("AE", "HIS1", "PID-3 | is empty")
    assert (ack.type, ack["MSH-9"]) == ("ACK^A04", "ACK^A04^ACK")
    assert ack.control_id == "RIS-ACK1"


def test_an_acknowledgment_has_the_version_of_what_it_answers() -> None:
    later = Header(("A", "B"), ("C", "D"), "ORU^R01^ORU_R01", "1", NOON, "2.5.1")
    assert acknowledge(Message.build(later), "AA", "2", NOON)["MSH-12"] == "2.5.1"


def test_what_cannot_be_read_is_answered_too() -> None:
    ack = reject_unreadable("AR", "RIS-ACK1", NOON, "no header")
    assert (ack["MSH-9"], ack["MSA-1"], ack["MSA-2"], ack["MSA-3"]) == (
        "ACK",
        "AR",
        "",
        "no header",
    )
