"""A system's audit trail: what it reports to the audit repository (IHE Record Audit Event, ITI-20).

A message is kept on disk until the repository has read it. They go in order,
by a worker of their own, so that a repository that is down holds up nothing
else; what waits goes along with the next one, or with `AuditTrail.resend`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from labsim.errors import LabError
from labsim.site import AuditSite
from labsim.systems.audit import message as parts
from labsim.systems.audit.message import AuditMessage, Code, Participant, Subject
from labsim.systems.audit.rules import RULES
from labsim.systems.facility import System
from labsim.systems.records import Patient
from labsim.table import Table
from labsim.wire import syslog
from labsim.wire.network import Address
from labsim.wire.syslog import SyslogMessage

SCHEMA = """
CREATE TABLE IF NOT EXISTS audit_spool (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    time    TEXT NOT NULL,
    event   TEXT NOT NULL,      -- in words
    message TEXT NOT NULL       -- the XML
);
"""
SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE, MAJOR_FAILURE = "0", "4", "8", "12"
_AT_ONCE = 200  # messages on one connection


@dataclass(frozen=True)
class Study:
    """A study as audit messages tell of it.

    Parameters
    ----------
    study_uid, accession, description : str
        Which.
    sop_classes : mapping of str to int
        How many instances of each SOP class the event was about.
    """

    study_uid: str
    accession: str = ""
    description: str = ""
    sop_classes: Mapping[str, int] = field(default_factory=dict)

    def subject(self, life_cycle: str = "") -> Subject:
        """Return it as the object of an event."""
        return Subject(
            self.study_uid,
            parts.STUDY_UID,
            name=self.description,
            sop_classes=self.sop_classes,
            accession=self.accession,
            life_cycle=life_cycle,
        )


class AuditTrail:
    """Writes one system's audit messages and sees that they arrive.

    Parameters
    ----------
    system : System
        Whose.
    repository : AuditSite or None
        Where they go; None if the hospital has no repository, and then
        nothing is written.
    ae_title : str
        Its AE title, if it has one.
    host : str
        Its host name.
    """

    def __init__(
        self, system: System, repository: AuditSite | None, *, ae_title: str = "", host: str = ""
    ) -> None:
        self._system = system
        self._repository = repository
        self._ae_title = ae_title
        self._host = host
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"{system.name}-audit-worker")
        self._down = False  # whether the last attempt failed, so that it is told once
        self._queued = False  # whether the worker will look at the spool anyway
        self._lock = threading.Lock()
        if repository is not None:
            system.db.run(SCHEMA)

    @property
    def kept(self) -> bool:
        """Whether the hospital has a repository."""
        return self._repository is not None

    # Sending

    def record(
        self,
        event: str,
        action: str,
        participants: Sequence[Participant],
        subjects: Sequence[Subject] = (),
        *,
        kind: str = "",
        outcome: str = SUCCESS,
        text: str = "",
    ) -> None:
        """Write one message, and send it in the background.

        Parameters
        ----------
        event : str
            Event ID, a code of `labsim.systems.audit.rules.RULES`.
        action : str
            ``C``, ``R``, ``U``, ``D`` or ``E``.
        participants, subjects : sequence
            Who, and to what.
        kind : str
            Event type code.
        outcome, text : str
            How it ended.
        """
        if self._repository is None:
            return
        rule, time = RULES[event], self._time()
        message = AuditMessage(
            event=Code(event, parts.DCM, rule.name),
            action=action,
            time=time,
            outcome=outcome,
            source=self._system.name,
            site=self._system.facility.issuer,
            participants=tuple(participants),
            subjects=tuple(subjects),
            types=(rule.type_code(kind),) if kind else (),
            text=text,
        )
        name = rule.types.get(kind, rule.name)
        self._system.db.insert("audit_spool", time=time, event=name, message=message.xml())
        self._submit()

    def waiting(self) -> Table:
        """Return the messages that the repository has not read yet."""
        rows = [] if self._repository is None else self._spooled()
        shown = [(row["id"], row["time"], row["event"]) for row in rows]
        return Table(("number", "time", "event"), shown, f"Audit messages of {self._system.name}")

    def resend(self) -> int:
        """Send what waits, and return how many messages went.

        Raises
        ------
        LabError
            If the repository cannot be reached; nothing is lost.
        """
        if self._repository is None:
            return 0
        before = len(self._spooled())
        try:
            self._worker.submit(self._drain).result()
        except RuntimeError as error:
            raise LabError(f"{self._system.name} is not running.") from error
        waiting = len(self._spooled())
        if waiting:
            raise LabError(
                f"{waiting} audit messages of {self._system.name} could not be sent.",
                "The journal says why; they wait on disk.",
            )
        return before

    def resume(self) -> None:
        """Send what waited at the last stop, in the background."""
        if self._repository is not None:
            self._submit()

    def close(self) -> None:
        """Send what waits a last time; what does not go stays on disk."""
        if not self._down:  # one that was not there a moment ago is not waited for
            self.resume()
        self._worker.shutdown()

    def _submit(self) -> None:
        with self._lock:
            if self._queued:
                return
            try:
                self._worker.submit(self._drain)
            except RuntimeError:  # the system has stopped: it goes at the next start
                return
            self._queued = True

    def _spooled(self) -> list[dict[str, str]]:
        rows = self._system.db.rows("SELECT * FROM audit_spool ORDER BY id")
        return [dict(row) for row in rows]

    def _drain(self) -> None:
        assert self._repository is not None
        facility = self._system.facility
        with self._lock:
            self._queued = False  # what is written from here on may be missed by this look
        while rows := self._spooled()[:_AT_ONCE]:
            frames = [self._frame(row).encode() for row in rows]
            try:
                place = Address(self._repository.host, self._repository.syslog_port)
                stream = self._repository.transport == "tcp"
                local = facility.network.resolve(place, tapped=stream)
                with facility.network.dialling(local):
                    syslog.send(frames, local, self._repository.transport, facility.loop)
            except LabError as error:
                if not self._down:
                    self._system.note(f"audit messages wait: {error.what}", kind="error")
                self._down = True
                return
            self._down = False
            self._sent(rows)

    def _sent(self, rows: Sequence[Mapping[str, str]]) -> None:
        self._system.db.run("DELETE FROM audit_spool WHERE id <= ?", rows[-1]["id"])
        for row in rows:
            self._system.facility.journal.record(
                self._system.name,
                "syslog",
                f"audit message {row['id']}: {row['event']}",
                peer="audit",
                keys={"message": f"{self._system.name} audit {row['id']}"},
                detail={"direction": "sent", "request": True},
            )

    def _frame(self, row: Mapping[str, str]) -> SyslogMessage:
        return SyslogMessage(
            host=self._host or self._system.name,
            app=self._system.name,
            process=str(os.getpid()),
            kind="IHE+RFC-3881",  # ITI TF-2 3.20.4.1.2; DICOM alone writes DICOM+RFC3881
            time=row["time"],
            text=row["message"],
            sequence=int(row["id"]),
        )

    def _time(self) -> str:
        # The hospital's clock has no zone; a message must have one (A.5.2.5).
        return self._system.facility.clock.now().astimezone().isoformat(timespec="milliseconds")

    # Who

    def itself(self, *, requestor: bool = False, role: Code | None = None) -> Participant:
        """Return this system as a participant."""
        titles = f"AETITLES={self._ae_title}" if self._ae_title else ""
        name = self._system.name
        return Participant(name, titles, name, requestor, role, self._host)

    def peer(
        self, ae_title: str, host: str = "", *, requestor: bool = False, role: Code | None = None
    ) -> Participant:
        """Return another application entity as a participant."""
        return Participant(ae_title, f"AETITLES={ae_title}", "", requestor, role, host)

    def person(self, user: str, name: str = "", *, requestor: bool = True) -> Participant:
        """Return somebody who signed in here as a participant."""
        domain = self._system.facility.issuer.lower()
        return Participant(f"{user}@{domain}", "", name or user, requestor)

    # What

    def application(self, *, started: bool) -> None:
        """Report that the system started or stopped (A.5.3.1)."""
        who = [self.itself(role=parts.APPLICATION)]
        self.record("110100", "E", who, kind="110120" if started else "110121")

    def login(
        self, user: str, *, out: bool = False, outcome: str = SUCCESS, text: str = ""
    ) -> None:
        """Report that somebody signed in or out, or could not (A.5.3.12)."""
        kind = "110123" if out else "110122"
        who = [self.person(user), self.itself()]
        self.record("110114", "E", who, kind=kind, outcome=outcome, text=text)

    def alert(
        self,
        kind: str,
        text: str,
        *,
        by: Participant | None = None,
        about: str = "",
        outcome: str = SUCCESS,
    ) -> None:
        """Report a security alert (A.5.3.11).

        Parameters
        ----------
        kind : str
            Event type code, such as ``"110128"`` network configuration.
        text : str
            The alert in words.
        by : Participant, optional
            Who did it.
        about : str
            The node or function it is about.
        outcome : str
            Success for what is only to be known.
        """
        detail = {"Alert Description": text.encode()}
        subject = Subject(about or self._system.name, parts.NODE_ID, role="13", detail=detail)
        who = [self.itself(requestor=by is None), *([by] if by is not None else [])]
        said = text if outcome != SUCCESS else ""
        self.record("110113", "E", who, [subject], kind=kind, outcome=outcome, text=said)

    def not_authenticated(self, text: str) -> None:
        """Report somebody with whom TLS was not agreed on (A.5.3.11)."""
        self.alert("110126", text, outcome=MINOR_FAILURE)

    def about(
        self,
        event: str,
        action: str,
        who: Sequence[Participant],
        patient: Patient,
        studies: Sequence[Study] = (),
        *,
        outcome: str = SUCCESS,
        text: str = "",
        life_cycle: str = "",
    ) -> None:
        """Report an event about one patient: a record, or studies read, moved or deleted.

        Parameters
        ----------
        event, action : str
            Such as ``"110110"`` Patient Record and ``"U"``.
        who : sequence of Participant
            Who did it.
        patient : Patient
            Whose.
        studies : sequence of Study
            Which studies.
        outcome, text, life_cycle : str
            How it ended, and what became of the data (A.5.1.2.3).
        """
        subjects = [study.subject(life_cycle) for study in studies]
        subjects.append(patient_subject(patient))
        self.record(event, action, who, subjects, outcome=outcome, text=text)

    def media(
        self,
        user: str,
        label: str,
        patient: Patient,
        studies: Sequence[Study],
        *,
        out: bool,
        kind: str = "CD",
    ) -> None:
        """Report an export to media, or an import from there (A.5.3.4, A.5.3.5).

        Parameters
        ----------
        user : str
            Who did it.
        label : str
            Of the disc, or a URI.
        patient, studies
            What was on it; one message for each patient.
        out : bool
            Whether it was written.
        kind : str
            One of `labsim.systems.audit.message.MEDIA_TYPES`.
        """
        ends = (parts.DESTINATION_MEDIA, parts.SOURCE) if out else (
            parts.SOURCE_MEDIA, parts.DESTINATION
        )  # fmt: skip
        disc = Participant(label, role=ends[0], media=parts.MEDIA_TYPES[kind])
        person = replace(self.person(user), role=ends[1])
        event, action = ("110106", "R") if out else ("110107", "C")
        self.about(event, action, [person, self.itself(), disc], patient, studies)

    def order(self, action: str, order: str, patient: Patient, who: Participant) -> None:
        """Report that an order was placed, changed or cancelled (Order Record)."""
        subject = patient_subject(patient, {"Order Number": order.encode()})
        self.record("110109", action, [who], [subject])


def patient_subject(patient: Patient, detail: Mapping[str, bytes] | None = None) -> Subject:
    """Return a patient as the object of an event, the number with who gave it (HL7 CX)."""
    number = f"{patient.patient_id}^^^{patient.issuer}" if patient.issuer else patient.patient_id
    kind = parts.PATIENT_NUMBER
    return Subject(number or "unknown", kind, "1", "1", patient.name, detail=detail or {})
