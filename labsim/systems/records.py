"""What the systems tell each other about, as plain records."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, fields
from typing import TypeVar

from labsim.table import Table


class Record:
    """Shows its fields, one a line."""

    def table(self) -> Table:
        """Return the fields with their values."""
        rows = [(field.name, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]
        return Table(("field", "value"), rows, type(self).__name__)

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


@dataclass(frozen=True)
class Identifier:
    """A patient's number, with who gave it (PID-3, data type CX).

    Parameters
    ----------
    number, issuer : str
        Unique only together.
    kind : str
        Identifier type code (HL7 table 0203): ``"PI"`` an institution's own
        number, ``"SS"`` a social security number, ``"NI"`` a national one …
    """

    number: str
    issuer: str
    kind: str = "PI"

    def __str__(self) -> str:
        return f"{self.number}^^^{self.issuer}^{self.kind}"


@dataclass(frozen=True)
class Patient(Record):
    """A person, as one issuer knows them.

    Parameters
    ----------
    patient_id, issuer : str
        The identifier, unique only together (PID-3; (0010,0020), (0010,0021)).
    name : str
        ``"Family^Given"``, the form that HL7 and DICOM share.
    birth_date : str
        ``"19700131"``, empty if nobody knows.
    sex : str
        ``"F"``, ``"M"``, ``"O"`` or ``"U"``.
    identifiers : tuple of Identifier
        Numbers that others gave to the same person.
    """

    patient_id: str
    issuer: str
    name: str
    birth_date: str
    sex: str
    identifiers: tuple[Identifier, ...] = ()

    @property
    def columns(self) -> dict[str, str]:
        """What a table keeps in a row for a patient; other numbers have rows of their own."""
        return {name: value for name, value in vars(self).items() if name != "identifiers"}


@dataclass(frozen=True)
class Visit(Record):
    """A stay or an appointment: what PV1 tells.

    Parameters
    ----------
    visit : str
        Visit number (PV1-19).
    patient_id, issuer : str
        Whose.
    patient_class : str
        PV1-2: ``"I"`` inpatient, ``"O"`` outpatient, ``"E"`` emergency.
    location : str
        PV1-3, ``"point of care^room^bed"``.
    attending : str
        Attending doctor (PV1-7), ``"Family^Given"``.
    admitted, discharged : str
        ISO 8601 (PV1-44, PV1-45); the second is empty while it lasts.
    status : str
        ``ACTIVE``, ``DISCHARGED`` or ``CANCELLED``.
    """

    visit: str
    patient_id: str
    issuer: str
    patient_class: str = "O"
    location: str = "OUT"
    attending: str = ""
    admitted: str = ""
    discharged: str = ""
    status: str = "ACTIVE"


@dataclass(frozen=True)
class Order(Record):
    """A request for one examination, by the order placer's number.

    Parameters
    ----------
    placer_order : str
        Placer order number (ORC-2).
    visit : str
        Visit number (PV1-19).
    patient_id : str
        Whose order it is.
    code, description : str
        The examination (OBR-4).
    reason : str
        Reason for study (OBR-31).
    provider : str
        Ordering provider (ORC-12), ``"Family^Given"``.
    status : str
        What the keeper of the record knows of it. The HIS: ``ORDERED``,
        ``SCHEDULED``, ``IN PROGRESS``, ``COMPLETED``, ``DISCONTINUED``,
        ``PRELIMINARY``, ``RESULTED`` or ``CANCELLED``; the RIS: ``RECEIVED``, or
        that of the examination.
    priority : str
        ``"R"`` routine, ``"A"`` as soon as possible, ``"S"`` stat (OBR-27.6, TQ1-9).
    issuer : str
        Who gave the patient ID.
    """

    placer_order: str
    visit: str
    patient_id: str
    code: str
    description: str
    reason: str
    provider: str
    status: str
    priority: str = "R"
    issuer: str = ""


@dataclass(frozen=True)
class Procedure(Record):
    """A scheduled examination: one Requested Procedure with one Scheduled Procedure Step.

    Parameters
    ----------
    accession : str
        Accession Number (0008,0050).
    study_uid : str
        Study Instance UID (0020,000D), given here, before any image exists; that of
        the images if a scanner gave them another.
    procedure_id, step_id : str
        Requested Procedure ID (0040,1001) and Scheduled Procedure Step ID (0040,0009).
    filler_order, placer_order : str
        Order numbers of the RIS and of the HIS.
    patient_id : str
        Whose it is.
    code, description, modality, body_part : str
        What is to be done.
    station : str
        Scheduled Station AE Title (0040,0001).
    start : str
        Scheduled start, ISO 8601.
    status : str
        ``SCHEDULED``, ``IN PROGRESS``, ``COMPLETED``, ``DISCONTINUED``, ``REPORTED`` or
        ``CANCELLED``.
    priority : str
        As ordered: ``"R"``, ``"A"`` or ``"S"``.
    issuer : str
        Who gave the patient ID.
    performed_code : str
        What was done if it was not `code`; `description` is what was done then.
    flag : str
        What the reader has to know: ``images after report``.
    """

    accession: str
    study_uid: str
    procedure_id: str
    step_id: str
    filler_order: str
    placer_order: str
    patient_id: str
    code: str
    description: str
    modality: str
    body_part: str
    station: str
    start: str
    status: str
    priority: str = "R"
    issuer: str = ""
    performed_code: str = ""
    flag: str = ""


@dataclass(frozen=True)
class Result(Record):
    """A report as the chart keeps it.

    Parameters
    ----------
    placer_order, accession : str
        Which order it answers.
    patient_id : str
        Whose chart it is in.
    study_uid : str
        The images it is about.
    status : str
        Result status (OBR-25): ``P`` preliminary, ``F`` final, ``C`` corrected.
    text : str
        The report.
    interpreter : str
        Who wrote it (OBR-32).
    received_at : str
        When the chart got it, ISO 8601.
    """

    placer_order: str
    accession: str
    patient_id: str
    study_uid: str
    status: str
    text: str
    interpreter: str
    received_at: str = ""


_R = TypeVar("_R", Visit, Order, Procedure, Result)


def record_of(kind: type[_R], row: sqlite3.Row) -> _R:
    """Return the record in a row of a table, which may have more columns.

    Parameters
    ----------
    kind : type
        `Visit`, `Order`, `Procedure` or `Result`.
    row : sqlite3.Row
        Has a column of the name of each field.
    """
    return kind(**{field.name: row[field.name] for field in fields(kind)})
