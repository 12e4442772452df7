"""The Modality Worklist (PS3.4 K.6.1.2.2): what is asked, and what is answered."""

from __future__ import annotations

import sqlite3

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.systems.catalogue import CODING_SCHEME

# Order priority (HL7 table 0027) as Requested Procedure Priority (PS3.3 C.4.11).
_PRIORITY = {"R": "ROUTINE", "A": "HIGH", "S": "STAT"}


def worklist_keys(modality: str, station: str, date: str, accession: str = "") -> Dataset:
    """Return the Identifier of a worklist query: what a scanner asks, and what it wants to know.

    It wants every attribute that a worklist must be able to return, types 1 and
    2 of PS3.4 Table K.6-1, each where it belongs: those of the step inside the
    Scheduled Procedure Step Sequence.
    """
    keys = Dataset()
    keys.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (
        "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
        "MedicalAlerts", "Allergies", "SpecialNeeds", "PatientState",
        "ConfidentialityConstraintOnPatientDataDescription",
        "AdmissionID", "CurrentPatientLocation", "ReferringPhysicianName", "RequestingPhysician",
        "StudyInstanceUID", "RequestedProcedureID", "RequestedProcedureDescription",
        "RequestedProcedurePriority", "ReasonForTheRequestedProcedure",
        "PatientTransportArrangements", "PlacerOrderNumberImagingServiceRequest",
        "FillerOrderNumberImagingServiceRequest",
    ):  # fmt: skip
        setattr(keys, keyword, "")
    keys.PatientWeight = keys.PregnancyStatus = None
    keys.ReferencedStudySequence = Sequence()
    keys.ReferencedPatientSequence = Sequence()
    keys.AccessionNumber = accession
    keys.RequestedProcedureCodeSequence = Sequence()
    step = Dataset()
    step.Modality = modality
    step.ScheduledStationAETitle = station
    step.ScheduledProcedureStepStartDate = date
    for keyword in (
        "ScheduledProcedureStepStartTime", "ScheduledProcedureStepID",
        "ScheduledProcedureStepDescription", "ScheduledProcedureStepStatus",
        "ScheduledProcedureStepLocation", "ScheduledStationName",
        "ScheduledPerformingPhysicianName", "PreMedication", "RequestedContrastAgent",
    ):  # fmt: skip
        setattr(step, keyword, "")
    step.ScheduledProtocolCodeSequence = Sequence()
    keys.ScheduledProcedureStepSequence = Sequence([step])
    return keys


def worklist_entry(row: sqlite3.Row) -> Dataset:
    """Return one entry with every attribute that the RIS can answer.

    Parameters
    ----------
    row : sqlite3.Row
        A procedure joined with its order and patient.

    Returns
    -------
    Dataset
        Scheduled step attributes are inside the Scheduled Procedure Step
        Sequence (0040,0100), all others at the top.
    """
    entry = Dataset()
    entry.SpecificCharacterSet = "ISO_IR 192"
    entry.PatientName = row["name"]
    entry.PatientID = row["patient_id"]
    entry.IssuerOfPatientID = row["issuer"]
    entry.PatientBirthDate = row["birth_date"]
    entry.PatientSex = row["sex"]
    entry.PatientWeight = None
    entry.MedicalAlerts = ""
    entry.Allergies = ""
    entry.SpecialNeeds = ""
    entry.PregnancyStatus = None
    entry.PatientState = ""
    entry.ConfidentialityConstraintOnPatientDataDescription = ""
    entry.AdmissionID = row["visit"]
    entry.CurrentPatientLocation = row["location"]
    entry.AccessionNumber = row["accession"]
    entry.ReferringPhysicianName = row["provider"]
    entry.RequestingPhysician = row["provider"]
    entry.StudyInstanceUID = row["study_uid"]
    entry.ReferencedStudySequence = Sequence()
    entry.ReferencedPatientSequence = Sequence()
    entry.RequestedProcedureID = row["procedure_id"]
    entry.RequestedProcedureDescription = row["description"]
    entry.RequestedProcedureCodeSequence = Sequence([_code(row)])
    entry.RequestedProcedurePriority = _PRIORITY[row["priority"]]
    entry.ReasonForTheRequestedProcedure = row["reason"]
    entry.PatientTransportArrangements = ""
    entry.PlacerOrderNumberImagingServiceRequest = row["placer_order"]
    entry.FillerOrderNumberImagingServiceRequest = row["filler_order"]
    entry.ScheduledProcedureStepSequence = Sequence([_step(row)])
    return entry


def _step(row: sqlite3.Row) -> Dataset:
    step = Dataset()
    step.Modality = row["modality"]
    step.ScheduledStationAETitle = row["station"]
    step.ScheduledStationName = row["station"]
    step.ScheduledProcedureStepLocation = ""
    step.ScheduledProcedureStepStartDate = row["start"][:10].replace("-", "")
    step.ScheduledProcedureStepStartTime = row["start"][11:19].replace(":", "")
    step.ScheduledPerformingPhysicianName = ""
    step.ScheduledProcedureStepDescription = row["description"]
    step.ScheduledProtocolCodeSequence = Sequence([_code(row)])
    step.ScheduledProcedureStepID = row["step_id"]
    step.ScheduledProcedureStepStatus = "SCHEDULED"
    step.RequestedContrastAgent = ""
    step.PreMedication = ""
    return step


def _code(row: sqlite3.Row) -> Dataset:
    code = Dataset()
    code.CodeValue = row["code"]
    code.CodingSchemeDesignator = CODING_SCHEME
    code.CodeMeaning = row["description"]
    return code
