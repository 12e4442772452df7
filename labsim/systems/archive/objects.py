"""Object storage under the archive: buckets of objects that are written once and never changed."""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from labsim.errors import ConfigurationError, LabError, NotFound
from labsim.systems.pacs.files import NEARLINE, ONLINE, FileStore, in_tier, tier_of
from labsim.table import Table

_BUCKET = re.compile(r"[a-z][a-z0-9-]{0,62}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class ObjectHead:
    """What is known of an object without reading it.

    Parameters
    ----------
    bucket, key : str
        Its name.
    size : int
        Bytes.
    sha256 : str
        Checksum of what was put, in hexadecimal.
    put_at : str
        When, ISO 8601.
    """

    bucket: str
    key: str
    size: int
    sha256: str
    put_at: str


class ObjectFiles(FileStore):
    """The files of the archive as objects: one bucket a tier, the key made of the UIDs.

    The checksum of an object lies apart from it, so that damage is found. An
    object is deleted with its image, and never written over with other content.

    Parameters
    ----------
    folder : Path
        The archive's.
    room : callable
        As in `FileStore`.

    Attributes
    ----------
    now : callable
        Returns the hospital's time as text.
    """

    now: Callable[[], str]

    def __init__(self, folder: Path, room: Callable[[int], None] = lambda size: None) -> None:
        super().__init__(folder, room)
        self._folder = folder

    def remove(self, name: str) -> int:
        """Delete an object, if it is there, and return how many bytes it had."""
        size = super().remove(name)
        self._about(tier_of(name), _key(name)).unlink(missing_ok=True)
        return size

    def _into_place(self, temporary: Path, name: str, data: bytes) -> None:
        bucket, key = tier_of(name), _key(name)
        known = self._read_head(bucket, key) if self.path(name).exists() else None
        digest = hashlib.sha256(data).hexdigest()
        if known is not None and known.sha256 != digest:
            raise OSError(errno.EPERM, "the object is immutable, and has other content")
        self._write_head(ObjectHead(bucket, key, len(data), digest, self.now()))
        super()._into_place(temporary, name, data)

    # The interface of objects

    def put(self, bucket: str, key: str, data: bytes) -> ObjectHead:
        """Put an object, once.

        Parameters
        ----------
        bucket : str
            Its name: small letters, digits and hyphens. Those of the archive's
            own tiers, ``"online"`` and ``"nearline"``, take images by DICOM only.
        key : str
            Its name in the bucket, parts separated by ``/``; the SHA-256 of the
            content if empty.
        data : bytes
            Its content. The same again changes nothing.

        Raises
        ------
        ConfigurationError
            If the name cannot be one, or other content has it already.
        """
        digest = hashlib.sha256(data).hexdigest()
        key = key or digest
        path = self._object(bucket, key)
        if bucket in (ONLINE, NEARLINE):
            raise ConfigurationError(
                f"The bucket {bucket} takes images by C-STORE only.", "Choose another bucket."
            )
        if path.exists():
            known = self.head(bucket, key)
            if known.sha256 != digest:
                raise ConfigurationError(
                    f"{bucket}/{key} is there with other content, and is never written over.",
                    "Put it under another key.",
                )
            return known
        head = ObjectHead(bucket, key, len(data), digest, self.now())
        temporary = self._incoming / digest
        temporary.write_bytes(data)
        self._write_head(head)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
        return head

    def get(self, bucket: str, key: str) -> bytes:
        """Return the content of an object.

        Raises
        ------
        NotFound
            If there is none.
        LabError
            If it is not what was put there.
        """
        head = self.head(bucket, key)
        data = self._object(bucket, key).read_bytes()
        if hashlib.sha256(data).hexdigest() != head.sha256:
            raise LabError(
                f"{bucket}/{key} is damaged: its checksum is not the one it was put with.",
                "Bring it back from a backup or another archive.",
            )
        return data

    def head(self, bucket: str, key: str) -> ObjectHead:
        """Return what is known of an object.

        Raises
        ------
        NotFound
            If there is none.
        """
        found = self._read_head(bucket, key) if self._object(bucket, key).is_file() else None
        if found is None:
            raise NotFound(f"There is no object {bucket}/{key}.", "objects.list(…) names them.")
        return found

    def list(self, bucket: str = ONLINE, prefix: str = "") -> Table:
        """Return the objects of a bucket whose key begins with a prefix."""
        root = self._object(bucket, "x").parent
        keys = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
        heads = [self._read_head(bucket, key) for key in keys if key.startswith(prefix)]
        rows = [(h.key, h.size, h.sha256, h.put_at) for h in heads if h is not None]
        return Table(("key", "bytes", "SHA-256", "put at"), rows, f"Bucket {bucket}")

    def _object(self, bucket: str, key: str) -> Path:
        if not _BUCKET.fullmatch(bucket) or not _KEY.fullmatch(key):
            raise ConfigurationError(
                f"{bucket}/{key} cannot name an object.",
                "Letters, digits, points and hyphens, parts of the key separated by /.",
            )
        if bucket in (ONLINE, NEARLINE):
            return self.path(in_tier(key, bucket))
        return self._folder / "buckets" / bucket / key

    def _about(self, bucket: str, key: str) -> Path:
        return self._folder / "object-heads" / bucket / f"{key}.json"

    def _read_head(self, bucket: str, key: str) -> ObjectHead | None:
        try:
            return ObjectHead(**json.loads(self._about(bucket, key).read_text(encoding="utf-8")))
        except OSError:
            return None

    def _write_head(self, head: ObjectHead) -> None:
        about = self._about(head.bucket, head.key)
        about.parent.mkdir(parents=True, exist_ok=True)
        temporary = about.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(head)), encoding="utf-8")
        temporary.replace(about)


def _key(name: str) -> str:
    return in_tier(name, ONLINE)
