"""Captures in the pcapng format, which Wireshark and tshark read.

The format is described in draft-ietf-opsawg-pcapng: a section header, one
interface, and a block for each packet with its time in microseconds. A name
resolution block for each host lets Wireshark show names for addresses.
"""

from __future__ import annotations

import struct
import threading
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

_SECTION, _INTERFACE, _NAMES, _PACKET = 0x0A0D0D0A, 1, 4, 6
_ETHERNET = 1  # LINKTYPE_ETHERNET
_BYTE_ORDER = 0x1A2B3C4D


class PcapngWriter:
    """Writes packets into a file, each as it comes.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    interface : str
        The name of the one interface.
    description : str
        What was listened to.
    """

    def __init__(self, path: Path, interface: str, description: str) -> None:
        self._file: BinaryIO = path.open("wb")
        self._lock = threading.Lock()
        header = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1)  # version 1.0, of unknown length
        self._block(_SECTION, header + _option(4, b"labsim") + _option(0))
        options = _option(2, interface.encode()) + _option(3, description.encode())
        options += _option(9, b"\x06")  # times in units of 10 to the power of -6 seconds
        self._block(_INTERFACE, struct.pack("<HHI", _ETHERNET, 0, 0) + options + _option(0))

    def name(self, address: bytes, host: str) -> None:
        """Say which host an IPv4 address belongs to."""
        self._block(_NAMES, _option(1, address + host.encode() + b"\0") + _option(0))

    def packet(self, time: datetime, frame: bytes) -> None:
        """Write one Ethernet frame with its local time."""
        stamp = round(time.timestamp() * 1_000_000)
        head = struct.pack("<IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(frame), len(frame))
        self._block(_PACKET, head + _padded(frame))

    def close(self) -> None:
        """Close the file; what is written later is left out."""
        with self._lock:
            self._file.close()

    def _block(self, kind: int, body: bytes) -> None:
        length = struct.pack("<I", len(body) + 12)
        with self._lock:
            if not self._file.closed:
                self._file.write(struct.pack("<I", kind) + length + body + length)


def _option(code: int, value: bytes = b"") -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
