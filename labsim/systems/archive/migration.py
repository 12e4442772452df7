"""Migration: the studies of another archive come one by one, and every image is counted."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait

from labsim.errors import AssociationFailed, ConfigurationError, LabError
from labsim.systems.archive.bringing import Brought
from labsim.systems.archive.source import Source
from labsim.systems.archive.target import Here, Target, There
from labsim.systems.facility import System, text_of
from labsim.systems.pacs.access import Access, needs
from labsim.systems.pacs.entities import Entities, Entity
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.index import Index
from labsim.table import Table
from labsim.wire.dimse import TIMEOUT, DicomNode

SCHEMA = """
CREATE TABLE IF NOT EXISTS migration (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    source TEXT NOT NULL,           -- AE title
    target TEXT NOT NULL,           -- AE title; empty for the archive itself
    state  TEXT NOT NULL,           -- running, paused or done
    speed  REAL NOT NULL            -- images per second at most; 0 for as fast as it goes
);
CREATE TABLE IF NOT EXISTS migrated_studies (
    target     TEXT NOT NULL,       -- as above
    study_uid  TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    accession  TEXT NOT NULL,
    state      TEXT NOT NULL,       -- waiting, done or failed
    at_source  INTEGER NOT NULL,    -- instances
    arrived    INTEGER NOT NULL DEFAULT 0,
    same       INTEGER NOT NULL DEFAULT 0,  -- with the same pixel data
    attempts   INTEGER NOT NULL DEFAULT 0,
    why        TEXT NOT NULL DEFAULT '',
    done_at    TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (target, study_uid)
);
"""

_NOW = "(SELECT target FROM migration)"  # where this migration goes


class Migration:
    """Has studies sent here or elsewhere, and keeps in the database how far it is.

    Each study is asked for with C-MOVE. Then what the source says it has is
    compared with what has arrived, and the pixel data that the source gives by
    C-GET with what lies in the file here, or is given by the other archive. A
    study is done if nothing differs.

    Parameters
    ----------
    system : System
        The archive.
    node, index, files, entities
        Parts of it.
    access : Access
        Who is asking.
    """

    def __init__(
        self,
        system: System,
        node: DicomNode,
        index: Index,
        files: FileStore,
        entities: Entities,
        access: Access,
    ) -> None:
        self._system = system
        self._node = node
        self._index = index
        self._files = files
        self._entities = entities
        self.access = access
        self._halted = threading.Event()  # by a pause, too
        self._stopping = False
        self._lane = ThreadPoolExecutor(1, thread_name_prefix=f"{system.name}-migration-worker")
        self._run: Future[None] | None = None

    # For the administrator

    @needs("configure")
    def start(
        self, source: str = "PACS", *, into: str = "", images_per_second: float = 0.0, **keys: str
    ) -> None:
        """Ask a source what it has, and begin to bring it here, or into another archive.

        Studies that are done already are taken up again only if the source
        has another number of instances now.

        Parameters
        ----------
        source : str
            Its AE title; it has to be registered here, and the archive there.
        into : str
            AE title of another archive that is to have them. It has to be
            registered here and at the source, and to answer this archive's
            queries. The archive itself if left out.
        images_per_second : float
            Throttle, on the average of each study; 0 for none.
        **keys
            Which studies, as of a C-FIND, such as ``StudyDate="2020-20211231"``.

        Raises
        ------
        ConfigurationError
            If one of them is not registered, or a migration is running.
        AssociationFailed, DimseFailed
            If the source does not answer.
        """
        entity = self._registered(source)
        into = "" if into == self._node.ae_title else into
        if into:
            self._registered(into)
        if into == source:
            raise ConfigurationError(f"{source} has its own studies.", "Name another archive.")
        if self.state == "running":
            raise ConfigurationError(
                "A migration is running.", "archive.migration.pause() stops it for a while."
            )
        if images_per_second < 0:
            raise ConfigurationError("images_per_second cannot be negative.", "0 is no limit.")
        studies = Source(self._node, entity.peer).studies(keys)
        with self._system.db.transaction():
            for study in studies:
                self._system.db.run(
                    "INSERT INTO migrated_studies (target, study_uid, patient_id, accession, "
                    "state, at_source) VALUES (?, ?, ?, ?, 'waiting', ?) "
                    "ON CONFLICT (target, study_uid) DO UPDATE "
                    "SET state = 'waiting', at_source = excluded.at_source "
                    "WHERE at_source != excluded.at_source",
                    into,
                    text_of(study.StudyInstanceUID),
                    text_of(study.get("PatientID")),
                    text_of(study.get("AccessionNumber")),
                    int(study.get("NumberOfStudyRelatedInstances") or 0),
                )
            self._system.db.upsert(
                *("migration", "id"),
                id=1,
                source=source,
                target=into,
                state="running",
                speed=images_per_second,
            )
        way = f"from {source}{' into ' * bool(into)}{into}"
        self._system.note(f"migration {way} started: {self._count('waiting')} studies")
        self.take_up()

    @needs("configure")
    def pause(self) -> None:
        """Stop after the study at hand, until `resume`.

        Raises
        ------
        ConfigurationError
            If none is running.
        """
        self._require("running")
        self._set("paused")
        self._halted.set()
        self._system.note(f"migration paused: {self._count('waiting')} studies wait")

    @needs("configure")
    def resume(self) -> None:
        """Go on after a pause.

        Raises
        ------
        ConfigurationError
            If none is paused.
        """
        self._require("paused")
        self._set("running")
        self._system.note(f"migration goes on: {self._count('waiting')} studies wait")
        self.take_up()

    @needs("configure")
    def retry(self) -> int:
        """Try the failed studies again; return how many they are.

        Raises
        ------
        ConfigurationError
            If there was no migration, or one is running.
        """
        self._require("paused", "done")
        self._system.db.run(
            "UPDATE migrated_studies SET state = 'waiting' WHERE state = 'failed' "
            f"AND target = {_NOW}"
        )
        waiting = self._count("waiting")
        self._set("running")
        self._system.note(f"migration tries {waiting} studies again")
        self.take_up()
        return waiting

    @property
    def state(self) -> str:
        """``"running"``, ``"paused"`` or ``"done"``; empty if there was none."""
        return text_of(self._system.db.value("SELECT state FROM migration"))

    def wait(self, timeout: float = TIMEOUT) -> bool:
        """Wait until it stands still; tell whether it came to that within some seconds."""
        return self._run is None or bool(wait([self._run], timeout).done)

    def table(self) -> Table:
        """Return every study with its counts at the source and here."""
        return self._report("")

    def failed(self) -> Table:
        """Return the studies that failed, and why."""
        return self._report("failed")

    # Its course

    def take_up(self) -> None:
        """Go on if it was running, such as when the hospital was stopped."""
        if self.state == "running":
            self._halted.clear()
            self._run = self._lane.submit(self._pull)

    def halt(self) -> None:
        """Begin nothing any more; a study that is cut off now has not failed."""
        self._stopping = True
        self._halted.set()

    def close(self) -> None:
        """Wait until the study at hand has ended, or was cut off."""
        self._lane.shutdown(cancel_futures=True)

    def _pull(self) -> None:
        while not self._halted.is_set():
            row = self._system.db.row(
                "SELECT m.source, m.target, m.speed, s.study_uid FROM migration m "
                "JOIN migrated_studies s ON s.target = m.target "
                "WHERE s.state = 'waiting' ORDER BY s.rowid LIMIT 1"
            )
            if row is None:
                self._set("done")
                done, failed = self._count("done"), self._count("failed")
                self._system.note(f"migration ended: {done} studies done, {failed} failed")
                return
            begun = time.monotonic()
            try:
                images = self._bring(row["source"], row["target"], row["study_uid"])
            except AssociationFailed as error:  # of no study, but of an archive
                if not self._halted.is_set():
                    self._set("paused")
                    self._system.note(f"migration paused: {error.what}", kind="error")
                return
            if row["speed"]:
                due = begun + images / row["speed"]
                self._halted.wait(max(0.0, due - time.monotonic()))

    def _bring(self, source_title: str, target_title: str, study_uid: str) -> int:
        """Bring one study, and return how many instances it has."""
        brought = Brought()
        try:
            source = Source(self._node, self._registered(source_title).peer)
            target = self._target(target_title)
            why = brought.bring(source, target, study_uid, _place(target_title))
        except AssociationFailed:
            raise
        except (LabError, OSError) as error:
            if self._stopping:
                return 0  # it is still waiting
            why = error.what if isinstance(error, LabError) else str(error)
        self._enter(target_title, study_uid, brought, why)
        return len(brought.wanted)

    def _target(self, title: str) -> Target:
        if title:
            return There(self._node, self._registered(title).peer)
        return Here(self._node.ae_title, self._index, self._files)

    def _registered(self, title: str) -> Entity:
        entity = self._entities.get(title)
        if entity is None:
            raise ConfigurationError(
                f"No AE title {title!r} is registered at the archive.",
                "Register it with hospital.archive.register_ae(…) first.",
            )
        return entity

    def _enter(self, target: str, study_uid: str, brought: Brought, why: str) -> None:
        counts = [len(each) for each in (brought.wanted, brought.arrived, brought.same)]
        self._system.db.run(
            "UPDATE migrated_studies SET state = ?, at_source = ?, arrived = ?, same = ?, why = ?, "
            "attempts = attempts + 1, done_at = ? WHERE target = ? AND study_uid = ?",
            *("failed" if why else "done", *counts, why),
            *(self._system.now(), target, study_uid),
        )
        entered = "SELECT * FROM migrated_studies WHERE target = ? AND study_uid = ?"
        row = self._system.db.row(entered, target, study_uid)
        assert row is not None
        at_source, arrived, same = counts
        instances = f"{arrived} of {at_source} instances {_place(target)}"
        text = f"study migrated: {instances}, {same} with the same pixel data"
        self._system.note(
            f"study not migrated: {why}" if why else text,
            kind="error" if why else "state",
            study_uid=study_uid,
            accession=row["accession"],
            patient_id=row["patient_id"],
        )

    def _report(self, state: str) -> Table:
        columns = (
            *("study_uid", "patient_id", "accession", "state", "at_source", "arrived", "same"),
            *("attempts", "why"),
        )
        rows = self._system.db.rows(
            f"SELECT {', '.join(columns)} FROM migrated_studies "
            f"WHERE ? IN ('', state) AND target = {_NOW} ORDER BY rowid",
            state,
        )
        way = self._system.db.value(
            "SELECT source || CASE target WHEN '' THEN '' ELSE ' into ' || target END "
            "FROM migration"
        )
        caption = f"Migration from {way or 'nowhere'}, {self.state or 'not begun'}"
        headings = ("study", "patient ID", "accession", "state", "at source", "arrived")
        return Table((*headings, "same pixels", "attempts", "why"), rows, caption)

    def _require(self, *states: str) -> None:
        if self.state not in states:
            raise ConfigurationError(
                f"The migration is {self.state or 'not begun'}, and not {' or '.join(states)}.",
                "archive.migration.table() tells how far it is.",
            )

    def _set(self, state: str) -> None:
        self._system.db.run("UPDATE migration SET state = ?", state)

    def _count(self, state: str) -> int:
        counted = f"SELECT COUNT(*) FROM migrated_studies WHERE state = ? AND target = {_NOW}"
        return int(self._system.db.value(counted, state))


def _place(target: str) -> str:
    return f"in {target}" if target else "here"
