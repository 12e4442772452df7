"""What the importer tells the RIS of its work: a performed procedure step (IHE IRWF)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.systems.catalogue import CODING_SCHEME, IMPORT
from labsim.systems.importer.coercion import Destination, code
from labsim.systems.importer.queue import Import

# What was imported, for the Performed Protocol Code Sequence (PS3.16 CID 7008).
MEDIA = {"CD": ("110024", "DCM", "CD Imported"), "file": ("110027", "DCM", "Studies Imported")}


def import_begun(
    study: Import, to: Destination, ae_title: str, medium: str, now: datetime, uid: str
) -> Dataset:
    """Return the attributes of an MPPS N-CREATE for an import (PS3.4 Table F.7.2-1).

    Parameters
    ----------
    study : Import
        What is imported: the step is of its Study Instance UID, which stays.
    to : Destination
        Whose it becomes, and for which order; without one, the scheduled step
        is empty (unscheduled case).
    ae_title : str
        Of the importer.
    medium : str
        One of `MEDIA`.
    now : datetime
        When it began.
    uid : str
        Of the step.
    """
    begun = Dataset()
    begun.SpecificCharacterSet = "ISO_IR 192"
    begun.ScheduledStepAttributesSequence = Sequence([_scheduled(study, to)])
    begun.PatientName = to.patient.name
    begun.PatientID = to.patient.patient_id
    begun.IssuerOfPatientID = to.patient.issuer
    begun.PatientBirthDate = to.patient.birth_date
    begun.PatientSex = to.patient.sex
    begun.ReferencedPatientSequence = Sequence()
    begun.PerformedProcedureStepID = f"PPS{uid[-10:]}"
    begun.PerformedStationAETitle = begun.PerformedStationName = ae_title
    begun.PerformedLocation = ""
    begun.PerformedProcedureStepStartDate = now.strftime("%Y%m%d")
    begun.PerformedProcedureStepStartTime = now.strftime("%H%M%S")
    begun.PerformedProcedureStepEndDate = begun.PerformedProcedureStepEndTime = ""
    begun.PerformedProcedureStepStatus = "IN PROGRESS"
    begun.PerformedProcedureStepDescription = f"Import from {study.source}"[:64]
    begun.PerformedProcedureTypeDescription = ""
    done = code(IMPORT.code, CODING_SCHEME, IMPORT.description)
    begun.ProcedureCodeSequence = Sequence([done])
    # A step has one modality, a study from outside may have several.
    begun.Modality = "OT" if "\\" in study.modality else study.modality or "OT"
    begun.StudyID = to.procedure_id
    begun.PerformedProtocolCodeSequence = Sequence([code(*MEDIA[medium])])
    begun.PerformedSeriesSequence = Sequence()
    return begun


def _scheduled(study: Import, to: Destination) -> Dataset:
    scheduled = Dataset()
    scheduled.StudyInstanceUID = study.study_uid
    scheduled.ReferencedStudySequence = Sequence()
    scheduled.AccessionNumber = to.accession
    scheduled.RequestedProcedureID = to.procedure_id
    scheduled.RequestedProcedureDescription = to.description
    scheduled.ScheduledProcedureStepID = to.step_id
    scheduled.ScheduledProcedureStepDescription = to.description
    scheduled.ScheduledProtocolCodeSequence = Sequence()
    return scheduled


def import_completed(images: Iterable[dict[str, Any]], now: datetime) -> Dataset:
    """Return the attributes of the MPPS N-SET that ends an import.

    Parameters
    ----------
    images : iterable of rows
        What the archive has taken.
    now : datetime
        When.
    """
    changes = Dataset()
    changes.SpecificCharacterSet = "ISO_IR 192"
    changes.PerformedProcedureStepStatus = "COMPLETED"
    changes.PerformedProcedureStepEndDate = now.strftime("%Y%m%d")
    changes.PerformedProcedureStepEndTime = now.strftime("%H%M%S")
    ordered = sorted(images, key=_series_of)
    changes.PerformedSeriesSequence = Sequence(
        _series(uid, list(group)) for uid, group in groupby(ordered, _series_of)
    )
    return changes


def _series_of(image: dict[str, Any]) -> str:
    return str(image["series_uid"])


def _series(uid: str, images: list[dict[str, Any]]) -> Dataset:
    series = Dataset()
    series.PerformingPhysicianName = ""
    series.OperatorsName = ""
    series.ProtocolName = IMPORT.description
    series.SeriesInstanceUID = uid
    series.SeriesDescription = images[0]["series"]
    series.RetrieveAETitle = ""
    series.ReferencedImageSequence = Sequence(map(_reference, images))
    series.ReferencedNonImageCompositeSOPInstanceSequence = Sequence()
    return series


def _reference(image: dict[str, Any]) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image["sop_class"]
    item.ReferencedSOPInstanceUID = image["sop_uid"]
    return item
