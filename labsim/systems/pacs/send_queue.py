"""What the archive sends of its own accord: kept until the destination has it (PS3.4 annex B)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sized
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from pynetdicom.association import Association

from labsim.errors import LabError
from labsim.systems.facility import System
from labsim.systems.pacs.entities import Entities, Entity
from labsim.systems.pacs.index import Instance
from labsim.systems.pacs.sending import Sending, sending_contexts
from labsim.table import Table
from labsim.wire.dimse import DicomNode
from labsim.wire.retrieve import send_store
from labsim.wire.status import describe_status

SCHEMA = """
CREATE TABLE IF NOT EXISTS send_queue (
    id          INTEGER PRIMARY KEY,
    rule        TEXT NOT NULL,      -- why it is sent
    destination TEXT NOT NULL,      -- AE title
    study_uid   TEXT NOT NULL,
    sop_uid     TEXT NOT NULL,
    priority    INTEGER NOT NULL,   -- one of PRIORITIES
    state       TEXT NOT NULL,      -- waiting, sent, failed, withdrawn
    attempts    INTEGER NOT NULL DEFAULT 0,
    why         TEXT NOT NULL DEFAULT '',
    queued_at   TEXT NOT NULL,
    done_at     TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX IF NOT EXISTS send_queue_waiting
    ON send_queue (destination, sop_uid) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS send_queue_by_instance ON send_queue (sop_uid);
"""
# Priority (0000,0700) of a C-STORE request (PS3.7 9.3.1.1)
PRIORITIES = {"MEDIUM": 0, "HIGH": 1, "LOW": 2}
_IN_ORDER = "CASE priority WHEN 1 THEN 0 WHEN 0 THEN 1 ELSE 2 END, id"
RETRY_AFTER, RETRY_AT_MOST = 10.0, 600.0  # seconds; doubled with each failure in a row


class SendQueue:
    """Sends instances to other application entities, each destination on its own lane.

    A lane is one thread, so a destination has one association at a time, and a
    destination that is silent keeps no other waiting. A timer runs only while
    something is due later.

    Parameters
    ----------
    system : System
        The PACS; its database has the table of `SCHEMA`.
    node : DicomNode
        Its DICOM interface.
    entities : Entities
        Where each destination is.
    find : callable
        Returns an instance by its UID, None if it is not to be sent.
    sending : Sending
        Makes instances ready.

    Attributes
    ----------
    on_sent : list of callables
        Called with the AE title of a destination and the SOP Instance UIDs
        that it has taken on one association.
    """

    def __init__(
        self,
        system: System,
        node: DicomNode,
        entities: Entities,
        find: Callable[[str], Instance | None],
        sending: Sending,
    ) -> None:
        self._system = system
        self._node = node
        self._entities = entities
        self._find = find
        self._sending = sending
        self.on_sent: list[Callable[[str, list[str]], None]] = []
        self._lock = threading.RLock()
        self._due: dict[tuple[str, str], float] = {}  # destination and study: not before
        self._failures: Counter[str] = Counter()
        self._lanes: dict[str, ThreadPoolExecutor] = {}
        self._alarm: threading.Timer | None = None
        self._halted = False

    # For the rules

    def add(
        self,
        rule: str,
        destination: str,
        instances: Iterable[tuple[str, str]],
        *,
        priority: str = "MEDIUM",
        quiet: float = 0.0,
    ) -> int:
        """Keep instances to be sent, and send them when their study has been quiet.

        Parameters
        ----------
        rule : str
            Why.
        destination : str
            AE title.
        instances : iterable of (Study Instance UID, SOP Instance UID)
            Those that wait for this destination already are left out.
        priority : str
            One of `PRIORITIES`; what is higher goes first.
        quiet : float
            Seconds of the machine in which nothing more of the study comes.

        Returns
        -------
        int
            How many are new in the queue.
        """
        added = 0
        for study_uid, sop_uid in instances:
            added += self._system.db.run(
                "INSERT OR IGNORE INTO send_queue "
                "(rule, destination, study_uid, sop_uid, priority, state, queued_at) "
                "VALUES (?, ?, ?, ?, ?, 'waiting', ?)",
                *(rule, destination, study_uid, sop_uid),
                *(PRIORITIES[priority], self._system.now()),
            )
            with self._lock:
                self._due[destination, study_uid] = time.monotonic() + quiet
        self._look()
        return added

    def destinations(self, sop_uids: Iterable[str]) -> set[str]:
        """Return the AE titles that have been sent any of these instances."""
        wanted = list(sop_uids)
        rows = self._system.db.rows(
            "SELECT DISTINCT destination FROM send_queue WHERE state = 'sent' "
            f"AND sop_uid IN ({marks(wanted)})",
            *wanted,
        )
        return {row["destination"] for row in rows}

    # For the administrator

    def retry(self, destination: str = "") -> int:
        """Send what waits or has failed, now, and return how many instances went.

        Parameters
        ----------
        destination : str
            AE title; every one if left out.
        """
        self._system.db.run(
            "UPDATE OR IGNORE send_queue SET state = 'waiting', done_at = '' "
            "WHERE state = 'failed' AND ? IN ('', destination)",
            destination,
        )
        before = self._count("sent")
        for lane in self._start(self._make_due(destination)):
            lane.result()
        return self._count("sent") - before

    def table(self) -> Table:
        """Return what was queued, by rule, study, destination and state."""
        rows = self._system.db.rows(
            "SELECT q.rule, q.destination, COALESCE(st.accession, ''), COALESCE(p.patient_id, ''), "
            "COUNT(*), q.state, MAX(q.attempts), MAX(q.why), MIN(q.queued_at), MAX(q.done_at) "
            "FROM send_queue q LEFT JOIN studies st USING (study_uid) "
            "LEFT JOIN patients p ON p.id = st.patient "
            "GROUP BY q.rule, q.destination, q.study_uid, q.state ORDER BY MIN(q.id)"
        )
        columns = ("rule", "to", "accession", "patient ID", "images", "state", "attempts", "why")
        return Table((*columns, "queued", "done"), rows, "What the PACS sends of its own accord")

    # Life

    def resume(self) -> None:
        """Take up what waited at the last stop."""
        self._start(self._make_due(""))

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until nothing is being sent; tell whether it came to that within some seconds."""
        with self._lock:
            lanes = [] if self._halted else [*self._lanes.values()]
            idle = [lane.submit(int) for lane in lanes]
        return not wait(idle, timeout).not_done

    def halt(self) -> None:
        """Begin nothing more; what waits stays in the queue."""
        with self._lock:
            self._halted = True
            if self._alarm is not None:
                self._alarm.cancel()

    def close(self) -> None:
        """Wait until what was being sent has ended, or was aborted."""
        self.halt()
        if self._alarm is not None:
            self._alarm.join()
        for lane in self._lanes.values():
            lane.shutdown(cancel_futures=True)

    # Time

    def _make_due(self, destination: str) -> set[str]:
        """Make all that waits for a destination due now; return the destinations concerned."""
        rows = self._system.db.rows(
            "SELECT DISTINCT destination, study_uid FROM send_queue "
            "WHERE state = 'waiting' AND ? IN ('', destination)",
            destination,
        )
        with self._lock:
            for row in rows:
                self._due[row["destination"], row["study_uid"]] = 0.0
        return {row["destination"] for row in rows}

    def _look(self) -> None:
        """Start the lanes for what is due, and set the alarm for what is due next."""
        with self._lock:
            if self._halted:
                return
            now = time.monotonic()
            later = [due - now for due in self._due.values() if due > now]
            self._start({to for (to, _), due in self._due.items() if due <= now})
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            if later:
                self._alarm = threading.Timer(min(later), self._look)
                self._alarm.name, self._alarm.daemon = f"{self._system.name}-alarm-worker_0", True
                self._alarm.start()

    def _start(self, destinations: set[str]) -> list[Future[None]]:
        with self._lock:
            if self._halted:
                return []
            for title in destinations - self._lanes.keys():
                name = f"{self._system.name}-to-{title}-worker"
                self._lanes[title] = ThreadPoolExecutor(1, thread_name_prefix=name)
            return [self._lanes[title].submit(self._serve, title) for title in destinations]

    # A lane

    def _serve(self, destination: str) -> None:
        """Send everything that is due to one destination."""
        while not self._halted and (batch := self._batch(destination)):
            try:
                self._send(destination, batch)
            except LabError as error:
                self._put_off(destination, error.what)
                break
            self._failures.pop(destination, None)
        self._look()

    def _batch(self, destination: str) -> list[_Entry]:
        """Return what is due, and let go of the studies of which nothing waits any more."""
        now = time.monotonic()
        with self._lock:
            due = {
                uid for (to, uid), when in self._due.items() if to == destination and when <= now
            }
        entries = [
            _Entry(row["id"], row["rule"], row["study_uid"], row["sop_uid"], row["priority"])
            for row in self._system.db.rows(
                "SELECT * FROM send_queue WHERE state = 'waiting' AND destination = ? "
                f"ORDER BY {_IN_ORDER}",
                destination,
            )
            if row["study_uid"] in due
        ]
        with self._lock:
            for uid in due - {entry.study_uid for entry in entries}:
                if self._due.get((destination, uid), now + 1) <= now:
                    del self._due[destination, uid]
        return entries

    def _send(self, destination: str, batch: list[_Entry]) -> None:
        found = [(entry, self._find(entry.sop_uid)) for entry in batch]
        for entry, instance in found:
            if instance is None:
                self._done(entry, "withdrawn", "rejected, held or gone in the meantime")
        wanted = [(entry, instance) for entry, instance in found if instance is not None]
        if not wanted:
            return
        entity = self._entities.get(destination)
        if entity is None:
            raise LabError(f"No AE title {destination!r} is registered at the PACS.")
        self._system.db.run_many(
            "UPDATE send_queue SET attempts = attempts + 1 WHERE id = ?",
            [(entry.number,) for entry, _ in wanted],
        )
        contexts = sending_contexts([instance for _, instance in wanted], entity)
        sent: Counter[tuple[str, str]] = Counter()
        taken: list[str] = []
        try:
            with self._node.associate(entity.peer, contexts) as association:
                for entry, instance in wanted:
                    if self._halted:
                        return
                    if self._store(association, entry, instance, entity):
                        sent[entry.rule, entry.study_uid] += 1
                        taken.append(entry.sop_uid)
        finally:
            for tell in self.on_sent if taken else ():
                tell(destination, taken)
            for (rule, study_uid), count in sent.items():
                if count:
                    self._note(f"{count} images sent to {destination}: {rule}", study_uid)

    def _store(
        self, association: Association, entry: _Entry, instance: Instance, entity: Entity
    ) -> bool:
        """Send one instance; True if the destination has it now."""
        try:
            outgoing = self._sending.outgoing(instance, entity, association.accepted_contexts)
        except LabError as error:  # its file is gone, or nothing fits the destination
            self._done(entry, "failed", error.what)
            return False
        if not association.is_established:
            raise LabError(f"{entity.ae_title} ended the association.")
        status = send_store(association, outgoing, entry.number % 65535 + 1, None, entry.priority)
        if "Status" not in status:
            raise LabError(f"{entity.ae_title} did not answer in time.")
        code = int(status.Status)
        taken = code == 0x0000 or 0xB000 <= code <= 0xBFFF
        self._done(entry, "sent" if taken else "failed", describe_status(code))
        return taken

    def _done(self, entry: _Entry, state: str, why: str) -> None:
        self._system.db.run(
            "UPDATE send_queue SET state = ?, why = ?, done_at = ? WHERE id = ?",
            *(state, why, self._system.now(), entry.number),
        )

    def _put_off(self, destination: str, why: str) -> None:
        """Keep what waits for a destination that is down, and try again later."""
        if self._halted:
            return
        self._system.db.run(
            "UPDATE send_queue SET why = ? WHERE state = 'waiting' AND destination = ?",
            *(why, destination),
        )
        self._failures[destination] += 1
        delay = min(RETRY_AFTER * 2 ** (self._failures[destination] - 1), RETRY_AT_MOST)
        with self._lock:
            for to, study_uid in self._due:
                if to == destination:
                    self._due[to, study_uid] = time.monotonic() + delay
        waiting = self._count("waiting", destination)
        text = f"{waiting} images wait for {destination}, again in {delay:g} s: {why}"
        self._system.note(text, kind="error")

    def _note(self, text: str, study_uid: str) -> None:
        row = self._system.db.row("SELECT accession FROM studies WHERE study_uid = ?", study_uid)
        accession = row["accession"] if row is not None else ""
        self._system.note(text, study_uid=study_uid, accession=accession)

    def _count(self, state: str, destination: str = "") -> int:
        counted = "SELECT COUNT(*) FROM send_queue WHERE state = ? AND ? IN ('', destination)"
        return int(self._system.db.value(counted, state, destination))


def marks(values: Sized) -> str:
    """Return a question mark for each value."""
    return ", ".join("?" * len(values))


@dataclass(frozen=True)
class _Entry:
    """One row of the queue."""

    number: int
    rule: str
    study_uid: str
    sop_uid: str
    priority: int
