"""Pixels for a medium and for a browser: decompressed, and as small JPEG pictures."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from labsim.imaging.viewing import shown


def decompress(image: FileDataset) -> None:
    """Bring an image into Explicit VR Little Endian; it stays the same image.

    Raises
    ------
    RuntimeError, ValueError
        If no codec can read its pixels.
    """
    syntax = image.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not syntax.is_deflated and "PixelData" in image:
        image.decompress(generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        _turn_round(image)
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _turn_round(image: FileDataset) -> None:
    """Bring an image from big endian into little endian."""
    for element in image.iterall():  # which reads each value as it was written
        if element.VR == "OW":  # but for words, which are bytes to pydicom
            wide = element.keyword == "PixelData" and image.get("BitsAllocated") == 32
            size = 4 if wide else 2
            element.value = np.frombuffer(element.value, f">u{size}").astype(f"<u{size}").tobytes()
    encoding = image.get("SpecificCharacterSet") or "ISO_IR 6"
    image.set_original_encoding(False, True, encoding)


def thumbnail(image: Dataset, longest: int = 256) -> bytes | None:
    """Return a small JPEG of an image as a viewer would first show it, None without pixels.

    Parameters
    ----------
    image : Dataset
        The middle frame is taken if it has several.
    longest : int
        Pixels of the longer side, at most.
    """
    if "PixelData" not in image:
        return None
    # Loaded when needed: importing the lab must not load what draws.
    from matplotlib.image import imsave

    index = int(image.get("NumberOfFrames") or 1) // 2
    try:
        seen = shown(image, pixel_array(image, index=index))
    except (ValueError, RuntimeError, AttributeError, NotImplementedError):
        return None  # a picture less; the image itself is on the disc
    buffer = BytesIO()
    coloured = seen if seen.ndim == 3 else np.repeat(seen[:, :, None], 3, axis=2)
    imsave(buffer, _smaller(coloured, longest), format="jpeg", pil_kwargs={"quality": 85})
    return buffer.getvalue()


def _smaller(pixels: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Return a picture made smaller by a whole number, each pixel the mean of a square."""
    step = -(-max(pixels.shape[:2]) // longest)
    rows, columns = (size // step for size in pixels.shape[:2])
    squares = pixels[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
    return np.asarray(squares.mean(axis=(1, 3)), np.uint8)
