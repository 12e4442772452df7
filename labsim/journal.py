"""The journal: what happened in the hospital, in order, with what ties it together.

Systems write to it where messages enter and leave and where their own state
changes, and nowhere else. Every message is written by its sender and by its
receiver; when one of the two never saw it, that is the finding.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from labsim.clock import Clock
from labsim.errors import NotFound
from labsim.transcript import EXAM_KEYS, Transcript, collect_exam

_LOG = logging.getLogger("labsim.journal")
_HIDDEN: ContextVar[bool] = ContextVar("hidden", default=False)


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the journal.

    Parameters
    ----------
    seq : int
        Position in the journal, from 1.
    wall_time : str
        When it was written, local time in ISO 8601 with microseconds.
    hospital_time : str
        The same moment on the hospital's clock.
    source : str
        The system that wrote the entry.
    peer : str
        The system it spoke with, by name where known, else by AE title,
        HL7 application or address.
    kind : str
        ``"association"``, ``"dimse"``, ``"hl7"``, ``"http"``, ``"state"`` or ``"error"``.
    transaction : str
        IHE transaction, such as ``"RAD-5"``; empty if there is none.
    keys : mapping of str to str
        Whatever ties one exam together: `labsim.transcript.EXAM_KEYS` and
        ``patient_id``, ``control_id``, ``association``, ``message``.
    summary : str
        The entry in one line.
    detail : mapping
        More, as JSON values; ``direction`` is ``"sent"`` or ``"received"``.
    payload : int or None
        Where `Journal.payload` finds the whole message.
    hidden : bool
        Written while a trainer or a fault acted; left out of learners' views.
    """

    seq: int
    wall_time: str
    hospital_time: str
    source: str
    peer: str
    kind: str
    transaction: str
    keys: Mapping[str, str]
    summary: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    payload: int | None = None
    hidden: bool = False

    @property
    def sender(self) -> str:
        """Where the message came from."""
        return self.peer if self.detail.get("direction") == "received" else self.source

    @property
    def receiver(self) -> str:
        """Where the message went to, empty for a change of state."""
        return self.source if self.detail.get("direction") == "received" else self.peer


class Journal:
    """All events of one hospital, in memory and as JSON Lines on disk.

    Parameters
    ----------
    folder : Path
        Where ``journal.jsonl`` and ``payloads.jsonl`` are kept; events that
        are already there are read back.
    clock : Clock
        Tells the hospital's time.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "journal.jsonl"
        self._clock = clock
        self._events: list[Event] = []
        self._by_key: dict[tuple[str, str], list[Event]] = defaultdict(list)
        self._names: dict[str, str] = {}
        self._subscribers: list[Callable[[Event], None]] = []
        self._grown = threading.Condition(threading.RLock())
        self._full = False  # whether the disk has refused an event
        self._payloads = (folder / "payloads.jsonl").open("a+b")
        for event in _read(self.path):
            self._remember(event)
        self._file = self.path.open("a", encoding="utf-8", newline="\n")
        if _ends_within_a_line(self.path):
            self._file.write("\n")

    def record(
        self,
        source: str,
        kind: str,
        summary: str,
        *,
        peer: str = "",
        transaction: str = "",
        keys: Mapping[str, str] | None = None,
        detail: Mapping[str, Any] | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> Event:
        """Write one event.

        Parameters
        ----------
        source, kind, summary, peer, transaction, keys, detail
            As in `Event`; keys without a value are left out.
        payload : mapping, optional
            The whole message as JSON values.

        Returns
        -------
        Event
            The event as written.
        """
        now, hospital_time = datetime.now(), self.now()
        with self._grown:
            event = Event(
                seq=self._events[-1].seq + 1 if self._events else 1,
                wall_time=now.isoformat(timespec="microseconds"),
                hospital_time=hospital_time.isoformat(timespec="milliseconds"),
                source=source,
                peer=self._names.get(peer, peer),
                kind=kind,
                transaction=transaction,
                keys={name: value for name, value in (keys or {}).items() if value},
                summary=summary,
                detail=dict(detail or {}),
                payload=None if payload is None else self._keep(payload),
                hidden=_HIDDEN.get(),
            )
            self._remember(event)
            self._write(event)
            self._grown.notify_all()
        for subscriber in list(self._subscribers):
            try:
                subscriber(event)
            except Exception:  # a broken viewer must not harm the hospital
                _LOG.exception("a subscriber of the journal failed on event %d", event.seq)
        return event

    def now(self) -> datetime:
        """Return the hospital's time."""
        return self._clock.now()

    def name(self, alias: str, system: str) -> None:
        """Show a peer that calls itself `alias` (an AE title, an application) as `system`."""
        self._names[alias] = system

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call `callback` with every new event; the returned function ends it."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Keep what this thread writes within the block out of learners' views."""
        token = _HIDDEN.set(True)
        try:
            yield
        finally:
            _HIDDEN.reset(token)

    def last(self) -> Event | None:
        """Return the newest event, None if there is none."""
        with self._grown:
            return self._events[-1] if self._events else None

    def all(self) -> list[Event]:
        """Return every event, hidden ones too."""
        with self._grown:
            return list(self._events)

    def events(
        self,
        *,
        source: str | None = None,
        kind: str | None = None,
        transaction: str | None = None,
        after: int = 0,
        **keys: str,
    ) -> Transcript:
        """Return the events that a learner may see, narrowed down.

        Parameters
        ----------
        source, kind, transaction : str, optional
            Only events with this value.
        after : int
            Only events with a higher `seq`.
        **keys : str
            Only events with these keys, such as ``accession="A0001"``.

        Returns
        -------
        Transcript
            In the order of the journal.
        """
        return Transcript(
            event
            for event in self.all()
            if not event.hidden
            and event.seq > after
            and source in (None, event.source)
            and kind in (None, event.kind)
            and transaction in (None, event.transaction)
            and all(event.keys.get(name) == value for name, value in keys.items())
        )

    def exam(self, accession: str) -> Transcript:
        """Return one exam across all systems, in order.

        Starts from the accession number and follows the other keys of its
        events (placer and filler order number, visit, Study Instance UID,
        MPPS UID, SOP Instance UIDs …) to the events that carry only those.

        Raises
        ------
        NotFound
            If no event carries this accession number.
        """
        with self._grown:
            if not self._by_key.get(("accession", accession)):
                raise NotFound(
                    f"The journal has no exam with accession number {accession!r}.",
                    "hospital.ris.procedures() lists the accession numbers that were given.",
                )
            found = collect_exam(accession, self._by_key)
        return Transcript(event for event in found if not event.hidden)

    def payload(self, event: Event) -> dict[str, Any]:
        """Return the whole message of an event.

        Raises
        ------
        NotFound
            If the event carries no message, or the journal is closed.
        """
        if event.payload is None:
            raise NotFound(f"Event {event.seq} ({event.summary}) carries no message.")
        with self._grown:
            if self._payloads.closed:
                raise NotFound(
                    f"The message of event {event.seq} is out of reach: the journal is closed.",
                    "Read messages while the hospital runs.",
                )
            self._payloads.seek(event.payload)
            found: dict[str, Any] = json.loads(self._payloads.readline())
        return found

    def wait_for(
        self, test: Callable[[Event], bool], timeout: float, after: int = 0
    ) -> Event | None:
        """Wait until an event passes `test`.

        Parameters
        ----------
        test : callable
            Called with each event, past ones first.
        timeout : float
            Seconds.
        after : int
            Look only at events with a higher `seq`.

        Returns
        -------
        Event or None
            None if the time is over.
        """
        found: list[Event] = []
        looked_at = 0

        def look() -> bool:
            nonlocal looked_at
            for event in self._events[looked_at:]:
                looked_at += 1
                if event.seq > after and test(event):
                    found.append(event)
                    return True
            return False

        with self._grown:
            self._grown.wait_for(look, timeout)
        return found[0] if found else None

    def close(self) -> None:
        """Close the files; events recorded later are kept in memory only."""
        with self._grown:
            for file in (self._file, self._payloads):
                with suppress(OSError):  # of a full disk, about what could not be written before
                    file.close()

    def _remember(self, event: Event) -> None:
        self._events.append(event)
        for name in (*EXAM_KEYS, "association"):
            if name in event.keys:
                self._by_key[name, event.keys[name]].append(event)

    def _write(self, event: Event) -> None:
        if self._file.closed:  # a last word after the end stays in memory only
            return
        try:
            self._file.write(json.dumps(_values(event), ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:  # a full disk is for the systems to answer, not for their journal
            if not self._full:
                _LOG.warning("%s cannot be written: %s", self.path, error.strerror)
            self._full = True

    def _keep(self, payload: Mapping[str, Any]) -> int | None:
        if self._payloads.closed:
            return None
        try:
            self._payloads.seek(0, 2)
            offset = self._payloads.tell()
            self._payloads.write(json.dumps(payload, ensure_ascii=False).encode() + b"\n")
            self._payloads.flush()  # before the event that points to it
        except OSError:
            return None
        return offset


_FIELDS = tuple(entry.name for entry in fields(Event))


def _values(event: Event) -> dict[str, Any]:
    # dataclasses.asdict copies what is within too, which takes longer than to write it
    return {name: getattr(event, name) for name in _FIELDS}


def _read(path: Path) -> Iterable[Event]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield Event(**json.loads(line))
            except (ValueError, TypeError):
                # A killed process leaves half a line at the end: what it would have said is lost.
                _LOG.warning("line %d of %s is not an event and is left out", number, path)


def _ends_within_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return False
        file.seek(-1, 2)
        return file.read() != b"\n"
