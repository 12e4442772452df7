"""Backup and restore of the PACS: its index as of one moment, and every file the index names.

A backup folder holds files by their SHA-256, each once, and any number of
snapshots: a copy of the index, and a manifest that says which file each of its
entries was. A second backup copies only what is new.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labsim.errors import ConfigurationError, NotFound
from labsim.systems.facility import System
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.storage import Storage
from labsim.systems.records import Record
from labsim.table import Table

Part = Literal["all", "index", "files"]
_MISSING, _DAMAGED = "missing", "damaged"
_BLOCK = 1024 * 1024
_FRESH = "restored"  # a file that says so to the next start


@dataclass(frozen=True)
class BackupReport(Record):
    """What one backup did.

    Parameters
    ----------
    folder : Path
        Where it is.
    snapshot : int
        Its number there.
    taken_at : str
        Of which moment it is, hospital time.
    instances : int
        How many images its index has.
    copied, copied_bytes : int
        Files that were new.
    problems : tuple of str
        Files that could not be copied, or are not what the index says.
    """

    folder: Path
    snapshot: int
    taken_at: str
    instances: int
    copied: int
    copied_bytes: int
    problems: tuple[str, ...]


class Backup:
    """Writes backups of a running archive.

    Parameters
    ----------
    system : System
        The PACS.
    files : FileStore
        Its files.
    storage : Storage
        Whose lock keeps files where they are; storing goes on meanwhile.
    """

    def __init__(self, system: System, files: FileStore, storage: Storage) -> None:
        self._system = system
        self._files = files
        self._storage = storage

    def write(self, folder: Path) -> BackupReport:
        """Add a snapshot to a backup folder.

        The index is copied first and the files that it names then: what comes
        in between is in neither, and the backup agrees with itself.

        Raises
        ------
        ConfigurationError
            If the folder cannot be written, or is one of the archive's own.
        """
        folder = folder.absolute()
        if folder.is_relative_to(self._system.facility.folder):
            raise ConfigurationError(
                f"{folder} lies in the hospital that it is to save.", "Choose another place."
            )
        try:
            with self._storage.moving:
                return self._write(folder)
        except OSError as error:
            raise ConfigurationError(
                f"The backup to {folder} failed: {error.strerror or error}.",
                "What was copied is used by the next one.",
            ) from error

    def _write(self, folder: Path) -> BackupReport:
        (folder / "files").mkdir(parents=True, exist_ok=True)
        (folder / "snapshots").mkdir(exist_ok=True)
        number = max(snapshots(folder), default=0) + 1
        half = folder / "snapshots" / f"{number:04d}.half"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        taken_at = self._system.now()
        self._system.db.copy_to(half / "index.sqlite")
        copied, copied_bytes, problems = 0, 0, []
        entries: dict[str, dict[str, Any]] = {}
        for row in _entries(half / "index.sqlite"):
            try:
                digest, size, new = _copy_in(self._files.path(row["file"]), folder / "files")
            except OSError as error:
                problems.append(f"{row['file']}: {error.strerror}")
                continue
            if row["sha256"] and digest != row["sha256"]:
                problems.append(f"{row['file']}: not what the index says")
            entries[row["file"]] = {"sha256": digest, "bytes": size}
            copied, copied_bytes = copied + new, copied_bytes + (size if new else 0)
        manifest = {
            "system": self._system.name,
            "issuer": self._system.facility.issuer,
            "taken_at": taken_at,
            "index": {"sha256": _digest(half / "index.sqlite")},
            "files": entries,
            "problems": problems,
        }
        _write_down(half / "manifest.json", json.dumps(manifest, indent=1).encode())
        half.rename(folder / "snapshots" / f"{number:04d}")  # whole from here on
        return BackupReport(
            folder, number, taken_at, len(entries), copied, copied_bytes, tuple(problems)
        )


def snapshots(folder: Path) -> list[int]:
    """Return the numbers of the snapshots in a backup folder."""
    found = (folder / "snapshots").glob("*/manifest.json")
    return sorted(int(path.parent.name) for path in found if path.parent.name.isdecimal())


# A replica comes in piece by piece, and has the form of a backup.


def describe_index(
    index: Path, files: FileStore, system: str, issuer: str, taken_at: str
) -> dict[str, Any]:
    """Return the manifest of a copy of an index, with the files that it names.

    Parameters
    ----------
    index : Path
        The copy.
    files : FileStore
        Where the files are.
    system, issuer, taken_at : str
        Whose index it is, and of which moment.
    """
    entries: dict[str, dict[str, Any]] = {}
    problems = []
    for row in _entries(index):
        path = files.path(row["file"])
        try:
            digest = row["sha256"] or _digest(path)
            entries[row["file"]] = {"sha256": digest, "bytes": path.stat().st_size}
        except OSError as error:
            problems.append(f"{row['file']}: {error.strerror}")
    return {
        "system": system,
        "issuer": issuer,
        "taken_at": taken_at,
        "index": {"sha256": _digest(index)},
        "files": entries,
        "problems": problems,
    }


def last_image(index: Path) -> int:
    """Return the row number of the image that came last into a copy of an index."""
    with closing(sqlite3.connect(index)) as copy:
        return int(copy.execute("SELECT COALESCE(MAX(id), 0) FROM instances").fetchone()[0])


def missing(folder: Path, digests: Sequence[str]) -> list[str]:
    """Return those of some digests that a backup folder has no file for."""
    return [digest for digest in digests if not _pool(folder / "files", digest).is_file()]


def take_file(folder: Path, digest: str, data: bytes) -> None:
    """Put one file into a backup folder.

    Raises
    ------
    ConfigurationError
        If it is not what its digest says.
    """
    if hashlib.sha256(data).hexdigest() != digest:
        raise ConfigurationError(f"The file is not {digest}.", "Send it again.")
    target = _pool(folder / "files", digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    _write_down(target, data)


def take_snapshot(folder: Path, manifest: Mapping[str, Any], index: bytes) -> int:
    """Put an index with its manifest into a backup folder, and return the snapshot's number.

    Raises
    ------
    ConfigurationError
        If the index is not what the manifest says, or a file that it names is not there.
    """
    if hashlib.sha256(index).hexdigest() != manifest["index"]["sha256"]:
        raise ConfigurationError("The index is not what its manifest says.", "Send it again.")
    absent = missing(folder, [kept["sha256"] for kept in manifest["files"].values()])
    if absent:
        raise ConfigurationError(f"{len(absent)} files are missing.", "Send them first.")
    (folder / "snapshots").mkdir(parents=True, exist_ok=True)
    number = max(snapshots(folder), default=0) + 1
    half = folder / "snapshots" / f"{number:04d}.half"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    _write_down(half / "index.sqlite", index)
    _write_down(half / "manifest.json", json.dumps(manifest).encode())
    half.rename(folder / "snapshots" / f"{number:04d}")
    return number


def forget_older(folder: Path, keep: int) -> None:
    """Remove all snapshots but the last ones, and the files that no snapshot names any more.

    Parameters
    ----------
    folder : Path
        A backup folder.
    keep : int
        How many snapshots stay.
    """
    for number in snapshots(folder)[:-keep]:
        shutil.rmtree(folder / "snapshots" / f"{number:04d}")
    named = {
        kept["sha256"]
        for number in snapshots(folder)
        for kept in _open(folder, number)[1]["files"].values()
    }
    for path in (folder / "files").glob("*/*.dcm"):
        if path.stem not in named:
            path.unlink()


def verify(folder: Path, snapshot: int | None = None) -> Table:
    """Read a whole backup, and return what is wrong with it.

    Parameters
    ----------
    folder : Path
        A backup folder.
    snapshot : int, optional
        Which one; the last if left out.

    Raises
    ------
    NotFound
        If there is no such backup.
    """
    place, manifest = _open(folder, snapshot)
    problems = list(_index_problems(place / "index.sqlite", manifest))
    for name, kept in sorted(manifest["files"].items()):
        path = _pool(folder / "files", kept["sha256"])
        if not path.is_file():
            problems.append((name, _MISSING))
        elif _digest(path) != kept["sha256"]:
            problems.append((name, _DAMAGED))
    problems += [(problem, "at the time of the backup") for problem in manifest["problems"]]
    caption = f"Backup of {manifest['taken_at']}: {len(manifest['files'])} files, "
    return Table(("what", "problem"), problems, f"{caption}{len(problems)} problems")


def sound(folder: Path, snapshot: int | None, issuer: str) -> int:
    """Return the number of a snapshot that may be restored.

    Parameters
    ----------
    folder, snapshot
        As for `verify`.
    issuer : str
        Whose archive is to be restored.

    Raises
    ------
    ConfigurationError
        If the backup is damaged, or another hospital's.
    NotFound
        If there is none.
    """
    place, manifest = _open(folder, snapshot)
    if manifest["issuer"] != issuer:
        raise ConfigurationError(
            f"The backup is of {manifest['issuer']}, not of {issuer}.", "Choose another folder."
        )
    number = int(place.name)
    problems = [row for row in verify(folder, number) if row[1] in (_MISSING, _DAMAGED)]
    if problems:
        what = ", ".join(str(row[0]) for row in problems[:3])
        raise ConfigurationError(
            f"The backup is damaged: {len(problems)} problems, such as {what}.",
            "verify_backup(…) lists them; take an older snapshot.",
        )
    return number


def restore(folder: Path, snapshot: int, into: Path, only: Part = "all") -> str:
    """Put a sound backup in the place of an archive that does not run.

    What was there is kept beside it, in ``before-restore``, until the next one.

    Parameters
    ----------
    folder, snapshot
        From `sound`.
    into : Path
        The archive's folder.
    only : str
        ``"all"``, or half of it: ``"index"`` or ``"files"``. Half a restore is
        what real ones too often are, and `Pacs.consistency` shows it.

    Returns
    -------
    str
        Of which moment it is.
    """
    place, manifest = _open(folder, snapshot)
    aside = into / "before-restore"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)  # the folder itself may have been lost
    if only in ("all", "index"):
        for path in list(into.glob("pacs.sqlite*")):  # with its write-ahead log
            path.rename(aside / path.name)
        shutil.copyfile(place / "index.sqlite", into / "pacs.sqlite")
        if (aside / "pacs.sqlite").exists():
            _carry_over(aside / "pacs.sqlite", into / "pacs.sqlite")
    if only in ("all", "files"):
        for name in ("files", "nearline"):
            if (into / name).exists():
                (into / name).rename(aside / name)
        store = FileStore(into)
        for name, kept in manifest["files"].items():
            target = store.path(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_pool(folder / "files", kept["sha256"]), target)
    (into / _FRESH).write_text(str(manifest["taken_at"]), encoding="utf-8")
    return str(manifest["taken_at"])


def _carry_over(old: Path, new: Path) -> None:
    """Keep the audit messages that wait: not those of the backup's day, but today's."""
    with closing(sqlite3.connect(new)) as index:
        index.execute("ATTACH ? AS old", (str(old),))
        tables = "SELECT COUNT(*) FROM {}.sqlite_master WHERE name = 'audit_spool'"
        there = [index.execute(tables.format(name)).fetchone()[0] for name in ("main", "old")]
        if all(there):
            index.execute("DELETE FROM main.audit_spool")
            index.execute("INSERT INTO main.audit_spool SELECT * FROM old.audit_spool")
            index.commit()


def file_in_backup(folder: Path, name: str, snapshot: int | None = None) -> bytes:
    """Return one file of a backup, checked.

    Raises
    ------
    NotFound
        If the backup has none of that name, or it is damaged.
    """
    _, manifest = _open(folder, snapshot)
    kept = manifest["files"].get(name)
    path = _pool(folder / "files", kept["sha256"]) if kept else None
    if path is None or not path.is_file() or _digest(path) != kept["sha256"]:
        raise NotFound(f"The backup has no sound copy of {name}.", "Look into an older snapshot.")
    return path.read_bytes()


def just_restored(folder: Path) -> bool:
    """Tell, once, that an archive comes from a backup and nobody has looked at it yet."""
    with suppress(FileNotFoundError):
        (folder / _FRESH).unlink()
        return True
    return False


def _open(folder: Path, snapshot: int | None) -> tuple[Path, dict[str, Any]]:
    there = snapshots(folder)
    wanted = snapshot if snapshot is not None else max(there, default=0)
    if wanted not in there:
        known = ", ".join(map(str, there)) or "none"
        raise NotFound(f"{folder} has no snapshot {snapshot or ''}.", f"Snapshots: {known}.")
    place = folder / "snapshots" / f"{wanted:04d}"
    try:
        return place, json.loads((place / "manifest.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigurationError(
            f"The manifest of snapshot {wanted} is damaged.", "Take an older snapshot."
        ) from error


def _index_problems(path: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not path.is_file():
        yield "index", _MISSING
        return
    if _digest(path) != manifest["index"]["sha256"]:
        yield "index", _DAMAGED
        return
    named = {row["file"] for row in _entries(path)}
    for name in sorted(named - set(manifest["files"])):
        yield name, "named by the index, not in the backup"


def _entries(path: Path) -> list[dict[str, str]]:
    with closing(sqlite3.connect(path)) as index:
        rows = index.execute("SELECT file, sha256 FROM instances ORDER BY file").fetchall()
    return [{"file": file, "sha256": sha256} for file, sha256 in rows]


def _copy_in(source: Path, pool: Path) -> tuple[str, int, bool]:
    """Copy a file under its digest; return digest, size, and whether it was new."""
    digest, size = _digest(source), source.stat().st_size
    target = _pool(pool, digest)
    if target.is_file() and target.stat().st_size == size:
        return digest, size, False
    target.parent.mkdir(parents=True, exist_ok=True)
    # A copy and no hard link: bit rot would go through one.
    _write_down(target, source.read_bytes())
    return digest, size, True


def _write_down(path: Path, data: bytes) -> None:
    half = path.with_suffix(".half")
    with half.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def _pool(pool: Path, digest: str) -> Path:
    return pool / digest[:2] / f"{digest}.dcm"


def _digest(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    return total.hexdigest()
