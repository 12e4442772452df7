"""SOP Class Extended Negotiation of Query/Retrieve (PS3.4 C.5.1.1, C.5.2.1, C.5.3.1).

What is asked for byte by byte is answered byte by byte: 1 where it will be
done, 0 where it will not. What is not answered is not done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom import evt

from labsim.sop_classes import (
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)

# For C-FIND: relational queries, combined date and time, fuzzy names, time zone, enhanced
# multi-frame conversion; for the others: relational retrieval, enhanced multi-frame conversion.
_OFFERED: Mapping[UID, bytes] = {
    **dict.fromkeys((PATIENT_ROOT_FIND, STUDY_ROOT_FIND), b"\1\1\0\0\0"),
    **dict.fromkeys(
        (PATIENT_ROOT_MOVE, STUDY_ROOT_MOVE, PATIENT_ROOT_GET, STUDY_ROOT_GET), b"\1\0"
    ),
}


@dataclass(frozen=True)
class Agreed:
    """What was agreed on for one SOP class.

    Parameters
    ----------
    relational : bool
        Keys of any level may come together.
    combined : bool
        A range of dates and one of times are one range (PS3.4 C.2.2.2.5).
    """

    relational: bool = False
    combined: bool = False


def answer(event: evt.Event) -> dict[UID, bytes]:
    """Answer EVT_SOP_EXTENDED: what is asked for and offered, of each SOP class."""
    asked: dict[UID, bytes] = event.assoc.requestor.sop_class_extended
    return {
        uid: bytes(want & have for want, have in zip(wanted, _OFFERED[uid], strict=False))
        for uid, wanted in asked.items()
        if uid in _OFFERED
    }


def agreed(event: evt.Event) -> Agreed:
    """Return what was agreed on for the SOP class of a request."""
    asked = event.assoc.requestor.sop_class_extended
    uid = UID(event.context.abstract_syntax)
    both = zip(asked.get(uid, b""), _OFFERED.get(uid, b""), strict=False)
    flags = [bool(want & have) for want, have in both]
    return Agreed(*[*flags, False, False][:2])
