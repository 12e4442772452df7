"""From one transfer syntax into another, without loss (PS3.5 8.2 and annex A).

What is stored stays as it came; this is for a receiver that does not take it so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pydicom.uid import JPEG2000 as JPEG2000MaybeLossy
from pynetdicom.dsutils import encode

from labsim.errors import LabError

UNCOMPRESSED = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
COMPRESSED = (JPEGLSLossless, JPEG2000Lossless, RLELossless)
TARGETS = UNCOMPRESSED + COMPRESSED

_LOSSY = {JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless}
_JPEG2000 = {JPEG2000Lossless, JPEG2000MaybeLossy, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K}
_FAMILY = {JPEGBaseline8Bit: "ISO_10918_1", JPEGExtended12Bit: "ISO_10918_1"}
_FAMILY[JPEGLSNearLossless] = "ISO_14495_1"
# GDCM, which pydicom would take first, ends the whole process over some pixels.
_PLUGIN = {RLELossless: "pydicom", JPEGLSLossless: "pyjpegls", JPEGLSNearLossless: "pyjpegls"}
# Values of these have words of so many bytes, in the order of the transfer syntax (PS3.5 7.3).
_WORD = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


class CannotTranscode(LabError):
    """An instance that no codec here can bring into what the receiver takes."""


def candidates(
    stored: UID, accepted: Sequence[UID], preferred: str = "", *, transcode: bool = True
) -> list[UID]:
    """Return in what an instance may be sent, the best first.

    Parameters
    ----------
    stored : UID
        Transfer syntax of the file.
    accepted : sequence of UID
        What the receiver takes for the SOP class.
    preferred : str
        A syntax to be sent rather than the stored one; none if empty.
    transcode : bool
        Whether pixels may be compressed or decompressed. What is not
        compressed may always be sent in any uncompressed syntax.
    """
    wished = [UID(preferred)] if preferred and transcode else []
    order = [*wished, stored]
    if transcode or stored in UNCOMPRESSED:
        order += UNCOMPRESSED
    if transcode:
        order += COMPRESSED
    return [syntax for syntax in dict.fromkeys(order) if syntax in accepted]


def encoded_as(dataset: FileDataset, target: UID) -> bytes:
    """Return a data set in another transfer syntax; it is changed on the way.

    Samples keep their values, SOP Instance UID and number of frames. What a
    lossy codec or a colour transform made of the colours comes out as RGB, and
    Lossy Image Compression (0028,2110) tells of the loss (PS3.3 C.7.6.1.1.5).

    Raises
    ------
    CannotTranscode
        If there is no codec for the one or the other, or the pixels are broken.
    """
    stored = dataset.file_meta.TransferSyntaxUID
    try:
        if stored.is_encapsulated and stored != target:
            _decompress(dataset, stored)
        elif stored == ExplicitVRBigEndian != target:
            _swap(dataset)
        if target.is_encapsulated and stored != target:
            _compress(dataset, target)
        elif target == ExplicitVRBigEndian != stored:
            _swap(dataset)
        data = encode(dataset, target.is_implicit_VR, target.is_little_endian, target.is_deflated)
    except Exception as error:  # codecs raise many kinds
        reason = (str(error).strip() or repr(error)).splitlines()[-1].strip()
        raise CannotTranscode(f"{stored.name} to {target.name}: {reason}") from error
    if data is None:
        raise CannotTranscode(f"{stored.name} to {target.name}: it cannot be encoded")
    return data


def _decompress(dataset: FileDataset, stored: UID) -> None:
    icons = dataset.get("IconImageSequence") or []
    if any("PixelData" in icon and icon["PixelData"].is_undefined_length for icon in icons):
        del dataset.IconImageSequence  # compressed too, for no use if the image is not; type 3
    if "PixelData" in dataset:
        if stored in _JPEG2000:
            _decode_jpeg2000(dataset)
        else:
            dataset.decompress(
                # Without a colour transform in the codec, YBR_FULL may stay what it is.
                as_rgb=stored in _LOSSY,
                generate_instance_uid=False,
                decoding_plugin=_PLUGIN.get(stored, ""),
            )
        if stored in _LOSSY and "LossyImageCompression" not in dataset:
            dataset.LossyImageCompression = "01"
            dataset.LossyImageCompressionMethod = _FAMILY[stored]
        for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if keyword in dataset:
                delattr(dataset, keyword)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _decode_jpeg2000(dataset: FileDataset) -> None:
    """Decode with OpenJPEG itself, which pydicom reaches through a package of its own only."""
    openjpeg: Any = import_module("openjpeg")  # a compiled codec, needed for these alone
    frames = []
    count = int(dataset.get("NumberOfFrames") or 1)
    for frame in generate_frames(dataset.PixelData, number_of_frames=count):
        samples = openjpeg.decode(frame)
        if dataset.PixelRepresentation == 1 and samples.dtype.kind == "u":
            # The codestream says unsigned: the sign is the highest bit stored.
            sign = 1 << (dataset.BitsStored - 1)
            samples = (samples.astype(np.int64) ^ sign) - sign
        kind = "<i" if dataset.PixelRepresentation == 1 else "<u"
        frames.append(samples.astype(f"{kind}{dataset.BitsAllocated // 8}").tobytes())
    data = b"".join(frames)
    vr = "OB" if dataset.BitsAllocated <= 8 else "OW"
    dataset.add_new("PixelData", vr, data + b"\0" * (len(data) % 2))
    if dataset.SamplesPerPixel > 1:
        dataset.PlanarConfiguration = 0
        if dataset.PhotometricInterpretation in ("YBR_RCT", "YBR_ICT"):
            dataset.PhotometricInterpretation = "RGB"  # the codec took it back (PS3.5 8.2.4)


def _compress(dataset: FileDataset, target: UID) -> None:
    if "PixelData" not in dataset:
        raise ValueError("there are no pixels to compress")
    if target not in COMPRESSED:
        raise ValueError("no codec here writes it")
    if dataset.BitsAllocated not in (8, 16):
        raise ValueError(f"no codec here takes Bits Allocated {dataset.BitsAllocated}")
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    frames = _frames(dataset)
    if target == JPEG2000Lossless:
        _encode_jpeg2000(dataset, frames)
        return
    data = frames.tobytes()
    dataset["PixelData"].value = data + b"\0" * (len(data) % 2)
    dataset.compress(target, encoding_plugin=_PLUGIN[target], generate_instance_uid=False)


def _frames(dataset: Dataset) -> np.ndarray[Any, Any]:
    """Return the samples as frames, rows, columns and colours, which is what codecs want."""
    count, colours = int(dataset.get("NumberOfFrames") or 1), int(dataset.SamplesPerPixel)
    size = count * dataset.Rows * dataset.Columns * colours
    stored = np.frombuffer(dataset.PixelData, f"<u{dataset.BitsAllocated // 8}")
    if stored.size - size not in (0, 1):  # one byte may fill up an odd number
        raise ValueError(f"{stored.size} samples instead of {size}")
    samples, plane = stored[:size], (dataset.Rows, dataset.Columns)
    if colours == 1 or dataset.PlanarConfiguration == 0:
        return samples.reshape(count, *plane, colours)
    dataset.PlanarConfiguration = 0
    return np.moveaxis(samples.reshape(count, colours, *plane), 1, -1)


def _encode_jpeg2000(dataset: FileDataset, frames: np.ndarray[Any, Any]) -> None:
    openjpeg: Any = import_module("openjpeg")
    layout: dict[str, Any] = {
        "rows": dataset.Rows,
        "columns": dataset.Columns,
        "samples_per_pixel": dataset.SamplesPerPixel,
        "bits_allocated": dataset.BitsAllocated,
        "bits_stored": dataset.BitsStored,
        "pixel_representation": dataset.PixelRepresentation,
        "photometric_interpretation": str(dataset.PhotometricInterpretation),
        "use_mct": False,  # so that the Photometric Interpretation may stay (PS3.5 8.2.4)
    }
    if dataset.BitsStored <= 8:
        frames = frames.astype("u1")  # what the codec wants of them
    coded = [bytes(openjpeg.encode_pixel_data(frame.tobytes(), **layout)) for frame in frames]
    dataset.add_new("PixelData", "OB", encapsulate(coded))
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless


def _swap(dataset: Dataset) -> None:
    """Turn the bytes of the words that pydicom leaves as they are."""
    if "PixelData" in dataset and dataset.BitsAllocated > 16:
        # Some programs turn the whole sample, and others each of its 16-bit words.
        raise ValueError("samples of more than 16 bits have no agreed order of bytes")
    for each in (dataset, *_items(dataset)):
        for element in each:
            size = _WORD.get(element.VR)
            if size and isinstance(element.value, bytes) and element.value:
                element.value = np.frombuffer(element.value, f"u{size}").byteswap().tobytes()


def _items(dataset: Dataset) -> Iterator[Dataset]:
    """Return every item of every sequence, however deep."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from _items(item)
