"""The HL7 segments that several systems write and read in the same way."""

from __future__ import annotations

from labsim.errors import Hl7Error
from labsim.systems.records import Patient
from labsim.wire.hl7 import Message, escape, segment


def patient_segments(patient: Patient, visit: str) -> tuple[str, str]:
    """Return PID and PV1 of an outpatient (IHE RAD TF-2, RAD-1).

    Parameters
    ----------
    patient : Patient
        For PID-3, PID-5, PID-7 and PID-8.
    visit : str
        Visit number (PV1-19).
    """
    pid = {
        1: "1",
        3: f"{escape(patient.patient_id)}^^^{escape(patient.issuer)}^PI",
        5: "^".join(escape(part) for part in patient.name.split("^")),
        7: patient.birth_date,
        8: patient.sex,
    }
    pv1 = {1: "1", 2: "O", 3: "OUT", 19: f"{escape(visit)}^^^{escape(patient.issuer)}"}
    return segment("PID", pid), segment("PV1", pv1)


def patient_of(message: Message, issuer: str) -> Patient:
    """Return the patient that a message's PID segment is about.

    Parameters
    ----------
    message : Message
        Any message with a PID.
    issuer : str
        Who gave the ID when PID-3.4 does not say.

    Raises
    ------
    Hl7Error
        If PID-3 or PID-5 is empty.
    """
    if not message["PID-3.1"] or not message["PID-5.1"]:
        raise Hl7Error("PID-3 Patient Identifier List or PID-5 Patient Name is empty.")
    name = "^".join(message[f"PID-5.{component}"] for component in range(1, 6))
    return Patient(
        patient_id=message["PID-3.1"],
        issuer=message["PID-3.4"] or issuer,
        name=name.rstrip("^"),
        birth_date=message["PID-7.1"][:8],
        sex=message["PID-8.1"],
    )


def merge_segment(prior: Patient) -> str:
    """Return MRG: the identity that is given up in a merge (ADT^A40, IHE RAD-12)."""
    return segment(
        "MRG",
        {
            1: f"{escape(prior.patient_id)}^^^{escape(prior.issuer)}^PI",
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
