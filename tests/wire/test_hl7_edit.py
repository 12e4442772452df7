"""One field of a message changed, all the rest as it came."""

from __future__ import annotations

import pytest

from labsim.errors import ConfigurationError
from labsim.wire.hl7_edit import Path, raw_value, with_changed, with_raw_value, without, written

TEXT = "MSH|^~\\&|HIS|X|RIS|X\rPID|1||P1^^^X~P2^^^Y||Doe^Jane\rOBX|1|TX|||a\\F\\b\rOBX|2\r"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("MSH-3", "HIS"),
        ("MSH-5", "RIS"),
        ("PID-3", "P1^^^X~P2^^^Y"),
        ("PID-3.1", "P1"),
        ("PID-3.4", "X"),
        ("PID-3.9", ""),
        ("PID-30", ""),
        ("OBX-5", "a\\F\\b"),
        ("ZDS-1", ""),
    ],
)
def test_a_value_is_read_as_it_stands(place: str, value: str) -> None:
    assert raw_value(TEXT, Path.of(place)) == value


@pytest.mark.parametrize(
    ("place", "old", "new"),
    [
        ("MSH-3", "|HIS|", "|v|"),
        ("MSH-8", "|RIS|X\r", "|RIS|X||v\r"),
        ("PID-3.1", "P1^^^X~", "v^^^X~"),
        ("PID-5.3", "Doe^Jane", "Doe^Jane^v"),
        ("PID-7", "Doe^Jane\r", "Doe^Jane||v\r"),
    ],
)
def test_only_the_one_place_is_written(place: str, old: str, new: str) -> None:
    assert with_raw_value(TEXT, Path.of(place), "v") == TEXT.replace(old, new)


def test_every_segment_of_a_name_is_changed() -> None:
    changed = with_changed(TEXT, Path.of("OBX-1"), lambda value: f"{value}0")
    assert changed == TEXT.replace("OBX|1", "OBX|10").replace("OBX|2", "OBX|20")


def test_what_is_not_there_stays_away() -> None:
    assert without(TEXT, Path.of("PID-40")) == TEXT
    assert with_raw_value(TEXT, Path.of("ZDS-1"), "1.2") == TEXT


def test_a_segment_is_left_out() -> None:
    assert without(TEXT, Path.of("OBX")) == TEXT.split("OBX")[0]
    assert without(TEXT, Path.of("PID-5")) == TEXT.replace("Doe^Jane", "")


def test_a_field_may_have_components_and_a_component_may_not() -> None:
    assert written("a^b|c", Path.of("PID-5")) == "a^b\\F\\c"
    assert written("a^b", Path.of("PID-5.1")) == "a\\S\\b"


@pytest.mark.parametrize("place", ["MSH", "MSH-1", "MSH-2", "MSH-2.1", "PID-0", "pid-5", "PID-5."])
def test_a_place_that_cannot_be_is_named(place: str) -> None:
    with pytest.raises(ConfigurationError, match="no place in a message"):
        Path.of(place)
