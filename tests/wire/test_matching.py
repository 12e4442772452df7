"""Attribute matching, kind by kind as PS3.4 C.2.2.2 lists them."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.wire.matching import (
    is_universal,
    matches,
    project,
    range_of,
    unsupported,
    values_of,
    wild_card,
)


def keys(**values: object) -> Dataset:
    """Return a data set; a dictionary stands for a sequence of one item."""
    made = Dataset()
    for keyword, value in values.items():
        if isinstance(value, dict):
            value = Sequence([keys(**value)])
        setattr(made, keyword, value)
    return made


def match(keyword: str, wanted: object, present: object) -> bool:
    return matches(keys(**{keyword: wanted}), keys(**{keyword: present}))


# Single value (C.2.2.2.1)


@pytest.mark.parametrize(
    ("keyword", "wanted", "present", "expected"),
    [
        ("AccessionNumber", "A1", "A1", True),
        ("AccessionNumber", "A1", "A10", False),
        ("AccessionNumber", "a1", "A1", False),  # only names are compared without regard to case
        ("AccessionNumber", "A1 ", "A1", True),  # padding is not significant
        ("PatientID", "P.1", "PX1", False),  # a full stop is a full stop
        ("Modality", "CT", "CT", True),
        ("StudyInstanceUID", "1.2.3", "1.2.3", True),
        ("StudyInstanceUID", "1.2.3", "1.2.30", False),
        ("StudyInstanceUID", "1.2.*", "1.2.3", False),  # no wild cards in UIDs
        ("SeriesNumber", "1", "01", True),
        ("SeriesNumber", "1", "2", False),
        ("SliceThickness", "5", "5.0", True),
        ("Rows", 512, 512, True),
        ("Rows", 512, 256, False),
    ],
)
def test_single_value(keyword: str, wanted: object, present: object, expected: bool) -> None:
    assert match(keyword, wanted, present) is expected


def test_one_of_several_values_of_the_candidate_is_enough() -> None:
    assert match("ModalitiesInStudy", "SR", ["CT", "SR"])
    assert not match("ModalitiesInStudy", "MR", ["CT", "SR"])


# List of UID (C.2.2.2.2)


def test_list_of_uid() -> None:
    assert match("StudyInstanceUID", ["1.2.3", "1.2.4"], "1.2.4")
    assert not match("StudyInstanceUID", ["1.2.3", "1.2.4"], "1.2.5")


# Universal (C.2.2.2.3)


@pytest.mark.parametrize("keyword", ["PatientName", "StudyDate", "StudyInstanceUID", "Rows"])
def test_universal(keyword: str) -> None:
    present = {"PatientName": "Doe^Jane", "StudyDate": "20260301", "Rows": 512}
    assert match(keyword, None, present.get(keyword, "1.2.3"))
    assert match(keyword, None, None)


def test_an_asterisk_alone_matches_an_empty_value() -> None:
    assert match("PatientName", "*", "")
    assert match("AccessionNumber", "*", "")


def test_a_value_does_not_match_an_empty_one() -> None:
    assert not match("AccessionNumber", "A1", "")
    assert not match("StudyDate", "20260101-", "")
    assert not match("PatientName", "Doe", "")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (keys(PatientName=""), True),
        (keys(PatientName="*"), True),
        (keys(PatientName="**"), False),
        (keys(StudyInstanceUID="*"), False),
        (keys(ScheduledProcedureStepSequence=Sequence()), True),
        (keys(ScheduledProcedureStepSequence={"Modality": "", "PatientName": "*"}), True),
        (keys(ScheduledProcedureStepSequence={"Modality": "CT"}), False),
    ],
)
def test_what_is_universal(key: Dataset, expected: bool) -> None:
    assert is_universal(next(iter(key))) is expected


# Wild card (C.2.2.2.4)


@pytest.mark.parametrize(
    ("wanted", "present", "expected"),
    [
        ("CT*", "CT THORAX", True),
        ("*THORAX", "CT THORAX", True),
        ("*THO*", "CT THORAX", True),
        ("C?", "CT", True),
        ("C?", "C", False),
        ("C??", "CT", False),
        ("c*", "CT", False),
        ("[AC]T*", "CT THORAX", False),
        ("CT.*", "CT THORAX", False),
        ("*\n*", "one\ntwo", True),
    ],
)
def test_wild_card(wanted: str, present: str, expected: bool) -> None:
    assert match("StudyDescription", wanted, present) is expected


# Range (C.2.2.2.5)


@pytest.mark.parametrize(
    ("wanted", "present", "expected"),
    [
        ("20260301", "20260301", True),
        ("20260301", "20260302", False),
        ("20260301-20260303", "20260301", True),
        ("20260301-20260303", "20260303", True),
        ("20260301-20260303", "20260304", False),
        ("20260301-", "20991231", True),
        ("20260301-", "20260228", False),
        ("-20260301", "19000101", True),
        ("-20260301", "20260302", False),
        ("1993.08.22", "19930822", True),
        ("19930822", "1993.08.22", True),
    ],
)
def test_range_of_dates(wanted: str, present: str, expected: bool) -> None:
    assert match("StudyDate", wanted, present) is expected


@pytest.mark.parametrize(
    ("wanted", "present", "expected"),
    [
        ("1030", "103059.9", True),
        ("1030", "103100", False),
        ("10", "105959", True),
        ("103000", "1030", True),
        ("1030-1045", "104530", True),
        ("1030-1045", "104600", False),
        ("1030-", "235959", True),
        ("-1030", "000000", True),
        ("-1030", "103100", False),
        ("10:30-11:00", "104500", True),
        ("103000.5", "103000.500000", True),
        ("103000.5-", "103000.4", False),
    ],
)
def test_range_of_times(wanted: str, present: str, expected: bool) -> None:
    assert match("StudyTime", wanted, present) is expected


def test_a_date_and_a_time_with_open_ends() -> None:
    assert range_of("DA", "20260301-")[0] == "20260301"
    assert range_of("DA", "20260301-")[1] > "99991231"
    assert range_of("TM", "-1030") == ("000000000000", "103099999999")


# Sequence (C.2.2.2.6)


def test_sequence_matching_wants_all_keys_in_the_same_item() -> None:
    wanted = keys(ScheduledProcedureStepSequence={"Modality": "CT", "ScheduledStationAETitle": "B"})
    candidate = Dataset()
    candidate.ScheduledProcedureStepSequence = Sequence(
        [
            keys(Modality="CT", ScheduledStationAETitle="A"),
            keys(Modality="MR", ScheduledStationAETitle="B"),
        ]
    )
    assert not matches(wanted, candidate)
    candidate.ScheduledProcedureStepSequence[1].Modality = "CT"
    assert matches(wanted, candidate)


def test_a_sequence_key_does_not_match_an_empty_sequence() -> None:
    wanted = keys(ScheduledProcedureStepSequence={"Modality": "CT"})
    assert not matches(wanted, keys(ScheduledProcedureStepSequence=Sequence()))


# Names (C.2.2.2.1.1, PS3.5 6.2.1)


@pytest.mark.parametrize(
    ("wanted", "present", "expected"),
    [
        ("DOE^JANE", "Doe^Jane", True),
        ("doe^j*", "Doe^Jane", True),
        ("Doe", "Doe^Jane", False),
        ("Doe*", "Doe^Jane", True),
        ("Doe^Jane^^", "Doe^Jane", True),
        ("Doe^Jane", "Doe^Jane^^^", True),
        ("ÅS*", "Åse^Kari", True),
        ("STRASSE", "Straße", True),
        ("山田*", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("yamada*", "Yamada^Tarou=山田^太郎", True),
        ("Yamada^Tarou=山田^太郎", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("Yamada^Tarou=鈴木*", "Yamada^Tarou=山田^太郎", False),
        ("=山田*", "Yamada^Tarou=山田^太郎", True),
        ("=鈴木*", "Yamada^Tarou=山田^太郎", False),
        ("=山田*", "Smith^John", False),
        ("Smith^John=山田^太郎", "Smith^John", False),
        ("==やま*", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("Yamada*=*", "Yamada^Tarou", True),
    ],
)
def test_names(wanted: str, present: str, expected: bool) -> None:
    assert match("PatientName", wanted, present) is expected


# What steers the request, and what is not supported


def test_character_set_and_level_are_no_keys() -> None:
    wanted = keys(SpecificCharacterSet="ISO_IR 192", QueryRetrieveLevel="STUDY", PatientID="1")
    assert matches(wanted, keys(SpecificCharacterSet="ISO_IR 100", PatientID="1"))


def test_a_key_that_the_candidate_does_not_have_does_not_narrow() -> None:
    wanted = keys(PatientID="1", EthnicGroup="X")
    assert matches(wanted, keys(PatientID="1"))
    assert unsupported(wanted, keys(PatientID="1"))


def test_an_empty_key_that_the_candidate_does_not_have_is_not_unsupported() -> None:
    assert not unsupported(keys(EthnicGroup=""), keys(PatientID="1"))


def test_all_keys_must_match() -> None:
    candidate = keys(PatientID="1", Modality="CT")
    assert matches(keys(PatientID="1", Modality="CT"), candidate)
    assert not matches(keys(PatientID="1", Modality="MR"), candidate)


def test_an_answer_has_what_was_asked_for_and_nothing_else() -> None:
    candidate = keys(
        PatientID="1",
        PatientName="Doe",
        AccessionNumber="",
        ScheduledProcedureStepSequence={"Modality": "CT", "ScheduledStationAETitle": "A"},
    )
    wanted = keys(
        PatientID="*",
        AccessionNumber="",
        EthnicGroup="",
        ScheduledProcedureStepSequence={"Modality": ""},
    )
    assert project(wanted, candidate) == keys(
        PatientID="1", AccessionNumber="", ScheduledProcedureStepSequence={"Modality": "CT"}
    )


def test_a_sequence_asked_for_without_an_item_is_answered_whole() -> None:
    candidate = keys(RequestedProcedureCodeSequence={"CodeValue": "1", "CodeMeaning": "CT"})
    wanted = keys(RequestedProcedureCodeSequence=Sequence())
    assert project(wanted, candidate) == candidate


def test_an_answer_is_no_view_of_the_candidate() -> None:
    candidate = keys(ScheduledProcedureStepSequence={"Modality": "CT"})
    answer = project(keys(ScheduledProcedureStepSequence={"Modality": ""}), candidate)
    answer.ScheduledProcedureStepSequence[0].Modality = "MR"
    assert candidate.ScheduledProcedureStepSequence[0].Modality == "CT"


def test_empty_values_are_no_values() -> None:
    assert values_of(keys(ModalitiesInStudy=["CT", "", "SR "])["ModalitiesInStudy"]) == ["CT", "SR"]
    assert values_of(keys(ModalitiesInStudy=None)["ModalitiesInStudy"]) == []


def test_a_key_full_of_wild_cards_takes_no_longer_than_another() -> None:
    assert not wild_card("*a" * 20 + "b").fullmatch("a" * 60)
    assert wild_card("*a" * 20 + "*b").fullmatch("a" * 60 + "b")
