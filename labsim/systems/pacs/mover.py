"""One file goes from one tier to another, and the index with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from pydicom import dcmread

from labsim.errors import LabError
from labsim.systems.facility import System
from labsim.systems.pacs.files import NEARLINE, FileStore, in_tier


class FileChanged(LabError):
    """An instance was stored again while it was being moved, or its file has changed."""


class Mover:
    """Moves single instances.

    Parameters
    ----------
    system : System
        The PACS.
    files : FileStore
        Its files.
    """

    def __init__(self, system: System, files: FileStore) -> None:
        self._system = system
        self._files = files

    def move(
        self, row: Mapping[str, Any], tier: str, change: Callable[[bytes], bytes | None]
    ) -> int:
        """Move one instance to a tier, and return its size there.

        The new file is in place and in the index before the old one goes, so
        that at no moment there is none.

        Parameters
        ----------
        row : mapping
            Its ``sop_uid``, ``file`` and ``transfer_syntax``.
        tier : str
            Where to.
        change : callable
            Makes the new file of the old one; None for as it is.

        Raises
        ------
        OSError
            If there is no room, or the file is gone.
        FileChanged
            If its file is not the one that the index has.
        """
        old = self._files.path(row["file"]).read_bytes()
        made = change(old)
        data = old if made is None else made
        syntax = syntax_of(data) if made is not None else row["transfer_syntax"]
        original = row["transfer_syntax"] if tier == NEARLINE and made is not None else ""

        def commit(name: str, move: Callable[[], None]) -> None:
            with self._system.db.transaction():
                changed = self._system.db.run(
                    "UPDATE instances SET file = ?, availability = ?, transfer_syntax = ?, "
                    "original_syntax = ?, bytes = ?, sha256 = ?, "
                    "original_sha256 = COALESCE(NULLIF(original_sha256, ''), sha256) "
                    "WHERE sop_uid = ? AND file = ? AND sha256 IN ('', ?)",
                    name,
                    tier.upper(),
                    syntax,
                    original,
                    len(data),
                    hashlib.sha256(data).hexdigest(),
                    row["sop_uid"],
                    row["file"],
                    hashlib.sha256(old).hexdigest(),
                )
                if not changed:
                    raise FileChanged("its file is not the one that the index has")
                move()

        self._files.place(data, in_tier(row["file"], tier), commit)
        return len(data)


def as_it_is(data: bytes) -> bytes | None:
    """Leave a file unchanged."""
    return None


def syntax_of(data: bytes) -> str:
    """Return the transfer syntax of a file."""
    return str(dcmread(BytesIO(data), specific_tags=[]).file_meta.TransferSyntaxUID)
