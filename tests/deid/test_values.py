"""Dummies, shifted dates and words that may stay."""

from __future__ import annotations

import pytest
from pydicom.dataelem import DataElement

from labsim.deid.values import dummy, safe_text, shifted, words_of


@pytest.mark.parametrize(
    ("text", "days", "wanted"),
    [
        ("20260301", -1, "20260228"),
        ("20240301", -1, "20240229"),
        ("20260301080509.25+0100", -60, "20251231080509.25+0100"),
        ("202603", -1, "202602"),
        ("2026", -1, "2025"),
        ("", -1, ""),
        ("yesterday", -1, ""),
        ("20261301", -1, ""),
        ("00010101", -1, ""),
    ],
)
def test_a_date_moves_by_days_and_keeps_its_precision(text: str, days: int, wanted: str) -> None:
    assert shifted(text, days) == wanted


@pytest.mark.parametrize("vr", ["AS", "DA", "DT", "TM", "DS", "IS", "UR", "PN", "LO", "FD", "OB"])
def test_a_dummy_is_a_value_of_its_vr(vr: str) -> None:
    element = DataElement(0x00091001, vr, dummy(vr))  # warns, which fails, if it is none
    assert element.value not in ("", None)


def test_only_known_words_stay() -> None:
    words = words_of("CT thorax", "No acute finding.")
    assert safe_text("CT Thorax, Møller (bed 4)", words) == "CT Thorax"
    assert safe_text("No finding.\nDictated by Lindqvist", words) == "No finding."
    assert safe_text("Møller", words) == ""
