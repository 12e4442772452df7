"""Rejection notes: made here or received, and what they hide.

IHE profile Imaging Object Change Management: the archive is the Image Manager,
and the Change Requester of what its administrator rejects. The rejected images
stay on disk; whoever has no right to them sees neither them nor a count of
them.
"""

from __future__ import annotations

from io import BytesIO
from itertools import groupby

from pydicom import dcmread
from pydicom.dataset import Dataset

from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.imaging.codes import Code
from labsim.systems.facility import System
from labsim.systems.pacs.arrival import Arrival
from labsim.systems.pacs.index import Index, Instance
from labsim.systems.pacs.key_objects import (
    KEY_IMAGE_TITLES,
    QUALITY_REASONS,
    REJECTION_TITLES,
    NoteNumbers,
    chosen,
    is_note,
    read_note,
    write_note,
)
from labsim.systems.pacs.send_queue import SendQueue, marks
from labsim.systems.pacs.sending import Sending
from labsim.systems.pacs.storing import Storing
from labsim.systems.pacs.visibility import Visibility
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS rejections (
    sop_uid     TEXT NOT NULL,      -- what is rejected
    note_uid    TEXT NOT NULL,      -- by which document
    title       TEXT NOT NULL,      -- code of its title
    text        TEXT NOT NULL,
    calling     TEXT NOT NULL,      -- AE title the note came from
    rejected_at TEXT NOT NULL,
    state       TEXT NOT NULL,      -- rejected, taken back
    PRIMARY KEY (sop_uid, note_uid)
);
CREATE INDEX IF NOT EXISTS rejections_by_note ON rejections (note_uid);
CREATE TABLE IF NOT EXISTS rejection_policies (
    title   TEXT PRIMARY KEY,       -- code
    meaning TEXT NOT NULL,
    hide    INTEGER NOT NULL        -- 0: rejected, and shown all the same
);
"""
_TITLES = {code.value: code for code in REJECTION_TITLES.values()}
_EXPIRED = REJECTION_TITLES["expired"].value
_SERIES_NUMBER = 9000  # of notes; no scanner counts that far


class Rejections:
    """Makes rejection notes, honours them, and takes them back.

    Parameters
    ----------
    system : System
        The PACS.
    own_title : str
        Its AE title.
    index, storing, queue, visibility, sending
        Parts of it.
    """

    def __init__(
        self,
        system: System,
        own_title: str,
        index: Index,
        storing: Storing,
        queue: SendQueue,
        visibility: Visibility,
        sending: Sending,
    ) -> None:
        self._system = system
        self._own_title = own_title
        self._index = index
        self._storing = storing
        self._queue = queue
        self._visibility = visibility
        self._sending = sending
        system.db.run_many(
            "INSERT OR IGNORE INTO rejection_policies VALUES (?, ?, 1)",
            [(code.value, code.meaning) for code in REJECTION_TITLES.values()],
        )

    # What the administrator does

    def reject(
        self, *uids: str, reason: str = "quality", text: str = "", modifier: str = ""
    ) -> list[str]:
        """Reject studies, series or instances: write a note about them, and hide them.

        Parameters
        ----------
        *uids : str
            Study, Series or SOP Instance UIDs.
        reason : str
            Title of the note: ``"quality"``, ``"safety"``, ``"worklist"`` or ``"expired"``.
        text : str
            In the administrator's own words (Key Object Description).
        modifier : str
            What was wrong with the quality, one of `QUALITY_REASONS`.

        Returns
        -------
        list of str
            SOP Instance UID of each note, one a study.

        Raises
        ------
        NotFound
            If nothing that is not rejected already has one of the UIDs.
        ConfigurationError
            If the reason is none of the four.
        """
        title = chosen(REJECTION_TITLES, reason, "reason to reject")
        why = chosen(QUALITY_REASONS, modifier, "fault of quality") if modifier else None
        if why is not None and title is not REJECTION_TITLES["quality"]:
            raise ConfigurationError(
                f"{modifier!r} says what is wrong with the quality, but the reason is {reason!r}.",
                "Leave the modifier out, or reject for quality reasons.",
            )
        instances = self._instances(uids)
        return [
            self.write(title, list(group), text, why)
            for _, group in groupby(instances, lambda instance: instance.study_uid)
        ]

    def write(
        self, title: Code, instances: list[Instance], text: str = "", modifier: Code | None = None
    ) -> str:
        """Write a note about images of one study and take it in; return its SOP Instance UID."""
        number = self._system.db.next("note")
        names = ("note", self._system.facility.seed, self._system.name, number)
        numbers = NoteNumbers(make_uid("series", *names), make_uid(*names), _SERIES_NUMBER + number)
        note = write_note(
            title,
            [self._sending.dataset(instance) for instance in instances],
            numbers,
            self._system.facility.clock.now(),
            institution=self._system.facility.institution,
            text=text,
            modifier=modifier,
        )
        self._storing.take(note, self._own_title)
        return numbers.sop_uid

    def point_out(self, study_uid: str, sop_uids: list[str], title: str, text: str) -> str:
        """Write a key image note; return its SOP Instance UID."""
        code = chosen(KEY_IMAGE_TITLES, title, "title of a key image note")
        if not sop_uids:
            raise ConfigurationError("A key image note has to name an image.", "Give SOP UIDs.")
        shown = self._visibility.index("").instances("STUDY", {"st.study_uid": [study_uid]})
        wanted = [instance for instance in shown if instance.sop_uid in sop_uids]
        missing = set(sop_uids) - {instance.sop_uid for instance in wanted}
        if missing:
            raise NotFound(f"Study {study_uid} has no image {', '.join(sorted(missing))}.")
        return self.write(code, wanted, text)

    def take_back(self, *uids: str, reason: str) -> int:
        """Show again what was rejected; return how many instances.

        Who has got the note from here keeps it: the journal names those.

        Raises
        ------
        NotFound
            If nothing rejected has one of the UIDs.
        """
        if not reason.strip():
            raise ConfigurationError("A rejection is taken back for a reason.", "Give the reason.")
        found = self._find(uids, self._index)
        rejected = self._rejected()
        wanted = [instance for instance in found if instance.sop_uid in rejected]
        if not wanted:
            raise NotFound(
                f"Nothing of {', '.join(uids)} is rejected.", "hospital.pacs.rejected() lists it."
            )
        self._system.db.run_many(
            "UPDATE rejections SET state = 'taken back' WHERE sop_uid = ?",
            [(instance.sop_uid,) for instance in wanted],
        )
        told = ", ".join(sorted(self._told(wanted)))
        for study_uid in dict.fromkeys(instance.study_uid for instance in wanted):
            text = f"rejection of {len(wanted)} images taken back: {reason}"
            self._note(f"{text}; {told} keep the note" if told else text, study_uid)
        return len(wanted)

    def policy(self, reason: str, *, hide: bool) -> None:
        """Say whether images rejected for a reason are hidden.

        Raises
        ------
        ConfigurationError
            If there is no such reason.
        """
        code = chosen(REJECTION_TITLES, reason, "reason to reject")
        self._system.db.run(
            "UPDATE rejection_policies SET hide = ? WHERE title = ?", int(hide), code.value
        )
        self._system.note(f"images with {code.meaning} are {'hidden' if hide else 'shown'}")

    def table(self) -> Table:
        """Return everything that was rejected, with the reason."""
        rows = self._system.db.rows(
            "SELECT COALESCE(st.accession, ''), COALESCE(p.patient_id, ''), r.sop_uid, r.title, "
            "r.text, r.calling, r.rejected_at, r.state FROM rejections r "
            "LEFT JOIN instances i USING (sop_uid) LEFT JOIN series se ON se.id = i.series "
            "LEFT JOIN studies st ON st.id = se.study LEFT JOIN patients p ON p.id = st.patient "
            "ORDER BY r.rowid"
        )
        shown = [(*row[:3], _TITLES[row["title"]].meaning, row["text"], *row[5:]) for row in rows]
        columns = ("accession", "patient ID", "SOP Instance UID", "reason", "text", "from")
        return Table((*columns, "when", "state"), shown, f"Rejected images of {self._system.name}")

    def is_rejected(self, sop_uid: str) -> bool:
        """Tell whether an instance is rejected and hidden: the archive promises it to nobody."""
        hidden = (
            "SELECT 1 FROM rejections JOIN rejection_policies USING (title) "
            "WHERE sop_uid = ? AND state = 'rejected' AND hide = 1"
        )
        return self._system.db.row(hidden, sop_uid) is not None

    # What comes in

    def arrived(self, arrival: Arrival) -> None:
        """Honour a rejection note; accept again what has only expired."""
        if is_note(arrival.header):
            note = dcmread(BytesIO(arrival.data))
            title, text, uids = read_note(note)
            if title in _TITLES:
                self._honour(note, title, text, uids, arrival.calling)
        else:
            self.came_again(arrival.header)

    def came_again(self, header: Dataset) -> None:
        """Show an image again that had gone only because its time was over."""
        self._system.db.run(
            "UPDATE rejections SET state = 'taken back' WHERE sop_uid = ? AND title = ?",
            *(str(header.SOPInstanceUID), _EXPIRED),
        )

    def _honour(self, note: Dataset, title: str, text: str, uids: list[str], calling: str) -> None:
        study_uid, note_uid = str(note.StudyInstanceUID), str(note.SOPInstanceUID)
        foreign = [uid for uid in uids if self._study_of(uid) not in ("", study_uid)]
        if foreign:  # a note of one patient must not hide the images of another
            self._note(
                f"rejection note of {calling} ignored: it names images of another study",
                study_uid,
                kind="error",
            )
            return
        self._system.db.run_many(
            "INSERT OR REPLACE INTO rejections VALUES (?, ?, ?, ?, ?, ?, 'rejected')",
            [(uid, note_uid, title, text, calling, self._system.now()) for uid in uids],
        )
        meaning = _TITLES[title].meaning
        self._note(f"{len(uids)} images rejected by {calling}: {meaning}", study_uid)
        for title_of in sorted(self._queue.destinations(uids) - {calling}):
            self._queue.add("rejection note", title_of, [(study_uid, note_uid)], priority="HIGH")

    # Rows

    def _instances(self, uids: tuple[str, ...]) -> list[Instance]:
        rejected = self._rejected()
        found = [
            instance
            for instance in self._find(uids, self._index)
            if instance.sop_uid not in rejected and not self.is_note(instance)
        ]
        if not found:
            raise NotFound("There is nothing to reject.", "Everything named is rejected already.")
        return sorted(found, key=lambda instance: instance.study_uid)

    def _find(self, uids: tuple[str, ...], index: Index) -> list[Instance]:
        found: dict[str, Instance] = {}
        for uid in uids:
            levels = (
                ("STUDY", "st.study_uid"),
                ("SERIES", "se.series_uid"),
                ("IMAGE", "i.sop_uid"),
            )
            of_uid = [
                i for level, column in levels for i in index.instances(level, {column: [uid]})
            ]
            if not of_uid:
                raise NotFound(
                    f"The PACS has no study, series or instance {uid!r}.",
                    "hospital.tools.findscu() has the UIDs.",
                )
            found |= {instance.sop_uid: instance for instance in of_uid}
        return list(found.values())

    def is_note(self, instance: Instance) -> bool:
        """Tell whether an instance is a rejection note."""
        known = "SELECT 1 FROM rejections WHERE note_uid = ?"
        return self._system.db.row(known, instance.sop_uid) is not None

    def _study_of(self, sop_uid: str) -> str:
        instance = self._index.find(sop_uid)
        return "" if instance is None else instance.study_uid

    def _rejected(self) -> set[str]:
        rows = self._system.db.rows("SELECT sop_uid FROM rejections WHERE state = 'rejected'")
        return {row["sop_uid"] for row in rows}

    def _told(self, instances: list[Instance]) -> set[str]:
        """Return who has been sent the notes about these."""
        uids = [instance.sop_uid for instance in instances]
        rows = self._system.db.rows(
            f"SELECT DISTINCT note_uid FROM rejections WHERE sop_uid IN ({marks(uids)})", *uids
        )
        return self._queue.destinations(row["note_uid"] for row in rows)

    def _note(self, text: str, study_uid: str, kind: str = "state") -> None:
        row = self._system.db.row(
            "SELECT st.accession, p.patient_id FROM studies st JOIN patients p "
            "ON p.id = st.patient WHERE st.study_uid = ?",
            study_uid,
        )
        keys = dict(row) if row is not None else {}
        self._system.note(text, kind=kind, study_uid=study_uid, **keys)
