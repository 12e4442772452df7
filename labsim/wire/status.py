"""Statuses of DIMSE answers and reasons of rejections, in words."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.dataset import Dataset
from pynetdicom.status import code_to_category

PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.22
OUT_OF_RESOURCES = 0xA700  # of a C-STORE (PS3.4 table B.2-1)

# A-ASSOCIATE-RJ: result, source, reason (PS3.8 9.3.4)
CALLING_TITLE_UNKNOWN = (1, 1, 3)
REJECTION_REASONS: Mapping[tuple[int, int], str] = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
REJECTION_ADVICE: Mapping[tuple[int, int], str] = {
    (1, 3): "Register the calling AE title at the called system, letter for letter.",
    (1, 7): "Correct the AE title that the caller has for this system, letter for letter.",
    (3, 2): "The called system has too many associations open; find out who holds them.",
}
_STATUS_WORDS: Mapping[int, str] = {
    0x0000: "Success",
    0x0106: "Invalid attribute value",
    0x0110: "Processing failure",
    0x0111: "Duplicate SOP Instance",
    0x0112: "No such SOP Instance",
    0x0117: "Invalid object instance",
    0x0120: "Missing attribute",
    0x0122: "SOP Class not supported",
    0x0124: "Not authorized",
    0xA700: "Out of resources",
    0xA701: "Unable to calculate number of matches",
    0xA702: "Unable to perform sub-operations",
    0xA801: "Move destination unknown",
    0xA900: "Data set does not match SOP Class",
    0xB000: "One or more sub-operations failed",
    0xC000: "Cannot understand",
    0xFE00: "Cancelled",
    0xFF00: "Pending",
    0xFF01: "Pending, some keys not supported",
}


def describe_status(status: int) -> str:
    """Return a DIMSE status as its code and meaning (PS3.7 Annex C, PS3.4)."""
    words = _STATUS_WORDS.get(status)
    if words is None and 0xC000 <= status <= 0xCFFF:
        words = "Cannot understand or unable to process"
    return f"0x{status:04X} {words or code_to_category(status)}"


def failure(status: int, comment: str) -> Dataset:
    """Return a status with an Error Comment, at most 64 characters (PS3.7 C.4)."""
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment.encode("ascii", "replace").decode()[:64]
    return answer
