"""What the systems tell each other about, as plain records."""

from __future__ import annotations

from dataclasses import dataclass, fields

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
class Patient(Record):
    """A person, as one issuer knows them.

    Parameters
    ----------
    patient_id, issuer : str
        The identifier, unique only together (PID-3; (0010,0020), (0010,0021)).
    name : str
        ``"Family^Given"``, the form that HL7 and DICOM share.
    birth_date : str
        ``"19700131"``.
    sex : str
        ``"F"``, ``"M"`` or ``"O"``.
    """

    patient_id: str
    issuer: str
    name: str
    birth_date: str
    sex: str


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
        What the keeper of the record knows of it.
    """

    placer_order: str
    visit: str
    patient_id: str
    code: str
    description: str
    reason: str
    provider: str
    status: str


@dataclass(frozen=True)
class Procedure(Record):
    """A scheduled examination: one Requested Procedure with one Scheduled Procedure Step.

    Parameters
    ----------
    accession : str
        Accession Number (0008,0050).
    study_uid : str
        Study Instance UID (0020,000D), given here, before any image exists.
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
        Result status (OBR-25): ``F`` for final.
    text : str
        The report.
    interpreter : str
        Who wrote it (OBR-32).
    """

    placer_order: str
    accession: str
    patient_id: str
    study_uid: str
    status: str
    text: str
    interpreter: str
