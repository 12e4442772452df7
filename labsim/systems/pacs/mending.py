"""Where index and files disagree, and what the administrator does about each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from labsim.errors import ConfigurationError, LabError, NotFound
from labsim.systems.audit.trail import AuditTrail
from labsim.systems.facility import System
from labsim.systems.pacs.access import Access, needs
from labsim.systems.pacs.backup import file_in_backup
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.storage import Storage
from labsim.table import Table

Choice = Literal["reindex", "remove", "drop", "restore", "recompute"]
_NO_ENTRY = "no entry"
_MISSING = "file missing"


class Mending:
    """Compares the index with the files, and mends one disagreement at a time.

    Parameters
    ----------
    system : System
        The PACS.
    files : FileStore
        Its files.
    access : Access
        Who is asking.
    storage : Storage
        Whose lock keeps files where they are.
    trail : AuditTrail
        Hears of what was mended.
    reindex : callable
        Enters one file into the index; raises `LabError` if it cannot.
    """

    def __init__(
        self,
        system: System,
        files: FileStore,
        access: Access,
        storage: Storage,
        trail: AuditTrail,
        reindex: Callable[[str], None],
    ) -> None:
        self._system = system
        self._files = files
        self.access = access
        self._storage = storage
        self._trail = trail
        self._reindex = reindex

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
        entries = {
            row["file"]: row
            for row in self._system.db.rows(
                "SELECT i.file, i.bytes, i.sha256, i.sop_uid, st.accession FROM instances i "
                "JOIN series se ON se.id = i.series JOIN studies st ON st.id = se.study"
            )
        }
        names = self._files.names()
        problems = []
        for name, row in sorted(entries.items()):
            what = self._problem(name, row["bytes"], row["sha256"] if deep else "")
            if what:
                problems.append((what, row["accession"], row["sop_uid"], name))
        problems += [(_NO_ENTRY, "", "", name) for name in sorted(names - set(entries))]
        caption = f"{len(entries)} entries, {len(names)} files, {len(problems)} problems"
        return Table(("problem", "accession", "SOP Instance UID", "file"), problems, caption)

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
        session = self.access.require("repair", "mend")
        if not reason.strip():
            raise ConfigurationError("Mending has a reason.", "Say why this is right.")
        with self._storage.moving:
            problem = self._named(file)
            fitting = _choices(problem)
            if choice not in fitting:
                raise ConfigurationError(
                    f"{choice!r} does not mend {problem!r}.", f"Choose {' or '.join(fitting)}."
                )
            done = self._do(file, choice, reason, backup)
        text = f"{done}: {reason}"
        self._system.note(f"index mended, {text}")
        by = self._trail.person(session.user)
        self._trail.alert("110132", f"index mended, {text}", by=by, about="index")
        return done

    @needs("query")
    def choices(self, *, deep: bool = False) -> Table:
        """Return what `mend` can do about each problem."""
        found = self.consistency(deep=deep)
        rows = [(row[0], row[3], ", ".join(_choices(row[0]))) for row in found]
        return Table(("problem", "file", "choices"), rows, found.caption)

    def _problem(self, name: str, size: int, sha256: str) -> str:
        path = self._files.path(name)
        try:
            there = path.stat().st_size
        except OSError:
            return _MISSING
        if there != size:
            return f"file has {there} bytes instead of {size}"
        if sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            return "file has another content than was stored"
        return ""

    def _named(self, file: str) -> str:
        row = self._system.db.row("SELECT bytes, sha256 FROM instances WHERE file = ?", file)
        if row is None and self._files.path(file).is_file() and file in self._files.names():
            return _NO_ENTRY
        problem = self._problem(file, row["bytes"], row["sha256"]) if row is not None else ""
        if not problem:
            raise NotFound(f"Nothing is wrong with {file}.", "pacs.consistency(deep=True) lists.")
        return problem

    def _do(self, file: str, choice: Choice, reason: str, backup: Path | str | None) -> str:
        if choice == "reindex":
            try:
                self._reindex(file)
            except LabError as error:
                raise ConfigurationError(
                    f"{file} cannot be entered: {error.what}.", "Remove it, or ask its sender."
                ) from error
            return f"{file} entered into the index"
        if choice == "remove":
            self._files.remove(file)
            return f"{file} without an entry deleted"
        if choice == "drop":
            self._drop(file)
            return f"entry of {file} dropped"
        if choice == "restore":
            return self._restore(file, backup)
        self._enter(file, self._files.path(file).read_bytes())
        return f"size and digest of {file} entered anew"

    def _drop(self, file: str) -> None:
        with self._system.db.transaction():
            self._system.db.run("DELETE FROM instances WHERE file = ?", file)
            self._system.db.run(
                "DELETE FROM series WHERE NOT EXISTS "
                "(SELECT 1 FROM instances WHERE series = series.id)"
            )
            self._system.db.run(
                "DELETE FROM studies WHERE NOT EXISTS "
                "(SELECT 1 FROM series WHERE study = studies.id)"
            )
        self._files.remove(file)  # what is left of it

    def _restore(self, file: str, backup: Path | str | None) -> str:
        if backup is None:
            raise ConfigurationError("A restore needs a backup.", "mend(…, backup=FOLDER).")
        data = file_in_backup(Path(backup).absolute(), file)
        digest = self._system.db.value("SELECT sha256 FROM instances WHERE file = ?", file)
        if digest and hashlib.sha256(data).hexdigest() != digest:
            raise NotFound(
                f"The backup's copy of {file} is another than was stored.", "Try another snapshot."
            )
        self._files.place(data, file, lambda name, move: move())
        self._enter(file, data)
        return f"{file} taken out of the backup"

    def _enter(self, file: str, data: bytes) -> None:
        self._system.db.run(
            "UPDATE instances SET bytes = ?, sha256 = ? WHERE file = ?",
            len(data),
            hashlib.sha256(data).hexdigest(),
            file,
        )


def _choices(problem: str) -> tuple[Choice, ...]:
    if problem == _NO_ENTRY:
        return "reindex", "remove"
    if problem == _MISSING:
        return "restore", "drop"
    return "restore", "recompute", "drop"
