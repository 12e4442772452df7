"""Frames of an image over the web, and the media types of pixels (PS3.18 10.4.1.6, 8.7.3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_frames
from pydicom.uid import (
    HTJ2K,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pydicom.uid import JPEG2000 as JPEG2000MaybeLossy

from labsim.systems.pacs.index import Instance
from labsim.systems.pacs.transcoding import CannotTranscode
from labsim.systems.web.holdings import AS_STORED, DEFAULT
from labsim.systems.web.media_types import MediaRange
from labsim.systems.web.multipart_writing import Part
from labsim.systems.web.retrieve import Retrieve
from labsim.wire.http import HttpError

OCTETS = "application/octet-stream"
# PS3.18 table 8.7.3-5
_KINDS: dict[UID, str] = {
    JPEGBaseline8Bit: "image/jpeg",
    JPEGExtended12Bit: "image/jpeg",
    JPEGLossless: "image/jpeg",
    JPEGLosslessSV1: "image/jpeg",
    RLELossless: "image/dicom-rle",
    JPEGLSLossless: "image/jls",
    JPEGLSNearLossless: "image/jls",
    JPEG2000Lossless: "image/jp2",
    JPEG2000MaybeLossy: "image/jp2",
    HTJ2KLossless: "image/jphc",
    HTJ2KLosslessRPCL: "image/jphc",
    HTJ2K: "image/jphc",
}
_WRITTEN = (JPEGLSLossless, JPEG2000Lossless, RLELossless)  # what codecs here make, too
OFFERED = f'multipart/related; type="{OCTETS}" or image/jls, image/jp2, image/dicom-rle'
_NEEDED = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def chosen(stored: str, ranges: Sequence[MediaRange], *, single: bool) -> tuple[str, str, bool]:
    """Return as what pixels go out: media type, transfer syntax, and whether in parts.

    Parameters
    ----------
    stored : str
        Transfer Syntax UID of the file.
    ranges : sequence of MediaRange
        What the caller takes, the best first.
    single : bool
        Whether one thing alone is asked for, which may go without parts.

    Returns
    -------
    (str, str, bool)
        Empty strings if the caller takes nothing of what there is.
    """
    own = [(_KINDS[UID(stored)], stored)] if UID(stored) in _KINDS else []
    for one in ranges:
        offers = [(OCTETS, DEFAULT), *own, *((_KINDS[uid], str(uid)) for uid in _WRITTEN)]
        if one.syntax == AS_STORED:
            offers = own + offers
        for kind, syntax in offers:
            if one.syntax not in ("", AS_STORED, syntax):
                continue
            if one.takes(kind, multipart=True):
                return kind, syntax, True
            if single and one.takes(kind, multipart=False):
                return kind, syntax, False
    return "", "", False


def kind_of(kind: str, syntax: str) -> str:
    """Return the media type of pixels with its parameter."""
    return f"{kind}; transfer-syntax={syntax}"


def frames_of(dataset: FileDataset) -> list[bytes]:
    """Return the frames of an image, as its transfer syntax has them; none if it has no pixels.

    Of images of one bit each frame begins with a byte of its own (8.7.3.3.1).

    Raises
    ------
    CannotTranscode
        If the pixels are not what the image says.
    """
    try:
        return _taken_apart(dataset)
    except (ValueError, TypeError) as error:  # a count that is no number, fragments without end
        raise CannotTranscode(f"the frames cannot be told apart: {error}") from error


def _taken_apart(dataset: FileDataset) -> list[bytes]:
    data = next((dataset[key].value for key in _PIXELS if key in dataset), None)
    if not data or not all(keyword in dataset for keyword in _NEEDED):
        return []
    count = int(dataset.get("NumberOfFrames") or 1)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        offsets = None
        if "ExtendedOffsetTable" in dataset:
            offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
        return list(generate_frames(data, number_of_frames=count, extended_offsets=offsets))
    bits = _bits(dataset)
    if len(data) * 8 < bits * count:
        raise CannotTranscode(f"{len(data)} bytes of pixels are too few for {count} frames")
    if bits % 8:
        each = np.unpackbits(np.frombuffer(data, "u1"), bitorder="little")[: bits * count]
        return [np.packbits(one, bitorder="little").tobytes() for one in each.reshape(count, bits)]
    size = bits // 8
    return [data[start : start + size] for start in range(0, size * count, size)]


def _bits(dataset: Dataset) -> int:
    """Return of how many bits an uncompressed frame is."""
    samples = float(dataset.SamplesPerPixel)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":  # colours of every second pixel only
        samples = 2
    return int(dataset.Rows * dataset.Columns * samples * dataset.BitsAllocated)


class Frames(Retrieve):
    """Gives single frames of an image."""

    async def get(self, study_uid: str, series_uid: str, sop_uid: str, asked: str) -> None:
        """Answer with a part for each frame, in the order in which they were asked for."""
        numbers = numbers_of(asked)
        found = await self.wanted(study_uid, series_uid, sop_uid)
        (instance,) = await self.within_reach(found)
        ranges = self.accepted()
        single = len(numbers) == 1
        kind, syntax, parted = chosen(instance.transfer_syntax, ranges, single=single)
        if not kind:
            raise self.not_acceptable(OFFERED)
        parts = self._parts(instance, kind, syntax, numbers)
        if parted:
            await self.stream(kind, parts)
        else:
            await self.answer(await self.made(lambda: next(parts)))

    def _parts(
        self, instance: Instance, kind: str, syntax: str, numbers: Sequence[int]
    ) -> Iterator[Part]:
        frames = frames_of(self.holdings.encoded(instance, syntax))
        require(numbers, len(frames))
        for number in numbers:
            place = self.address(instance, "frames", str(number))
            yield Part(kind_of(kind, syntax), frames[number - 1], place)


def numbers_of(asked: str) -> list[int]:
    """Return the frame numbers of a path, such as ``"1,3"``."""
    written = asked.replace("%2C", ",").replace("%2c", ",").split(",")
    if not all(one.isdecimal() and 0 < len(one) < 10 and int(one) > 0 for one in written):
        raise HttpError(400, f"{asked[:64]!r} are no frame numbers.", "Write them as 1,2,3.")
    return [int(one) for one in written]


def require(numbers: Sequence[int], count: int) -> None:
    """Refuse to give frames that an image does not have."""
    if not count:
        raise HttpError(404, "This instance has no frames: it is no image.")
    if max(numbers) > count:
        raise HttpError(404, f"There is no frame {max(numbers)}: the image has {count}.")
