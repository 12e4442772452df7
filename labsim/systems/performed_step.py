"""What a scanner tells of its work: the Modality Performed Procedure Step (PS3.4 F.7.2).

And what it writes into its images so that they fit: the same attributes in the
worklist, in the performed step and in the images (IHE RAD TF-2x appendix A;
PS3.17 annex J).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.errors import ConfigurationError
from labsim.imaging.common import request_attributes
from labsim.sop_classes import MPPS
from labsim.systems.catalogue import CODING_SCHEME, Examination

WRONG_ENTRY = "110514"
# Modality PPS Discontinuation Reason, PS3.16 CID 9301, of the coding scheme DCM.
DISCONTINUATION_REASONS: Mapping[str, str] = {
    "110500": "Doctor canceled procedure",
    "110501": "Equipment failure",
    "110502": "Incorrect procedure ordered",
    "110503": "Patient allergic to media/contrast",
    "110504": "Patient died",
    "110505": "Patient refused to continue procedure",
    "110506": "Patient taken for treatment or surgery",
    "110507": "Patient did not arrive",
    "110508": "Patient pregnant",
    "110509": "Change of procedure for correct charging",
    "110510": "Duplicate order",
    "110511": "Nursing unit cancel",
    "110512": "Incorrect side ordered",
    "110513": "Discontinued for unspecified reason",
    WRONG_ENTRY: "Incorrect worklist entry selected",
    "110515": "Patient condition prevented continuing",
    "110516": "Equipment change",
}


@dataclass(frozen=True)
class PerformedSeries:
    """One series of a performed step.

    Parameters
    ----------
    series_uid : str
        Series Instance UID.
    protocol, description : str
        Protocol Name and Series Description.
    images : tuple of (SOP class UID, SOP Instance UID)
        What it holds.
    """

    series_uid: str
    protocol: str
    description: str
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PerformedStep:
    """A performed step as the scanner knows it.

    Parameters
    ----------
    mpps_uid : str
        Its SOP Instance UID.
    study_uid : str
        Study Instance UID of its images.
    entries : tuple of Dataset
        The worklist entries that it answers: one, or several in the group
        case, or one that was typed at the console (`typed_entry`).
    performed : tuple of Examination
        What is done.
    started : str
        ISO 8601.
    first : PerformedStep, optional
        The step that began the study, if this one was appended to it.
    """

    mpps_uid: str
    study_uid: str
    entries: tuple[Dataset, ...]
    performed: tuple[Examination, ...]
    started: str
    first: PerformedStep | None = None

    @property
    def step_id(self) -> str:
        """Performed Procedure Step ID (0040,0253), the same in images and MPPS."""
        return f"PPS{self.mpps_uid[-10:]}"

    @property
    def accession(self) -> str:
        """The Accession Number of its images: empty if there are several (PS3.17 J.4.1)."""
        return self._common("AccessionNumber")

    @property
    def study_id(self) -> str:
        """Study ID (0020,0010): the Requested Procedure ID if there is one of them."""
        if self.first is not None:
            return self.first.study_id
        return self._common("RequestedProcedureID") or self.step_id

    @property
    def description(self) -> str:
        """What was done, in words."""
        return " + ".join(examination.description for examination in self.performed)[:64]

    @property
    def scheduled(self) -> list[Dataset]:
        """The entries that came from the worklist."""
        return [entry for entry in self.entries if entry.get("RequestedProcedureID")]

    def codes(self) -> Sequence:
        """Return what was done as codes."""
        return Sequence(
            code_item(examination.code, CODING_SCHEME, examination.description)
            for examination in self.performed
        )

    def _common(self, keyword: str) -> str:
        values = {str(entry.get(keyword) or "") for entry in self.entries}
        return values.pop() if len(values) == 1 else ""


def typed_entry(
    study_uid: str, name: str, patient_id: str, birth_date: str = "", sex: str = ""
) -> Dataset:
    """Return what stands in for a worklist entry when there is none (unscheduled case).

    Parameters
    ----------
    study_uid : str
        Made by the scanner.
    name, patient_id, birth_date, sex : str
        As typed at the console.
    """
    entry = Dataset()
    entry.SpecificCharacterSet = "ISO_IR 192"
    entry.PatientName, entry.PatientID = name, patient_id
    entry.PatientBirthDate, entry.PatientSex = birth_date, sex
    entry.AccessionNumber = entry.RequestedProcedureID = ""
    entry.RequestedProcedureDescription = ""
    entry.StudyInstanceUID = study_uid
    step = Dataset()
    step.ScheduledProcedureStepID = step.ScheduledProcedureStepDescription = ""
    entry.ScheduledProcedureStepSequence = Sequence([step])
    return entry


def study_attributes(step: PerformedStep) -> Dataset:
    """Return what images take over from the worklist and the performed step."""
    study, entry = Dataset(), step.entries[0]
    study.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
    ):
        setattr(study, keyword, entry.get(keyword) or "")
    study.AccessionNumber = step.accession
    study.ReferringPhysicianName = entry.get("ReferringPhysicianName") or ""
    study.StudyInstanceUID = step.study_uid
    study.StudyID = step.study_id
    begun = step.first or step  # a study has one of each, whatever is appended to it
    study.StudyDescription = begun.description
    started = begun.started
    study.StudyDate, study.StudyTime = started[:10].replace("-", ""), started[11:].replace(":", "")
    study.ProcedureCodeSequence = begun.codes()
    study.ReferencedPerformedProcedureStepSequence = Sequence([reference(MPPS, step.mpps_uid)])
    if step.scheduled:  # an unscheduled step answers no request
        study.RequestAttributesSequence = Sequence(map(_request, step.scheduled))
    study.PerformedProcedureStepID = step.step_id
    return study


def mpps_create(step: PerformedStep, ae_title: str, modality: str) -> Dataset:
    """Return the attributes of an MPPS N-CREATE (PS3.4 Table F.7.2-1)."""
    began, entry = datetime.fromisoformat(step.started), step.entries[0]
    performed = Dataset()
    performed.SpecificCharacterSet = "ISO_IR 192"
    performed.ScheduledStepAttributesSequence = Sequence(
        _scheduled(entry, step.study_uid) for entry in step.entries
    )
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(performed, keyword, entry.get(keyword) or "")
    performed.ReferencedPatientSequence = Sequence()
    performed.PerformedProcedureStepID = step.step_id
    performed.PerformedStationAETitle = ae_title
    performed.PerformedStationName = ae_title
    performed.PerformedLocation = ""
    performed.PerformedProcedureStepStartDate = began.strftime("%Y%m%d")
    performed.PerformedProcedureStepStartTime = began.strftime("%H%M%S")
    performed.PerformedProcedureStepEndDate = ""
    performed.PerformedProcedureStepEndTime = ""
    performed.PerformedProcedureStepStatus = "IN PROGRESS"
    performed.PerformedProcedureStepDescription = step.description
    performed.PerformedProcedureTypeDescription = ""
    performed.ProcedureCodeSequence = step.codes()
    performed.Modality = modality
    performed.StudyID = step.study_id
    performed.PerformedProtocolCodeSequence = step.codes()
    performed.PerformedSeriesSequence = Sequence()
    return performed


def mpps_set(
    status: str, now: datetime, series: Iterable[PerformedSeries], reason: str = ""
) -> Dataset:
    """Return the attributes of an MPPS N-SET.

    Parameters
    ----------
    status : str
        ``"IN PROGRESS"`` for an update, else ``"COMPLETED"`` or ``"DISCONTINUED"``.
    now : datetime
        When the step ended, if it did.
    series : iterable of PerformedSeries
        What was made.
    reason : str
        Why it was given up, a code of `DISCONTINUATION_REASONS`.
    """
    changes = Dataset()
    changes.SpecificCharacterSet = "ISO_IR 192"
    changes.PerformedProcedureStepStatus = status
    if status != "IN PROGRESS":
        changes.PerformedProcedureStepEndDate = now.strftime("%Y%m%d")
        changes.PerformedProcedureStepEndTime = now.strftime("%H%M%S")
    if reason:
        meaning = DISCONTINUATION_REASONS[reason]
        changes.PerformedProcedureStepDiscontinuationReasonCodeSequence = Sequence(
            [code_item(reason, "DCM", meaning)]
        )
    changes.PerformedSeriesSequence = Sequence(map(_performed_series, series))
    return changes


def check_reason(reason: str) -> str:
    """Return a reason for giving up if it is one of PS3.16 CID 9301.

    Raises
    ------
    ConfigurationError
        If it is not.
    """
    if reason not in DISCONTINUATION_REASONS:
        known = "; ".join(f"{code} {words}" for code, words in DISCONTINUATION_REASONS.items())
        raise ConfigurationError(
            f"{reason!r} is no reason to give up a step (PS3.16 CID 9301).", f"Use {known}."
        )
    return reason


def reference(sop_class: str, sop_uid: str) -> Dataset:
    """Return an item that names one instance (PS3.3 10.8)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_uid
    return item


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item that names a concept (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def _scheduled(entry: Dataset, study_uid: str) -> Dataset:
    """Return an item of the Scheduled Step Attributes Sequence; empty values if unscheduled."""
    step = entry.ScheduledProcedureStepSequence[0]
    item = Dataset()
    item.StudyInstanceUID = study_uid
    item.ReferencedStudySequence = Sequence()
    item.AccessionNumber = entry.AccessionNumber
    item.RequestedProcedureID = entry.RequestedProcedureID
    item.RequestedProcedureDescription = entry.RequestedProcedureDescription
    item.ScheduledProcedureStepID = step.ScheduledProcedureStepID
    item.ScheduledProcedureStepDescription = step.ScheduledProcedureStepDescription
    item.ScheduledProtocolCodeSequence = step.get("ScheduledProtocolCodeSequence") or Sequence()
    return item


def _request(entry: Dataset) -> Dataset:
    """Return an item of the Request Attributes Sequence, which names the order."""
    step = entry.ScheduledProcedureStepSequence[0]
    [item] = request_attributes(
        accession=str(entry.AccessionNumber),
        procedure_id=str(entry.RequestedProcedureID),
        step_id=str(step.ScheduledProcedureStepID),
        description=str(entry.RequestedProcedureDescription),
    )
    return item


def _performed_series(made: PerformedSeries) -> Dataset:
    series = Dataset()
    series.PerformingPhysicianName = ""
    series.OperatorsName = ""
    series.ProtocolName = made.protocol
    series.SeriesInstanceUID = made.series_uid
    series.SeriesDescription = made.description
    series.RetrieveAETitle = ""
    series.ReferencedImageSequence = Sequence(reference(*image) for image in made.images)
    series.ReferencedNonImageCompositeSOPInstanceSequence = Sequence()
    return series
