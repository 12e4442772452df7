"""Attribute matching of C-FIND (PS3.4 C.2.2.2), for the worklist and for the archive.

Pure functions on data sets: what is asked (the Identifier of the request)
against what is there (a candidate that holds every attribute the system
supports, empty ones too).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

# These steer the request and are no keys.
_NOT_KEYS = {"SpecificCharacterSet", "QueryRetrieveLevel", "TimezoneOffsetFromUTC"}
# Wild cards work on text only (PS3.4 C.2.2.2.4).
_WILD_CARD_VR = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}


def matches(identifier: Dataset, candidate: Dataset, *, combined: bool = False) -> bool:
    """Tell whether a candidate matches every key of a request.

    A key that the candidate does not have is not supported and does not
    narrow the answer.

    Parameters
    ----------
    identifier : Dataset
        The request's keys.
    candidate : Dataset
        One entry.
    combined : bool
        Whether a date and a time that belong together are matched as one
        (PS3.4 C.2.2.2.5), which must have been negotiated.
    """
    paired = _pairs(identifier, candidate) if combined else []
    for date, time in paired:
        if not _combined_matches(identifier, candidate, date, time):
            return False
    separate = {keyword for pair in paired for keyword in pair} | _NOT_KEYS
    for key in identifier:
        if key.keyword in separate or key.tag not in candidate or is_universal(key):
            continue
        if not _element_matches(key, candidate[key.tag]):
            return False
    return True


def project(identifier: Dataset, candidate: Dataset) -> Dataset:
    """Return what the request asked for, with the candidate's values, in the same nesting."""
    answer = Dataset()
    for key in identifier:
        if key.keyword in _NOT_KEYS or key.tag not in candidate:
            continue
        found = candidate[key.tag]
        if key.VR == "SQ" and key.value:
            items = [project(key.value[0], item) for item in found.value]
            answer.add_new(key.tag, "SQ", Sequence(items))
        else:
            answer.add_new(found.tag, found.VR, found.value)
    return answer


def unsupported(identifier: Dataset, candidate: Dataset) -> bool:
    """Tell whether the request has a key with a value that the candidate does not have."""
    return any(
        key.keyword not in _NOT_KEYS and key.tag not in candidate and not is_universal(key)
        for key in identifier
    )


def is_universal(key: DataElement) -> bool:
    """Tell whether a key matches everything: no value, or ``*`` alone (PS3.4 C.2.2.2.3)."""
    if key.VR == "SQ":
        return not key.value or all(is_universal(inner) for inner in key.value[0])
    return not values_of(key) or (key.VR in _WILD_CARD_VR and set(values_of(key)) == {"*"})


def values_of(element: DataElement) -> list[str]:
    """Return the values of an element as text, without empty ones."""
    value = element.value
    many = value if isinstance(value, (list, tuple)) or element.VM > 1 else [value]
    return [text for text in (_plain(item) for item in many) if text]


def _plain(value: Any) -> str:
    return "" if value is None else str(value).rstrip(" \0")


def _element_matches(key: DataElement, found: DataElement) -> bool:
    if key.VR == "SQ":
        return any(matches(key.value[0], item) for item in found.value)
    wanted, present = values_of(key), values_of(found)
    test = _TESTS.get(str(key.VR), _text)
    return any(test(str(key.VR), want, have) for want in wanted for have in present)


def _pairs(identifier: Dataset, candidate: Dataset) -> list[tuple[str, str]]:
    """Return the dates that are asked for together with their times."""
    dates = [key.keyword for key in identifier if key.VR == "DA" and not is_universal(key)]
    pairs = [(date, f"{date.removesuffix('Date')}Time") for date in dates]
    return [
        (date, time)
        for date, time in pairs
        if time in identifier
        and not is_universal(identifier[time])
        and date in candidate
        and time in candidate
    ]


def _combined_matches(identifier: Dataset, candidate: Dataset, date: str, time: str) -> bool:
    """Compare from the first time of the first date to the last time of the last date."""
    present_date, present_time = values_of(candidate[date]), values_of(candidate[time])
    if not present_date or not present_time:
        return False
    first_date, last_date = range_of("DA", values_of(identifier[date])[0])
    first_time, last_time = range_of("TM", values_of(identifier[time])[0])
    present = (_padded("DA", present_date[0], "0"), _padded("TM", present_time[0], "0"))
    return (first_date, first_time) <= present <= (last_date, last_time)


def _text(vr: str, wanted: str, present: str) -> bool:
    if vr in _WILD_CARD_VR and set(wanted) & set("*?"):
        return wild_card(wanted).fullmatch(present) is not None
    return wanted == present


def _number(vr: str, wanted: str, present: str) -> bool:
    try:
        return float(wanted) == float(present)
    except ValueError:
        return wanted == present


def _person(vr: str, wanted: str, present: str) -> bool:
    """Compare names without regard to case, by component group (PS3.5 6.2.1).

    A request without ``=`` may mean any of a name's groups.
    """
    have = [name_key(group) for group in present.split("=")]
    if "=" not in wanted:
        return any(wild_card(name_key(wanted)).fullmatch(group) for group in have)
    # A group that is asked for and is not there does not match.
    pairs = itertools.zip_longest(wanted.split("="), have, fillvalue="")
    return all(wild_card(name_key(want)).fullmatch(group) for want, group in pairs if want)


def name_key(group: str) -> str:
    """Return the form in which names are compared: folded case, no empty components at the end."""
    return group.casefold().rstrip("^ ")


@functools.lru_cache(maxsize=256)
def wild_card(pattern: str) -> re.Pattern[str]:
    """Turn ``*`` and ``?`` into a regular expression.

    Between two stars the first place that fits is as good as any other, so it is never given
    up again: a request full of stars takes no longer than one with a few.
    """
    pieces = ["".join("." if c == "?" else re.escape(c) for c in p) for p in pattern.split("*")]
    between = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1] if piece)
    last = f".*{pieces[-1]}" if len(pieces) > 1 else ""
    return re.compile(pieces[0] + between + last, re.DOTALL)


def _range(vr: str, wanted: str, present: str) -> bool:
    first, last = range_of(vr, wanted)
    return first <= _padded(vr, present, "0") and _padded(vr, present, "0") <= last


def range_of(vr: str, wanted: str) -> tuple[str, str]:
    """Return the first and last value that a date or time key means (PS3.4 C.2.2.2.5).

    ``"20260101-20260131"`` is a range, ``"20260101-"`` has no end, and
    ``"1030"`` of a time is the whole minute.
    """
    first, dash, last = wanted.partition("-")
    if not dash:
        last = first
    return _padded(vr, first, "0"), _padded(vr, last, "9") if last else "~"


def _padded(vr: str, value: str, fill: str) -> str:
    if vr == "DA":
        return value.replace(".", "")  # ACR-NEMA wrote 1993.08.22, and such files exist
    digits = value.replace(":", "").replace(".", "")
    return digits.ljust(12 if vr == "TM" else 20, fill)


_TESTS: Mapping[str, Callable[[str, str, str], bool]] = {
    "PN": _person,
    "DA": _range,
    "TM": _range,
    "DT": _range,
    "IS": _number,
    "DS": _number,
    "US": _number,
    "UL": _number,
}
