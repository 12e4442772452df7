"""Identifiers."""

from __future__ import annotations

import pytest

from labsim.ids import is_ae_title, is_uid, make_uid


def test_the_same_thing_has_the_same_uid() -> None:
    assert make_uid("study", 7, 1) == make_uid("study", 7, 1)


def test_different_things_have_different_uids() -> None:
    uids = {make_uid("image", seed, number) for seed in range(20) for number in range(50)}
    assert len(uids) == 1000


def test_a_uid_is_one_that_dicom_allows() -> None:
    for number in range(200):
        uid = make_uid("series", number)
        assert is_uid(uid)
        assert len(uid) <= 44
        assert uid.startswith("2.25.")
        assert not any(part.startswith("0") for part in uid.split("."))


@pytest.mark.parametrize("text", ["1", "1.2.840.10008.1.1", "1.02.3", "1" * 64])
def test_digits_and_dots_are_a_uid(text: str) -> None:
    assert is_uid(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "1.", ".1", "1..2", "1.2a", "1/2", "../1", "1\\2", " 1", "1\n", "1" * 65, "१.२"],
)
def test_anything_else_is_no_uid(text: str) -> None:
    assert not is_uid(text)


@pytest.mark.parametrize("text", ["A", "CT1", "ct_1", "A" * 16, "ARCHIVE 2", "~!#"])
def test_sixteen_characters_are_an_ae_title(text: str) -> None:
    assert is_ae_title(text)


@pytest.mark.parametrize("text", ["", " ", " " * 16, "A" * 17, "A\\B", "CT\n", "CT\n1", "RÖNTGEN"])
def test_anything_else_is_no_ae_title(text: str) -> None:
    assert not is_ae_title(text)
