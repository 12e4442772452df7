"""Values instead of the real ones: dummies by VR, and dates some days off."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import date, timedelta
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue

REMOVED = "REMOVED"
_WORD = re.compile(r"([^\W_]+(?:['’-][^\W_]+)*)[.,;:]?")  # with the mark that follows it
_DUMMIES: dict[str, Any] = {
    "AS": "000Y",
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "DS": "0",
    "IS": "0",
    "UR": "http://removed.invalid",
} | dict.fromkeys(("FL", "FD", "SL", "SS", "SV", "UL", "US", "UV", "AT"), 0)
_BYTES = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
TEXTS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"})


def dummy(vr: str) -> Any:
    """Return a value of a VR that says nothing (PS3.15 Table E.1-1a, D)."""
    if vr in _BYTES:
        return b"\0\0\0\0\0\0\0\0"
    return _DUMMIES.get(vr, REMOVED)


def each(element: DataElement, change: Callable[[str], str]) -> Any:
    """Return the value of an element with each of its values changed."""
    if isinstance(element.value, MultiValue):
        return [change(str(one)) for one in element.value]
    return change(str(element.value)) if element.value not in (None, "") else element.value


def shifted(text: str, days: int) -> str:
    """Return a date or date and time (PS3.5 6.2, DA and DT) some days later.

    What is after the day stays; a date that ends at the year or month keeps that precision.
    One that is none becomes empty.
    """
    found = re.match(r"\d{4}(\d{2}){0,2}", text.strip())
    if not found:
        return ""
    known = found.group()
    try:
        original = date(int(known[:4]), int(known[4:6] or 1), int(known[6:] or 1))
        moved = original + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    written = f"{moved.year:04}{moved.month:02}{moved.day:02}"
    return written[: len(known)] + text.strip()[len(known) :]


def safe_text(text: str, words: Collection[str]) -> str:
    """Return a text without the words that nobody knows to be safe (PS3.15 E.3.5).

    Parameters
    ----------
    text : str
        A description.
    words : collection of str
        Those known to say nothing of a person, in lower case.
    """
    lines = (
        " ".join(found.group() for found in _WORD.finditer(line) if found[1].lower() in words)
        for line in text.splitlines()
    )
    return "\n".join(line for line in lines if line).strip(" ,;:")


def words_of(*texts: str) -> frozenset[str]:
    """Return the words of texts that are safe themselves, such as a catalogue's."""
    return frozenset(found[1].lower() for text in texts for found in _WORD.finditer(text))
