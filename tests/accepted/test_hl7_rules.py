"""The rules for ORM^O01 find what is wrong with one, each by a message that breaks it."""

from __future__ import annotations

import pytest
from orm_rules import problems

ORM = "\r".join(
    [
        "MSH|^~\\&|RIS|X|PACS|X|20260302103000||ORM^O01^ORM_O01|RIS00000015|P|2.3.1",
        "PID|1||P000005^^^X^PI||Doe^Jane||19580522|F",
        "PV1|1|O|OUT||||^Lindqvist^Greta",
        "ORC|NW|O1^HIS|F1^RIS||SC||1^^^20260302103000^^S||20260302103000|||^Reyes^Ana||||^Fall",
        "OBR|1|O1^HIS|F1^RIS|CTHEAD^CT head^99X||||||||||||^Reyes^Ana||A1|RP1|SPS1||20260302"
        "||CT|F||1^^^20260302103000^^S||||^Cough \\T\\ fever",
        "ZDS|1.2.3^100^Application^DICOM\r",
    ]
)
ORR = (
    "MSH|^~\\&|HIS|X|RIS|X|20260302||ORR^O02^ORR_O02|H1|P|2.3.1\r"
    "MSA|AA|R1\rPID|1||P1||Doe^Jane\rORC|NA|O1^HIS|F1^RIS\rOBR|1|O1^HIS|F1^RIS|CTHEAD\r"
)


@pytest.mark.parametrize("text", [ORM, ORR])
def test_what_is_right_has_no_problem(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("DICOM\r", "DICOM", "the last segment has no carriage return"),
        ("ORM^O01^", "ORM^O02^", "MSH-9 ORM^O02^ORM_O01 is not of these rules"),
        ("PV1|", "PV9|", "the segments MSH PID PV9 ORC OBR ZDS are not in this order"),
        ("\rZDS", "\rORC|NW\rPV1||O\rZDS", "the segments MSH PID PV1 ORC OBR ORC PV1 ZDS"),
        ("|RIS00000015|", "||", "MSH-10 is required"),
        ("ORC|NW", "ORC|", "ORC-1 is required"),
        ("CTHEAD^CT head^99X", "", "OBR-4 is required"),
        ("P000005^^^X^PI", "", "PID-3 is required"),
        ("RIS00000015", "R" * 21, "MSH-10 is longer than 20"),
        ("O1^HIS", "O" * 20 + "^HIS", "ORC-2 is longer than 22"),
        ("|A1|", f"|{'A' * 61}|", "OBR-18 is longer than 60"),
        ("ORC|NW", "ORC|ZZ", "ORC-1 ZZ is not of its table"),
        ("||SC|", "||XY|", "ORC-5 XY is not of its table"),
        ("|CT|F|", "|CT|L|", "OBR-25 L is not of its table"),
        ("|CT|F|", "|CTX|F|", "OBR-24 CTX is not of its table"),
        ("PV1|1|O", "PV1|1|Q", "PV1-2 Q is not of its table"),
        ("||19580522|", "||1958-05|", "PID-7 1958-05 is no time"),
        ("||20260302103000|||", "||20260231|||", "ORC-9 20260231 is no time"),
        ("|X|20260302103000|", "|X|2026030210|", "MSH-7 2026030210 is no time"),
        ("OBR|1|", "OBR|one|", "OBR-1 one is no set ID"),
        ("2.3.1", "2.5.1", "MSH-12 2.5.1 is not the version of these rules"),
        ("\\T\\", "\\", "OBR-31 has an escape that is none"),
        ("^Cough", "^^^^^^Cough", "OBR-31 is no CE"),
        ("1^^^", "one^^^", "ORC-7 has no quantity"),
        ("^^^20260302103000^^S", "^^^soon^^S", "ORC-7 starts at soon, which is no time"),
        ("^^S", "^^Q", "ORC-7 has the priority Q"),
        ("^Lindqvist^Greta", "^^Greta", "PV1-7 names nobody"),
        ("ZDS|1.2.3", "ZDS|1.2.03", "ZDS-1 has no UID"),
        ("^Application", "^Folder", "ZDS-1 is not as IHE has it"),
        ("OBR|1|O1", "OBR|1|O2", "the placer differs between ORC-2 and OBR-2"),
        ("|F1^RIS||SC", "|F2^RIS||SC", "the filler differs between ORC-3 and OBR-3"),
        ("OBR|1|O1^HIS", "OBR|1|", ""),
    ],
)
def test_a_rule_that_is_broken_is_named(right: str, wrong: str, problem: str) -> None:
    assert right in ORM
    found = problems(ORM.replace(right, wrong))
    assert any(each.startswith(problem) for each in found) if problem else found == []


def test_an_order_without_its_number_is_found() -> None:
    assert problems(ORM.replace("O1^HIS", "").replace("F1^RIS", "")) == ["the order has no number"]
    assert problems(ORM.replace("O1^HIS", "")) == []  # the placer has not given it one yet
    assert problems(ORR.replace("F1^RIS", "")) == ["neither ORC-3 nor OBR-3 is there"]


def test_an_answer_with_a_visit_is_found() -> None:
    assert "are not in this order" in problems(ORR.replace("\rORC", "\rPV1|1|O\rORC"))[0]
