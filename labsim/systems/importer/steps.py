"""What the importer tells the RIS of its work: a performed procedure step (IHE IRWF)."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.systems.importer.coercion import Destination, code
from labsim.systems.importer.queue import Import
from labsim.systems.performed_step import PerformedSeries, mpps_create

# What was imported, for the Performed Protocol Code Sequence (PS3.16 CID 7008).
MEDIA = {"CD": ("110024", "DCM", "CD Imported"), "file": ("110027", "DCM", "Studies Imported")}


def import_begun(
    study: Import, to: Destination, ae_title: str, medium: str, now: datetime, uid: str
) -> Dataset:
    """Return the attributes of an MPPS N-CREATE for an import.

    Parameters
    ----------
    study : Import
        What is imported: the step is of its Study Instance UID, which stays.
    to : Destination
        Whose it becomes, and for which order; for none, the scheduled step is empty
        (the unscheduled case of PS3.4 F.7.2.1.1).
    ae_title : str
        Of the importer.
    medium : str
        One of `MEDIA`.
    now : datetime
        When it began.
    uid : str
        Of the step.
    """
    entry = Dataset()
    entry.PatientName = to.patient.name
    entry.PatientID = to.patient.patient_id
    entry.IssuerOfPatientID = to.patient.issuer
    entry.PatientBirthDate = to.patient.birth_date
    entry.PatientSex = to.patient.sex
    entry.AccessionNumber = to.accession
    entry.StudyInstanceUID = study.study_uid
    entry.RequestedProcedureID = to.procedure_id
    entry.RequestedProcedureDescription = to.description
    step = Dataset()
    step.ScheduledProcedureStepID = to.step_id
    step.ScheduledProcedureStepDescription = to.description
    entry.ScheduledProcedureStepSequence = Sequence([step])
    modality = study.modality if "\\" not in study.modality else "OT"
    begun = mpps_create(entry, ae_title, modality or "OT", now, uid)
    begun.PerformedProcedureStepDescription = f"Import from {study.source}"[:64]
    begun.PerformedProtocolCodeSequence = Sequence([code(*MEDIA[medium])])
    return begun


def imported_series(images: list[dict[str, Any]]) -> list[PerformedSeries]:
    """Return the series of stored images, for the N-SET that ends the step."""
    return [
        PerformedSeries(
            series_uid,
            "Imported",
            group[0]["series"],
            tuple((image["sop_class"], image["sop_uid"]) for image in group),
        )
        for series_uid, group in (
            (uid, list(members))
            for uid, members in groupby(
                sorted(images, key=lambda image: str(image["series_uid"])),
                lambda image: str(image["series_uid"]),
            )
        )
    ]
