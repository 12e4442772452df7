"""What a rule of the archive asks of an image: attributes, the sender, the hour of the day."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from labsim.errors import ConfigurationError
from labsim.wire.matching import values_of, wild_card

Conditions = Mapping[str, list[str]]
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_TEXT = {"AE", "AS", "CS", "DA", "DS", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "US"}


def conditions_of(given: Mapping[str, object]) -> dict[str, list[str]]:
    """Return conditions in the form in which rules keep them.

    Parameters
    ----------
    given : mapping
        Keyword of an attribute, such as ``Modality``, to a value or a list of
        values, with wild cards ``*`` and ``?``; ``calling`` for the AE title
        that sent the image; ``hours`` for the hospital's time of day, such as
        ``"22:00-06:00"``. All have to be met; of a list, one value has to.

    Raises
    ------
    ConfigurationError
        If a keyword or an hour cannot be right.
    """
    made: dict[str, list[str]] = {}
    for name, value in given.items():
        values = [str(each) for each in value] if isinstance(value, (list, tuple)) else [str(value)]
        _check(name, values)
        made[name] = values
    return made


def met(conditions: Conditions, header: Dataset, calling: str, now: datetime) -> bool:
    """Tell whether an image meets all conditions of a rule."""
    return all(
        any(_meets(name, wanted, header, calling, now) for wanted in values)
        for name, values in conditions.items()
    )


def described(conditions: Conditions) -> str:
    """Return conditions as a person reads them."""
    return ", ".join(f"{name} {' or '.join(values)}" for name, values in conditions.items())


def _check(name: str, values: list[str]) -> None:
    if name == "hours":
        for hours in values:
            if not _HOURS.fullmatch(hours):
                raise ConfigurationError(
                    f"{hours!r} is no window of the day.", 'For example "22:00-06:00".'
                )
    elif name != "calling":
        if tag_for_keyword(name) is None:
            raise ConfigurationError(
                f"{name!r} is no keyword of the DICOM dictionary.",
                'For example "Modality"; "calling" is the sender, "hours" the time of day.',
            )
        if dictionary_VR(name) not in _TEXT:
            raise ConfigurationError(f"{name} is no text that a rule can compare.")


def _meets(name: str, wanted: str, header: Dataset, calling: str, now: datetime) -> bool:
    if name == "hours":
        return _within(wanted, now.strftime("%H:%M"))
    present = [calling] if name == "calling" else _present(header, name)
    return any(wild_card(wanted).fullmatch(value) for value in present)


def _present(header: Dataset, keyword: str) -> list[str]:
    return (values_of(header[keyword]) if keyword in header else []) or [""]


def _within(hours: str, now: str) -> bool:
    first, last = hours.split("-")
    if first <= last:
        return first <= now < last
    return now >= first or now < last  # over midnight
