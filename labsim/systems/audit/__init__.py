"""The audit repository: keeps what every system reports, and finds it again.

IHE actor: Audit Record Repository (ITI TF-2 3.20).
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from labsim.errors import ConfigurationError, NotFound
from labsim.site import AuditSite
from labsim.systems.audit import message as parts
from labsim.systems.audit.message import (
    AuditMessage,
    Code,
    NotAnAuditMessage,
    Participant,
    Subject,
    read,
)
from labsim.systems.audit.reading import local, meaning, objects, people, pretty, utc, utc_or_empty
from labsim.systems.audit.rules import RULES, problems_of
from labsim.systems.facility import Facility, System
from labsim.table import Table
from labsim.wire.network import Address
from labsim.wire.syslog import SyslogListener, SyslogMessage, SyslogUnreadable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id          INTEGER PRIMARY KEY,
    received_at TEXT NOT NULL,
    host        TEXT NOT NULL,      -- of the syslog header
    app         TEXT NOT NULL,
    digest      TEXT UNIQUE,        -- of what has a sequence ID: it may come twice
    event_code  TEXT NOT NULL,
    event       TEXT NOT NULL,
    kind        TEXT NOT NULL,      -- event type, in words
    action      TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    time        TEXT NOT NULL,      -- UTC
    source      TEXT NOT NULL,
    text        TEXT NOT NULL,
    problems    TEXT NOT NULL,      -- against PS3.15 A.5; empty for none
    xml         TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_by_time ON messages (time);
CREATE TABLE IF NOT EXISTS participants (
    message INTEGER NOT NULL REFERENCES messages,
    value   TEXT NOT NULL COLLATE NOCASE    -- user ID, login, AE title or name
);
CREATE INDEX IF NOT EXISTS participants_by_value ON participants (value);
CREATE TABLE IF NOT EXISTS objects (
    message    INTEGER NOT NULL REFERENCES messages,
    type       TEXT NOT NULL,       -- participant object ID type code
    identifier TEXT NOT NULL,
    issuer     TEXT NOT NULL        -- who gave it, where the identifier says
);
CREATE INDEX IF NOT EXISTS objects_by_identifier ON objects (identifier);
"""
_OUTCOMES = {"0": "success", "4": "minor failure", "8": "serious failure", "12": "major failure"}


@dataclass(frozen=True)
class AuditEntry:
    """One message as the repository keeps it.

    Parameters
    ----------
    number : int
        Its number there.
    received_at : str
        When it came, hospital time.
    sender : str
        Host and application of the syslog header.
    xml : str
        The message, unchanged.
    problems : tuple of str
        Where it is not as PS3.15 A.5 asks.
    """

    number: int
    received_at: str
    sender: str
    xml: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        head = f"Audit message {self.number} from {self.sender}, received {self.received_at}"
        return "\n".join([head, *self.problems, pretty(self.xml)])

    __repr__ = __str__


class AuditRepository(System):
    """Takes in audit messages by syslog, and answers questions about them.

    Parameters
    ----------
    own : AuditSite
        Where it listens.
    facility : Facility
        What it shares with the others.
    """

    def __init__(self, own: AuditSite, facility: Facility) -> None:
        super().__init__("audit", facility, _SCHEMA)
        self._own = own
        self._syslog = SyslogListener(
            self.name, facility.journal, facility.network, facility.loop, self._take
        )

    def start(self) -> None:
        """Listen for syslog, by TCP and by UDP."""
        address = Address(self._own.host, self._own.syslog_port)
        self.serve("syslog", address, "AUDIT", self._syslog.listen, self._syslog.close)

    def stop(self) -> None:
        """Stop listening; what was read is on disk."""
        self._close_services()
        super().stop()

    def search(
        self,
        *,
        patient_id: str = "",
        user: str = "",
        event: str = "",
        study_uid: str = "",
        source: str = "",
        outcome: str = "",
        since: datetime | str = "",
        until: datetime | str = "",
        limit: int = 500,
    ) -> Table:
        """Find messages; that somebody looked is written down too (PS3.15 A.5.3.2).

        Parameters
        ----------
        patient_id : str
            Of this hospital, or ``"NUMBER^^^ISSUER"``.
        user : str
            A login, a user ID, an AE title or a name; case does not count.
        event : str
            Event ID or event type, as its code or a part of its name.
        study_uid : str
            Study Instance UID.
        source : str
            The system that reported it.
        outcome : str
            ``"success"``, or ``"failure"`` of any degree.
        since, until : datetime or str
            Hospital time, ISO 8601.
        limit : int
            How many of the latest to return at most.

        Returns
        -------
        Table
            In the order of the events.

        Raises
        ------
        ConfigurationError
            If a time or an outcome is not of its form.
        """
        asked = {name: str(value) for name, value in locals().items() if name != "self" and value}
        tests: list[str] = []
        values: list[str | int] = []
        for test, bound in self._tests(asked):
            tests.append(test)
            values += bound
        where = f"WHERE {' AND '.join(tests)}" if tests else ""
        rows = self.db.rows(
            f"SELECT * FROM (SELECT * FROM messages m {where} ORDER BY time DESC, id DESC LIMIT ?) "
            "ORDER BY time, id",
            *values,
            limit,
        )
        shown = [
            (
                row["id"],
                local(row["time"]),
                row["kind"] or row["event"],
                row["action"],
                _OUTCOMES.get(row["outcome"], row["outcome"]),
                row["source"],
                self._who(row["id"]),
                self._identifiers(row["id"], parts.PATIENT_NUMBER.value),
                self._identifiers(row["id"], parts.STUDY_UID.value),
                row["problems"],
            )
            for row in rows
        ]
        asked.pop("limit")
        self._looked(asked)
        columns = ("number", "time", "event", "action", "outcome", "source", "who", "patient")
        told = ", ".join(f"{name} {value}" for name, value in asked.items()) or "all"
        return Table((*columns, "study", "problems"), shown, f"Audit messages: {told}")

    def message(self, number: int) -> AuditEntry:
        """Return one message, with its XML.

        Raises
        ------
        NotFound
            If there is none of that number.
        """
        row = self.db.row("SELECT * FROM messages WHERE id = ?", number)
        if row is None:
            raise NotFound(
                f"There is no audit message {number}.", "hospital.audit.search() lists them."
            )
        self._looked({"number": str(number)})
        sender = f"{row['host']}/{row['app']}"
        problems = tuple(filter(None, row["problems"].split("\n")))
        return AuditEntry(row["id"], row["received_at"], sender, row["xml"], problems)

    def count(self) -> int:
        """Return how many messages are kept."""
        return int(self.db.value("SELECT COUNT(*) FROM messages"))

    # Asking

    def _tests(self, asked: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
        subject = "EXISTS (SELECT 1 FROM objects o WHERE o.message = m.id AND o.type = ? AND {})"
        if "patient_id" in asked:
            number, _, rest = asked["patient_id"].partition("^^^")
            issuers = [rest] if rest else [self.facility.issuer, ""]
            test = f"o.identifier = ? AND o.issuer IN ({', '.join('?' * len(issuers))})"
            yield subject.format(test), [parts.PATIENT_NUMBER.value, number, *issuers]
        if "study_uid" in asked:
            yield subject.format("o.identifier = ?"), [parts.STUDY_UID.value, asked["study_uid"]]
        if "user" in asked:
            yield (
                "EXISTS (SELECT 1 FROM participants p WHERE p.message = m.id AND p.value = ?)",
                [asked["user"]],
            )
        if "event" in asked:
            name = asked["event"]
            yield (
                "(m.event_code = ? OR INSTR(LOWER(m.event), LOWER(?)) "
                "OR INSTR(LOWER(m.kind), LOWER(?)))",
                [name, name, name],
            )
        if "source" in asked:
            yield "m.source = ?", [asked["source"]]
        if "outcome" in asked:
            if asked["outcome"] not in ("success", "failure"):
                raise ConfigurationError(
                    f"{asked['outcome']!r} is no outcome.", "Use success or failure."
                )
            yield f"m.outcome {'=' if asked['outcome'] == 'success' else '<>'} '0'", []
        for name, sign in (("since", ">="), ("until", "<=")):
            if name in asked:
                yield f"m.time {sign} ?", [utc(asked[name])]

    def _who(self, number: int) -> str:
        rows = self.db.rows(
            "SELECT value FROM participants WHERE message = ? ORDER BY rowid", number
        )
        return ", ".join(dict.fromkeys(row["value"] for row in rows))

    def _identifiers(self, number: int, kind: str) -> str:
        rows = self.db.rows(
            "SELECT identifier, issuer FROM objects WHERE message = ? AND type = ?", number, kind
        )
        return ", ".join("^^^".join(filter(None, row)) for row in rows)

    def _looked(self, asked: dict[str, str]) -> None:
        """Write down that the log was used."""
        detail = {name: value.encode() for name, value in asked.items()}
        used = Subject("audit", parts.URI, role="13", name="Security Audit Log", detail=detail)
        message = AuditMessage(
            event=Code("110101", parts.DCM, RULES["110101"].name),
            action="R",
            time=self.facility.clock.now().astimezone().isoformat(timespec="milliseconds"),
            outcome="0",
            source=self.name,
            site=self.facility.issuer,
            participants=(Participant("desk", name="the desk", requestor=True),),
            subjects=(used,),
        )
        self._keep(message.xml(), self._own.host, self.name, None)

    # Taking in

    def _take(self, data: bytes, caller: str) -> None:
        """Keep one message, whatever it is; return when it is on disk."""
        try:
            came = SyslogMessage.decode(data)
        except SyslogUnreadable as error:
            text = data.decode("utf-8", "replace")
            self._keep(text, caller, "", None, error.what)
            self.note(f"syslog from {caller} cannot be read: {error.what}", kind="error")
            return
        digest = hashlib.sha256(data).hexdigest() if came.sequence else None
        with self.db.transaction():
            if digest and self.db.value("SELECT 1 FROM messages WHERE digest = ?", digest):
                return  # sent again, because its sender could not know that it had arrived
            event = self._keep(came.text, came.host, came.app, digest)
        self.facility.journal.record(
            self.name,
            "syslog",
            f"audit message {came.sequence or ''}: {event}".replace(" :", ":"),
            peer=came.app,
            keys={"message": f"{came.app} audit {came.sequence}" if came.sequence else ""},
            detail={"direction": "received", "request": True},
        )

    def _keep(self, xml: str, host: str, app: str, digest: str | None, problem: str = "") -> str:
        """Enter one message; return its event in words."""
        try:
            root = read(xml)
        except NotAnAuditMessage:
            root = ET.Element("AuditMessage")
        event = root.find("EventIdentification")
        event = ET.Element("EventIdentification") if event is None else event
        source = root.find("AuditSourceIdentification")
        name, kind = meaning(event.find("EventID")), meaning(event.find("EventTypeCode"))
        code = event.find("EventID")
        with self.db.transaction():
            number = self.db.insert(
                "messages",
                received_at=self.now(),
                host=host,
                app=app,
                digest=digest,
                event_code=code.get("csd-code", "") if code is not None else "",
                event=name,
                kind=kind,
                action=event.get("EventActionCode", ""),
                outcome=event.get("EventOutcomeIndicator", ""),
                time=utc_or_empty(event.get("EventDateTime", "")),
                source=source.get("AuditSourceID", "") if source is not None else app,
                text=event.findtext("EventOutcomeDescription") or "",
                problems=problem or "\n".join(problems_of(xml)),
                xml=xml,
            )
            self.db.run_many(
                "INSERT INTO participants VALUES (?, ?)",
                [(number, value) for value in people(root)],
            )
            self.db.run_many(
                "INSERT INTO objects VALUES (?, ?, ?, ?)",
                [(number, *what) for what in objects(root)],
            )
        return kind or name or "not an audit message"
