"""Read a disc that comes from anywhere: what is on it, what is broken, what its index says.

IHE actor: Portable Media Importer (PDI, RAD-47). The files are believed, not the
DICOMDIR: one that is wrong is a finding, and hides nothing.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from labsim.errors import ConfigurationError
from labsim.ids import is_uid
from labsim.inflating import TooLarge, require_bounded_file
from labsim.media.dicomdir import Problem, compare, find_dicomdir

_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_LONG_VALUE = 4096  # bytes; no attribute of an identity is longer
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ENCRYPTED = 0x1  # general purpose bit flag of a ZIP entry
_LINK = 0o120000  # file type of a symbolic link, in the upper half of a ZIP entry's attributes


@dataclass(frozen=True)
class Limits:
    """What is taken from a medium at most.

    Parameters
    ----------
    files : int
        How many files.
    total : int
        Bytes of all files together, unpacked.
    """

    files: int = 20_000
    total: int = 8 * 2**30


@dataclass(frozen=True)
class OnDisc:
    """One DICOM file of a disc.

    Parameters
    ----------
    name : str
        Path on the disc.
    path : Path
        Where it can be read now.
    header : FileDataset
        Its data set; long values such as pixels are read when asked for.
    """

    name: str
    path: Path
    header: FileDataset


@dataclass(frozen=True)
class Content:
    """What is on a disc.

    Parameters
    ----------
    images : list of OnDisc
        DICOM files that are whole, each instance once.
    refused : list of (file, reason)
        Files that are not taken.
    mismatches : list of (file, reason)
        Where the DICOMDIR and the files do not agree.
    """

    images: list[OnDisc]
    refused: list[Problem]
    mismatches: list[Problem]


@contextmanager
def opened(
    source: Path | str, limits: Limits | None = None
) -> Iterator[tuple[Path, list[Problem]]]:
    """Make a disc readable as a folder: it is one, or a ZIP file that is unpacked for the block.

    Parameters
    ----------
    source : Path or str
        Folder or ZIP file (PS3.12 annex V).
    limits : Limits, optional
        How much is taken.

    Yields
    ------
    folder : Path
        Where the files are.
    refused : list of (file, reason)
        Entries of the ZIP file that were not unpacked.

    Raises
    ------
    ConfigurationError
        If it is neither, or holds too much.
    """
    path = Path(source)
    if path.is_dir():
        yield path, []
        return
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise ConfigurationError(
            f"{path} is no folder and no ZIP file.", "Give the folder of a disc, or a disc in one."
        )
    with tempfile.TemporaryDirectory(prefix="disc-") as folder:
        yield Path(folder), _unpack(path, Path(folder), limits or Limits())


def _unpack(path: Path, folder: Path, limits: Limits) -> list[Problem]:
    refused: list[Problem] = []
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            # Read from the directory of the archive; zipfile unpacks no more than it says there.
            _require_bounded(path.name, [entry.file_size for entry in entries], limits)
            for entry in entries:
                reason = _entry_problem(entry, folder)
                if reason:
                    refused.append((entry.filename, reason))
                    continue
                target = folder / entry.filename
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(entry) as packed, target.open("xb") as file:
                        shutil.copyfileobj(packed, file)
                except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
                    target.unlink(missing_ok=True)
                    refused.append((entry.filename, f"cannot be unpacked: {error}"))
    except zipfile.BadZipFile as error:
        raise ConfigurationError(f"{path} cannot be unpacked: {error}.") from error
    return refused


def _entry_problem(entry: zipfile.ZipInfo, folder: Path) -> str:
    """Return why an entry is not unpacked, empty if it may be."""
    name = PurePosixPath(entry.filename)
    if name.is_absolute() or ".." in name.parts or set(entry.filename) & set('\\:*?"<>|\0'):
        return "a path that leads out of the disc"
    if entry.external_attr >> 16 & 0o170000 == _LINK:
        return "a link, not a file"
    if entry.flag_bits & _ENCRYPTED:
        return "encrypted"
    if (folder / entry.filename).exists():
        return "a second file of this name"
    return ""


def _require_bounded(name: str, sizes: list[int], limits: Limits) -> None:
    if len(sizes) > limits.files:
        raise ConfigurationError(
            f"{name} holds {len(sizes)} files, and {limits.files} are taken at most.",
            "Take out what does not belong to the study.",
        )
    if sum(sizes) > limits.total:
        raise ConfigurationError(
            f"{name} holds {sum(sizes)} bytes, and {limits.total} are taken at most.",
            "Take out what does not belong to the study.",
        )


def read_disc(folder: Path, limits: Limits | None = None) -> Content:
    """Look at every file below a folder.

    Parameters
    ----------
    folder : Path
        The disc.
    limits : Limits, optional
        How much is taken.

    Raises
    ------
    ConfigurationError
        If it holds too much.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    _require_bounded(folder.name, [file.stat().st_size for file in files], limits or Limits())
    directory = find_dicomdir(folder)
    images: list[OnDisc] = []
    refused: list[Problem] = []
    seen: dict[str, str] = {}
    for file in files:
        name = file.relative_to(folder).as_posix()
        if file == directory or _of_pdi(name):
            continue
        if not file.resolve().is_relative_to(folder.resolve()):
            refused.append((name, "a link that leads out of the disc"))
            continue
        try:
            image = OnDisc(name, file, read_whole(file))
        except (InvalidDicomError, OSError, ValueError) as error:
            refused.append((name, reason_of(error)))
            continue
        uid = str(image.header.SOPInstanceUID)
        if uid in seen:
            refused.append((name, f"the same instance as {seen[uid]}"))
            continue
        seen[uid] = name
        images.append(image)
    found = [(image.name, image.header) for image in images]
    broken = {name for name, _ in refused}
    return Content(images, refused, compare(directory, folder, found, broken))


def read_whole(file: Path) -> FileDataset:
    """Read a DICOM file, leaving its long values on the disk.

    Raises
    ------
    InvalidDicomError
        If it is no DICOM file.
    ValueError
        If it is cut off, or lacks what names an instance.
    """
    try:
        with file.open("rb") as stream:
            require_bounded_file(stream)
        header = dcmread(file, defer_size=_LONG_VALUE)
        for keyword in _NEEDED:
            uid = str(header.get(keyword) or "")
            if not is_uid(uid):
                raise ValueError(f"{keyword} is {'no UID' if uid else 'missing'}")
        if not header.file_meta.get("TransferSyntaxUID"):
            raise ValueError("TransferSyntaxUID is missing")
        _require_end(header, file.stat().st_size)
    except (InvalidDicomError, OSError, ValueError):
        raise
    except TooLarge as error:
        raise ValueError(error.what) from error
    except Exception as error:  # pydicom raises many kinds for broken data
        raise ValueError(f"broken: {error}") from error
    return header


def _require_end(header: FileDataset, length: int) -> None:
    """Refuse a file whose last value is cut off, which pydicom reads over."""
    # A deflated data set was unpacked before: its places are not those of the file.
    if header.file_meta.TransferSyntaxUID.is_deflated:
        return
    last = list(header.values())[-1]
    if isinstance(last, RawDataElement) and last.length != _UNDEFINED_LENGTH:
        missing = last.value_tell + last.length - length
        if missing > 0:
            raise ValueError(f"broken: {missing} bytes are missing at the end")


def reason_of(error: Exception) -> str:
    """Return in words why a file is not taken."""
    if isinstance(error, InvalidDicomError):
        return "not a DICOM file"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _of_pdi(name: str) -> bool:
    """Tell whether a name is one that PDI gives to what is not DICOM."""
    upper = name.upper()
    return upper in ("README.TXT", "INDEX.HTM", "AUTORUN.INF") or upper.startswith("IHE_PDI/")
