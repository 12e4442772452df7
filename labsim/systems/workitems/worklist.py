"""A worklist of Unified Procedure Steps: the rules of PS3.4 table CC.1.1-2, on disk.

Whoever claims a step locks it with a Transaction UID, which nobody else is ever
told. Requests from outside and the system's own work go the same way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from sqlite3 import Row

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from labsim.ids import is_uid
from labsim.systems.facility import System, text_of
from labsim.systems.workitems import attributes
from labsim.systems.workitems.attributes import (
    CANCELED,
    COMPLETED,
    IN_PROGRESS,
    SCHEDULED,
    STATES,
)
from labsim.systems.workitems.status import (
    ALREADY_CANCELED,
    ALREADY_CLAIMED,
    ALREADY_COMPLETED,
    COMPLETED_ALREADY,
    CREATED_MODIFIED,
    DUPLICATE,
    INVALID_ARGUMENT,
    INVALID_VALUE,
    NO_LONGER,
    NOBODY_TO_ASK,
    NOT_BACK,
    NOT_CLAIMED,
    NOT_FINAL,
    SUCCESS,
    UNKNOWN,
    WRONG_TRANSACTION,
    UpsRefused,
)
from labsim.wire.matching import matches, project

SCHEMA = """
CREATE TABLE IF NOT EXISTS workitems (
    number          INTEGER PRIMARY KEY,
    uid             TEXT NOT NULL UNIQUE,
    state           TEXT NOT NULL,
    priority        TEXT NOT NULL,
    transaction_uid TEXT NOT NULL DEFAULT '',   -- the lock; told to nobody
    own             INTEGER NOT NULL DEFAULT 0, -- whether the system itself has claimed it
    cancel_request  TEXT NOT NULL DEFAULT '',   -- what a request to cancel it says, as JSON
    accession       TEXT NOT NULL,
    patient_id      TEXT NOT NULL,
    study_uid       TEXT NOT NULL,
    attributes      TEXT NOT NULL               -- DICOM JSON model (PS3.18 annex F)
);
"""
# PS3.16 CID 9300; what stands there if a step was canceled and nobody said why (CC.2.5.1.1)
_UNSPECIFIED = ("110513", "DCM", "Discontinued for unspecified reason")
_WHY = (
    "ReasonForCancellation",
    "ProcedureStepDiscontinuationReasonCodeSequence",
    "ContactURI",
    "ContactDisplayName",
)


class Workitems:
    """The steps, and what may be done with them.

    Parameters
    ----------
    system : System
        Its database has the table of `SCHEMA`.
    label : str
        Worklist Label of steps that name none.

    Attributes
    ----------
    changed : callable
        Called after each change by others, which may give the system something to do.
    """

    def __init__(self, system: System, label: str) -> None:
        self._system = system
        self._db = system.db
        self._label = label
        self.changed: Callable[[], None] = lambda: None

    def create(self, given: Dataset, uid: str = "", by: str = "") -> tuple[str, int]:
        """Schedule a step (N-CREATE, RAD-80).

        Parameters
        ----------
        given : Dataset
            Its attributes, Procedure Step State ``SCHEDULED`` among them.
        uid : str
            SOP Instance UID; a new one if left out.
        by : str
            Who asks, for the journal.

        Returns
        -------
        str, int
            The UID, and 0x0000 or 0xB300 if attributes had to be completed.

        Raises
        ------
        UpsRefused
            If the UID is taken or none, or an attribute cannot be so.
        """
        if uid and not is_uid(uid):
            raise UpsRefused(INVALID_VALUE, f"{uid[:64]!r} is not a UID")
        uid = uid or generate_uid(prefix=None)
        kept, modified = attributes.created(given, uid, self._label, self._now())
        with self._db.transaction():
            if self._row(uid) is not None:
                raise UpsRefused(DUPLICATE, f"there is a workitem {uid} already")
            self._db.insert(
                "workitems",
                uid=uid,
                state=SCHEDULED,
                priority=kept.ScheduledProcedureStepPriority,
                accession=_accession(kept),
                patient_id=text_of(kept.get("PatientID")),
                study_uid=_study(kept),
                attributes=kept.to_json(),
            )
        self._note(uid, f"{SCHEDULED}: {kept.ProcedureStepLabel}", by)
        self.changed()
        return uid, CREATED_MODIFIED if modified else SUCCESS

    def get(self, uid: str) -> Dataset:
        """Return all of a step but its lock (N-GET, RAD-83).

        Raises
        ------
        UpsRefused
            If there is no such step.
        """
        return _whole(self._known(uid))

    def update(
        self, uid: str, changes: Dataset, transaction: str = "", *, own: bool = False
    ) -> int:
        """Change attributes of a step (N-SET, RAD-84).

        Parameters
        ----------
        uid : str
            Which.
        changes : Dataset
            What is new; a sequence with all of its items.
        transaction : str
            The lock, if the step is IN PROGRESS; else none.
        own : bool
            Whether the system itself performs the step.

        Raises
        ------
        UpsRefused
            If the step is unknown, has ended, or is locked by another.
        """
        with self._db.transaction():
            row = self._known(uid)
            if row["state"] in (COMPLETED, CANCELED):
                raise UpsRefused(NO_LONGER, f"it is {row['state']}")
            if row["state"] == SCHEDULED and transaction:
                raise UpsRefused(NOT_CLAIMED)
            _require_lock(row, transaction)
            self._keep(uid, attributes.changed(_kept(row), changes, self._now()))
        if not own:
            self.changed()
        return SUCCESS

    def change_state(
        self, uid: str, state: str, transaction: str, *, by: str = "", own: bool = False
    ) -> int:
        """Claim, complete or cancel a step (N-ACTION 1, RAD-82 and RAD-85).

        Parameters
        ----------
        uid : str
            Which.
        state : str
            The new one.
        transaction : str
            The lock: set when the step is claimed, needed from then on.
        by : str
            Who asks, for the journal.
        own : bool
            Whether the system itself performs the step.

        Returns
        -------
        int
            0x0000, or 0xB304 or 0xB306 if the step is in that final state already.

        Raises
        ------
        UpsRefused
            As table CC.1.1-2 says.
        """
        with self._db.transaction():
            row = self._known(uid)
            if state == SCHEDULED:
                raise UpsRefused(NOT_BACK)
            if state not in STATES:
                raise UpsRefused(INVALID_ARGUMENT, f"{state[:20]!r} is no Procedure Step State")
            if not is_uid(transaction):
                raise UpsRefused(WRONG_TRANSACTION, "it is missing")
            _require_lock(row, transaction)
            if state == row["state"]:
                return _already(state)
            if row["state"] in (COMPLETED, CANCELED):
                raise UpsRefused(NO_LONGER, f"it is {row['state']}")
            self._go_on(row, state, transaction, own)
        self._note(uid, _told(state, self.get(uid)), by)
        if not own:
            self.changed()
        return SUCCESS

    def request_cancel(self, uid: str, request: Dataset, *, by: str = "") -> int:
        """Ask for the end of a step that another performs (N-ACTION 2, RAD-88).

        A step that waits is canceled at once. Who performs a step decides
        itself: the system honours it when it next can.

        Parameters
        ----------
        uid : str
            Which.
        request : Dataset
            May have Reason For Cancellation, a code for it, and whom to contact.
        by : str
            Who asks, for the journal.

        Raises
        ------
        UpsRefused
            If the step is unknown or COMPLETED, or another system performs it,
            which cannot be told.
        """
        with self._db.transaction():
            row = self._known(uid)
            if row["state"] == COMPLETED:
                raise UpsRefused(COMPLETED_ALREADY)
            if row["state"] == CANCELED:
                return ALREADY_CANCELED
            asked = Dataset()
            for keyword in _WHY:
                if keyword in request:
                    asked.add(request[keyword])
            if row["state"] == SCHEDULED:
                lock = generate_uid(prefix=None)
                self._go_on(row, IN_PROGRESS, lock, own=False)
                self._keep(uid, _with_reason(_kept(row), asked))
                self._go_on(self._known(uid), CANCELED, lock, own=False)
            elif not row["own"]:
                raise UpsRefused(NOBODY_TO_ASK)
            else:
                self._set(uid, cancel_request=asked.to_json())
        waiting = row["state"] == SCHEDULED
        what = _told(CANCELED, self.get(uid)) if waiting else "asked to be canceled"
        self._note(uid, what, by)
        self.changed()
        return SUCCESS

    def search(self, keys: Dataset) -> Iterator[Dataset]:
        """Yield what was asked for of each step that matches (C-FIND, RAD-81), oldest first."""
        for row in self.rows():
            candidate = _whole(row)
            for keyword in (*attributes.RETURNED, *(key.keyword for key in keys)):
                if keyword and keyword not in candidate:
                    setattr(candidate, keyword, [] if dictionary_VR(keyword) == "SQ" else None)
            if matches(keys, candidate):
                yield project(keys, candidate)

    def rows(self) -> list[Row]:
        """Return the rows of all steps, the oldest first."""
        return self._db.rows("SELECT * FROM workitems ORDER BY number")

    # For the system's own work

    def to_perform(self) -> list[Row]:
        """Return the steps that nobody or the system itself has claimed, the urgent first."""
        return self._db.rows(
            "SELECT * FROM workitems WHERE state = 'SCHEDULED' OR (state = 'IN PROGRESS' AND own) "
            "ORDER BY state, CASE priority WHEN 'HIGH' THEN 0 WHEN 'MEDIUM' THEN 1 ELSE 2 END, "
            "number"
        )

    def lock(self, uid: str) -> str:
        """Return the Transaction UID of a step that the system has claimed."""
        row = self._known(uid)
        return str(row["transaction_uid"]) if row["own"] else ""

    def cancel_request(self, uid: str) -> Dataset | None:
        """Return what a request to cancel a step says; None if there was none."""
        said = self._known(uid)["cancel_request"]
        return Dataset.from_json(said) if said else None

    # On disk

    def _go_on(self, row: Row, state: str, transaction: str, own: bool) -> None:
        """Change the state of a step, if it is ready for it."""
        uid = row["uid"]
        if state == IN_PROGRESS:
            self._set(uid, state=state, transaction_uid=transaction, own=int(own))
            return
        if row["state"] == SCHEDULED:
            raise UpsRefused(NOT_CLAIMED)
        kept = _kept(row)
        if state == COMPLETED and (lacking := attributes.unmet(kept)):
            raise UpsRefused(NOT_FINAL, lacking)
        if state == CANCELED:
            self._keep(uid, _canceled(kept, self._now()))
        self._set(uid, state=state)

    def _keep(self, uid: str, kept: Dataset) -> None:
        self._set(
            uid,
            attributes=kept.to_json(),
            priority=kept.ScheduledProcedureStepPriority,
            study_uid=_study(kept),
            accession=_accession(kept),
        )

    def _set(self, uid: str, **columns: object) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        self._db.run(f"UPDATE workitems SET {names} WHERE uid = ?", *columns.values(), uid)

    def _row(self, uid: str) -> Row | None:
        return self._db.row("SELECT * FROM workitems WHERE uid = ?", uid)

    def _known(self, uid: str) -> Row:
        row = self._row(uid)
        if row is None:
            raise UpsRefused(UNKNOWN, uid[:64])
        return row

    def _note(self, uid: str, what: str, by: str) -> None:
        row = self._known(uid)
        keys = {name: row[name] for name in ("accession", "patient_id", "study_uid") if row[name]}
        asked = f", by {by}" if by else ""
        self._system.note(f"work item {row['number']} {what}{asked}", workitem=uid, **keys)

    def _now(self) -> str:
        return self._system.facility.clock.now().strftime("%Y%m%d%H%M%S")


def _require_lock(row: Row, transaction: str) -> None:
    """Refuse who does not have the lock of a step that has one."""
    if row["transaction_uid"] and transaction != row["transaction_uid"]:
        raise UpsRefused(WRONG_TRANSACTION, "it is another" if transaction else "it is missing")


def _already(state: str) -> int:
    if state == IN_PROGRESS:
        raise UpsRefused(ALREADY_CLAIMED)
    return ALREADY_COMPLETED if state == COMPLETED else ALREADY_CANCELED


def _kept(row: Row) -> Dataset:
    return Dataset.from_json(json.loads(row["attributes"]))


def _whole(row: Row) -> Dataset:
    """Return a step as it is told to others: with its state, without its lock."""
    step = _kept(row)
    step.ProcedureStepState = row["state"]
    return step


def _with_reason(kept: Dataset, asked: Dataset) -> Dataset:
    """Return a step's attributes with the reason for which it shall end."""
    told = deepcopy(attributes.progress(kept))
    contact = Dataset()
    for element in asked:
        if element.keyword.startswith("Contact"):
            contact.add(element)
        else:
            told.add(element)
    if "ContactURI" in contact:  # type 1 there
        told.ProcedureStepCommunicationsURISequence = [contact]
    kept.ProcedureStepProgressInformationSequence = [told]
    return kept


def _canceled(kept: Dataset, now: str) -> Dataset:
    """Return a step's attributes with what one that is CANCELED must have (final state X)."""
    told = deepcopy(attributes.progress(kept))
    if not told.get("ProcedureStepCancellationDateTime"):
        told.ProcedureStepCancellationDateTime = now
    if not told.get("ProcedureStepDiscontinuationReasonCodeSequence"):
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = _UNSPECIFIED
        told.ProcedureStepDiscontinuationReasonCodeSequence = [code]
    kept.ProcedureStepProgressInformationSequence = [told]
    return kept


def _told(state: str, step: Dataset) -> str:
    why = attributes.reason(step) if state in (COMPLETED, CANCELED) else ""
    return f"{state}: {why}" if why else state


def _study(kept: Dataset) -> str:
    """Return the study that a step is about, if it is about one."""
    if kept.get("StudyInstanceUID"):
        return str(kept.StudyInstanceUID)
    inputs = kept.get("InputInformationSequence") or []
    return next((str(i.StudyInstanceUID) for i in inputs if i.get("StudyInstanceUID")), "")


def _accession(kept: Dataset) -> str:
    requests = kept.get("ReferencedRequestSequence") or []
    return next((str(r.AccessionNumber) for r in requests if r.get("AccessionNumber")), "")
