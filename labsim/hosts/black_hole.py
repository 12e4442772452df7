"""Where a dropped connection leads: a port that takes everything and says nothing."""

from __future__ import annotations

import errno
import socket

from labsim.wire.network import LOOPBACK, Address

_TRIES = 20


class BlackHole:
    """A loopback port, TCP and UDP, that never answers.

    A firewall that drops tells the caller nothing, who waits for its own
    time-out. On loopback the operating system completes the TCP connection
    before anybody accepts it; the first byte of an answer never comes.

    Attributes
    ----------
    address : Address
        The port.
    """

    def __init__(self) -> None:
        self._sockets = _pair()
        self.address = Address(LOOPBACK, int(self._sockets[0].getsockname()[1]))

    def close(self) -> None:
        """Give the port back."""
        for each in self._sockets:
            each.close()


def _pair() -> tuple[socket.socket, socket.socket]:
    """Return a TCP and a UDP socket of one number, which has to be free for both."""
    for left in reversed(range(_TRIES)):
        stream = socket.create_server((LOOPBACK, 0), backlog=128)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagrams.bind(stream.getsockname())
            return stream, datagrams
        except OSError as error:
            stream.close()
            datagrams.close()
            if error.errno != errno.EADDRINUSE or not left:
                raise
    raise AssertionError("returned or raised above")
