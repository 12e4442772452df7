"""What a TCP connection looks like on the cable: Ethernet, IPv4 and TCP around its bytes.

The bytes of a conversation went over a loopback socket. The packets here are
those that would have carried them between the two hosts, with the handshake,
sequence numbers and checksums of RFC 9293 and RFC 791, and every segment
acknowledged.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

SEGMENT = 1460  # the most that fits into a frame of 1500 bytes
_WINDOW = 65535
_FIN, _SYN, _RST, _PSH, _ACK = 0x01, 0x02, 0x04, 0x08, 0x10


@dataclass
class End:
    """One end of a connection.

    Parameters
    ----------
    ip : bytes
        IPv4 address.
    port : int
        TCP port.
    sequence : int
        Number of the next byte that it sends.
    """

    ip: bytes
    port: int
    sequence: int = 1000


class Wire:
    """The packets of one connection, in the order they are told.

    Parameters
    ----------
    caller, called : End
        Its ends.
    write : callable
        Takes each frame.
    """

    def __init__(self, caller: End, called: End, write: Callable[[bytes], None]) -> None:
        self._ends = {True: caller, False: called}
        self._write = write
        self._number = 0

    def open(self) -> None:
        """Shake hands."""
        self._send(True, _SYN)
        self._send(False, _SYN | _ACK)
        self._send(True, _ACK)

    def refuse(self) -> None:
        """Ask for a connection and be refused."""
        self._send(True, _SYN)
        self._send(False, _RST | _ACK)

    def drop(self) -> None:
        """Ask for a connection and hear nothing; that a host asks again is left out."""
        self._send(True, _SYN)

    def data(self, data: bytes, *, from_caller: bool) -> None:
        """Send bytes, and acknowledge them."""
        for start in range(0, len(data), SEGMENT):
            segment = data[start : start + SEGMENT]
            last = start + SEGMENT >= len(data)
            self._send(from_caller, _ACK | (_PSH if last else 0), segment)
        self._send(not from_caller, _ACK)

    def finish(self, *, from_caller: bool) -> None:
        """Say that one end has no more to send."""
        self._send(from_caller, _FIN | _ACK)
        self._send(not from_caller, _ACK)

    def reset(self, *, from_caller: bool) -> None:
        """Break the connection off."""
        self._send(from_caller, _RST | _ACK)

    def _send(self, from_caller: bool, flags: int, data: bytes = b"") -> None:
        sender, receiver = self._ends[from_caller], self._ends[not from_caller]
        options = struct.pack("!BBH", 2, 4, SEGMENT) if flags & _SYN else b""
        acknowledged = receiver.sequence if flags & _ACK else 0
        head = struct.pack(
            "!HHIIBBHHH",
            sender.port,
            receiver.port,
            sender.sequence,
            acknowledged,
            (20 + len(options)) // 4 << 4,
            flags,
            _WINDOW,
            0,
            0,
        )
        segment = head + options + data
        pseudo = sender.ip + receiver.ip + struct.pack("!HH", 6, len(segment))
        segment = segment[:16] + checksum(pseudo + segment) + segment[18:]
        self._write(self._frame(sender.ip, receiver.ip, segment))
        # SYN and FIN count as a byte each.
        count = len(data) + bool(flags & _SYN) + bool(flags & _FIN)
        sender.sequence = (sender.sequence + count) & 0xFFFFFFFF

    def _frame(self, source: bytes, target: bytes, segment: bytes) -> bytes:
        self._number = (self._number + 1) & 0xFFFF
        length, do_not_fragment, lives, tcp = 20 + len(segment), 0x4000, 64, 6
        head = struct.pack(
            "!BBHHHBBH", 0x45, 0, length, self._number, do_not_fragment, lives, tcp, 0
        )
        head += source + target
        head = head[:10] + checksum(head) + head[12:]
        return _card(target) + _card(source) + b"\x08\x00" + head + segment


def _card(ip: bytes) -> bytes:
    """Return the Ethernet address of a host, of the range that everybody may give."""
    return b"\x02\x00" + ip


def checksum(data: bytes) -> bytes:
    """Return the Internet checksum (RFC 1071)."""
    # A ones' complement sum of 16-bit words is the number that they are, modulo 65535.
    number = int.from_bytes(data + bytes(len(data) % 2), "big")
    return struct.pack("!H", 0xFFFF - number % 0xFFFF)
