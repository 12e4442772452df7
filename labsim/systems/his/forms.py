"""The forms that a clerk's entries must have."""

from __future__ import annotations

import re
from datetime import date

from labsim.errors import ConfigurationError


def name_of(text: str) -> str:
    """Return a name that HL7 and DICOM can both carry."""
    if not text.strip("^ ") or set(text) & set("\\=\r\n") or len(text) > 64:
        raise ConfigurationError(
            f"{text!r} is no name.", 'Write it as "Family^Given", at most 64 characters.'
        )
    return text.strip("^ ")


def birth_date_of(text: str) -> str:
    """Return a date of birth as HL7 and DICOM write it."""
    refused = ConfigurationError(f"{text!r} is no date of birth.", 'Write it as "1970-01-31".')
    if not re.fullmatch(r"(18|19|20)\d\d(-?)\d\d\2\d\d", text, re.ASCII):
        raise refused
    try:
        date.fromisoformat(text)
    except ValueError as error:  # 30 February, for one
        raise refused from error
    return text.replace("-", "")


def sex_of(text: str) -> str:
    """Return a code of HL7 table 0001 that DICOM has too, or U."""
    if text not in ("F", "M", "O", "U"):
        raise ConfigurationError(f"{text!r} is not in HL7 table 0001.", "Use F, M, O or U.")
    return text


def location_of(text: str) -> str:
    """Return a location: point of care, room and bed (PV1-3)."""
    if not re.fullmatch(r"[^\^\\\r\n]+(\^[^\^\\\r\n]*){0,2}", text):
        raise ConfigurationError(
            f"{text!r} is no location.", 'Write it as "point of care^room^bed", such as "3W^12^A".'
        )
    return text
