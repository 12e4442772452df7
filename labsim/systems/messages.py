"""The HL7 segments that several systems write and read in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from labsim.errors import Hl7Error
from labsim.systems.records import Identifier, Patient, Visit
from labsim.wire.hl7 import Message, escape, segment, timestamp, unescape

# What tells of a change of patient or visit (RAD-12), beside the merge: what it did.
UPDATES: Mapping[str, str] = {
    "ADT^A02": "transferred",
    "ADT^A03": "discharged",
    "ADT^A06": "made an inpatient",
    "ADT^A07": "made an outpatient",
    "ADT^A08": "updated",
    "ADT^A11": "not admitted after all",
    "ADT^A13": "not discharged after all",
    "ADT^A31": "updated",
}
# Name is an alias, date of birth unknown (PID-32, HL7 table 0445).
_UNRELIABLE = "AL~UD"


def number_of(patient_id: str, issuer: str) -> tuple[str, str]:
    """Return number and issuer of ``"P000001"`` or ``"P000001^^^ISSUER"``.

    Parameters
    ----------
    patient_id : str
        As people write it, and as PID-3 has it.
    issuer : str
        Who gave it if it does not say.
    """
    parts = [*patient_id.split("^"), "", "", ""]
    return parts[0], parts[3] or issuer


def patient_segments(
    patient: Patient, visit: str | Visit, *, unidentified: bool = False
) -> tuple[str, str]:
    """Return PID and PV1 (IHE RAD TF-2, RAD-1).

    Parameters
    ----------
    patient : Patient
        For PID-3, PID-5, PID-7 and PID-8.
    visit : str or Visit
        What PV1 is to tell; a number alone is that of an outpatient.
    unidentified : bool
        Whether the person is not known: PID-31 and PID-32, for v2.5.1 only.
    """
    own = Identifier(patient.patient_id, patient.issuer)
    pid = {
        1: "1",
        3: "~".join(map(_cx, (own, *patient.identifiers))),
        5: "^".join(escape(part) for part in patient.name.split("^")),
        7: patient.birth_date,
        8: patient.sex,
    }
    if unidentified:
        pid |= {31: "Y", 32: _UNRELIABLE}
    if isinstance(visit, str):
        visit = Visit(visit, patient.patient_id, patient.issuer)
    return segment("PID", pid), visit_segment(visit)


def visit_segment(visit: Visit) -> str:
    """Return PV1 of a visit; without a visit number, one that is about no visit (class N)."""
    if not visit.visit:
        return segment("PV1", {1: "1", 2: "N"})
    pv1 = {
        1: "1",
        2: visit.patient_class,
        3: "^".join(escape(part) for part in visit.location.split("^")),
        7: provider_field(visit.attending) if visit.attending else "",
        19: f"{escape(visit.visit)}^^^{escape(visit.issuer)}",
    }
    times = {44: visit.admitted, 45: visit.discharged}
    told = {n: timestamp(datetime.fromisoformat(time)) for n, time in times.items() if time}
    return segment("PV1", pv1 | told)


def patient_of(message: Message, issuer: str) -> Patient:
    """Return the patient that a message's PID segment is about.

    Parameters
    ----------
    message : Message
        Any message with a PID.
    issuer : str
        Whose number the patient is kept under, if PID-3 has one of theirs;
        and who gave an ID whose PID-3.4 does not say.

    Raises
    ------
    Hl7Error
        If PID-3 or PID-5 is empty.
    """
    numbers = [_identifier(text, issuer) for text in message.repetitions("PID-3")]
    numbers = [identifier for identifier in numbers if identifier.number]
    if not numbers or not message["PID-5.1"]:
        raise Hl7Error("PID-3 Patient Identifier List or PID-5 Patient Name is empty.")
    own = next((identifier for identifier in numbers if identifier.issuer == issuer), numbers[0])
    name = "^".join(message[f"PID-5.{component}"] for component in range(1, 6))
    return Patient(
        patient_id=own.number,
        issuer=own.issuer,
        name=name.rstrip("^"),
        birth_date=message["PID-7.1"][:8],
        sex=message["PID-8.1"],
        identifiers=tuple(identifier for identifier in numbers if identifier is not own),
    )


def visit_of(message: Message, patient: Patient) -> Visit | None:
    """Return the visit that a message's PV1 segment is about, None if there is none.

    Parameters
    ----------
    message : Message
        Any message.
    patient : Patient
        Whose message it is.
    """
    if not message["PV1-19.1"]:
        return None
    location = "^".join(message[f"PV1-3.{component}"] for component in range(1, 4))
    discharged = _moment(message["PV1-45.1"])
    return Visit(
        visit=message["PV1-19.1"],
        patient_id=patient.patient_id,
        issuer=patient.issuer,
        patient_class=message["PV1-2"],
        location=location.rstrip("^"),
        attending=provider_of(message, "PV1-7"),
        admitted=_moment(message["PV1-44.1"]),
        discharged=discharged,
        status="DISCHARGED" if discharged else "ACTIVE",
    )


def merge_segment(prior: Patient) -> str:
    """Return MRG: the identity that is given up in a merge (ADT^A40, IHE RAD-12)."""
    return segment(
        "MRG",
        {
            1: _cx(Identifier(prior.patient_id, prior.issuer)),
            7: "^".join(escape(part) for part in prior.name.split("^")),
        },
    )


def prior_of(message: Message, kept: Patient) -> tuple[str, str]:
    """Return patient ID and issuer that a merge gives up.

    Parameters
    ----------
    message : Message
        An ADT^A40.
    kept : Patient
        Who is kept, from its PID.

    Raises
    ------
    Hl7Error
        If MRG-1 is empty, or names the patient who is kept.
    """
    prior = message["MRG-1.1"], message["MRG-1.4"] or kept.issuer
    if not prior[0]:
        raise Hl7Error("MRG-1 Prior Patient Identifier List is empty.")
    if prior == (kept.patient_id, kept.issuer):
        raise Hl7Error(
            f"MRG-1 and PID-3 are both {kept.patient_id}: nobody is merged with himself."
        )
    return prior


def provider_field(name: str) -> str:
    """Write ``"Family^Given"`` as a person with an identifier before the name (XCN)."""
    return "^" + "^".join(escape(part) for part in name.split("^"))


def provider_of(message: Message, field: str) -> str:
    """Read family and given name of an XCN field such as ``"ORC-12"``."""
    return "^".join(filter(None, (message[f"{field}.2"], message[f"{field}.3"])))


def _cx(identifier: Identifier) -> str:
    number, issuer = escape(identifier.number), escape(identifier.issuer)
    return f"{number}^^^{issuer}^{escape(identifier.kind)}"


def _identifier(text: str, issuer: str) -> Identifier:
    number, _, _, authority, kind, *_ = [*text.split("^"), "", "", "", ""]
    # The assigning authority is an HD; its first part is the name that people know.
    authority = unescape(authority.partition("&")[0])
    return Identifier(unescape(number), authority or issuer, unescape(kind) or "PI")


def _moment(text: str) -> str:
    """Return an HL7 time stamp to the second as ISO 8601, empty for what is none."""
    try:
        return datetime.strptime(text[:14], "%Y%m%d%H%M%S").isoformat()
    except ValueError:
        return ""
