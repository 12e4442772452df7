"""Specific Character Set (0008,0005): text that is read whatever it says, and answers that fit.

PS3.3 C.12.1.1.2 names the character sets, PS3.5 6.1.2.5 the escape sequences
between them. pydicom decodes what is right. This module looks after what is
not, and finds out in which set an answer can be written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydicom import config
from pydicom.charset import (
    CODES_TO_ENCODINGS,
    custom_encoders,
    decode_bytes,
    encode_string,
    python_encoding,
)
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS, PersonName

UNICODE = "ISO_IR 192"
_TEXT_VR = {"SH", "LO", "ST", "LT", "UC", "UT", "PN"}
_DEFAULT = {"", "ISO_IR 6", "ISO 2022 IR 6"}  # seven bits
_ESCAPE = b"\x1b"


def readable(dataset: Dataset, inherited: Sequence[str] = ()) -> list[str]:
    """Make sure that all text of a data set can be read, and say what was wrong with it.

    Text that its character set does not explain is read as UTF-8 if it is
    that, and as Latin 1 otherwise, so that the ASCII in it is right.

    Parameters
    ----------
    dataset : Dataset
        Text that was not right is replaced in it.
    inherited : sequence of str
        Specific Character Set of the data set around an item (PS3.5 7.5.3).

    Returns
    -------
    list of str
        One sentence for each thing that was wrong.
    """
    declared = declared_in(dataset) or list(inherited)
    unknown = [name for name in declared if name not in python_encoding]
    wrong = [f"character set {name!r} is not known" for name in unknown]
    encodings = [] if unknown else [python_encoding[name] for name in declared]
    seven_bits = set(declared) <= _DEFAULT
    for tag, element in list(dataset.items()):
        vr = _vr_of(tag, element)
        if vr == "SQ":
            for item in dataset[tag].value:
                wrong += readable(item, declared)
        elif (
            vr in _TEXT_VR
            and isinstance(element, RawDataElement)
            and element.value
            and (not element.value.isascii() or _ESCAPE in element.value)
            and (seven_bits or unknown or not _decodes(element.value, vr, encodings))
        ):
            text = _guess(element.value)
            name = DataElement(tag, vr, "").name
            dataset[tag] = DataElement(tag, vr, text, validation_mode=config.IGNORE)
            if not unknown:
                what = ", ".join(filter(None, declared)) or "no character set"
                wrong.append(f"{name} is not in {what}")
    return wrong


def declared_in(dataset: Dataset) -> list[str]:
    """Return the values of Specific Character Set; none if it is missing or empty."""
    value = dataset.get("SpecificCharacterSet")
    values = [value] if isinstance(value, str) else list(value or [])
    return [str(each).strip() for each in values] if any(values) else []


def fitting(declared: Sequence[str], texts: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the Specific Character Set for an answer.

    Parameters
    ----------
    declared : sequence of str
        What the request was written in.
    texts, names : iterable of str
        What is to be written; names are of VR PN.

    Returns
    -------
    list of str
        None for ASCII, what was declared if all can be written in it, and
        Unicode in UTF-8 otherwise.
    """
    texts, names = list(texts), list(names)
    if all(text.isascii() for text in (*texts, *names)):
        return []
    if not declared or any(name not in python_encoding for name in declared):
        return [UNICODE]
    encodings = [python_encoding[name] for name in declared]
    seven_bits = declared[0] in _DEFAULT
    parts = [part for name in names for part in re.split(r"[\^=]", name)]
    whole = all(_writes(text, encodings, seven_bits) for text in (*texts, *parts))
    if whole and all(_survives(text, encodings) for text in texts):
        again = (PersonName(PersonName(name).encode(encodings), encodings) for name in names)
        if [str(name) for name in again] == names:
            return list(declared)
    return [UNICODE]


def _vr_of(tag: BaseTag, element: DataElement | RawDataElement) -> str:
    if element.VR is not None:
        return str(element.VR)
    try:
        return dictionary_VR(tag)
    except KeyError:  # private, in implicit VR
        return "UN"


def _decodes(value: bytes, vr: str, encodings: Sequence[str]) -> bool:
    """Tell whether bytes are text in these encodings."""
    if _ESCAPE not in value:
        try:
            value.decode(encodings[0])
        except UnicodeError:
            return False
        return True
    for part in value.split(_ESCAPE)[1:]:
        code = _ESCAPE + part
        known = {CODES_TO_ENCODINGS.get(code[:length]) for length in (3, 4)} - {None}
        if not known & {*encodings, python_encoding["ISO_IR 6"]}:
            return False
    delimiters = PN_DELIMS if vr == "PN" else TEXT_VR_DELIMS
    return "\ufffd" not in decode_bytes(value, encodings, delimiters)


def _guess(value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeError:
        text = value.decode("latin-1")
    return text.rstrip(" \0")


def _writes(text: str, encodings: Sequence[str], seven_bits: bool) -> bool:
    """Tell whether each character is in one of the encodings, or all are in the only one."""
    if len(encodings) == 1 and not seven_bits:
        return _has(encodings[0], text)
    return all(
        char.isascii()
        or (
            # pydicom takes the default repertoire for Latin 1.
            not (seven_bits and char < "\u0100")
            and any(_has(encoding, char) for encoding in encodings[1 if seven_bits else 0 :])
        )
        for char in text
    )


def _has(encoding: str, char: str) -> bool:
    encoder: Any = custom_encoders.get(encoding)
    try:
        if encoder is not None:
            encoder(char, errors="strict")
        else:
            char.encode(encoding)
    except UnicodeError:
        return False
    return True


def _survives(text: str, encodings: Sequence[str]) -> bool:
    return decode_bytes(encode_string(text, encodings), encodings, TEXT_VR_DELIMS) == text
