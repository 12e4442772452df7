"""A report as a DICOM document: Basic Text SR (PS3.3 A.35.1) after TID 2000 (PS3.16)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian

from labsim.imaging.codes import Code
from labsim.imaging.common import IMPLEMENTATION_NAME, IMPLEMENTATION_UID, date, time
from labsim.sop_classes import BASIC_TEXT_SR
from labsim.systems.performed_step import reference
from labsim.systems.ris.evidence import Reference
from labsim.systems.ris.report_text import ReportText

_SERIES_NUMBER = 900  # after those of the images
_TITLE = Code("18748-4", "Diagnostic Imaging Report", "LN")
_ROLES = {  # CID 7452
    "attending": Code("405279007", "Attending"),
    "resident": Code("405277009", "Resident"),
}
# Sections with the heading (CID 7001) and the element (CID 7002) of each.
_SECTIONS = {
    "history": (Code("11329-0", "History", "LN"), Code("11329-0", "History", "LN")),
    "technique": (
        Code("55111-9", "Current Procedure Descriptions", "LN"),
        Code("121065", "Procedure Description", "DCM"),
    ),
    "findings": (Code("59776-5", "Findings", "LN"), Code("121071", "Finding", "DCM")),
    "impression": (Code("19005-8", "Impressions", "LN"), Code("121073", "Impression", "DCM")),
}
_ADDENDUM = Code("55107-7", "Addendum", "LN"), Code("121071", "Finding", "DCM")
_KEY_IMAGE = Code("121080", "Best illustration of finding", "DCM")  # CID 7003


@dataclass(frozen=True)
class Signature:
    """Who signs, as what, where and when.

    Parameters
    ----------
    name : str
        ``"Family^Given"``.
    role : str
        ``"attending"`` or ``"resident"``.
    organization : str
        Where they work.
    at : datetime
        When.
    """

    name: str
    role: str
    organization: str
    at: datetime


def report_document(
    header: Dataset,
    text: ReportText,
    signature: Signature,
    procedure: Code,
    evidence: Sequence[Reference],
    key_images: Iterable[str] = (),
) -> FileDataset:
    """Return a report with its content (TID 2000).

    Parameters
    ----------
    header : Dataset
        Patient, study, series, instance and request: see `document_header`.
    text : ReportText
        Its sections.
    signature : Signature
        Who wrote it.
    procedure : Code
        What is reported on.
    evidence : sequence of Reference
        The images of the examination.
    key_images : iterable of str
        SOP Instance UIDs of those that show the findings best.

    Returns
    -------
    FileDataset
        Not signed yet: see `sign`.
    """
    document = _new(header)
    document.ValueType = "CONTAINER"
    document.ConceptNameCodeSequence = Items([_TITLE.item()])
    document.ContinuityOfContent = "SEPARATE"
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2000"
    document.ContentTemplateSequence = Items([template])
    if evidence:
        document.CurrentRequestedProcedureEvidenceSequence = _evidence(evidence)
    wanted = set(key_images)
    images = [_image(image) for image in evidence if image.sop_uid in wanted]
    content = [
        _code("HAS CONCEPT MOD", Code("121058", "Procedure reported", "DCM"), procedure),
        _code(  # TID 1204
            "HAS CONCEPT MOD",
            Code("121049", "Language of Content Item and Descendants", "DCM"),
            Code("en", "English", "RFC5646"),
        ),
        *_observer(signature),
    ]
    for section, (heading, element) in _SECTIONS.items():
        written = getattr(text, section).strip()
        if written:
            found = images if section == "findings" else []
            content.append(_container(heading, [_text(element, written, found)]))
    document.ContentSequence = Items(content)
    return document


def addendum_document(
    header: Dataset, signed: Dataset, text: str, signature: Signature
) -> FileDataset:
    """Return a signed report with something added: a document of its own, the old one in it.

    Parameters
    ----------
    header : Dataset
        As of the signed report, with a new SOP Instance UID and number.
    signed : Dataset
        The report, which stays as it is.
    text : str
        What is added.
    signature : Signature
        Who adds it.
    """
    document = _new(header)
    for keyword in (
        "ValueType",
        "ConceptNameCodeSequence",
        "ContinuityOfContent",
        "ContentTemplateSequence",
        "ContentSequence",
        "CurrentRequestedProcedureEvidenceSequence",
    ):
        if keyword in signed:
            setattr(document, keyword, copy.deepcopy(signed[keyword].value))
    heading, element = _ADDENDUM
    # Whoever adds it need not be the author of the rest (TID 2000, row 9).
    document.ContentSequence.append(
        _container(heading, [*_observer(signature), _text(element, text)])
    )
    return document


def sign(document: Dataset, signature: Signature, *, final: bool) -> None:
    """Complete the SR Document General Module (PS3.3 C.17.2).

    Parameters
    ----------
    document : Dataset
        The report.
    signature : Signature
        Who signs.
    final : bool
        Whether they take responsibility; a preliminary report is complete as
        far as it goes, and not verified.
    """
    document.PreliminaryFlag = "FINAL" if final else "PRELIMINARY"
    document.CompletionFlag = "COMPLETE"
    document.VerificationFlag = "VERIFIED" if final else "UNVERIFIED"
    document.ContentDate, document.ContentTime = date(signature.at), time(signature.at)
    document.ObservationDateTime = _moment(signature)
    author = Dataset()
    author.ObserverType = "PSN"
    author.PersonName = signature.name
    author.PersonIdentificationCodeSequence = Items()
    author.InstitutionName = signature.organization
    author.InstitutionCodeSequence = Items()
    document.AuthorObserverSequence = Items([author])
    if final:
        verifier = Dataset()
        verifier.VerifyingObserverName = signature.name
        verifier.VerifyingObserverIdentificationCodeSequence = Items()
        verifier.VerifyingOrganization = signature.organization
        verifier.VerificationDateTime = _moment(signature)
        document.VerifyingObserverSequence = Items([verifier])


def follow(document: Dataset, predecessor: Dataset) -> None:
    """Name the document that a new one takes the place of (PS3.3 C.17.2)."""
    place = Reference(
        predecessor.StudyInstanceUID,
        predecessor.SeriesInstanceUID,
        predecessor.SOPClassUID,
        predecessor.SOPInstanceUID,
    )
    document.PredecessorDocumentsSequence = _evidence([place])


def _new(header: Dataset) -> FileDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = BASIC_TEXT_SR
    meta.MediaStorageSOPInstanceUID = UID(header.SOPInstanceUID)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    document = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    document.SpecificCharacterSet = "ISO_IR 192"
    document.SOPClassUID = BASIC_TEXT_SR
    document.update(header)
    document.Modality = "SR"
    document.SeriesNumber = _SERIES_NUMBER
    document.SeriesDescription = "Reports"
    document.ReferencedPerformedProcedureStepSequence = Items()
    document.Manufacturer, document.ManufacturerModelName = "labsim", "labsim RIS"
    document.SoftwareVersions = "1"
    document.PerformedProcedureCodeSequence = Items()
    return document


def _evidence(images: Iterable[Reference]) -> Items:
    """Return a Hierarchical SOP Instance Reference (PS3.3 Table C.17-3)."""
    tree: dict[str, dict[str, Items]] = {}
    for image in images:
        series = tree.setdefault(image.study_uid, {}).setdefault(image.series_uid, Items())
        series.append(reference(image.sop_class, image.sop_uid))
    studies = []
    for study_uid, found in tree.items():
        study = Dataset()
        study.StudyInstanceUID = study_uid
        study.ReferencedSeriesSequence = Items(_series(*entry) for entry in found.items())
        studies.append(study)
    return Items(studies)


def _series(series_uid: str, references: Items) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = series_uid
    series.ReferencedSOPSequence = references
    return series


def _observer(signature: Signature) -> list[Dataset]:
    """Return a person as the observer (TID 1002, TID 1003)."""
    person = Code("121006", "Person", "DCM")
    name = _item("HAS OBS CONTEXT", "PNAME", Code("121008", "Person Observer Name", "DCM"))
    name.PersonName = signature.name
    organization = _item(
        "HAS OBS CONTEXT",
        "TEXT",
        Code("121009", "Person Observer's Organization Name", "DCM"),
    )
    organization.TextValue = signature.organization
    role = Code("121010", "Person Observer's Role in the Organization", "DCM")
    return [
        _code("HAS OBS CONTEXT", Code("121005", "Observer Type", "DCM"), person),
        name,
        organization,
        _code("HAS OBS CONTEXT", role, _ROLES[signature.role]),
    ]


def _container(heading: Code, content: Iterable[Dataset]) -> Dataset:
    item = _item("CONTAINS", "CONTAINER", heading)
    item.ContinuityOfContent = "SEPARATE"
    item.ContentSequence = Items(content)
    return item


def _text(element: Code, text: str, inferred_from: Sequence[Dataset] = ()) -> Dataset:
    item = _item("CONTAINS", "TEXT", element)
    item.TextValue = "\r\n".join(text.splitlines())  # how UT ends a line (PS3.5 6.1.3)
    if inferred_from:
        item.ContentSequence = Items(inferred_from)
    return item


def _image(image: Reference) -> Dataset:
    item = _item("INFERRED FROM", "IMAGE", _KEY_IMAGE)
    item.ReferencedSOPSequence = Items([reference(image.sop_class, image.sop_uid)])
    return item


def _code(relationship: str, concept: Code, value: Code) -> Dataset:
    item = _item(relationship, "CODE", concept)
    item.ConceptCodeSequence = Items([value.item()])
    return item


def _item(relationship: str, value_type: str, concept: Code) -> Dataset:
    item = Dataset()
    item.RelationshipType = relationship
    item.ValueType = value_type
    item.ConceptNameCodeSequence = Items([concept.item()])
    return item


def _moment(signature: Signature) -> str:
    return signature.at.strftime("%Y%m%d%H%M%S")
