"""Listening on the hospital's cables: what passes goes into a file for Wireshark."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Self

from labsim.clock import Clock
from labsim.errors import ConfigurationError, LabError, NotFound
from labsim.table import Table
from labsim.wire.background import BackgroundLoop
from labsim.wire.network import Address, Network, is_loopback
from labsim.wire.packets import End, Wire
from labsim.wire.pcap import PcapngWriter
from labsim.wire.relay import Relays, Way

OUTSIDE = "outside"  # this machine, where programs run that are no part of the hospital


def ip_address(host: str, known: list[str]) -> IPv4Address:
    """Return the IPv4 address that a host without one of its own has in captures.

    Parameters
    ----------
    host : str
        Its name.
    known : list of str
        All hosts in their order; one that is not there is added.
    """
    if host not in known:
        known.append(host)
    return IPv4Address("10.0.0.10") + known.index(host)


@dataclass
class _Talk:
    """One connection in a line."""

    caller: str
    called: str
    port: int
    sent: int = 0
    received: int = 0
    end: str = "open"


class _Heard(Wire):
    """One connection as it is captured, and counted for the learner."""

    def __init__(
        self, caller: End, called: End, write: Callable[[bytes], None], talk: _Talk
    ) -> None:
        super().__init__(caller, called, write)
        self._talk = talk

    def refuse(self) -> None:
        super().refuse()
        self._talk.end = "refused"

    def drop(self) -> None:
        super().drop()
        self._talk.end = "dropped"

    def data(self, data: bytes, *, from_caller: bool) -> None:
        super().data(data, from_caller=from_caller)
        if from_caller:
            self._talk.sent += len(data)
        else:
            self._talk.received += len(data)

    def finish(self, *, from_caller: bool) -> None:
        super().finish(from_caller=from_caller)
        self._talk.end = "closed"

    def reset(self, *, from_caller: bool) -> None:
        super().reset(from_caller=from_caller)
        self._talk.end = "reset"


class Capture:
    """Writes what systems say to each other into a pcapng file.

    Every connection that a system of the hospital opens while the capture is
    on is captured from its first packet to its last, with the address and the
    port that each system has in the hospital, at the hospital's time; a call that
    is refused by SYN and RST, one that a firewall drops by a SYN alone. What is
    not captured: associations that stood before, datagrams, and what a program
    from outside says to a loopback port that it dials itself.

    Parameters
    ----------
    path : Path
        The file; ``.pcapng`` by custom.
    network, loop, clock
        The hospital's.
    hosts : mapping of str to str
        The host of each system.
    link : pair of str, optional
        The two systems whose connections to listen to, whoever calls;
        ``"outside"`` for programs beyond the hospital. All if left out.
    addresses : mapping of str to str, optional
        The IPv4 address of each host; one is made up for any other.

    Raises
    ------
    NotFound
        If the hospital has no such system.
    ConfigurationError
        If the file cannot be written, or a link is no pair.
    LabError
        If another capture is on.
    """

    def __init__(
        self,
        path: Path | str,
        network: Network,
        loop: BackgroundLoop,
        clock: Clock,
        hosts: Mapping[str, str],
        link: Collection[str] | None = None,
        addresses: Mapping[str, str] | None = None,
    ) -> None:
        if network.is_tapped:
            raise LabError("Another capture is on.", "End it first.")
        self.path = Path(path)
        self._network, self._clock = network, clock
        self._link = None if link is None else _hosts_of(link, hosts)
        self._addresses = dict(addresses or {})
        self._hosts = list(dict.fromkeys([OUTSIDE, *hosts.values()]))
        self._talks: list[_Talk] = []
        self._last = datetime.min
        text = "all systems" if link is None else " and ".join(link)
        try:
            self._writer = PcapngWriter(self.path, "hospital", text)
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} cannot be written: {error.strerror}.", "Name a file in a folder."
            ) from error
        for host in self._hosts:
            self._writer.name(self._ip(host), host)
        self._relays = Relays(network, loop, self._hear, self._wanted)
        network.tap(self._relays)
        self.running = True

    def stop(self) -> None:
        """End the capture; connections that stand go on without it."""
        if not self.running:
            return
        self.running = False
        self._network.tap(None)
        self._relays.close()
        self._writer.close()

    def table(self) -> Table:
        """Return the connections that were captured, in their order."""
        columns = ("caller", "called", "from port", "bytes sent", "bytes received", "end")
        return Table(
            columns, [astuple(talk) for talk in self._talks], f"Captured in {self.path.name}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def _wanted(self, caller: str, called: str) -> bool:
        return self._link is None or {_host(caller), _host(called)} == self._link

    def _hear(self, way: Way, port: int) -> _Heard:
        caller, called = _host(way.caller), _host(way.called.host)
        talk = _Talk(caller, f"{called}:{way.called.port}", port)
        self._talks.append(talk)
        ends = End(self._ip(caller), port), End(self._ip(called), way.called.port)
        return _Heard(*ends, self._packet, talk)

    def _packet(self, frame: bytes) -> None:
        self._last = max(self._last, self._clock.now())  # somebody may set the clock back
        self._writer.packet(self._last, frame)

    def _ip(self, host: str) -> bytes:
        if host in self._addresses:
            return IPv4Address(self._addresses[host]).packed
        return ip_address(host, self._hosts).packed


def _host(host: str) -> str:
    return OUTSIDE if not host or is_loopback(Address(host, 0)) else host


def _hosts_of(link: Collection[str], hosts: Mapping[str, str]) -> set[str]:
    known = {**hosts, OUTSIDE: OUTSIDE}
    if isinstance(link, str) or len(link) != 2:
        raise ConfigurationError(
            f"{link!r} is no link.", 'Name two systems, such as ("ct1", "pacs").'
        )
    for name in link:
        if name not in known:
            raise NotFound(f"There is no system {name!r}.", f"There are {', '.join(known)}.")
    return {known[name] for name in link}
