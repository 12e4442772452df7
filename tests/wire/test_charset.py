from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_charset_files
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from labsim.wire.charset import declared_in, fitting, readable

UNICODE = ["ISO_IR 192"]
KANJI = ["", "ISO 2022 IR 87"]


def raw(charset: str | None, name: bytes) -> Dataset:
    """Return a data set as it is read, with a name nobody has decoded."""
    dataset = Dataset()
    if charset is not None:
        dataset.SpecificCharacterSet = charset.split("\\")
    tag = Tag("PatientName")
    dataset[tag] = RawDataElement(tag, "PN", len(name), name, 0, False, True)
    return dataset


@pytest.mark.parametrize("path", get_charset_files("*.dcm"), ids=lambda path: Path(path).name)
def test_what_is_right_is_left_alone(path: str) -> None:
    assert readable(dcmread(path)) == []


@pytest.mark.parametrize(
    ("charset", "name", "read", "wrong"),
    [
        (None, "Müller".encode("latin-1"), "Müller", "Patient's Name is not in no character set"),
        (None, "Müller".encode(), "Müller", "Patient's Name is not in no character set"),
        ("ISO_IR 192", "Müller".encode("latin-1"), "Müller", "Patient's Name is not in ISO_IR 192"),
        ("KLINGON", b"Worf", "Worf", "character set 'KLINGON' is not known"),
        ("KLINGON", "Müller".encode(), "Müller", "character set 'KLINGON' is not known"),
        (
            "\\ISO 2022 IR 149",
            b"\x1b$B;3ED",  # announced Korean, written Japanese
            "\x1b$B;3ED",
            "Patient's Name is not in ISO 2022 IR 149",
        ),
    ],
)
def test_what_is_wrong_is_read_as_far_as_it_goes(
    charset: str | None, name: bytes, read: str, wrong: str
) -> None:
    dataset = raw(charset, name)
    assert readable(dataset) == [wrong]
    assert str(dataset.PatientName) == read


def test_ascii_needs_no_character_set() -> None:
    assert readable(raw(None, b"Silva^Ines")) == []


def test_an_item_has_the_character_set_of_what_is_around_it() -> None:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.OtherPatientIDsSequence = [raw(None, "Müller".encode("latin-1"))]
    assert readable(dataset) == []
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.OtherPatientIDsSequence = [raw(None, "Müller".encode("latin-1"))]
    assert readable(dataset) == ["Patient's Name is not in ISO_IR 192"]


def test_a_single_value_and_many_are_declared_alike() -> None:
    dataset = Dataset()
    assert declared_in(dataset) == []
    dataset.SpecificCharacterSet = ""
    assert declared_in(dataset) == []
    dataset.SpecificCharacterSet = "ISO_IR 100"
    assert declared_in(dataset) == ["ISO_IR 100"]
    dataset.SpecificCharacterSet = KANJI
    assert declared_in(dataset) == KANJI


@pytest.mark.parametrize(
    ("declared", "name", "answer"),
    [
        ([], "Silva", []),
        (["ISO_IR 100"], "Silva", []),
        ([], "Müller", UNICODE),
        (["ISO_IR 6"], "Müller", UNICODE),
        (["KLINGON"], "Müller", UNICODE),
        (["ISO_IR 100"], "Müller", ["ISO_IR 100"]),
        (["ISO_IR 100"], "Łęcka", UNICODE),
        (["ISO_IR 101"], "Łęcka", ["ISO_IR 101"]),
        (["ISO_IR 109"], "Ĉapek", ["ISO_IR 109"]),
        (["ISO_IR 110"], "Ķīne", ["ISO_IR 110"]),
        (["ISO_IR 126"], "Διονυσιος", ["ISO_IR 126"]),
        (["ISO_IR 127"], "قباني^لنزار", ["ISO_IR 127"]),
        (["ISO_IR 138"], "שרון^דבורה", ["ISO_IR 138"]),
        (["ISO_IR 144"], "Люкceмбypг", ["ISO_IR 144"]),
        (["ISO_IR 148"], "Çavuş", ["ISO_IR 148"]),
        (["ISO_IR 166"], "นามสกุล", ["ISO_IR 166"]),
        (["ISO_IR 13"], "ﾔﾏﾀﾞ^ﾀﾛｳ", ["ISO_IR 13"]),
        (["ISO_IR 13"], "山田", UNICODE),
        (KANJI, "Yamada^Tarou=山田^太郎=やまだ^たろう", KANJI),
        (KANJI, "Müller", UNICODE),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", ["", "ISO 2022 IR 149"]),
        (["GB18030"], "Wang^XiaoDong=王^小东", ["GB18030"]),
        (["GBK"], "Wang^XiaoDong=王^小东", ["GBK"]),
        (UNICODE, "Łęcka", UNICODE),
    ],
)
def test_an_answer_is_written_in_what_was_asked_in_if_that_has_the_characters(
    declared: list[str], name: str, answer: list[str]
) -> None:
    assert fitting(declared, [], [name]) == answer
    if "=" not in name and "^" not in name:
        assert fitting(declared, [name], []) == answer
