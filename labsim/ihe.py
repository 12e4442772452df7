"""The IHE Radiology transactions that the hospital's messages belong to.

Names and numbers from IHE RAD TF-2 and TF-3 (final text) and, for RAD-128,
from the supplement Results Distribution (RD); RAD-80 to RAD-88 from AI Workflow
for Imaging (AIW-I).
"""

from __future__ import annotations

from collections.abc import Mapping

from labsim.sop_classes import (
    BASIC_TEXT_SR,
    COLOR_STATE,
    GRAYSCALE_STATE,
    MODALITY_WORKLIST,
    MPPS,
    STORAGE_COMMITMENT,
    UPS_PULL,
    UPS_PUSH,
    UPS_QUERY,
    UPS_WATCH,
)

NAMES: Mapping[str, str] = {
    "RAD-1": "Patient Registration",
    "RAD-2": "Placer Order Management",
    "RAD-3": "Filler Order Management",
    "RAD-4": "Procedure Scheduled",
    "RAD-5": "Query Modality Worklist",
    "RAD-6": "Modality Procedure Step In Progress",
    "RAD-7": "Modality Procedure Step Completed",
    "RAD-8": "Modality Images Stored",
    "RAD-10": "Storage Commitment",
    "RAD-12": "Patient Update",
    "RAD-13": "Procedure Update",
    "RAD-14": "Query Images",
    "RAD-16": "Retrieve Images",
    "RAD-19": "Creator Presentation State Stored",
    "RAD-25": "Report Issuing",
    "RAD-80": "Create UPS Workitem",
    "RAD-81": "Query UPS Workitems",
    "RAD-82": "Claim UPS Workitem",
    "RAD-83": "Get UPS Workitem",
    "RAD-84": "Update UPS Workitem",
    "RAD-85": "Complete UPS Workitem",
    "RAD-86": "Manage UPS Subscription",
    "RAD-88": "Request UPS Cancelation",
    "RAD-107": "WADO-RS Retrieve",
    "RAD-108": "Store Instances Over the Web",
    "RAD-128": "Send Imaging Result",
    "RAD-129": "QIDO-RS Query",
}

_BY_MESSAGE: Mapping[tuple[str, str], str] = {
    (MODALITY_WORKLIST, "C-FIND"): "RAD-5",
    (MPPS, "N-CREATE"): "RAD-6",
    (MPPS, "N-SET"): "RAD-7",
    (STORAGE_COMMITMENT, "N-ACTION"): "RAD-10",
    (STORAGE_COMMITMENT, "N-EVENT-REPORT"): "RAD-10",
    (GRAYSCALE_STATE, "C-STORE"): "RAD-19",
    (COLOR_STATE, "C-STORE"): "RAD-19",
    (BASIC_TEXT_SR, "C-STORE"): "RAD-25",
    (UPS_PUSH, "N-CREATE"): "RAD-80",
    **{(uid, "C-FIND"): "RAD-81" for uid in (UPS_PULL, UPS_WATCH, UPS_QUERY)},
    (UPS_PUSH, "N-GET"): "RAD-83",
    (UPS_PUSH, "N-SET"): "RAD-84",
}
_BY_COMMAND: Mapping[str, str] = {
    "C-STORE": "RAD-8",
    "C-FIND": "RAD-14",
    "C-MOVE": "RAD-16",
    "C-GET": "RAD-16",
}


def transaction_of(sop_class: str, command: str, *, retrieval: bool = False) -> str:
    """Name the transaction that a DIMSE message belongs to.

    Parameters
    ----------
    sop_class : str
        Affected or Requested SOP Class UID of the message.
    command : str
        ``"C-FIND"``, ``"N-CREATE"`` … without ``-RQ`` or ``-RSP``.
    retrieval : bool
        Whether a C-STORE is a sub-operation of a C-MOVE or C-GET.

    Returns
    -------
    str
        ``"RAD-5"`` and so on, empty for a message of no transaction (C-ECHO).
    """
    if command == "C-STORE" and retrieval:
        return "RAD-16"
    return _BY_MESSAGE.get((sop_class, command)) or _BY_COMMAND.get(command, "")
