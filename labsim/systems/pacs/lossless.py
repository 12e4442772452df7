"""Lossless compression of what is put away, and back: the pixels are compared each time.

The SOP Instance UID stays, because the pixel data is the same (PS3.3 C.7.6.1.1.2 asks
for a new one where it differs).
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless

# What says how the pixels are written down, and so may change with the transfer syntax.
_OF_THE_ENCODING = {"PixelData", "PlanarConfiguration"}


def compressed(data: bytes) -> bytes | None:
    """Return a file with its pixels in JPEG-LS Lossless.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    bytes or None
        None if it has no pixels, is compressed already, would not become
        smaller, or would not come back as it was: then it stays as it is.
    """
    try:
        dataset = dcmread(BytesIO(data))
        if "PixelData" not in dataset or dataset.file_meta.TransferSyntaxUID.is_compressed:
            return None
        before = dcmread(BytesIO(data))
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        smaller = _written(dataset)
        after = dcmread(BytesIO(smaller))
        alike = np.array_equal(before.pixel_array, after.pixel_array) and _same(before, after)
    except Exception:  # a codec may refuse in many ways; then the file stays as it is
        return None
    return smaller if alike and len(smaller) < len(data) else None


def expanded(data: bytes) -> bytes:
    """Return a file with its pixels uncompressed, Explicit VR Little Endian."""
    dataset = dcmread(BytesIO(data))
    dataset.decompress(generate_instance_uid=False)
    return _written(dataset)


def _same(before: Dataset, after: Dataset) -> bool:
    """Tell whether all else is as it was."""
    for dataset in (before, after):
        for keyword in _OF_THE_ENCODING:
            if keyword in dataset:
                delattr(dataset, keyword)
    return before == after


def _written(dataset: Dataset) -> bytes:
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
