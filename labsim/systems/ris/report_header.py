"""What a report's document says of patient, study and request, as its images do."""

from __future__ import annotations

import sqlite3

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.imaging.codes import Code
from labsim.systems.catalogue import CODING_SCHEME


def document_header(
    row: sqlite3.Row, started: str, institution: str, series_uid: str, sop_uid: str, number: int
) -> Dataset:
    """Return Patient, General Study and the identifiers of a new document.

    Parameters
    ----------
    row : sqlite3.Row
        The examination with its order and patient.
    started : str
        When the study began, ISO 8601, which its images say too.
    institution : str
        Institution Name (0008,0080).
    series_uid, sop_uid : str
        UIDs of its series and of itself.
    number : int
        Instance Number (0020,0013).
    """
    header = Dataset()
    header.SOPInstanceUID = sop_uid
    header.PatientName = row["name"]
    header.PatientID = row["patient_id"]
    header.IssuerOfPatientID = row["issuer"]
    header.PatientBirthDate = row["birth_date"]
    header.PatientSex = row["sex"]
    header.StudyInstanceUID = row["study_uid"]
    header.StudyDate = started[:10].replace("-", "")
    header.StudyTime = started[11:].replace(":", "")
    header.AccessionNumber = row["accession"]
    header.ReferringPhysicianName = row["provider"]
    header.StudyID = row["procedure_id"]
    header.StudyDescription = row["description"]
    header.SeriesInstanceUID = series_uid
    header.InstanceNumber = number
    header.InstitutionName = institution
    header.ReferencedRequestSequence = Sequence([_request(row)])
    return header


def procedure_code(row: sqlite3.Row) -> Code:
    """Return the code of what was asked for, as in the worklist."""
    return Code(row["code"], row["description"], CODING_SCHEME)


def _request(row: sqlite3.Row) -> Dataset:
    """Return an item of the Referenced Request Sequence (PS3.3 Table C.17-2)."""
    request = Dataset()
    request.StudyInstanceUID = row["study_uid"]
    request.ReferencedStudySequence = Sequence()
    request.AccessionNumber = row["accession"]
    request.PlacerOrderNumberImagingServiceRequest = row["placer_order"]
    request.FillerOrderNumberImagingServiceRequest = row["filler_order"]
    request.RequestedProcedureID = row["procedure_id"]
    request.RequestedProcedureDescription = row["description"]
    request.RequestedProcedureCodeSequence = Sequence([procedure_code(row).item()])
    return request
