from __future__ import annotations

import pytest

from labsim.systems.importer.identity import compare, plain
from labsim.systems.records import Patient

OURS = Patient("P000001", "HILLSIDE", "Moreau^Céline", "19610417", "F")


def theirs(
    name: str = "Moreau^Céline", birth_date: str = "19610417", sex: str = "F", number: str = "4711"
) -> Patient:
    return Patient(number, "LAKESIDE", name, birth_date, sex)


def test_the_same_person_has_all_points() -> None:
    match = compare(theirs(), OURS)
    assert (match.score, match.same) == (100, True)
    assert match.reasons == ("same name", "same birth date", "same sex")


@pytest.mark.parametrize(
    ("person", "score", "same"),
    [
        (theirs("MOREAU^CELINE^M"), 100, True),  # as another system writes her
        (theirs("Moreau^Céline=モロー^セリーヌ"), 100, True),
        (theirs("Morreau^Céline"), 80, True),
        (theirs(sex=""), 90, True),
        (theirs(sex="M"), 90, False),
        (theirs(birth_date="19610714"), 60, False),
        (theirs(birth_date=""), 60, False),
        (theirs("Okafor^Ngozi"), 50, False),
        (theirs(""), 50, False),
        (theirs("Vega^Carlos", "19700131", "M"), 0, False),
    ],
)
def test_points_and_verdict(person: Patient, score: int, same: bool) -> None:
    match = compare(person, OURS)
    assert (match.score, match.same) == (score, same)


def test_a_number_alone_says_nothing() -> None:
    match = compare(theirs("Vega^Carlos", "19700131", "M", number="P000001"), OURS)
    assert (match.score, match.same) == (0, False)
    assert match.reasons[-1] == "same number, given by LAKESIDE: says nothing"


def test_two_empty_records_are_not_the_same_person() -> None:
    nobody = Patient("", "", "", "", "")
    assert not compare(nobody, nobody).same


def test_a_name_is_compared_without_accents_and_punctuation() -> None:
    assert plain("O'Connor-Źdźbło^Łucja^M") == "o connor zdzblo lucja"


def test_a_match_shows_its_reasons() -> None:
    shown = str(compare(theirs(birth_date="19700101"), OURS))
    assert "other birth date: 19700101, here 19610417" in shown
