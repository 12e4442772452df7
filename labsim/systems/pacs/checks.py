"""What quality control looks for in an image: each check says what is wrong, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset

from labsim.systems.pacs.announced import Announced
from labsim.wire.charset import readable

# Body Part Examined of which there are two (PS3.16 annex L)
_PAIRED = {
    "ANKLE", "ARM", "BREAST", "CLAVICLE", "ELBOW", "FEMUR", "FOOT", "FOREARM", "HAND", "HIP",
    "HUMERUS", "KNEE", "LEG", "SHOULDER", "WRIST",
}  # fmt: skip
# What depends on the Specific Character Set (PS3.5 6.1.2.3)
_TEXT = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}


@dataclass(frozen=True)
class Seen:
    """An image, and what the archive knows of its study.

    Parameters
    ----------
    header : Dataset
        As the archive would send it.
    data : bytes
        Its file.
    calling : str
        AE title that sent it.
    filed : mapping
        ``study_uid``, ``accession``, ``patient_id`` and ``issuer`` of its study.
    orders : Announced
        What orders have said.
    value : str
        What the rule compares with.
    """

    header: Dataset
    data: bytes
    calling: str
    filed: Mapping[str, str]
    orders: Announced
    value: str = ""


def unannounced(seen: Seen) -> str:
    """Look for the order of the study."""
    if seen.orders.study(seen.filed["study_uid"]) is None:
        return "no order has announced this study"
    return ""


def patient_unknown(seen: Seen) -> str:
    """Look for any order for the patient."""
    patient_id = seen.filed["patient_id"]
    return "" if seen.orders.ordered_for(patient_id) else f"no order names patient {patient_id}"


def patient_differs(seen: Seen) -> str:
    """Compare the patient with the one of the order."""
    order = seen.orders.study(seen.filed["study_uid"])
    if order is None:
        order = seen.orders.accession(seen.filed["accession"]) if seen.filed["accession"] else None
    if order is None:
        return ""
    ordered, issuer = seen.orders.ordered(order)
    # Many images name no issuer; one that is named has to be the right one.
    if ordered == seen.filed["patient_id"] and seen.filed["issuer"] in ("", issuer):
        return ""
    came = "^^^".join(filter(None, (seen.filed["patient_id"], seen.filed["issuer"])))
    return f"ordered for patient {ordered}^^^{issuer}, came for {came}"


def accession_differs(seen: Seen) -> str:
    """Compare the accession number with the one of the order."""
    came, order = seen.filed["accession"], seen.orders.study(seen.filed["study_uid"])
    # A study for several examinations has none, or one of theirs (PS3.17 J.4.1).
    ordered = order["accession"].split("\\") if order is not None else [came]
    if came not in ordered and (came or len(ordered) == 1):
        return f"ordered as {' and '.join(ordered)}, came as {came or '(none)'}"
    other = seen.orders.accession(came) if came else None
    if other is not None and other["study_uid"] != seen.filed["study_uid"]:
        return f"accession number {came} was announced for another study"
    return ""


def character_set(seen: Seen) -> str:
    """Read all text as the Specific Character Set says."""
    dataset = dcmread(BytesIO(seen.data), stop_before_pixels=True)
    wrong = readable(dataset)
    if wrong:
        return wrong[0]
    for element in dataset:
        # Latin 1 has control characters where Windows-1252 has letters and dashes.
        if element.VR in _TEXT and re.search("[\x80-\x9f]", str(element.value)):
            return f"{element.name} is perhaps in Windows-1252"
    return ""


def laterality_missing(seen: Seen) -> str:
    """Ask for the side of what there are two of."""
    part = str(seen.header.get("BodyPartExamined") or "")
    if part not in _PAIRED:
        return ""
    if any(seen.header.get(keyword) for keyword in ("Laterality", "ImageLaterality")):
        return ""
    frames = seen.header.get("SharedFunctionalGroupsSequence") or []
    if any("FrameAnatomySequence" in item for item in frames):
        return ""
    return f"{part} of which side?"


def flagged_sender(seen: Seen) -> str:
    """Compare the sender with those that are to be looked at."""
    watched = [title.strip() for title in seen.value.split(",")]
    return f"all of {seen.calling} is looked at" if seen.calling in watched else ""


CHECKS: Mapping[str, Callable[[Seen], str]] = {
    "patient differs": patient_differs,
    "accession differs": accession_differs,
    "patient unknown": patient_unknown,
    "unannounced": unannounced,
    "character set": character_set,
    "laterality missing": laterality_missing,
    "sender": flagged_sender,
}
