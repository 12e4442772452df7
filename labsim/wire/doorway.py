"""Where a system listens: the door at which callers from outside of the hospital are judged."""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from typing import Any

from labsim.wire.network import Network

_HELD = 64  # dropped connections that are left hanging; the oldest is let go for one more


class Doorway(socket.socket):
    """A listening socket with the host's firewall before it.

    A system of the hospital is judged where it calls, and led away or refused
    there. A program from outside dials the loopback port itself, so it is
    judged here. By then the operating system has completed the connection: one
    that is rejected is reset at once; one that is dropped is left hanging, and
    no byte of an answer ever comes.

    Parameters
    ----------
    network : Network
        As the host sees it.
    port : int
        Loopback port, 0 for a free one.

    Raises
    ------
    OSError
        If it is taken.
    """

    def __init__(self, network: Network, port: int) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self._network = network
        self._held: deque[socket.socket] = deque()
        try:
            if os.name == "posix":  # elsewhere it would let two programs share a port
                self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind((network.interface, port))
            self.listen(128)
        except OSError:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection that may come in.

        Raises
        ------
        ConnectionAbortedError
            If one came that may not, as if it had gone before it was accepted.
        """
        connection, caller = super().accept()
        action = self._network.admits(caller[1], self.getsockname()[1])
        if action == "allow":
            return connection, caller
        if action == "drop":
            self._held.append(connection)
            while len(self._held) > _HELD:
                self._held.popleft().close()
        else:
            _reset(connection)
        raise ConnectionAbortedError("the firewall lets nobody in from there")

    def close(self) -> None:
        """Stop listening, and let go of what was left hanging."""
        while self._held:
            self._held.popleft().close()
        super().close()


def _reset(connection: socket.socket) -> None:
    """Close with a reset instead of an orderly end."""
    on_for_no_time = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, on_for_no_time)
    connection.close()
