"""The Basic Application Level Confidentiality Profile with its options (PS3.15 E.1 to E.3).

`table_e1_1.csv` is Table E.1-1: one line an attribute, the action of the Basic Profile in edition
2026c, those of the options in edition 2025b. It is a data file of ours because no library is
a source for all of it: dicom-anonymizer 2.1 has the column of the Basic Profile and none of
the options, takes each compound action for its last letter and looks into no sequence; dicognito
and deid have lists of their own choosing; idiscore, which has the columns, works with pydicom 2
only and is under another licence.

A compound action such as X/Z/D is decided by the type that the attribute has in the IOD
(PS3.3, PS3.5 7.4): removed if optional, emptied if it may be empty, a dummy if it needs a value.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files

from pydicom.tag import BaseTag
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    EnhancedSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    XRayRadiationDoseSRStorage,
)

from labsim.errors import ConfigurationError


class Option(Enum):
    """What may be kept or cleaned beside the Basic Profile (PS3.15 E.3).

    The value is the code of CID 7050 in PS3.16.
    """

    CLEAN_PIXEL_DATA = "113101"
    CLEAN_VISUAL_FEATURES = "113102"
    CLEAN_GRAPHICS = "113103"
    CLEAN_STRUCTURED_CONTENT = "113104"
    CLEAN_DESCRIPTORS = "113105"
    RETAIN_FULL_DATES = "113106"
    RETAIN_MODIFIED_DATES = "113107"
    RETAIN_PATIENT_CHARACTERISTICS = "113108"
    RETAIN_DEVICE = "113109"
    RETAIN_UIDS = "113110"
    RETAIN_SAFE_PRIVATE = "113111"
    RETAIN_INSTITUTION = "113112"

    @property
    def meaning(self) -> str:
        """Code Meaning (0008,0104)."""
        return _MEANINGS[self]


BASIC_PROFILE = ("113100", "Basic Application Confidentiality Profile")
_MEANINGS = {
    Option.CLEAN_PIXEL_DATA: "Clean Pixel Data Option",
    Option.CLEAN_VISUAL_FEATURES: "Clean Recognizable Visual Features Option",
    Option.CLEAN_GRAPHICS: "Clean Graphics Option",
    Option.CLEAN_STRUCTURED_CONTENT: "Clean Structured Content Option",
    Option.CLEAN_DESCRIPTORS: "Clean Descriptors Option",
    Option.RETAIN_FULL_DATES: "Retain Longitudinal Temporal Information Full Dates Option",
    Option.RETAIN_MODIFIED_DATES: "Retain Longitudinal Temporal Information Modified Dates Option",
    Option.RETAIN_PATIENT_CHARACTERISTICS: "Retain Patient Characteristics Option",
    Option.RETAIN_DEVICE: "Retain Device Identity Option",
    Option.RETAIN_UIDS: "Retain UIDs Option",
    Option.RETAIN_SAFE_PRIVATE: "Retain Safe Private Option",
    Option.RETAIN_INSTITUTION: "Retain Institution Identity Option",
}
_COLUMNS = {
    "uids": Option.RETAIN_UIDS,
    "device": Option.RETAIN_DEVICE,
    "institution": Option.RETAIN_INSTITUTION,
    "patient": Option.RETAIN_PATIENT_CHARACTERISTICS,
    "full_dates": Option.RETAIN_FULL_DATES,
    "modified_dates": Option.RETAIN_MODIFIED_DATES,
    "descriptors": Option.CLEAN_DESCRIPTORS,
    "structured": Option.CLEAN_STRUCTURED_CONTENT,
    "graphics": Option.CLEAN_GRAPHICS,
}


class Action(Enum):
    """What is done with an attribute (PS3.15 Table E.1-1a)."""

    DUMMY = "D"
    EMPTY = "Z"
    REMOVE = "X"
    KEEP = "K"
    CLEAN = "C"
    UID = "U"


@dataclass(frozen=True)
class Rule:
    """One line of Table E.1-1.

    Parameters
    ----------
    keyword : str
        Of the attribute.
    basic : str
        What the Basic Profile does: ``"X"``, or a choice such as ``"X/Z/D"``.
    options : mapping
        What an option does instead: ``"K"`` or ``"C"``.
    """

    keyword: str
    basic: str
    options: Mapping[Option, str]


# Free text that the table does not name, and where people write names all the same. PS3.15 E.1.1
# leaves it to the de-identifier to look for such.
_CLEANED = {Option.CLEAN_DESCRIPTORS: "C"}
_BEYOND = {
    "00620005": Rule("SegmentLabel", "D", _CLEANED),
    "00620006": Rule("SegmentDescription", "X", _CLEANED),
    "00620020": Rule("TrackingID", "D", _CLEANED),
    "00700068": Rule("GraphicLayerDescription", "X", _CLEANED),
    "00700080": Rule("ContentLabel", "D", {}),
    "00700081": Rule("ContentDescription", "Z", _CLEANED),
}


@cache
def table() -> dict[str, Rule]:
    """Return Table E.1-1 by tag: ``"00100010"``, or ``"60xx3000"`` of a repeating group."""
    rules = dict(_BEYOND)
    text = files("labsim.deid").joinpath("table_e1_1.csv").read_text(encoding="utf-8")
    for line in csv.DictReader(text.splitlines()):
        options = {option: line[name] for name, option in _COLUMNS.items() if line[name]}
        rules[line["tag"]] = Rule(line["keyword"], line["basic"], options)
    return rules


def rule_of(tag: BaseTag) -> Rule | None:
    """Return the line of the table for an attribute, None if it has none."""
    name = f"{int(tag):08X}"
    if name[:2] in ("50", "60") and tag.group % 2 == 0:
        repeating = "50xxxxxx" if name[:2] == "50" else f"60xx{name[4:]}"
        return table().get(repeating)
    return table().get(name)


_XRAY = {
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
}
_ULTRASOUND = {UltrasoundImageStorage, UltrasoundMultiFrameImageStorage}
_DOCUMENTS = {
    BasicTextSRStorage,
    EnhancedSRStorage,
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
    XRayRadiationDoseSRStorage,
    KeyObjectSelectionDocumentStorage,
}
_PRESENTATIONS = {GrayscaleSoftcopyPresentationStateStorage}
_KNOWN = {
    *_XRAY,
    *_ULTRASOUND,
    *_DOCUMENTS,
    *_PRESENTATIONS,
    CTImageStorage,
    MRImageStorage,
    ComputedRadiographyImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
}
# The attributes of the table that are not optional in these IODs: where of type 1, where of type 2
# (PS3.3 Annex A and what it refers to; a condition is taken as met by what has the attribute).
_TYPES: Mapping[str, tuple[Collection[str], Collection[str]]] = {
    "AcquisitionContextSequence": ((), _XRAY),
    "AcquisitionDateTime": (_ULTRASOUND, ()),
    "ContentDate": ({*_DOCUMENTS, SegmentationStorage}, _KNOWN),
    "ContentTime": ({*_DOCUMENTS, SegmentationStorage}, _KNOWN),
    "DeviceSerialNumber": ({SegmentationStorage, XRayRadiationDoseSRStorage}, ()),
    "ObservationDateTime": (_DOCUMENTS, ()),
    "PatientSexNeutered": ((), _KNOWN),
    "PresentationCreationDate": (_PRESENTATIONS, ()),
    "PresentationCreationTime": (_PRESENTATIONS, ()),
    "ReferencedRequestSequence.RequestedProcedureID": ((), _KNOWN),
    "ReferencedPerformedProcedureStepSequence": ({*_XRAY, SegmentationStorage}, _DOCUMENTS),
}


class Profile:
    """The Basic Profile with some options.

    Parameters
    ----------
    options : iterable of Option or str
        ``Option.RETAIN_UIDS`` or its name ``"retain_uids"``, and so on.

    Raises
    ------
    ConfigurationError
        If there is no such option, or two exclude each other.
    """

    def __init__(self, options: Iterable[Option | str] = ()) -> None:
        named = [options] if isinstance(options, str) else options
        chosen = {_option(option) for option in named}
        if {Option.RETAIN_FULL_DATES, Option.RETAIN_MODIFIED_DATES} <= chosen:
            raise ConfigurationError(
                "Dates are either kept or shifted.",
                "Choose retain_full_dates or retain_modified_dates (PS3.15 E.3.6).",
            )
        if Option.CLEAN_VISUAL_FEATURES in chosen:
            raise ConfigurationError(
                "Nothing here takes a face out of a head's slices.",
                "Leave clean_visual_features out, and release no series that shows a face.",
            )
        self.options = frozenset(chosen)

    def action(self, tag: BaseTag, sop_class: str = "", parent: str = "") -> Action:
        """Return what to do with a standard attribute.

        Parameters
        ----------
        tag : BaseTag
            Which.
        sop_class : str
            SOP Class UID of the instance: decides a choice such as X/Z/D.
        parent : str
            Keyword of the sequence whose item has it. Its type there, and in an IOD that is not
            known here, is taken to be the strictest, which leaves any IOD valid.
        """
        rule = rule_of(tag)
        if rule is None:
            return Action.KEEP
        allowed = {rule.options.get(option) for option in self.options}
        for letter in ("K", "C"):
            if letter in allowed:
                return Action(letter)
        place = f"{parent}.{rule.keyword}" if parent else rule.keyword
        return _decide(rule.basic.replace("U*", "U").split("/"), _types(place, sop_class))


def _option(named: Option | str) -> Option:
    if isinstance(named, Option):
        return named
    try:
        return Option[named.upper()]
    except KeyError:
        known = ", ".join(option.name.lower() for option in Option)
        raise ConfigurationError(
            f"The profile has no option {named!r}.", f"There are {known}."
        ) from None


def _types(place: str, sop_class: str) -> int | None:
    """Return the type of an attribute where it matters, None where nobody here knows it."""
    if place in _TYPES and sop_class in _KNOWN:
        required, may_be_empty = _TYPES[place]
        return 1 if sop_class in required else 2 if sop_class in may_be_empty else 3
    return 3 if sop_class in _KNOWN and "." not in place else None


def _decide(choices: list[str], kind: int | None) -> Action:
    if choices == ["X"] and kind in (1, 2):
        # The table removes what the IOD cannot do without.
        return Action.DUMMY if kind == 1 else Action.EMPTY
    if kind == 2 and "Z" in choices:
        return Action.EMPTY
    return Action(choices[0] if kind == 3 else choices[-1])
