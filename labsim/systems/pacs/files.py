"""The files of the PACS: each under a name that leads nowhere else, in one of two tiers."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import UID
from pynetdicom.dsutils import split_dataset

# A tier's name begins the names of its files, so that a name alone says where a file lies;
# those of the first tier are as they have always been, without it.
ONLINE, NEARLINE = "online", "nearline"
_FOLDERS: Mapping[str, str] = {ONLINE: "files", NEARLINE: "nearline"}
_PREFIX = f"{NEARLINE}/"


def tier_of(name: str) -> str:
    """Return the tier of a file, by its name in the index."""
    return NEARLINE if name.startswith(_PREFIX) else ONLINE


def in_tier(name: str, tier: str) -> str:
    """Return the name that a file has in a tier."""
    plain = name.removeprefix(_PREFIX)
    return plain if tier == ONLINE else _PREFIX + plain


class FileStore:
    """Two folders of DICOM files, the second for what is seldom asked for.

    A file is first written whole under ``incoming`` and then moved into
    place, so that what is under ``files`` is never half of something.

    Parameters
    ----------
    folder : Path
        Where ``incoming``, ``files`` (online) and ``nearline`` are.
    room : callable
        Asked before so many bytes are written; raises `OSError` if the disk is full.

    Attributes
    ----------
    quotas : dict of str to int
        How many bytes a tier may hold; without an entry as many as the disk takes.
    """

    def __init__(self, folder: Path, room: Callable[[int], None] = lambda size: None) -> None:
        self._room = room
        self._roots = {tier: folder / name for tier, name in _FOLDERS.items()}
        self.root = self._roots[ONLINE]
        self._incoming = folder / "incoming"
        for path in (*self._roots.values(), self._incoming):
            path.mkdir(parents=True, exist_ok=True)
        for half in self._incoming.iterdir():  # left by a killed process, never acknowledged
            half.unlink()
        self.quotas: dict[str, int] = {}
        self._lock = threading.Lock()
        self._used: dict[str, int] = {}
        self.measure()

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
            If the disk is full or read-only, or the quota is used up; nothing
            is kept then.
        """
        study_uid, series_uid, sop_uid = uids
        self.place(data, f"{_short(study_uid)}/{_short(series_uid)}/{sop_uid}.dcm", commit)

    def place(self, data: bytes, name: str, commit: Commit) -> None:
        """Write one file under a name; the same instance in another tier goes then.

        Parameters
        ----------
        data : bytes
            The whole file.
        name : str
            As in the index.
        commit : callable
            As for `keep`.

        Raises
        ------
        OSError
            As for `keep`.
        """
        target, tier = self.path(name), tier_of(name)
        temporary = self._incoming / f"{target.stem}.{os.urandom(4).hex()}"
        moved: list[int] = []  # how many bytes were freed by it

        def move() -> None:
            moved.append(_size(target))
            self._into_place(temporary, name, data)

        self._room(len(data))
        self._reserve(tier, len(data))
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            commit(name, move)
        finally:
            temporary.unlink(missing_ok=True)
            # Taken back if it is not there, or it took the place of an older one.
            self._free(tier, moved[0] if moved else len(data))
        if moved:
            for other in _FOLDERS:
                if other != tier:
                    self.remove(in_tier(name, other))

    def remove(self, name: str) -> int:
        """Delete a file, if it is there, and return how many bytes it had."""
        path = self.path(name)
        size = _size(path)
        path.unlink(missing_ok=True)
        self._free(tier_of(name), size)
        with suppress(OSError):  # the folders of series and study go with their last file
            path.parent.rmdir()
            path.parent.parent.rmdir()
        return size

    def path(self, name: str) -> Path:
        """Return where a file of the index lies."""
        return self._roots[tier_of(name)] / name.removeprefix(_PREFIX)

    def read(self, name: str) -> FileDataset:
        """Read one instance.

        Raises
        ------
        OSError
            If the file is gone or unreadable.
        """
        return dcmread(self._found(name))

    def encoded(self, name: str) -> tuple[UID, bytes]:
        """Return one instance as it came: its transfer syntax, and the bytes of the data set.

        Raises
        ------
        OSError
            If the file is gone or unreadable.
        """
        path = self._found(name)
        meta, start = split_dataset(path)
        return meta.TransferSyntaxUID, path.read_bytes()[start:]

    def holds(self, name: str) -> bool:
        """Tell whether a file is there, in whatever tier."""
        return self._found(name).is_file()

    def names(self) -> set[str]:
        """Return the name of every file."""
        return {
            in_tier(path.relative_to(root).as_posix(), tier)
            for tier, root in self._roots.items()
            for path in root.rglob("*.dcm")
        }

    def used(self, tier: str) -> int:
        """Return how many bytes a tier holds."""
        with self._lock:
            return self._used[tier]

    def measure(self) -> None:
        """Look how much each tier holds, because somebody else may have taken files away."""
        used = {
            tier: sum(_size(path) for path in root.rglob("*.dcm"))
            for tier, root in self._roots.items()
        }
        with self._lock:
            self._used = used

    def _into_place(self, temporary: Path, name: str, data: bytes) -> None:
        """Give a whole file its name."""
        temporary.replace(self.path(name))

    def _found(self, name: str) -> Path:
        """Return where a file is, in whatever tier: it may have moved since the index was asked."""
        path = self.path(name)
        others = (self.path(in_tier(name, tier)) for tier in _FOLDERS)
        return path if path.exists() else next((o for o in others if o.exists()), path)

    def _reserve(self, tier: str, size: int) -> None:
        with self._lock:
            quota = self.quotas.get(tier, 0)
            if quota and self._used[tier] + size > quota:
                raise OSError(errno.ENOSPC, f"the quota of the {tier} tier is used up")
            self._used[tier] += size

    def _free(self, tier: str, size: int) -> None:
        with self._lock:
            self._used[tier] -= size


Commit = Callable[[str, Callable[[], None]], None]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _short(uid: str) -> str:
    """Return a folder name for a UID, short because Windows counts the whole path."""
    return hashlib.sha256(uid.encode()).hexdigest()[:12]
