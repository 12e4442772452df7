"""The ledger of corrections: who, when, why, what it was before, and what takes it back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from labsim.errors import ConfigurationError, NotFound
from labsim.systems.facility import System
from labsim.systems.pacs.send_queue import SendQueue
from labsim.systems.records import Record
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS corrections (
    id           INTEGER PRIMARY KEY,
    kind         TEXT NOT NULL,     -- move, correct, split, merge
    study_uid    TEXT NOT NULL,
    into_uid     TEXT NOT NULL,     -- the study that a split or merge fills
    who          TEXT NOT NULL,
    reason       TEXT NOT NULL,
    coded_reason TEXT NOT NULL,     -- COERCE or CORRECT (0400,0565)
    made_at      TEXT NOT NULL,
    images       INTEGER NOT NULL,
    changes      TEXT NOT NULL,     -- what and from what to what, JSON
    undo         TEXT NOT NULL,     -- what takes it back, JSON
    state        TEXT NOT NULL      -- begun, done, undone
);
"""
CODED_REASONS = ("CORRECT", "COERCE")


@dataclass(frozen=True)
class Correction(Record):
    """What a correction does or has done.

    Parameters
    ----------
    number : int
        In `hospital.pacs.corrections()`; 0 for one that was only tried out.
    kind : str
        ``"move"``, ``"correct"``, ``"split"`` or ``"merge"``.
    study_uid, into_uid : str
        The study, and the one that images go to.
    images : int
        How many are concerned.
    changes : list of (what, before, after)
        What it changes.
    """

    number: int
    kind: str
    study_uid: str
    into_uid: str
    images: int
    changes: list[tuple[str, str, str]] = field(default_factory=list)

    def table(self) -> Table:
        """Return what changes."""
        done = f"Correction {self.number}" if self.number else "Nothing is done yet"
        return Table(
            ("what", "before", "after"),
            [("instances", "", str(self.images)), *self.changes],
            f"{done}: {self.kind} of study {self.study_uid}",
        )


class Ledger:
    """The table of corrections.

    Parameters
    ----------
    system : System
        The PACS.
    queue : SendQueue
        Who has been sent what.
    """

    def __init__(self, system: System, queue: SendQueue) -> None:
        self._system = system
        self._queue = queue

    def table(self) -> Table:
        """Return every correction, oldest first."""
        rows = self._system.db.rows("SELECT * FROM corrections ORDER BY id")
        columns = (
            "correction",
            "kind",
            "study",
            "images",
            "changes",
            "who",
            "why",
            "when",
            "state",
        )
        shown = [
            (
                *(row["id"], row["kind"], row["study_uid"], row["images"]),
                "; ".join(f"{w}: {b} → {a}" for w, b, a in json.loads(row["changes"])),
                *(row["who"], row["reason"], row["made_at"], row["state"]),
            )
            for row in rows
        ]
        return Table(columns, shown, f"Corrections at {self._system.name}")

    def get(self, number: int) -> dict[str, str]:
        """Return a correction that can be taken back."""
        row = self._system.db.row("SELECT * FROM corrections WHERE id = ?", number)
        if row is None:
            raise NotFound(
                f"There is no correction {number}.", "hospital.pacs.corrections() lists them."
            )
        if row["state"] != "done":
            raise ConfigurationError(f"Correction {number} is {row['state']} already.")
        later = self._system.db.value(
            "SELECT MAX(id) FROM corrections WHERE state = 'done' AND id > ? "
            "AND (study_uid IN (?, ?) OR (into_uid != '' AND into_uid IN (?, ?)))",
            *(number, row["study_uid"], row["into_uid"], row["study_uid"], row["into_uid"]),
        )
        if later is not None:
            raise ConfigurationError(
                f"Correction {later} came after {number}, on the same study.",
                f"Take back {later} first.",
            )
        return dict(row)

    def require(self, reason: str, coded_reason: str = "CORRECT") -> None:
        """Refuse a correction that nobody can account for."""
        if not reason.strip():
            raise ConfigurationError(
                "A correction needs a reason.", "Say why: it is kept with who and when."
            )
        if coded_reason not in CODED_REASONS:
            raise ConfigurationError(
                f"{coded_reason!r} is no coded reason.", f"Use {' or '.join(CODED_REASONS)}."
            )

    def record(
        self, correction: Correction, who: str, reason: str, coded_reason: str = "CORRECT"
    ) -> int:
        """Enter a correction as begun; return its number."""
        return self._system.db.insert(
            "corrections",
            kind=correction.kind,
            study_uid=correction.study_uid,
            into_uid=correction.into_uid,
            who=who,
            reason=reason,
            coded_reason=coded_reason,
            made_at=self._system.now(),
            images=correction.images,
            changes=json.dumps(correction.changes),
            undo="[]",
            state="begun",
        )

    def finish(self, number: int, undo: object) -> None:
        """Enter that a correction is done, and what takes it back."""
        self._system.db.run(
            "UPDATE corrections SET state = 'done', undo = ? WHERE id = ?",
            *(json.dumps(undo), number),
        )

    def copies(self, sop_uids: list[str]) -> list[tuple[str, str, str]]:
        """Return a line about those who have been sent copies, which nobody corrects there."""
        told = ", ".join(sorted(self._queue.destinations(sop_uids)))
        return [("copies sent before", told, "stay as they are")] if told else []

    def note(self, text: str, study_uid: str) -> None:
        """Write a line about a study into the journal."""
        row = self._system.db.row(
            "SELECT st.accession, p.patient_id FROM studies st "
            "JOIN patients p ON p.id = st.patient WHERE st.study_uid = ?",
            study_uid,
        )
        keys = dict(row) if row is not None else {}
        self._system.note(text, study_uid=study_uid, **keys)
