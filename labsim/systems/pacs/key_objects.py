"""Key Object Selection documents: written and read (PS3.3 A.35.4, PS3.16 TID 2010).

A rejection note of IHE Imaging Object Change Management is one, told from a
key image note by its title.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import UID, KeyObjectSelectionDocumentStorage

from labsim.errors import ConfigurationError
from labsim.imaging.codes import Code
from labsim.imaging.common import IMPLEMENTATION_NAME, IMPLEMENTATION_UID

# Document titles (PS3.16 CID 7010). These four reject (IHE RAD TF-1, Imaging Object Change
# Management) …
REJECTION_TITLES: Mapping[str, Code] = {
    "quality": Code("113001", "Rejected for Quality Reasons", "DCM"),
    "safety": Code("113037", "Rejected for Patient Safety Reasons", "DCM"),
    "worklist": Code("113038", "Incorrect Modality Worklist Entry", "DCM"),
    "expired": Code("113039", "Data Retention Policy Expired", "DCM"),
}
# … and these point out.
KEY_IMAGE_TITLES: Mapping[str, Code] = {
    "interest": Code("113000", "Of Interest", "DCM"),
    "referrer": Code("113002", "For Referring Provider", "DCM"),
    "surgery": Code("113003", "For Surgery", "DCM"),
    "teaching": Code("113004", "For Teaching", "DCM"),
    "conference": Code("113005", "For Conference", "DCM"),
}
# What was wrong with the quality: Document Title Modifier (PS3.16 CID 7011)
QUALITY_REASONS: Mapping[str, Code] = {
    "artifact": Code("111207", "Image artifact(s)", "DCM"),
    "grid": Code("111208", "Grid artifact(s)", "DCM"),
    "positioning": Code("111209", "Positioning", "DCM"),
    "motion": Code("111210", "Motion blur", "DCM"),
    "underexposed": Code("111211", "Under exposed", "DCM"),
    "overexposed": Code("111212", "Over exposed", "DCM"),
    "no image": Code("111213", "No image", "DCM"),
}
_MODIFIER = Code("113011", "Document Title Modifier", "DCM")
# Type 2 attributes that a note takes over from the images it is about
_SHARED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip


@dataclass(frozen=True)
class NoteNumbers:
    """UIDs and numbers of a new document.

    Parameters
    ----------
    series_uid, sop_uid : str
        New.
    series_number : int
        Series Number (0020,0011), beyond those of the scanner.
    """

    series_uid: str
    sop_uid: str
    series_number: int


def chosen(titles: Mapping[str, Code], word: str, what: str) -> Code:
    """Return a code by its word or its value.

    Raises
    ------
    ConfigurationError
        If it is none of the table.
    """
    for key, code in titles.items():
        if word in (key, code.value):
            return code
    raise ConfigurationError(
        f"{word!r} is no {what}.",
        "Use " + ", ".join(f"{key!r} ({code.meaning})" for key, code in titles.items()) + ".",
    )


def write_note(
    title: Code,
    images: Sequence[Dataset],
    numbers: NoteNumbers,
    now: datetime,
    *,
    institution: str,
    text: str = "",
    modifier: Code | None = None,
) -> Dataset:
    """Make a document about images of one study.

    Parameters
    ----------
    title : Code
        What it says of them.
    images : sequence of Dataset
        As the archive sends them.
    numbers : NoteNumbers
        Its own.
    now : datetime
        When.
    institution : str
        Where.
    text : str
        Key Object Description (113012, DCM).
    modifier : Code, optional
        What was wrong with the quality.
    """
    import highdicom as hd  # takes a second to load, and not every archive writes notes

    for image in images:
        image.decode()
        image.SpecificCharacterSet = "ISO_IR 192"
        for keyword in _SHARED:
            if keyword not in image:
                setattr(image, keyword, "")
    concept = hd.sr.CodedConcept(title.value, title.scheme, title.meaning)
    content = hd.ko.KeyObjectSelection(concept, images, description=text or None)
    note = hd.ko.KeyObjectSelectionDocument(
        images,
        content,
        numbers.series_uid,
        numbers.series_number,
        numbers.sop_uid,
        1,
        manufacturer="labsim",
        institution_name=institution,
    )
    if modifier is not None:
        item = hd.sr.CodeContentItem(
            hd.sr.CodedConcept(_MODIFIER.value, _MODIFIER.scheme, _MODIFIER.meaning),
            hd.sr.CodedConcept(modifier.value, modifier.scheme, modifier.meaning),
            relationship_type=hd.sr.RelationshipTypeValues.HAS_CONCEPT_MOD,
        )
        note.ContentSequence.insert(0, item)
    for item in note.ContentSequence:
        if item.ValueType in ("IMAGE", "COMPOSITE"):
            del item.ConceptNameCodeSequence  # no purpose of reference (PS3.16 TID 2010)
    _date(note, now)
    for keyword in ("IssuerOfPatientID", "StudyDescription"):
        if keyword in images[0]:
            note.add(images[0][keyword])
    note.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    note.file_meta.ImplementationVersionName = IMPLEMENTATION_NAME
    return note


def read_note(note: Dataset) -> tuple[str, str, list[str]]:
    """Return title code, description and the SOP Instance UIDs that a document names.

    The title is empty if it is not one of DICOM's own (PS3.16 annex D).
    """
    titles = note.get("ConceptNameCodeSequence") or [Dataset()]
    title = str(titles[0].get("CodeValue") or "")
    if titles[0].get("CodingSchemeDesignator") != "DCM":
        title = ""
    text = next(
        (
            str(item.get("TextValue") or "")
            for item in note.get("ContentSequence") or []
            if item.get("ValueType") == "TEXT"
        ),
        "",
    )
    uids = [
        str(sop.ReferencedSOPInstanceUID)
        for study in note.get("CurrentRequestedProcedureEvidenceSequence") or []
        for series in study.get("ReferencedSeriesSequence") or []
        for sop in series.get("ReferencedSOPSequence") or []
        if sop.get("ReferencedSOPInstanceUID")
    ]
    return title, text, uids


def is_note(dataset: Dataset) -> bool:
    """Tell whether a data set is a Key Object Selection document."""
    return bool(dataset.SOPClassUID == KeyObjectSelectionDocumentStorage)


def _date(note: Dataset, now: datetime) -> None:
    """Give a document the hospital's time instead of the machine's."""
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    for prefix in ("Content", "InstanceCreation", "Series"):
        for suffix, value in (("Date", date), ("Time", time)):
            if f"{prefix}{suffix}" in note:
                setattr(note, f"{prefix}{suffix}", value)
