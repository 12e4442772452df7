"""Data sets from the DICOM JSON model (PS3.18 annex F), with every value checked."""

from __future__ import annotations

import json
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_WHOLE = ("US", "SS", "UL", "SL", "UV", "SV")


def read(body: bytes) -> Dataset:
    """Return the one data set that a payload holds.

    Raises
    ------
    ValueError
        If it is no such payload, or a value cannot be right; says which.
    """
    try:
        found = json.loads(body or b"{}")
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError("it is not JSON") from error
    if isinstance(found, list):
        if len(found) != 1:
            raise ValueError(f"it has {len(found)} data sets, not one")
        found = found[0]
    return _dataset(found)


def _dataset(found: Any) -> Dataset:
    if not isinstance(found, dict):
        raise ValueError("a data set is an object whose names are tags")
    made = Dataset()
    for tag, described in found.items():
        try:
            made.add(_element(int(tag, 16), described))
        except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
            raise ValueError(f"({str(tag)[:16]}) {error}") from error
    return made


def _element(tag: int, described: Any) -> DataElement:
    vr = str(described["vr"])
    try:
        usual = dictionary_VR(tag)
    except KeyError:
        usual = vr
    if vr != usual and vr not in usual.split(" or "):
        raise ValueError(f"has the VR {vr}, not {usual}")
    if {"InlineBinary", "BulkDataURI"} & set(described):
        raise ValueError("holds bulk data, which no step has")
    values = described.get("Value", [])
    if not isinstance(values, list):
        raise ValueError("has a Value that is no array")
    if vr == "SQ":
        return DataElement(tag, vr, Sequence([_dataset(item or {}) for item in values]))
    plain = [_plain(vr, value) for value in values]
    kept: Any = plain if len(plain) > 1 else plain[0] if plain else None
    return DataElement(tag, vr, kept, validation_mode=config.RAISE)


def _plain(vr: str, value: Any) -> Any:
    if value is None:
        return ""
    if vr == "PN":
        return "=".join(str(value.get(group, "")) for group in _GROUPS).rstrip("=")
    if isinstance(value, dict | list | bool):
        raise ValueError(f"has {json.dumps(value)[:40]} among its values")
    return int(value) if vr in _WHOLE else value if vr in ("FL", "FD") else str(value)
