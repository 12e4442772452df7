"""What a scanner tells of its work: the Modality Performed Procedure Step (PS3.4 F.7.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.imaging.common import request_attributes


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


def study_attributes(entry: Dataset, started: str) -> Dataset:
    """Return what images take over from the worklist entry (IHE RAD TF-2 appendix A)."""
    study = Dataset()
    study.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
    ):
        setattr(study, keyword, entry.get(keyword) or "")
    study.AccessionNumber = entry.AccessionNumber
    study.ReferringPhysicianName = entry.get("ReferringPhysicianName") or ""
    study.StudyInstanceUID = entry.StudyInstanceUID
    study.StudyID = entry.RequestedProcedureID
    study.StudyDescription = entry.RequestedProcedureDescription
    study.StudyDate, study.StudyTime = started[:10].replace("-", ""), started[11:].replace(":", "")
    step = entry.ScheduledProcedureStepSequence[0]
    study.RequestAttributesSequence = request_attributes(
        accession=str(entry.AccessionNumber),
        procedure_id=str(entry.RequestedProcedureID),
        step_id=str(step.ScheduledProcedureStepID),
        description=str(entry.RequestedProcedureDescription),
    )
    study.PerformedProcedureStepID = str(step.ScheduledProcedureStepID)
    return study


def mpps_create(
    entry: Dataset, ae_title: str, modality: str, now: datetime, mpps_uid: str
) -> Dataset:
    """Return the attributes of an MPPS N-CREATE (PS3.4 Table F.7.2-1)."""
    step = entry.ScheduledProcedureStepSequence[0]
    scheduled = Dataset()
    scheduled.StudyInstanceUID = entry.StudyInstanceUID
    scheduled.ReferencedStudySequence = Sequence()
    scheduled.AccessionNumber = entry.AccessionNumber
    scheduled.RequestedProcedureID = entry.RequestedProcedureID
    scheduled.RequestedProcedureDescription = entry.RequestedProcedureDescription
    scheduled.ScheduledProcedureStepID = step.ScheduledProcedureStepID
    scheduled.ScheduledProcedureStepDescription = step.ScheduledProcedureStepDescription
    scheduled.ScheduledProtocolCodeSequence = (
        step.get("ScheduledProtocolCodeSequence") or Sequence()
    )
    performed = Dataset()
    performed.SpecificCharacterSet = "ISO_IR 192"
    performed.ScheduledStepAttributesSequence = Sequence([scheduled])
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(performed, keyword, entry.get(keyword) or "")
    performed.ReferencedPatientSequence = Sequence()
    performed.PerformedProcedureStepID = f"PPS{mpps_uid[-10:]}"
    performed.PerformedStationAETitle = ae_title
    performed.PerformedStationName = ae_title
    performed.PerformedLocation = ""
    performed.PerformedProcedureStepStartDate = now.strftime("%Y%m%d")
    performed.PerformedProcedureStepStartTime = now.strftime("%H%M%S")
    performed.PerformedProcedureStepEndDate = ""
    performed.PerformedProcedureStepEndTime = ""
    performed.PerformedProcedureStepStatus = "IN PROGRESS"
    performed.PerformedProcedureStepDescription = step.ScheduledProcedureStepDescription
    performed.PerformedProcedureTypeDescription = ""
    performed.ProcedureCodeSequence = Sequence()
    performed.Modality = modality
    performed.StudyID = entry.RequestedProcedureID
    performed.PerformedProtocolCodeSequence = Sequence()
    performed.PerformedSeriesSequence = Sequence()
    return performed


def mpps_set(status: str, now: datetime, series: Iterable[PerformedSeries]) -> Dataset:
    """Return the attributes of the last MPPS N-SET.

    Parameters
    ----------
    status : str
        ``"COMPLETED"`` or ``"DISCONTINUED"``.
    now : datetime
        When the step ended.
    series : iterable of PerformedSeries
        What was made.
    """
    changes = Dataset()
    changes.SpecificCharacterSet = "ISO_IR 192"
    changes.PerformedProcedureStepStatus = status
    changes.PerformedProcedureStepEndDate = now.strftime("%Y%m%d")
    changes.PerformedProcedureStepEndTime = now.strftime("%H%M%S")
    changes.PerformedSeriesSequence = Sequence(map(_performed_series, series))
    return changes


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


def reference(sop_class: str, sop_uid: str) -> Dataset:
    """Return an item that names one instance (PS3.3 10.8)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_uid
    return item
