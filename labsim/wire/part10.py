"""The file of an instance that came by the network (PS3.10 7.1).

The bytes are those that pynetdicom writes; it builds a data set for them and
writes that one by one, which takes longer than to index the image.
"""

from __future__ import annotations

import struct
from typing import Any

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION, evt


def file_of(event: evt.Event) -> bytes:
    """Return the data set of a C-STORE as a file: preamble, File Meta Information, and as it came.

    Parameters
    ----------
    event : Event
        The request.
    """
    request: Any = event.request
    meta = b"".join(
        (
            # Version; a length of four bytes and two that are reserved (PS3.5 7.1.2)
            struct.pack("<HH2s2xI", 0x0002, 0x0001, b"OB", 2) + b"\x00\x01",
            _element(0x0002, "UI", str(request.AffectedSOPClassUID)),
            _element(0x0003, "UI", str(request.AffectedSOPInstanceUID)),
            _element(0x0010, "UI", str(event.context.transfer_syntax)),
            _element(0x0012, "UI", PYNETDICOM_IMPLEMENTATION_UID),
            _element(0x0013, "SH", PYNETDICOM_IMPLEMENTATION_VERSION),
        )
    )
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(meta))
    return b"".join((bytes(128), b"DICM", length, meta, request.DataSet.getvalue()))


def _element(number: int, vr: str, text: str) -> bytes:
    """Write one element of group 2: Explicit VR Little Endian."""
    value = text.encode("ascii", "replace")
    if len(value) % 2:
        value += b"\0" if vr == "UI" else b" "
    return struct.pack("<HH2sH", 0x0002, number, vr.encode(), len(value)) + value
