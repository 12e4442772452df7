"""Orders as HL7 v2.3.1 writes them (ORM^O01) and as v2.5.1 does (OMG^O19, OMI^O23).

Both say the same. In v2.5.1 segment TQ1 has the time and the priority, that
were in ORC-7 and OBR-27, and segment IPC of OMI^O23 the identifiers of the
study, that IHE puts into OBR-18 to 20 and ZDS for v2.3.1 (IHE RAD TF-2, RAD-4
and its HL7 v2.5.1 option; HL7 v2.5.1 chapter 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labsim.systems.outbox import Outbox
from labsim.wire.hl7 import Header, Message, escape, segment

ORM, OMG, OMI = "ORM^O01", "OMG^O19", "OMI^O23"
# What an order placer answers to a filler's new order.
ANSWERS: Mapping[str, str] = {ORM: "ORR^O02", OMG: "ORG^O20"}
PRIORITIES: Mapping[str, str] = {"R": "routine", "A": "as soon as possible", "S": "stat"}


@dataclass(frozen=True)
class Timing:
    """When, and how soon: ORC-7 and OBR-27 of v2.3.1, TQ1 of v2.5.1.

    Parameters
    ----------
    start : str
        HL7 time stamp.
    priority : str
        ``"R"``, ``"A"`` or ``"S"`` (HL7 tables 0027 and 0485).
    """

    start: str
    priority: str


@dataclass(frozen=True)
class StudyNumbers:
    """What identifies an imaging procedure in a message.

    Parameters
    ----------
    accession, procedure_id, study_uid, step_id : str
        IPC-1 to 4; or OBR-18, OBR-19, ZDS-1, OBR-20.
    modality, code, description, coding_scheme : str
        IPC-5 (OBR-24), and the protocol, IPC-6.
    station : str
        IPC-7 and IPC-9; v2.3.1 has no place for it.
    """

    accession: str
    procedure_id: str
    study_uid: str
    step_id: str
    modality: str = ""
    code: str = ""
    description: str = ""
    coding_scheme: str = ""
    station: str = ""


def order_header(outbox: Outbox, kind: str, receiver: str) -> Header:
    """Start a message of a kind such as `ORM`, in the version that it belongs to."""
    version = "2.3.1" if kind in (ORM, ANSWERS[ORM]) else "2.5.1"
    return outbox.header(kind, receiver, version)


def order_segments(
    kind: str,
    orc: Mapping[int, str],
    obr: Mapping[int, str],
    timing: Timing,
    study: StudyNumbers | None = None,
) -> list[str]:
    """Return ORC and OBR of an order, with what goes between and after them.

    Parameters
    ----------
    kind : str
        `ORM`, `OMG`, `OMI`, or one of `ANSWERS`.
    orc, obr : mapping of int to str
        The fields that do not depend on the version.
    timing : Timing
        When, and how soon.
    study : StudyNumbers, optional
        Once the procedure is scheduled.
    """
    if kind == OMI:
        tq1 = segment("TQ1", {1: "1", 7: timing.start, 9: timing.priority})
        assert study is not None  # IPC is required in an OMI
        return [segment("ORC", orc), tq1, segment("OBR", obr), _ipc(study)]
    numbers = {}
    if study is not None:
        numbers = {18: study.accession, 19: study.procedure_id, 20: study.step_id}
        numbers[24] = study.modality
    if kind in (OMG, ANSWERS[OMG]):
        tq1 = segment("TQ1", {1: "1", 7: timing.start, 9: timing.priority})
        return [segment("ORC", orc), tq1, segment("OBR", {**obr, **numbers})]
    when = f"1^^^{timing.start}^^{timing.priority}"
    lines = [segment("ORC", {**orc, 7: when}), segment("OBR", {**obr, **numbers, 27: when})]
    if study is not None:
        lines.append(segment("ZDS", {1: f"{study.study_uid}^100^Application^DICOM"}))
    return lines


def study_of(message: Message) -> StudyNumbers:
    """Read what identifies the procedure, from IPC or from OBR and ZDS."""
    return StudyNumbers(
        accession=message["IPC-1.1"] or message["OBR-18"],
        procedure_id=message["IPC-2.1"] or message["OBR-19"],
        study_uid=message["IPC-3.1"] or message["ZDS-1.1"],
        step_id=message["IPC-4.1"] or message["OBR-20"],
    )


def priority_of(message: Message) -> str:
    """Read the priority of an order; what is neither stat nor soon is routine."""
    priority = message["TQ1-9.1"] or message["ORC-7.6"] or message["OBR-27.6"]
    return priority if priority in PRIORITIES else "R"


def reason_of(message: Message) -> str:
    """Read the reason for the study (OBR-31), as text."""
    return message["OBR-31.2"] or message["OBR-31.1"]


def reason_field(reason: str) -> str:
    """Write a reason as text without a code (data type CE)."""
    return f"^{escape(reason)}" if reason else ""


def _ipc(study: StudyNumbers) -> str:
    protocol = f"{study.code}^{escape(study.description)}^{study.coding_scheme}"
    return segment(
        "IPC",
        {
            1: study.accession,
            2: study.procedure_id,
            3: study.study_uid,
            4: study.step_id,
            5: study.modality,
            6: protocol,
            7: study.station,
            9: study.station,
        },
    )
