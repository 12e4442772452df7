"""Associations that take in no more, and wait no longer, than was meant.

The length of a PDU is 32 bits that the caller chooses (PS3.8 9.3.1), and pynetdicom waits
for as many octets as it says, however long they take, and writes for as long as the other
side reads. Here both have an end: a message that is longer than `LARGEST_MESSAGE`, or a request
for an association longer than `LARGEST_REQUEST`, is an invalid PDU, on which the
association is aborted (9.2.3, AA-8); and whoever falls silent or dawdles in the middle of a PDU
is hung up on.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.association import Association

LARGEST_MESSAGE = 512 * 1024 * 1024
# 128 presentation contexts with a dozen transfer syntaxes each are 0.1 MB.
LARGEST_REQUEST = 1024 * 1024
_HEADER = 6  # type, reserved, length
_P_DATA = 0x04
_NO_TYPE = b"\xff"  # no PDU has it, so pynetdicom aborts
_PORTION = 256 * 1024

Complain = Callable[..., None]


def keep_bounded(complain: Complain, event: evt.Event) -> None:
    """Bound what an association reads and how long it reads and writes.

    Parameters
    ----------
    complain : callable
        Called with a text and the association, for the journal.
    event : evt.Event
        The connection is open; no PDU has been read yet.
    """
    traffic = Traffic(event.assoc, complain)
    event.assoc.__dict__["_labsim_traffic"] = traffic
    event.assoc.dul.socket.__dict__ |= {"recv": traffic.read, "send": traffic.write}


def is_busy(association: Association) -> bool:
    """Tell whether an association is in the middle of a PDU, so that it would hear no abort."""
    traffic = association.__dict__.get("_labsim_traffic")
    return traffic is not None and traffic.busy


class Traffic:
    """Reads and writes in the place of pynetdicom's socket.

    Parameters
    ----------
    association : Association
        Whose; its ``acse_timeout`` is how long the other side may be silent within a PDU, its
        ``network_timeout`` how long a PDU may take.
    complain : callable
        As for `keep_bounded`.
    """

    def __init__(self, association: Association, complain: Complain) -> None:
        self.association = association
        self._complain = complain
        self.socket: socket.socket = cast(Any, association.dul.socket).socket
        self._end = 0.0  # of the PDU that is coming
        self.busy = False

    def read(self, size: int) -> bytearray:
        """Return so many octets, fewer if the connection ends."""
        begins = size == _HEADER and not self.busy
        if begins:
            self._end = time.monotonic() + (self.association.network_timeout or 0)
        self.busy = True
        try:
            data = self._take(size)
        except BaseException:  # whatever it was, nobody reads any more; raised again
            self.busy = False
            raise
        if begins and len(data) == size:
            return self._judged(data)
        self.busy = False
        return data

    def write(self, data: bytes) -> None:
        """Send all of it, or have the association end."""
        self.busy = True
        try:
            # To Python this is how long all of it may take.
            self.socket.settimeout(self.association.network_timeout)
            self.socket.sendall(data)
            evt.trigger(self.association, evt.EVT_DATA_SENT, {"data": data})
        except Exception as error:  # as pynetdicom does on any
            if isinstance(error, TimeoutError):
                text = "the other side does not read what it is sent, and is hung up on."
                self._complain(text, association=self.association)
            cast(Any, self.association.dul.event_queue).put("Evt17")  # connection closed
        finally:
            self.busy = False

    def _take(self, size: int) -> bytearray:
        data = bytearray()
        silence = self.association.acse_timeout or 0
        while len(data) < size:
            left = self._end - time.monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                self.socket.settimeout(min(silence, left))
                portion = self.socket.recv(min(size - len(data), _PORTION))
            except TimeoutError:
                text = "the other side did not finish a message that it had begun"
                self._complain(f"{text}, and is hung up on.", association=self.association)
                raise
            if not portion:
                break
            data += portion
        return data

    def _judged(self, header: bytearray) -> bytearray:
        """Return the header of a PDU, or one that pynetdicom aborts on if it is too long."""
        kind, length = struct.unpack(">BxL", header)
        coming = self.association.dimse.message
        so_far = 0
        if coming is not None:
            for stream in (coming.encoded_command_set, coming.data_set):
                so_far += stream.tell() if stream is not None else 0
        largest = LARGEST_MESSAGE - so_far if kind == _P_DATA else LARGEST_REQUEST
        if length <= largest:
            self.busy = bool(length)
            return header
        self.busy = False
        what = "a message" if kind == _P_DATA else "a request"
        text = f"{what} of {length + so_far} bytes or more was refused"
        self._complain(f"{text}: it is too long.", association=self.association)
        return bytearray(_NO_TYPE + header[1:])
