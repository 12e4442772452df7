"""What the PACS reports of its associations, seen on the wire (PS3.15 A.5.3).

An association that stores a study gives one message when it ends, not one for
each image; a query and a retrieve give theirs at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dsutils import decode
from pynetdicom.status import code_to_category

from labsim.sop_classes import STUDY_ROOT_FIND
from labsim.systems.audit import message as parts
from labsim.systems.audit.message import Participant, Subject
from labsim.systems.audit.trail import MINOR_FAILURE, SUCCESS, AuditTrail, Study
from labsim.systems.facility import System, text_of
from labsim.systems.pacs.entities import Entities
from labsim.systems.pacs.index import UNIQUE_KEYS, Index
from labsim.systems.records import Patient
from labsim.wire.dimse import Handlers
from labsim.wire.matching import values_of
from labsim.wire.status import describe_status

_NOT_AUTHORIZED = 0x0124
_UNIQUE = {
    "p.patient_id": "PatientID",
    "p.issuer": "IssuerOfPatientID",
    "st.study_uid": "StudyInstanceUID",
    "se.series_uid": "SeriesInstanceUID",
    "i.sop_uid": "SOPInstanceUID",
}
_READ = (
    *_UNIQUE.values(), "QueryRetrieveLevel", "AccessionNumber", "StudyDescription",
    "PatientName", "PatientBirthDate", "PatientSex",
)  # fmt: skip
_CHUNK = 500  # values of one SQL statement


@dataclass
class _Seen:
    """What an association has done so far."""

    stored: list[str] = field(default_factory=list)
    refused: list[tuple[Study, Patient, str]] = field(default_factory=list)
    request: tuple[Any, UID] = (None, UID(""))  # data set and syntax of the last C-STORE
    wanted: list[str] = field(default_factory=list)  # SOP Instance UIDs of a retrieve
    destination: str = ""


class Auditing:
    """Watches associations, and writes the audit trail.

    Parameters
    ----------
    system : System
        The PACS.
    trail : AuditTrail
        Its trail.
    seen : callable
        Returns the index as a caller of an AE title sees it.
    entities : Entities
        Where callers are.
    """

    def __init__(
        self, system: System, trail: AuditTrail, seen: Callable[[str], Index], entities: Entities
    ) -> None:
        self._system = system
        self._trail = trail
        self._index_for = seen
        self._entities = entities

    def observers(self) -> Handlers:
        """Return what to bind to the associations that are accepted."""
        if not self._trail.kept:
            return []
        return [
            (evt.EVT_DIMSE_RECV, self._received),
            (evt.EVT_DIMSE_SENT, self._sent),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_RELEASED, self._ended),
            (evt.EVT_ABORTED, self._ended),
        ]

    def studies_of(self, sop_uids: Iterable[str]) -> list[tuple[Patient, list[Study]]]:
        """Return the studies of instances, patient by patient, as audit messages want them."""
        uids, rows = list(sop_uids), []
        for start in range(0, len(uids), _CHUNK):
            chunk = uids[start : start + _CHUNK]
            rows += self._system.db.rows(
                "SELECT p.patient_id, p.issuer, p.name, p.birth_date, p.sex, st.study_uid, "
                "st.accession, st.description, i.sop_class, COUNT(*) AS count FROM instances i "
                "JOIN series se ON se.id = i.series JOIN studies st ON st.id = se.study "
                f"JOIN patients p ON p.id = st.patient WHERE i.sop_uid IN "
                f"({', '.join('?' * len(chunk))}) GROUP BY st.id, i.sop_class ORDER BY st.id",
                *chunk,
            )
        found: dict[Patient, dict[str, Study]] = {}
        for row in rows:
            *person, study_uid, accession, description, sop_class, count = row
            studies = found.setdefault(Patient(*person), {})
            known = studies.get(study_uid)
            counts = dict(known.sop_classes) if known else {}
            counts[sop_class] = counts.get(sop_class, 0) + count
            studies[study_uid] = Study(study_uid, accession, description, counts)
        return [(patient, list(studies.values())) for patient, studies in found.items()]

    def forwarded(self, destination: str, sop_uids: Iterable[str]) -> None:
        """Report what the archive has sent of its own accord (PS3.15 A.5.3.7)."""
        known = self._entities.get(destination)
        host = known.host if known is not None else ""
        who = [
            self._trail.itself(requestor=True, role=parts.SOURCE),
            self._trail.peer(destination, host, role=parts.DESTINATION),
        ]
        for patient, studies in self.studies_of(sop_uids):
            self._trail.about("110104", "R", who, patient, studies)

    def taken(
        self, who: Participant, sop_uids: Iterable[str], outcome: str = SUCCESS, text: str = ""
    ) -> None:
        """Report what somebody was given over the web (PS3.15 A.5.3.7)."""
        if not self._trail.kept:
            return
        ends = [self._trail.itself(role=parts.SOURCE), who]
        for patient, studies in self.studies_of(sop_uids):
            self._trail.about("110104", "R", ends, patient, studies, outcome=outcome, text=text)

    # On the wire

    def _received(self, event: evt.Event) -> None:
        name, seen = type(event.message).__name__, _seen(event.assoc)
        if name == "C_STORE_RQ":
            # The data set itself: pynetdicom takes it from the message in a moment.
            seen.request = event.message.data_set, _syntax(event)
        elif name == "C_FIND_RQ":
            self._queried(event)
        elif name in ("C_MOVE_RQ", "C_GET_RQ"):
            self._asked_for(event, seen)

    def _sent(self, event: evt.Event) -> None:
        name, command = type(event.message).__name__, event.message.command_set
        status = command.get("Status")
        if name == "C_STORE_RSP":
            self._stored(event, str(command.AffectedSOPInstanceUID), status)
        elif name in ("C_MOVE_RSP", "C_GET_RSP") and code_to_category(status) != "Pending":
            self._delivered(event, command)
        if status == _NOT_AUTHORIZED and name.endswith("_RSP"):
            text = f"{_title(event.assoc)} asked for {name.removesuffix('_RSP').replace('_', '-')}"
            by = self._caller(event.assoc)
            self._trail.alert(
                "110132", f"{text} without the right to", by=by, about=self._system.name,
                outcome=MINOR_FAILURE,
            )  # fmt: skip

    def _rejected(self, event: evt.Event) -> None:
        caller = self._caller(event.assoc)
        text = f"association of {caller.user_id or 'a caller without a title'} rejected"
        self._trail.alert("110126", text, by=caller, about=self._system.name, outcome=MINOR_FAILURE)

    def _ended(self, event: evt.Event) -> None:
        seen = _seen(event.assoc)
        who = [
            self._caller(event.assoc, parts.SOURCE),
            self._trail.itself(role=parts.DESTINATION),
        ]
        stored, seen.stored = seen.stored, []
        refused, seen.refused = seen.refused, []
        self._transferred(who, stored, refused)

    # Storing

    def stored_over_web(
        self, who: Participant, stored: Sequence[str], refused: Sequence[tuple[Dataset, int]]
    ) -> None:
        """Report what a request of STOW-RS has stored, and what not (PS3.15 A.5.3.7).

        Parameters
        ----------
        who : Participant
            Whose token it was.
        stored : sequence of str
            SOP Instance UIDs.
        refused : sequence of (Dataset, int)
            Of each image its header, as far as it could be read, and the status.
        """
        if not self._trail.kept:
            return
        told: list[tuple[Study, Patient, str]] = []
        for header, status in refused:
            each = _refusal(header, text_of(header.get("SOPClassUID")), status)
            if len(told) < _CHUNK and each not in told:
                told.append(each)
        self._transferred([who, self._trail.itself(role=parts.DESTINATION)], stored, told)

    def searched(self, who: Participant, url: str) -> None:
        """Report a search over the web (PS3.15 A.5.3.10); the query is its URL."""
        # It searches what this class does, and the schema wants a class.
        subject = Subject(
            STUDY_ROOT_FIND,
            parts.SOP_CLASS_UID,
            name=UID(STUDY_ROOT_FIND).name,
            query=url.encode(),
            detail={"Service": b"QIDO-RS"},
        )
        self._trail.record(
            "110112", "E", [who, self._trail.itself(role=parts.DESTINATION)], [subject]
        )

    def _transferred(
        self,
        who: Sequence[Participant],
        stored: Sequence[str],
        refused: Sequence[tuple[Study, Patient, str]],
    ) -> None:
        for patient, studies in self.studies_of(stored):
            self._trail.about("110104", "C", who, patient, studies)
        for study, patient, why in refused:
            self._trail.about("110104", "C", who, patient, [study], outcome=MINOR_FAILURE, text=why)

    def _stored(self, event: evt.Event, sop_uid: str, status: int) -> None:
        seen = _seen(event.assoc)
        if status == 0x0000:
            seen.stored.append(sop_uid)
            return
        sop_class = text_of(event.message.command_set.get("AffectedSOPClassUID"))
        told = _refusal(_dataset(*seen.request), sop_class, status)
        if len(seen.refused) < _CHUNK and told not in seen.refused:
            seen.refused.append(told)

    # Query and retrieve

    def _queried(self, event: evt.Event) -> None:
        stream, syntax = event.message.data_set, _syntax(event)
        query = stream.getvalue() if isinstance(stream, BytesIO) else b""
        sop_class = text_of(event.message.command_set.get("AffectedSOPClassUID"))
        subject = Subject(
            sop_class,
            parts.SOP_CLASS_UID,
            name=UID(sop_class).name,
            query=query,
            detail={"TransferSyntax": str(syntax).encode()},
        )
        who = [
            self._caller(event.assoc, parts.SOURCE),
            self._trail.itself(role=parts.DESTINATION),
        ]
        self._trail.record("110112", "E", who, [subject])

    def _asked_for(self, event: evt.Event, seen: _Seen) -> None:
        identifier = _dataset(event.message.data_set, _syntax(event))
        seen.destination = text_of(event.message.command_set.get("MoveDestination")).strip()
        level = text_of(identifier.get("QueryRetrieveLevel"))
        uids = {
            column: values_of(identifier[keyword])
            for column, keyword in _UNIQUE.items()
            if keyword in identifier
        }
        index = self._index_for(_title(event.assoc))
        found = index.instances(level, uids) if level in UNIQUE_KEYS else []
        seen.wanted = [instance.sop_uid for instance in found]
        for patient, studies in self.studies_of(seen.wanted):
            self._trail.about("110102", "E", self._way(event.assoc), patient, studies)

    def _delivered(self, event: evt.Event, command: Dataset) -> None:
        seen, status = _seen(event.assoc), command.Status
        failed = int(command.get("NumberOfFailedSuboperations") or 0)
        outcome, text = SUCCESS, ""
        if status != 0x0000 or failed:
            text = describe_status(status) + (f", {failed} images failed" if failed else "")
            outcome = MINOR_FAILURE
        for patient, studies in self.studies_of(seen.wanted):
            self._trail.about(
                "110104", "R", self._way(event.assoc), patient, studies, outcome=outcome, text=text
            )
        seen.wanted = []

    def _way(self, association: Association) -> Sequence[Participant]:
        """Return from where to where a retrieve goes, and who asked for it."""
        seen, source = _seen(association), self._trail.itself(role=parts.SOURCE)
        if not seen.destination:  # C-GET: back to the caller
            return [source, self._caller(association, parts.DESTINATION)]
        known = self._entities.get(seen.destination)
        host = known.host if known is not None else ""
        to = self._trail.peer(seen.destination, host, role=parts.DESTINATION)
        return [source, to, self._caller(association)]

    def _caller(self, association: Association, role: parts.Code | None = None) -> Participant:
        title = _title(association)
        known = self._entities.get(title)
        host = known.host if known is not None else association.requestor.address or ""
        return self._trail.peer(title, host, requestor=True, role=role)


def _refusal(header: Dataset, sop_class: str, status: int) -> tuple[Study, Patient, str]:
    """Return what there is to say of an image that was not stored."""
    study = Study(
        text_of(header.get("StudyInstanceUID")) or "unknown",
        text_of(header.get("AccessionNumber")),
        text_of(header.get("StudyDescription")),
        {sop_class: 1},
    )
    patient = Patient(
        text_of(header.get("PatientID")),
        text_of(header.get("IssuerOfPatientID")),
        text_of(header.get("PatientName")),
        text_of(header.get("PatientBirthDate")),
        text_of(header.get("PatientSex")),
    )
    return study, patient, describe_status(status)


def _seen(association: Association) -> _Seen:
    seen: _Seen = association.__dict__.setdefault("_labsim_audit", _Seen())
    return seen


def _title(association: Association) -> str:
    return str(association.requestor.ae_title).strip()


def _syntax(event: evt.Event) -> UID:
    for context in event.assoc.accepted_contexts:
        if context.context_id == event.message.context_id:
            return UID(context.transfer_syntax[0])
    return UID("")


def _dataset(stream: Any, syntax: UID) -> Dataset:
    """Return what can be read of a message's data set; nothing if it is broken in any way."""
    try:
        data = BytesIO(stream.getvalue())
        dataset = decode(data, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
        for keyword in _READ:  # turns each raw element into a value, or fails
            text_of(dataset.get(keyword))
    except Exception:  # pydicom raises many kinds; the handler answers for it
        return Dataset()
    return dataset
