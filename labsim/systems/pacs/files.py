"""The files of the PACS: each instance as it came, under a name that leads nowhere else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import UID
from pynetdicom.dsutils import split_dataset


class FileStore:
    """A folder of DICOM files.

    A file is first written whole under ``incoming`` and then moved into
    place, so that what is under ``files`` is never half of something.

    Parameters
    ----------
    folder : Path
        Where ``incoming`` and ``files`` are.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "files"
        self._incoming = folder / "incoming"
        for path in (self.root, self._incoming):
            path.mkdir(parents=True, exist_ok=True)
        for half in self._incoming.iterdir():  # left by a killed process, never acknowledged
            half.unlink()

    def keep(self, data: bytes, uids: tuple[str, ...], commit: Commit) -> None:
        """Write one file to disk and move it into place when it has been indexed.

        Parameters
        ----------
        data : bytes
            The whole file.
        uids : tuple of str
            Of study, series and instance; checked to be UIDs.
        commit : callable
            Enters the name into the index, and is told how to move the file
            into place while the index can still go back.

        Raises
        ------
        OSError
            If the disk is full or read-only; nothing is kept then.
        """
        study_uid, series_uid, sop_uid = uids
        name = f"{_short(study_uid)}/{_short(series_uid)}/{sop_uid}.dcm"
        temporary = self._incoming / f"{sop_uid}.{os.urandom(4).hex()}"
        target = self.root / name
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            commit(name, lambda: _move(temporary, target))
        finally:
            temporary.unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Return where a file of the index lies."""
        return self.root / name

    def read(self, name: str) -> FileDataset:
        """Read one instance.

        Raises
        ------
        OSError
            If the file is gone or unreadable.
        """
        return dcmread(self.path(name))

    def encoded(self, name: str) -> tuple[UID, bytes]:
        """Return one instance as it came: its transfer syntax, and the bytes of the data set.

        Raises
        ------
        OSError
            If the file is gone or unreadable.
        """
        path = self.path(name)
        meta, start = split_dataset(path)
        return meta.TransferSyntaxUID, path.read_bytes()[start:]

    def names(self) -> set[str]:
        """Return the name of every file."""
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*.dcm")}


def _move(temporary: Path, target: Path) -> None:
    temporary.replace(target)


Commit = Callable[[str, Callable[[], None]], None]


def _short(uid: str) -> str:
    """Return a folder name for a UID, short because Windows counts the whole path."""
    return hashlib.sha256(uid.encode()).hexdigest()[:12]
