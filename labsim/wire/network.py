"""The hospital's network: which host and port is which loopback socket.

Systems are configured as in any hospital, with a peer's host name and port
(``ris:2575``, ``pacs:104``). Behind each stands a free loopback port. The
translation happens when a system connects, so nothing stands in the way of
the bytes, except a relay while a capture is on.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from labsim.errors import PortTaken, Unreachable
from labsim.wire.tls import Credentials, Security

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """A host name or IP address with a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


# Takes the calling host and whom it calls; returns where that leads instead, if it does,
# and raises `Unreachable` for a connection that is refused on the way.
Gate = Callable[[str, Address], Address | None]
# Takes where a caller from outside has come to; returns what becomes of the connection.
Door = Callable[[Address], Literal["allow", "reject", "drop"]]


class Tap(Protocol):
    """Listens on the cable."""

    def way(self, caller: str, called: Address, local: Address, *, dropped: bool) -> Address:
        """Return where a host connects instead of to `local`, where whom it calls is.

        Or, if the connection is dropped on the way, where it leads.
        """
        ...

    def refused(self, caller: str, called: Address) -> None:
        """Hear that a host called and was refused."""
        ...


class _Tables:
    """What all views of one network share."""

    def __init__(self) -> None:
        self.local: dict[Address, Address] = {}
        self.systems: dict[Address, str] = {}
        self.callers: dict[int, str] = {}
        self.connections: dict[tuple[int, int], tuple[str, str]] = {}
        self.aliases: dict[str, str] = {}
        self.relayed: dict[int, tuple[int, int]] = {}
        self.tap: Tap | None = None
        self.count = 0
        self.names: dict[str, str] = {}
        self.interfaces: dict[str, str] = {}
        self.gate: Gate = lambda caller, address: None
        self.door: Door = lambda called: "allow"
        self.dials: Counter[Address] = Counter()
        self.certificates: Callable[[str], Credentials] | None = None
        self.security = Security()
        self.lock = threading.Lock()


class Network:
    """The table of who listens where, and the names of connections.

    Attributes
    ----------
    host : str
        From where it is seen; empty for the view from nowhere in particular.
    """

    def __init__(self, host: str = "", tables: _Tables | None = None) -> None:
        self.host = host
        self._tables = tables or _Tables()

    def seen_from(self, host: str) -> Network:
        """Return the same network as one of its hosts sees it."""
        return Network(host, self._tables)

    def certify(
        self, certificates: Callable[[str], Credentials], security: Security | None = None
    ) -> None:
        """Say where hosts have their certificates, and what goes by TLS."""
        self._tables.certificates = certificates
        self._tables.security = security or Security()

    @property
    def security(self) -> Security:
        """What goes by TLS in this hospital."""
        return self._tables.security

    @property
    def interface(self) -> str:
        """The loopback address at which the host listens."""
        return self._tables.interfaces.get(self.host, LOOPBACK)

    @property
    def is_spread(self) -> bool:
        """Whether hosts listen at loopback addresses of their own."""
        return bool(self._tables.interfaces)

    def spread(self, interfaces: Mapping[str, str]) -> None:
        """Give hosts loopback addresses of their own to listen at."""
        self._tables.interfaces = dict(interfaces)

    @property
    def credentials(self) -> Credentials | None:
        """Key and certificate of the host from which the network is seen."""
        certificates = self._tables.certificates
        return certificates(self.host) if certificates and self.host else None

    def publish(self, address: Address, local_port: int, system: str = "") -> None:
        """Let `address` lead to a loopback port, and say which system listens there."""
        with self._tables.lock:
            self._tables.local[address] = Address(self.interface, local_port)
            if system:
                self._tables.systems[address] = system

    def guard(
        self, names: Mapping[str, str], gate: Gate, door: Door = lambda called: "allow"
    ) -> None:
        """Give hosts IP addresses, and let somebody decide about each connection.

        Parameters
        ----------
        names : mapping of str to str
            The host name behind each IP address.
        gate : callable
            As in `Gate`.
        door : callable
            As in `Door`.
        """
        with self._tables.lock:
            self._tables.names, self._tables.gate = dict(names), gate
            self._tables.door = door

    def _named(self, address: Address) -> Address:
        """Return an address by its host's name, if it is known."""
        host = self._tables.names.get(address.host, address.host)
        return Address(self._tables.aliases.get(host, host), address.port)

    def system_at(self, address: Address) -> str:
        """Return the system that listens, or listened, at an address; else its host name.

        Empty for a loopback address, which belongs to a program outside of the hospital.
        """
        if is_loopback(address):
            return ""
        with self._tables.lock:
            return self._tables.systems.get(self._named(address), address.host)

    def calls(self, local_port: int, system: str) -> None:
        """Say whose the outgoing connection from a loopback port is.

        Behind every host stands the same loopback address, so the port is all
        that the called system can tell its callers apart by.
        """
        with self._tables.lock:
            self._tables.callers[local_port] = system

    @contextmanager
    def dialling(self, local: Address) -> Iterator[None]:
        """Say that a system of the hospital is about to connect, until it has said `calls`.

        The called end may accept the connection before it is known whose it is.

        Parameters
        ----------
        local : Address
            Where to, from `resolve`.
        """
        with self._tables.lock:
            self._tables.dials[local] += 1
        try:
            yield
        finally:
            with self._tables.lock:
                self._tables.dials[local] -= 1

    def admits(self, caller_port: int, called_port: int) -> Literal["allow", "reject", "drop"]:
        """Return what becomes of a connection that has come to a port of this host.

        A system of the hospital was judged when it called (`resolve`).

        Parameters
        ----------
        caller_port, called_port : int
            Its ports.
        """
        here, tables = Address(self.interface, called_port), self._tables
        with tables.lock:
            if tables.dials[here] or caller_port in (*tables.callers, *tables.relayed):
                return "allow"
            called = [address for address, local in tables.local.items() if local == here]
        return tables.door(called[0]) if called else "allow"

    def hung_up(self, local_port: int) -> None:
        """Forget the outgoing connection from a loopback port."""
        with self._tables.lock:
            self._tables.callers.pop(local_port, None)

    def caller(self, local_port: int) -> str:
        """Return whose connection comes from a loopback port, empty for one from outside."""
        with self._tables.lock:
            local_port, _ = self._tables.relayed.get(local_port, (local_port, 0))
            return self._tables.callers.get(local_port, "")

    def withdraw(self, address: Address) -> None:
        """Let `address` lead nowhere again."""
        with self._tables.lock:
            self._tables.local.pop(address, None)

    def alias(self, name: str, host: str) -> None:
        """Let a host's name lead to another host, as an alias in the name service does."""
        with self._tables.lock:
            self._tables.aliases[name] = host

    def published(self) -> Mapping[Address, Address]:
        """Return the whole table, hospital address to loopback address."""
        with self._tables.lock:
            return dict(self._tables.local)

    def resolve(self, address: Address, *, tapped: bool = True) -> Address:
        """Return the loopback address behind a hospital address.

        Loopback addresses lead to themselves, so that a program outside the
        hospital can be a peer.

        Parameters
        ----------
        address : Address
            Host and port in the hospital.
        tapped : bool
            Whether a relay may stand between while a capture is on; it carries
            TCP, no datagrams.

        Raises
        ------
        Unreachable
            If no host of that name exists, nothing listens on that port, or
            a firewall refuses the connection.
        """
        named, table = self._named(address), self.published()
        tap = self._tables.tap if tapped else None
        astray = None
        if not is_loopback(address):
            try:
                astray = self._tables.gate(self.host, named)
            except Unreachable:
                if tap:
                    tap.refused(self.host, named)
                raise
        local = address if is_loopback(address) else astray or table.get(named)
        if local is not None:
            if tap:
                return tap.way(self.host, named, local, dropped=astray is not None)
            return local
        ports = sorted(known.port for known in table if known.host == named.host)
        with self._tables.lock:
            hosts = {known.host for known in [*table, *self._tables.systems]}
            hosts |= {*self._tables.names.values()}
        if named.host not in hosts:
            raise Unreachable(
                f"No host is called {address.host!r}.",
                f"The network knows {', '.join(sorted(hosts))}.",
            )
        if tap:
            tap.refused(self.host, named)
        if not ports:
            raise Unreachable(
                f"Connection to {address} refused: nothing listens on that host.",
                f"Look whether {named.host} runs, and its services.",
            )
        raise Unreachable(
            f"Connection to {address} refused: nothing listens on that port.",
            f"Open ports of {named.host}: {', '.join(map(str, ports))}.",
        )

    def tap(self, tap: Tap | None) -> None:
        """Let `tap` say where callers connect instead; None for where they are led."""
        self._tables.tap = tap

    @property
    def is_tapped(self) -> bool:
        """Whether a capture is on."""
        return self._tables.tap is not None

    def relayed(self, local_port: int, ports: tuple[int, int]) -> None:
        """Say for which connection, by its two ports, a relay calls from a loopback port."""
        with self._tables.lock:
            self._tables.relayed[local_port] = ports

    def relay_ended(self, local_port: int) -> None:
        """Forget a relay's outgoing connection."""
        with self._tables.lock:
            self._tables.relayed.pop(local_port, None)

    def connected(self, caller_port: int, called_port: int, end: str) -> str:
        """Name a new TCP connection, for both of its ends alike.

        Its ports alone would not do, because the next connection may get them again.

        Parameters
        ----------
        caller_port, called_port : int
            Its ports, which both ends know.
        end : str
            Who asks, ``"caller"`` or ``"called"``; one of the two may be
            outside of the hospital.
        """
        ports = (caller_port, called_port)
        with self._tables.lock:
            if end == "called":
                ports = self._tables.relayed.get(caller_port, ports)
            name, first = self._tables.connections.pop(ports, ("", end))
            if first == end:
                self._tables.count += 1
                name = f"{ports[0]}-{ports[1]}-{self._tables.count}"
                self._tables.connections[ports] = name, end
            return name

    def disconnected(self, name: str) -> None:
        """Forget a connection whose other end has not asked for its name."""
        with self._tables.lock:
            connections = self._tables.connections
            for ports in [ports for ports, known in connections.items() if known[0] == name]:
                del connections[ports]


def is_loopback(address: Address) -> bool:
    """Tell whether an address is one of this machine, not of a host of the hospital."""
    return address.host == "localhost" or address.host.startswith("127.")


def free_port() -> int:
    """Return a loopback port that nothing uses at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_taken(port: int, owner: str, error: OSError) -> PortTaken:
    """Make the error for a fixed port that cannot be listened on."""
    if error.errno == errno.EACCES:  # on Linux those below 1024, by default
        why = "may be used by the system's administrator only"
    else:
        why = "is taken by another program"
    return PortTaken(
        f"Port {port} for {owner} {why}.",
        "Choose another number, or leave it out for a free one.",
    )
