"""Statuses of Unified Procedure Steps (PS3.4 tables CC.2.1-2 to CC.2.7-1), and their words."""

from __future__ import annotations

from collections.abc import Mapping

from labsim.errors import LabError

SUCCESS = 0x0000
CREATED_MODIFIED = 0xB300
ALREADY_CANCELED = 0xB304
ALREADY_COMPLETED = 0xB306
INVALID_VALUE = 0x0106  # PS3.7 C.5.7
DUPLICATE = 0x0111  # PS3.7 C.5.2
INVALID_ARGUMENT = 0x0115  # PS3.7 C.5.19
MISSING_ATTRIBUTE = 0x0120  # PS3.7 C.5.13
MISSING_VALUE = 0x0121  # PS3.7 C.5.14
NO_ACTION = 0x0123  # PS3.7 C.5.16
NO_LONGER = 0xC300
WRONG_TRANSACTION = 0xC301
ALREADY_CLAIMED = 0xC302
NOT_BACK = 0xC303
NOT_FINAL = 0xC304
UNKNOWN = 0xC307
NOT_SCHEDULED = 0xC309
NOT_CLAIMED = 0xC310
COMPLETED_ALREADY = 0xC311
NOBODY_TO_ASK = 0xC312
NO_EVENTS = 0xC315

WORDS: Mapping[int, str] = {
    ALREADY_CANCELED: "The UPS is already in the requested state of CANCELED",
    ALREADY_COMPLETED: "The UPS is already in the requested state of COMPLETED",
    NO_LONGER: "The UPS may no longer be updated",
    WRONG_TRANSACTION: "The correct Transaction UID was not provided",
    ALREADY_CLAIMED: "The UPS is already IN PROGRESS",
    NOT_BACK: "A UPS becomes SCHEDULED by N-CREATE only",
    NOT_FINAL: "Final state requirements are not met",
    UNKNOWN: "There is no such UPS here",
    NOT_SCHEDULED: "Procedure Step State was not SCHEDULED",
    NOT_CLAIMED: "The UPS is not yet IN PROGRESS",
    COMPLETED_ALREADY: "The UPS is already COMPLETED",
    NOBODY_TO_ASK: "The performer cannot be contacted",
    NO_EVENTS: "Event reports are not supported",
}


class UpsRefused(LabError):
    """A request that the list of work refuses.

    Parameters
    ----------
    status : int
        As DIMSE has it; UPS-RS answers with the HTTP status that fits.
    detail : str
        What exactly is wrong, if the status does not say it all.
    """

    def __init__(self, status: int, detail: str = "") -> None:
        words = WORDS.get(status, "")
        super().__init__(": ".join(part for part in (words, detail) if part) + ".")
        self.status = status
