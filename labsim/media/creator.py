"""Write a disc: files, their DICOMDIR, and pages for a browser.

IHE actor: Portable Media Creator (PDI, RAD-47).
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.fileset import FileInstance, FileSet
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
)

from labsim.errors import ConfigurationError, LabError, NotFound
from labsim.imaging.common import IMPLEMENTATION_NAME, IMPLEMENTATION_UID
from labsim.media.pixels import decompress
from labsim.media.web import Listed, write_pages
from labsim.table import Table

# Media storage application profiles, and what each allows beside Explicit VR Little Endian
# (PS3.11 annexes D and J). PDI asks for the first of a CD.
PROFILES: Mapping[str, tuple[UID, ...]] = {
    "STD-GEN-CD": (),
    "STD-GEN-USB-JPEG": (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1),
    "STD-GEN-USB-J2K": (JPEG2000Lossless,),
}
# What a directory record must have (PS3.3 F.5) and an image may lack. It goes into the record
# only: the file stays as it is.
_STAND_INS = {
    "PatientID": "UNKNOWN",
    "StudyDate": "19000101",
    "StudyTime": "000000",
    "StudyID": "1",
    "SeriesNumber": "0",
    "InstanceNumber": "0",
}
Source = Callable[[], FileDataset]


@dataclass(frozen=True)
class Disc:
    """What was written.

    Parameters
    ----------
    path : Path
        The folder, or the ZIP file.
    profile : str
        Media storage application profile (PS3.11).
    files : list of (file ID, SOP Instance UID)
        Each file of the DICOMDIR.
    left_out : list of (SOP Instance UID, reason)
        What is not on it.
    """

    path: Path
    profile: str
    files: list[tuple[str, str]]
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def table(self) -> Table:
        """Return every file, and what was left out with its reason."""
        rows = [(name, uid, "written") for name, uid in self.files]
        rows += [("", uid, f"left out: {reason}") for uid, reason in self.left_out]
        caption = f"{self.path.name}, {self.profile}: {len(self.files)} files written"
        if self.left_out:
            caption += f", {len(self.left_out)} left out"
        return Table(("file ID", "SOP Instance UID", "what became of it"), rows, caption)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def write_disc(
    path: Path | str,
    sources: Iterable[tuple[str, Source]],
    *,
    institution: str,
    uid: str,
    created: datetime,
    label: str = "LABSIM",
    profile: str = "STD-GEN-CD",
    web: bool = True,
) -> Disc:
    """Write a disc of the PDI layout as a folder, or as a ZIP file (PS3.12 annex V).

    Parameters
    ----------
    path : Path or str
        A folder that does not exist or is empty, or a file that ends in ``.zip``.
    sources : iterable of (SOP Instance UID, callable)
        Each callable reads one data set, and is called when its turn comes.
    institution : str
        Who makes the disc, for ``README.TXT``.
    uid : str
        Of the File-set (PS3.10 8.1): another one for each disc.
    created : datetime
        When.
    label : str
        File-set ID (0004,1130), at most 16 characters.
    profile : str
        One of `PROFILES`; pixels in any other transfer syntax are decompressed.
    web : bool
        Whether to add pages for a browser (PDI's Web Content Option).

    Returns
    -------
    Disc
        What is on it and what is not.

    Raises
    ------
    ConfigurationError
        If the place is taken or cannot be written, or no such profile is known.
    NotFound
        If nothing could be written.
    """
    target = Path(path).absolute()
    _require_free(target, profile)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Nobody finds half a disc: it is made beside its place and moved there when it is whole.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".disc-") as temporary:
            made = Path(temporary) / "disc"
            made.mkdir()
            files, left_out, listed = _write_files(made, sources, uid, label, profile)
            if not files:
                reason = left_out[0][1] if left_out else "there are no images"
                raise NotFound(f"Nothing could be written on the disc: {reason}.")
            if web:
                write_pages(made, listed, institution, created)
            _move(made, target)
    except OSError as error:
        raise ConfigurationError(
            f"{target} cannot be written: {error.strerror}.", "Choose another place."
        ) from error
    return Disc(target, profile, files, left_out)


def _require_free(target: Path, profile: str) -> None:
    if profile not in PROFILES:
        raise ConfigurationError(
            f"There is no media profile {profile!r} here.", f"Use {', '.join(PROFILES)}."
        )
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ConfigurationError(
            f"{target} is there already and not empty.", "A disc is written once: name a new place."
        )


def _write_files(
    folder: Path, sources: Iterable[tuple[str, Source]], uid: str, label: str, profile: str
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[Listed]]:
    allowed = (ExplicitVRLittleEndian, *PROFILES[profile])
    left_out: list[tuple[str, str]] = []
    file_set = FileSet()
    file_set.ID, file_set.UID = label, UID(uid)
    try:
        added = []
        for sop_uid, source in sources:
            try:
                added.append(_add(file_set, source(), allowed))
            except (LabError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
                left_out.append((sop_uid, str(error)))
        listed = [Listed(header, folder / instance.FileID) for instance, header in added]
        if added:
            file_set.write(folder)
    finally:
        # pydicom leaves its folder of files that wait to be written to the garbage collector.
        file_set._stage["t"].cleanup()
    files = [
        (entry.path.relative_to(folder).as_posix(), str(entry.header.SOPInstanceUID))
        for entry in listed
    ]
    return files, left_out, listed


def _add(
    file_set: FileSet, image: FileDataset, allowed: tuple[UID, ...]
) -> tuple[FileInstance, FileDataset]:
    """Put one file where the file-set takes it from, and its records into the DICOMDIR."""
    if image.file_meta.TransferSyntaxUID not in allowed:
        decompress(image)
    image.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    image.file_meta.ImplementationVersionName = IMPLEMENTATION_NAME
    header = _record_of(image)
    instance = file_set.add(header)
    image.save_as(instance.path, enforce_file_format=True)  # in place of its header
    return instance, header


def _record_of(image: FileDataset) -> FileDataset:
    """Return what the directory records are made of: no pixels, and nothing missing."""
    with tempfile.SpooledTemporaryFile() as file:
        bare = FileDataset("", {}, file_meta=image.file_meta, preamble=image.preamble)
        bare.update({e.tag: e for e in image if e.tag.group < 0x5000 or e.VR == "SQ"})
        bare.save_as(file, enforce_file_format=True)  # a copy that shares nothing with the image
        file.seek(0)
        header = dcmread(file)
        header.decode()
    # The record of a document has what modifies its title, and not the document (PS3.3 F.5).
    modifiers = [
        item
        for item in header.get("ContentSequence") or []
        if item.get("RelationshipType") == "HAS CONCEPT MOD"
    ]
    if modifiers:
        header.ContentSequence = Sequence(modifiers)
    # When it was verified last; in the document itself that is inside of a sequence.
    verified = [
        str(observer.VerificationDateTime)
        for observer in header.get("VerifyingObserverSequence") or []
        if observer.get("VerificationDateTime")
    ]
    if verified:
        header.VerificationDateTime = max(verified)
    elif "ContentSequence" in header:
        del header.ContentSequence
    for keyword, stand_in in _STAND_INS.items():
        if header.get(keyword) in (None, ""):
            setattr(header, keyword, stand_in)
    return header


def _move(made: Path, target: Path) -> None:
    if target.suffix.lower() != ".zip":
        if target.is_dir():  # an empty one
            target.rmdir()
        made.rename(target)
        return
    packed = made.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(made.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(made).as_posix())
    packed.rename(target)
