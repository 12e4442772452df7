"""The hospital's network: which host and port is which loopback socket.

Systems are configured as in any hospital, with a peer's host name and port
(``ris:2575``, ``pacs:104``). Behind each stands a free loopback port. The
translation happens when a system connects, so nothing stands in the way of
the bytes.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from labsim.errors import PortTaken, Unreachable

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """A host name or IP address with a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Network:
    """The table of who listens where."""

    def __init__(self) -> None:
        self._local: dict[Address, Address] = {}
        self._lock = threading.Lock()

    def publish(self, address: Address, local_port: int) -> None:
        """Let `address` lead to a loopback port."""
        with self._lock:
            self._local[address] = Address(LOOPBACK, local_port)

    def withdraw(self, address: Address) -> None:
        """Let `address` lead nowhere again."""
        with self._lock:
            self._local.pop(address, None)

    def published(self) -> Mapping[Address, Address]:
        """Return the whole table, hospital address to loopback address."""
        with self._lock:
            return dict(self._local)

    def resolve(self, address: Address) -> Address:
        """Return the loopback address behind a hospital address.

        Loopback addresses lead to themselves, so that a program outside the
        hospital can be a peer.

        Raises
        ------
        Unreachable
            If no host of that name exists, or nothing listens on that port.
        """
        if address.host == "localhost" or address.host.startswith("127."):
            return address
        table = self.published()
        if address in table:
            return table[address]
        ports = sorted(known.port for known in table if known.host == address.host)
        if not ports:
            hosts = ", ".join(sorted({known.host for known in table}))
            raise Unreachable(f"No host is called {address.host!r}.", f"The network knows {hosts}.")
        raise Unreachable(
            f"Connection to {address} refused: nothing listens on that port.",
            f"Open ports of {address.host}: {', '.join(map(str, ports))}.",
        )


def free_port() -> int:
    """Return a loopback port that nothing uses at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_taken(port: int, owner: str) -> PortTaken:
    """Make the error for a fixed port that another program has."""
    return PortTaken(
        f"Port {port} for {owner} is taken by another program.",
        "Choose another number, or leave it out for a free one.",
    )
