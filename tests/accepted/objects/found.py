"""The DICOM files below a folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID


@dataclass(frozen=True)
class Found:
    """A DICOM file.

    Parameters
    ----------
    path : Path
        Where it is: the first place, if several hold the same bytes.
    header : FileDataset
        All but the pixels.
    """

    path: Path
    header: Dataset

    @property
    def sop_class(self) -> UID:
        """What kind of object it is."""
        return UID(str(self.header.file_meta.MediaStorageSOPClassUID))

    @property
    def syntax(self) -> UID:
        """Its transfer syntax."""
        return UID(str(self.header.file_meta.TransferSyntaxUID))


def find(folder: Path) -> list[Found]:
    """Return every DICOM file below a folder, the same content once."""
    contents: dict[bytes, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (content := path.read_bytes())[128:132] == b"DICM":
            contents.setdefault(hashlib.sha256(content).digest(), path)
    return [Found(path, dcmread(path, stop_before_pixels=True)) for path in contents.values()]
