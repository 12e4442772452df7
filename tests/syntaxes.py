"""Files of every transfer syntax: what pydicom ships, and what DCMTK and our encoders make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import dcmtk
import pydicom
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, AllTransferSyntaxes

from labsim.ids import make_uid
from labsim.systems.pacs.transcoding import COMPRESSED, encoded_as

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"  # what is installed, no download
SAMPLES = Path(__file__).parents[1] / "datasets"
# Their pixel data are of odd length (PS3.5 A.4 wants even ones), and storescu sends no such thing.
_ODD = ("rtdose_rle.dcm", "rtdose_rle_1frame.dcm")
# What makes another syntax of an image: program and options.
_MAKERS = (
    ("dcmconv", "+te"), ("dcmconv", "+tb"), ("dcmconv", "+ti"), ("dcmconv", "+td"),
    ("dcmcjpeg", "+e1"), ("dcmcjpeg", "+el"), ("dcmcjpeg", "+eb"), ("dcmcjpeg", "+ee"),
    ("dcmcjpls", "+el"), ("dcmcjpls", "+en"), ("dcmcrle", "+e"),
)  # fmt: skip
# JPEG processes that the standard has retired (PS3.6 table A-1).
RETIRED = (("dcmcjpeg", "+es"), ("dcmcjpeg", "+ep"))


def shipped() -> dict[UID, Path]:
    """Return a file of each transfer syntax that pydicom ships or our samples have.

    Many are the same image in another syntax; each image is taken once.
    """
    candidates: dict[UID, list[Path]] = {}
    for path in [*sorted(SHIPPED.glob("*.dcm")), *sorted(SAMPLES.glob("*.dcm"))]:
        syntax = None if path.name in _ODD else _sendable(path)
        if syntax:
            candidates.setdefault(syntax, []).append(path)
    chosen: dict[UID, Path] = {}
    taken: set[str] = set()
    for syntax, paths in sorted(candidates.items(), key=lambda item: len(item[1])):
        path = next(each for each in paths if _uid(each) not in taken)
        chosen[syntax] = path
        taken.add(_uid(path))
    return chosen


def _uid(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def _sendable(path: Path) -> UID | None:
    """Return the transfer syntax of a file, if a C-STORE request can be made of it."""
    try:
        header = dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        return None
    names = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    return header.file_meta.get("TransferSyntaxUID") if all(n in header for n in names) else None


def made(folder: Path) -> Iterator[Path]:
    """Write one image in every syntax that DCMTK and our own encoders make of it.

    Those that nobody here encodes are made of bytes that nobody decodes: who stores
    and sends them has to leave them as they are.
    """
    seen: set[UID] = set()
    for program, option in _MAKERS:
        path = coded(folder, program, option)
        seen.add(dcmread(path).file_meta.TransferSyntaxUID)
        yield path
    for syntax in COMPRESSED:
        path = folder / f"ours-{syntax}.dcm"
        image = _image(f"ours {syntax}")
        data = encoded_as(image, syntax)
        image.file_meta.TransferSyntaxUID = syntax
        _write(path, image, data)
        seen.add(syntax)
        yield path
    for syntax in opaque(seen):
        path = folder / f"opaque-{syntax}.dcm"
        image = _image(f"opaque {syntax}")
        image.PixelData = encapsulate([bytes(range(256)), bytes(range(255, -1, -1))])
        image["PixelData"].is_undefined_length = True
        image["PixelData"].VR = "OB"
        image.NumberOfFrames = 2
        image.file_meta.TransferSyntaxUID = syntax
        image.save_as(path, enforce_file_format=True)
        yield path


def coded(folder: Path, program: str, option: str) -> Path:
    """Let DCMTK encode an image."""
    plain, path = folder / "plain.dcm", folder / f"{program}{option}.dcm"
    eight_bits = option in ("+eb", "+es", "+ep", "+en")
    _image(path.stem, eight_bits=eight_bits).save_as(plain, enforce_file_format=True)
    # +un: never a UID of its own, so that what comes back is known
    keep = ["+un"] if program in ("dcmcjpeg", "dcmcjpls") else []
    dcmtk.run(program, option, *keep, plain, path)
    plain.unlink()
    return path


def opaque(seen: Iterable[UID]) -> list[UID]:
    """Return the encapsulated syntaxes that are left."""
    return [uid for uid in AllTransferSyntaxes if uid.is_encapsulated and uid not in {*seen}]


def _image(number: object, *, eight_bits: bool = False) -> FileDataset:
    """Make an MR image of its own UIDs, of 16 or 8 bits."""
    image = dcmread(SHIPPED / "MR_small.dcm")
    image.PatientID, image.PatientName = "SYNTAX", "Syntax^Transfer"
    image.StudyInstanceUID = make_uid("syntax study", number)
    image.SeriesInstanceUID = make_uid("syntax series", number)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = make_uid("syntax", number)
    if eight_bits:
        pixels = (image.pixel_array.astype(float) * 255 / image.pixel_array.max()).astype("u1")
        image.add_new("PixelData", "OW", pixels.tobytes())
        image.BitsAllocated = image.BitsStored = 8
        image.HighBit, image.PixelRepresentation = 7, 0
        for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"):
            if keyword in image:
                delattr(image, keyword)
    return image


def _write(path: Path, image: FileDataset, data: bytes) -> None:
    header = FileDataset("", {}, file_meta=image.file_meta, preamble=bytes(128))
    header.save_as(path, enforce_file_format=True)
    with path.open("ab") as file:
        file.write(data)
