"""Which attributes a Unified Procedure Step must have, and when (PS3.4 table CC.2.5-3)."""

from __future__ import annotations

from copy import deepcopy

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from labsim.sop_classes import UPS_PUSH
from labsim.systems.workitems.status import (
    INVALID_VALUE,
    MISSING_ATTRIBUTE,
    MISSING_VALUE,
    NOT_SCHEDULED,
    UpsRefused,
)

SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED = "SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"
STATES = (SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED)
_VALUES = {
    "ScheduledProcedureStepPriority": ("HIGH", "MEDIUM", "LOW"),
    "InputReadinessState": ("INCOMPLETE", "UNAVAILABLE", "READY"),
}
# Type 1 of N-CREATE
_NEEDED = (
    "ScheduledProcedureStepPriority",
    "ProcedureStepLabel",
    "ScheduledProcedureStepStartDateTime",
    "InputReadinessState",
)
# Type 2 of N-CREATE
_MAY_BE_EMPTY = (
    "ScheduledProcessingParametersSequence",
    "ScheduledStationNameCodeSequence",
    "ScheduledStationClassCodeSequence",
    "ScheduledStationGeographicLocationCodeSequence",
    "ScheduledWorkitemCodeSequence",
    "CommentsOnTheScheduledProcedureStep",
    "InputInformationSequence",
    "PatientName",
    "PatientID",
    "OtherPatientIDsSequence",
    "PatientBirthDate",
    "PatientSex",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "ReferencedRequestSequence",
)
# Created empty; the performer fills them.
_OF_THE_PERFORMER = (
    "ProcedureStepProgressInformationSequence",
    "UnifiedProcedureStepPerformedProcedureSequence",
)
# What N-SET may not change: whose the step is, and what else has a way of its own.
_FIXED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "ProcedureStepState",
    "ScheduledProcedureStepModificationDateTime",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
)
# What C-FIND and a search return of each step even if nobody asks: the keys of type 1 and 2.
RETURNED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "ProcedureStepState",
    "ScheduledProcedureStepModificationDateTime",
    "WorklistLabel",
    "StudyInstanceUID",
    *_NEEDED,
    *_MAY_BE_EMPTY,
)
# Final state: P, what a step needs to be COMPLETED
_PERFORMED = (
    "PerformedStationNameCodeSequence",
    "PerformedWorkitemCodeSequence",
    "PerformedProcedureStepStartDateTime",
    "PerformedProcedureStepEndDateTime",
)


def created(given: Dataset, uid: str, label: str, now: str) -> tuple[Dataset, bool]:
    """Return what is kept of an N-CREATE.

    Parameters
    ----------
    given : Dataset
        As the requester has it.
    uid : str
        SOP Instance UID of the step.
    label : str
        Worklist Label for a step that names none.
    now : str
        As VR DT.

    Returns
    -------
    Dataset, bool
        The attributes, without state and lock; and whether what was given had to be completed.

    Raises
    ------
    UpsRefused
        If an attribute of type 1 is missing, or one has a value that it may not have.
    """
    state = given.get("ProcedureStepState")
    if state != SCHEDULED:
        raise UpsRefused(NOT_SCHEDULED, f"it was {state}" if state else "it is missing")
    for keyword in _NEEDED:
        if keyword not in given:
            raise UpsRefused(MISSING_ATTRIBUTE, f"{keyword} is missing")
        if not given.get(keyword):
            raise UpsRefused(MISSING_VALUE, f"{keyword} has no value")
    for keyword in ("TransactionUID", *_OF_THE_PERFORMER):
        if given.get(keyword):
            raise UpsRefused(INVALID_VALUE, f"{keyword} must be empty at first")
    _require_values(given)
    kept = _kept(given)
    modified = False
    for keyword in (*_MAY_BE_EMPTY, *_OF_THE_PERFORMER):
        if keyword not in kept:
            setattr(kept, keyword, [] if dictionary_VR(keyword) == "SQ" else "")
            modified = True
    if not kept.get("WorklistLabel"):
        kept.WorklistLabel, modified = label, True
    kept.SOPClassUID, kept.SOPInstanceUID = UPS_PUSH, uid
    kept.ScheduledProcedureStepModificationDateTime = now
    return kept, modified


def changed(kept: Dataset, changes: Dataset, now: str) -> Dataset:
    """Return a step's attributes after an N-SET; a sequence is replaced as a whole (CC.2.6.2).

    Raises
    ------
    UpsRefused
        If the changes touch what no N-SET may change.
    """
    _require_values(changes)
    for keyword in _FIXED:
        if keyword in changes and changes[keyword].value != kept.get(keyword):
            raise UpsRefused(INVALID_VALUE, f"{keyword} cannot be changed by an update")
    merged = deepcopy(kept)
    merged.update(_kept(changes))
    if any(element.keyword not in _OF_THE_PERFORMER for element in changes):
        merged.ScheduledProcedureStepModificationDateTime = now
    return merged


def unmet(kept: Dataset) -> str:
    """Return what a step lacks to be COMPLETED (PS3.4 CC.2.5.1.1); empty for nothing."""
    performed = kept.get("UnifiedProcedureStepPerformedProcedureSequence")
    if not performed:
        return "Unified Procedure Step Performed Procedure Sequence is empty"
    for keyword in _PERFORMED:
        if not performed[0].get(keyword):
            return f"{keyword} has no value"
    # It may be without items if there is no output.
    if "OutputInformationSequence" not in performed[0]:
        return "OutputInformationSequence is missing"
    return ""


def progress(kept: Dataset) -> Dataset:
    """Return the item that tells of the progress; a new one if there is none."""
    items = kept.get("ProcedureStepProgressInformationSequence")
    return items[0] if items else Dataset()


def reason(kept: Dataset) -> str:
    """Return in words why a step was canceled, or what came of it."""
    told = progress(kept)
    said = told.get("ReasonForCancellation") or told.get("ProcedureStepProgressDescription") or ""
    codes = told.get("ProcedureStepDiscontinuationReasonCodeSequence") or [Dataset()]
    return str(said or codes[0].get("CodeMeaning", ""))


def _kept(given: Dataset) -> Dataset:
    """Return what is kept of a data set; lock and state have columns of their own."""
    kept = deepcopy(given)
    for keyword in ("TransactionUID", "ProcedureStepState", "SpecificCharacterSet"):
        if keyword in kept:
            delattr(kept, keyword)
    return kept


def _require_values(given: Dataset) -> None:
    for keyword, allowed in _VALUES.items():
        if keyword in given and given.get(keyword) not in allowed:
            what = f"{keyword} is {given.get(keyword)!r}, not one of {', '.join(allowed)}"
            raise UpsRefused(INVALID_VALUE, what)
