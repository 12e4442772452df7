"""The operating side of the PACS: who may do what, where files lie, how long, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from labsim.errors import ConfigurationError
from labsim.site import PacsSite, Site
from labsim.systems.audit.trail import AuditTrail
from labsim.systems.facility import System
from labsim.systems.pacs import (
    backup,
    backup_schedule,
    removal,
    repairing,
    retention,
    storage_policy,
    users,
)
from labsim.systems.pacs.access import Access, Session, needs
from labsim.systems.pacs.administration import Users
from labsim.systems.pacs.auditing import Auditing
from labsim.systems.pacs.backup import Backup, BackupReport
from labsim.systems.pacs.backup_schedule import BackupSchedule
from labsim.systems.pacs.entities import Entities
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.index import Index
from labsim.systems.pacs.mending import Choice, Mending
from labsim.systems.pacs.removal import Removal
from labsim.systems.pacs.repairing import Repairing
from labsim.systems.pacs.replication import Replication
from labsim.systems.pacs.retention import Retention
from labsim.systems.pacs.send_queue import SendQueue
from labsim.systems.pacs.storage import Storage
from labsim.systems.pacs.storing import Storing
from labsim.systems.pacs.users import Accounts
from labsim.table import Table

SCHEMA = (
    backup_schedule.SCHEMA
    + users.SCHEMA
    + storage_policy.SCHEMA
    + removal.SCHEMA
    + retention.SCHEMA
    + repairing.SCHEMA
)


class Operated(System):
    """What an administrator has at hand besides the archive's configuration.

    Attributes
    ----------
    trail : AuditTrail
        What it reports to the audit repository.
    access : Access
        Who is there, and what they may do.
    users : Users
        Accounts and roles.
    storage : Storage
        Tiers, their policy, and the growth forecast.
    removal : Removal
        Deletes studies; others may be asked before.
    retention : Retention
        How long studies are kept.
    backups : BackupSchedule
        Backups by the clock.
    replication : Replication
        What keeps the standby up to date.
    """

    def operate(
        self,
        site: Site,
        own: PacsSite,
        index: Index,
        files: FileStore,
        entities: Entities,
        storing: Storing,
        queue: SendQueue,
        seen: Callable[[str], Index],
    ) -> None:
        """Build it all upon the parts of the archive; `seen` is the index as a caller sees it."""
        self.trail = AuditTrail(self, site.audit, ae_title=own.ae_title, host=own.host)
        self.auditing = Auditing(self, self.trail, seen, entities)
        self.access = Access(self, Accounts(self.db), self.trail)
        self.users = Users(self, self.access, self.trail)
        self.removal = Removal(self, files, self.trail)
        self.storage = Storage(self, index, files, self.access, self.trail)
        self.retention = Retention(self, self.access, self.removal, self.storage, self.trail)
        self._backup = Backup(self, files, self.storage)
        self.replication = Replication(self, files, site.standby, own.host)
        self.backups = BackupSchedule(self, self._save, self.access)
        self._repairing = Repairing(self, self.access, self.trail)
        self._mending = Mending(self, files, self.access, self.storage, self.trail, storing.enter)
        storing.on_stored.append(lambda stored: self.storage.watch())
        queue.on_sent.append(self.auditing.forwarded)

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait for the background work at hand, and for a replica that is on its way."""
        return super().wait_until_idle(timeout) and self.replication.wait_until_idle(timeout)

    # Who is there

    @property
    def session(self) -> Session:
        """Who is at the PACS now."""
        return self.access.session

    def login(self, user: str, password: str) -> Session:
        """Sign somebody in, until the session's ``logout`` or the end of its ``with`` block.

        Raises
        ------
        AccessDenied
            If name and password do not belong together, or the account is locked.
        """
        return self.access.login(user, password)

    def act_as(self, role: str) -> Session:
        """Give whoever is at the console another role, until ``logout``.

        Raises
        ------
        NotFound
            If there is no such role.
        """
        return self.access.act_as(role)

    # Deleting

    @needs("delete")
    def delete_study(self, study_uid: str, reason: str) -> int:
        """Delete a study for good, and return how many images it had.

        Raises
        ------
        ConfigurationError
            If it is on hold, or no reason is given.
        NotFound
            If there is no such study.
        """
        if not reason.strip():
            raise ConfigurationError("A deletion has a reason.", "Say who asked for it, and why.")
        held = self.db.value("SELECT reason FROM holds WHERE study_uid = ?", study_uid)
        if held is not None:
            raise ConfigurationError(
                f"Study {study_uid} is on hold: {held}.", "pacs.retention.release(…) ends that."
            )
        with self.storage.moving:
            return self.removal.delete(study_uid, reason, self.session.user)

    # Export

    def exported(self, sop_uids: Sequence[str], to: Path) -> None:
        """Report what was written to media, one message for each patient."""
        for patient, studies in self.auditing.studies_of(sop_uids):
            user = self.session.user
            self.trail.media(user, to.absolute().as_uri(), patient, studies, out=True, kind="URI")

    # Backup

    @needs("configure")
    def backup(self, folder: Path | str) -> BackupReport:
        """Save index and files as they are at this moment, while images come in.

        Parameters
        ----------
        folder : Path or str
            Where; a second backup there copies only what is new.

        Returns
        -------
        BackupReport
            With what could not be copied.

        Raises
        ------
        ConfigurationError
            If the folder cannot be written.
        """
        return self._save(Path(folder))

    def _save(self, folder: Path) -> BackupReport:
        done = self._backup.write(folder)
        self.note(
            f"backup {done.snapshot} to {done.folder}: {done.instances} images, "
            f"{done.copied} files copied, {len(done.problems)} problems"
        )
        by = self.trail.person(self.session.user)
        text = f"backup of {done.instances} images to {done.folder}"
        self.trail.alert("110132", text, by=by, about="backup")
        return done

    def verify_backup(self, folder: Path | str, snapshot: int | None = None) -> Table:
        """Read a whole backup, and return what is wrong with it.

        Raises
        ------
        NotFound
            If there is none.
        """
        return backup.verify(Path(folder).absolute(), snapshot)

    # Index and files

    def consistency(self, *, deep: bool = False) -> Table:
        """Compare the index with the files, and return what does not agree.

        Parameters
        ----------
        deep : bool
            Whether every file is read, and its SHA-256 compared with the one it had.

        Returns
        -------
        Table
            Entries whose file is missing, of another size, or with `deep` of
            another content; files without an entry; none if all is well.
        """
        return self._mending.consistency(deep=deep)

    def mend_choices(self, *, deep: bool = False) -> Table:
        """Return what `mend` can do about each problem of `consistency`."""
        return self._mending.choices(deep=deep)

    def mend(
        self, file: str, choice: Choice, reason: str, *, backup: Path | str | None = None
    ) -> str:
        """Do one thing about one file that `consistency` names.

        Parameters
        ----------
        file : str
            Its name, as in the table.
        choice : str
            ``"reindex"`` enters a file that has no entry, ``"remove"`` deletes
            it; ``"drop"`` deletes an entry whose file is gone or broken;
            ``"restore"`` takes the file out of a backup; ``"recompute"``
            believes the file, and enters its size and digest.
        reason : str
            Why, for the record.
        backup : Path or str, optional
            The backup folder, for ``"restore"``.

        Returns
        -------
        str
            What was done.

        Raises
        ------
        ConfigurationError
            If the choice does not fit the problem, or no reason is given.
        NotFound
            If nothing is wrong with that file, or the backup has no sound copy.
        """
        return self._mending.mend(file, choice, reason, backup=backup)

    @needs("query")
    def sql(self, statement: str, *values: Any) -> Table:
        """Ask the index, reading only; as `System.sql`."""
        return super().sql(statement, *values)

    def repair(
        self,
        statement: str,
        reason: str,
        *values: Any,
        dry_run: bool = True,
        allow_drop: bool = False,
    ) -> Table:
        """Change the index by one SQL statement; only tried, unless `dry_run` is False.

        Parameters
        ----------
        statement : str
            One INSERT, UPDATE or DELETE; with `allow_drop` also a DROP.
        reason : str
            Why, for the record.
        *values
            For its question marks.
        dry_run : bool
            Whether it is only tried and taken back.
        allow_drop : bool
            Whether a table may go.

        Returns
        -------
        Table
            One line for each changed column, with its value before and after.

        Raises
        ------
        AccessDenied
            If nobody has signed in with the right to repair.
        ConfigurationError
            If the statement is wrong, or does what no repair may do.
        """
        return self._repairing.repair(
            statement, reason, *values, dry_run=dry_run, allow_drop=allow_drop
        )

    def repairs(self) -> Table:
        """Return every change of the index by SQL."""
        return self._repairing.table()
