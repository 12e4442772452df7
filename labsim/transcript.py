"""Views of the journal: one exam, its journey, tables to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from labsim import ihe
from labsim.table import Table

if TYPE_CHECKING:
    from labsim.journal import Event

# Each of these belongs to one exam, except that a visit may bring several.
# A patient's ID does not: a patient has many.
EXAM_KEYS = (
    "accession",
    "placer_order",
    "filler_order",
    "visit",
    "study_uid",
    "mpps_uid",
    "series_uid",
    "sop_uid",
    "commitment_uid",
)
_PROTOCOLS = {"hl7": "HL7", "http": "HTTP"}
_KEYS_OF_ONE_EXAM = tuple(name for name in EXAM_KEYS if name != "visit")


@dataclass(frozen=True)
class Step:
    """What one IHE transaction did for one exam.

    Parameters
    ----------
    transaction, name : str
        ``"RAD-5"`` and ``"Query Modality Worklist"``.
    sender, receiver : str
        The systems, as in the first message: where it began, and how far it came.
    protocol : str
        ``"HL7"``, ``"DICOM"`` or ``"HTTP"``.
    messages : int
        How many requests were made; one that is passed on is still one.
    outcome : str
        What the last answer said.
    time : str
        When it began, hospital time.
    via : tuple of str
        The systems that passed the first message on, such as an engine.
    """

    transaction: str
    name: str
    sender: str
    receiver: str
    protocol: str
    messages: int
    outcome: str
    time: str
    via: tuple[str, ...] = ()

    @property
    def way(self) -> str:
        """The systems on the way, such as ``"his → engine → ris"``."""
        return " → ".join((self.sender, *self.via, self.receiver))


class Transcript(Sequence["Event"]):
    """Events in order, readable in a terminal and in a notebook."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = tuple(events)

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Transcript: ...
    def __getitem__(self, index: int | slice) -> Event | Transcript:
        if isinstance(index, slice):
            return Transcript(self._events[index])
        return self._events[index]

    def of(self, transaction: str) -> Transcript:
        """Return each message of one IHE transaction, such as ``"RAD-5"``, once."""
        return Transcript(
            event for event in self.once() if event.transaction == transaction and _direction(event)
        )

    def once(self) -> Transcript:
        """Return each message once on each hop, as its receiver wrote it.

        What was sent and never arrived stays, as its sender wrote it.
        """
        arrived = {_message_of(event) for event in self if _direction(event) == "received"}
        return Transcript(
            event
            for event in self
            if _direction(event) != "sent"
            or _message_of(event) is None
            or _message_of(event) not in arrived
        )

    def steps(self) -> list[Step]:
        """Return the exam's transactions in the order in which they began.

        One that several pairs of systems carry out is a step of each pair; of
        HL7 it is one, whatever engine passes it on.
        """
        groups: dict[tuple[str, frozenset[str]], list[Event]] = {}
        for event in self.once():
            if event.transaction and _direction(event):
                pair = () if event.kind == "hl7" else (event.sender, event.receiver)
                groups.setdefault((event.transaction, frozenset(pair)), []).append(event)
        return [_step(transaction, events) for (transaction, _), events in groups.items()]

    def journey(self) -> Table:
        """Return the exam as a table: one line for each IHE transaction."""
        rows = [
            (
                s.time[11:19],
                s.transaction,
                s.name,
                s.way,
                s.messages,
                s.outcome,
            )
            for s in self.steps()
        ]
        columns = ("time", "IHE", "transaction", "from → to", "requests", "outcome")
        return Table(columns, rows, "The exam, transaction by transaction")

    def table(self) -> Table:
        """Return the events as lines; equal ones of an association share a line."""
        rows: list[list[Any]] = []
        burst: dict[object, list[Any]] = {}
        for event in self.once():
            where = f"{event.sender} → {event.receiver}" if event.receiver else event.source
            text = event.detail.get("run", event.summary)
            shape = (where, event.kind, event.transaction, text)
            if event.kind in ("association", "hl7"):
                burst = {}  # what follows is counted anew
            if shape in burst:
                burst[shape][5] += 1
                continue
            row = [
                event.seq,
                event.hospital_time[11:23],
                where,
                event.kind,
                event.transaction,
                1,
                text,
            ]
            rows.append(row)
            if "run" in event.detail:
                burst[shape] = row
        return Table(
            ("#", "time", "where", "kind", "IHE", "times", "what"),
            [[*row[:5], row[5] if row[5] > 1 else "", row[6]] for row in rows],
            f"{len(self)} events",
        )

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def collect_exam(accession: str, by_key: Mapping[tuple[str, str], list[Event]]) -> list[Event]:
    """Return the events of one exam, following keys from event to event.

    Parameters
    ----------
    accession : str
        Where to start.
    by_key : mapping
        Events by each of their keys, ``EXAM_KEYS`` and ``association``.
    """
    found: dict[int, Event] = {}
    todo = [("accession", accession)]
    seen = set(todo)
    while todo:
        key = todo.pop()
        for event in by_key.get(key, ()):
            if event.seq in found or event.keys.get("accession", accession) != accession:
                continue
            if key[0] == "visit" and any(name in event.keys for name in _KEYS_OF_ONE_EXAM):
                continue  # another key leads to it if it is of this exam
            found[event.seq] = event
            fresh = {(name, event.keys[name]) for name in EXAM_KEYS if name in event.keys} - seen
            seen |= fresh
            todo.extend(fresh)
    # An association, and a message that names no exam (a query, its final answer),
    # belong to the exam that the rest of the association was about.
    for association in {e.keys["association"] for e in found.values() if "association" in e.keys}:
        for event in by_key.get(("association", association), ()):
            if not any(name in event.keys for name in EXAM_KEYS):
                found[event.seq] = event
    return [found[seq] for seq in sorted(found)]


def _direction(event: Event) -> str:
    return str(event.detail.get("direction", ""))


def _message_of(event: Event) -> tuple[str, ...] | None:
    """Return what both ends of a hop call a message; one that is passed on keeps its name."""
    message = event.keys.get("message")
    if not message:
        return None
    hop = (event.sender, event.receiver) if event.kind == "hl7" else ()
    return (event.kind, message, *hop)


def _step(transaction: str, events: list[Event]) -> Step:
    requests = [event for event in events if event.detail.get("request")]
    # A message that is passed on keeps its name: it leaves where it arrived.
    left: dict[tuple[str, str], list[Event]] = {}
    for event in requests:
        left.setdefault(_place(event, event.sender), []).append(event)
    arrived = {_place(event, event.receiver) for event in requests}
    begun = [event for event in requests if _place(event, event.sender) not in arrived]
    answers = [
        event
        for event in events
        # Who passes a message on has only accepted it; what its receiver says counts.
        if "answer" in event.detail and _place(event, event.sender) not in left
    ]
    first = begun[0] if begun else events[0]
    way = [first.sender, first.receiver]
    while onward := left.get(_place(first, way[-1])):
        # Of several that get it from there, the one that it was addressed to at first.
        meant = [event for event in onward if event.detail.get("for") == first.detail.get("for")]
        last = (meant or onward)[0].receiver
        if last in way:
            break
        way.append(last)
    return Step(
        transaction=transaction,
        name=ihe.NAMES.get(transaction, ""),
        sender=way[0],
        receiver=way[-1],
        protocol=_PROTOCOLS.get(first.kind, "DICOM"),
        messages=len(begun),
        outcome=_outcome(answers),
        time=first.hospital_time,
        via=tuple(way[1:-1]),
    )


def _place(event: Event, system: str) -> tuple[str, str]:
    """Return an HL7 message, or the one that is acknowledged, with a system it was at."""
    if event.kind != "hl7" or "message" not in event.keys:
        return f"event {event.seq}", system
    return event.detail.get("acknowledges") or event.keys["message"], system


def _outcome(answers: list[Event]) -> str:
    counts: dict[str, int] = {}
    for event in answers:
        counts[event.detail["answer"]] = counts.get(event.detail["answer"], 0) + 1
    return (
        ", ".join(f"{n} × {text}" if n > 1 else text for text, n in counts.items()) or "no answer"
    )
