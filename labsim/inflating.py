"""Deflated data sets (PS3.5 A.5), which are not unpacked before it is known how large they are.

A few kilobytes may be deflated from gigabytes, and pydicom and pynetdicom unpack what they are
given in one piece. So whoever takes in a data set from outside asks here first.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from labsim.errors import LabError

LARGEST = 256 * 1024 * 1024
_PORTION = 1024 * 1024
_PREAMBLE = 128


class TooLarge(LabError):
    """A deflated data set that would be larger than any other may be."""


def require_bounded_file(stream: BinaryIO) -> None:
    """Refuse a DICOM file whose data set would be too large.

    Parameters
    ----------
    stream : file
        At its begin. What is no DICOM file, or is damaged, is let pass: whoever reads it
        finds that out.

    Raises
    ------
    TooLarge
        If the data set would have more than `LARGEST` octets.
    """
    if stream.read(_PREAMBLE + 4)[_PREAMBLE:] != b"DICM":
        return
    meta = read_dataset(
        stream,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag.group != 2,
    )
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        require_bounded(stream)


def require_bounded(stream: BinaryIO) -> None:
    """Refuse a deflated data set that would be too large, from here to the end of a stream.

    Raises
    ------
    TooLarge
        As for `require_bounded_file`.
    """
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    packed = stream.read(_PORTION)
    while packed:
        try:
            size += len(inflater.decompress(packed, _PORTION))
        except zlib.error:
            return
        if size > LARGEST:
            raise TooLarge(f"the data set would inflate to more than {LARGEST // 2**20} MB")
        packed = inflater.unconsumed_tail or (b"" if inflater.eof else stream.read(_PORTION))
