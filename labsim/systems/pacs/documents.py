"""What is no picture: key objects, presentation states, reports, and other documents.

They are stored and sent as images are. Beside the keys of every instance a
query finds them by their own (PS3.4 C.6.1.1.5; IHE RAD-26, RAD-28, RAD-31),
which the index keeps together as DICOM JSON (PS3.18 annex F).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

from labsim.database import Database
from labsim.systems.facility import text_of
from labsim.table import Table

# Attributes of single instances by which, and with which, they are found.
KEYS = (
    "ContentDate", "ContentTime", "ContentLabel", "ContentDescription", "ContentCreatorName",
    "ConceptNameCodeSequence", "CompletionFlag", "VerificationFlag", "PreliminaryFlag",
    "VerifyingObserverSequence", "AuthorObserverSequence", "ReferencedRequestSequence",
    "CurrentRequestedProcedureEvidenceSequence", "PresentationCreationDate",
    "PresentationCreationTime", "ReferencedSeriesSequence", "DocumentTitle",
    "MIMETypeOfEncapsulatedDocument", "StructureSetLabel", "StructureSetDate", "RTPlanLabel",
    "RTPlanDate", "AcquisitionDate", "AcquisitionTime", "AcquisitionNumber", "ImageType",
    "ImageComments", "InstanceCreationDate", "InstanceCreationTime", "OperatorsName",
)  # fmt: skip
_TITLES = ("DocumentTitle", "ContentLabel", "StructureSetLabel", "RTPlanLabel")
_DATES = ("ContentDate", "PresentationCreationDate", "StructureSetDate", "RTPlanDate")
# It has pixels, and is no picture to look at.
_SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


def keys_of(header: Dataset) -> str:
    """Return those of `KEYS` that an instance has, as JSON; empty if it has none."""
    kept = Dataset()
    for keyword in KEYS:
        raw = header.get_item(keyword) if keyword in header else None
        # A value that was too long to be read is no key.
        if raw is None or (isinstance(raw, RawDataElement) and raw.value is None and raw.length):
            continue
        kept[keyword] = header[keyword]
    try:
        return kept.to_json(suppress_invalid_tags=True) if kept else ""
    except Exception:  # values that nobody can read are not found by them
        return ""


def with_keys(candidate: Dataset, kept: str, asked: Iterable[str]) -> None:
    """Give a candidate those of the kept keys that are asked for, empty where there is none."""
    known = Dataset.from_json(kept) if kept else Dataset()
    for keyword in asked:
        if keyword in KEYS and keyword not in candidate:
            if keyword in known:
                candidate[keyword] = known[keyword]
            else:
                vr = dictionary_VR(keyword)
                setattr(candidate, keyword, [] if vr == "SQ" else None)


def documents(db: Database, study_uid: str) -> Table:
    """Return what a study has beside its images.

    Parameters
    ----------
    db : Database
        The index.
    study_uid : str
        Of which study.
    """
    rows = db.rows(
        "SELECT i.sop_class, i.keys, se.description FROM instances i "
        "JOIN series se ON se.id = i.series JOIN studies st ON st.id = se.study "
        "WHERE st.study_uid = ? AND (i.rows = '' OR i.sop_class IN (?, ?)) ORDER BY i.id",
        study_uid,
        *_SEGMENTATION,
    )
    table = [_described(row["sop_class"], row["keys"], row["description"]) for row in rows]
    columns = ("kind", "title", "author", "date", "status")
    return Table(columns, table, "Documents of the study")


def _described(sop_class: str, kept: str, series: str) -> tuple[str, ...]:
    known = Dataset.from_json(json.loads(kept)) if kept else Dataset()
    kind = UID(sop_class).name.removesuffix(" Storage")
    status = [text_of(known.get(key)) for key in ("CompletionFlag", "VerificationFlag")]
    date = next((text_of(known[key].value) for key in _DATES if known.get(key)), "")
    return kind, _title(known) or series, _author(known), date, ", ".join(filter(None, status))


def _title(known: Dataset) -> str:
    for concept in known.get("ConceptNameCodeSequence") or []:
        return text_of(concept.get("CodeMeaning"))
    return next((text_of(known[key].value) for key in _TITLES if known.get(key)), "")


def _author(known: Dataset) -> str:
    people: list[Any] = [
        *(item.get("VerifyingObserverName") for item in known.get("VerifyingObserverSequence", [])),
        *(item.get("PersonName") for item in known.get("AuthorObserverSequence", [])),
        known.get("ContentCreatorName"),
        known.get("OperatorsName"),
    ]
    return next((text_of(name) for name in people if name), "")
