"""What is left of a document or of drawings when nothing they say may be told.

The Basic Profile replaces the whole Content Sequence and Graphic Annotation Sequence by dummies
(PS3.15 Table E.1-1, D); their options clean them instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.deid.values import REMOVED

_REFERENCES = {"IMAGE", "COMPOSITE", "WAVEFORM"}
# Coding schemes whose meanings are published; one of a site's own may say anything.
_PUBLISHED = {"DCM", "SCT", "SRT", "SNM3", "LN", "UCUM", "RADLEX", "UMLS", "FMA", "NCIt", "MDC"}
# Subject context (PS3.16 TID 1007): birth date, and sex and age
_BIRTH_DATE = {("121031", "DCM")}
_CHARACTERISTICS = {("121032", "DCM"), ("121033", "DCM")}


def only_references(items: Iterable[Dataset]) -> list[Dataset]:
    """Return content items that say only which objects a document is about.

    A key object selection stays one, a report becomes a list of images; without any there is one
    comment that says it was removed.
    """
    found = [item for item in _all(items) if item.get("ValueType") in _REFERENCES]
    return [_reference(item) for item in found] or [_nothing()]


def _all(items: Iterable[Dataset]) -> Iterator[Dataset]:
    for item in items:
        yield item
        yield from _all(item.get("ContentSequence") or [])


def _reference(item: Dataset) -> Dataset:
    bare = Dataset()
    bare.RelationshipType = "CONTAINS"
    bare.ValueType = item.ValueType
    bare.ReferencedSOPSequence = deepcopy(item.ReferencedSOPSequence)
    return bare


def _nothing() -> Dataset:
    comment, concept = Dataset(), Dataset()
    concept.CodeValue, concept.CodingSchemeDesignator = "121106", "DCM"
    concept.CodeMeaning = "Comment"
    comment.RelationshipType, comment.ValueType = "CONTAINS", "TEXT"
    comment.ConceptNameCodeSequence = Sequence([concept])
    comment.TextValue = REMOVED
    return comment


def without_drawings(items: Iterable[Dataset]) -> list[Dataset]:
    """Return graphic annotations of which only layer and images are left (PS3.3 C.10.5)."""
    return [_blank(item) for item in items]


def _blank(item: Dataset) -> Dataset:
    blank, text = Dataset(), Dataset()
    for keyword in ("ReferencedImageSequence", "GraphicLayer"):
        if keyword in item:
            blank[keyword] = deepcopy(item[keyword])
    text.AnchorPointAnnotationUnits = "DISPLAY"
    text.UnformattedTextValue = REMOVED
    text.AnchorPoint = [0.0, 0.0]
    text.AnchorPointVisibility = "N"
    blank.TextObjectSequence = Sequence([text])
    return blank


def is_published(item: Dataset) -> bool:
    """Tell whether the meaning of a coded entry is a standard's own."""
    return str(item.get("CodingSchemeDesignator", "")) in _PUBLISHED


def describes_subject(item: Dataset, *, characteristics: bool) -> bool:
    """Tell whether a content item says of the patient what may not be said.

    The birth date never, as in the Patient Module; sex and age where characteristics are retained.
    """
    untold = _BIRTH_DATE if characteristics else _BIRTH_DATE | _CHARACTERISTICS
    return any(
        (str(name.get("CodeValue")), str(name.get("CodingSchemeDesignator"))) in untold
        for name in item.get("ConceptNameCodeSequence") or []
    )
