"""Stands between the two ends of a connection, and tells what passes.

Used while a capture is on, and only then: otherwise nothing stands in the way
of the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from labsim.wire.background import BackgroundLoop
from labsim.wire.network import LOOPBACK, Address, Network

_AT_ONCE = 32768  # half a TCP window


class Listener(Protocol):
    """Hears one connection; every method is called on the loop."""

    def open(self) -> None:
        """Hear that the connection stands."""
        ...

    def refuse(self) -> None:
        """Hear that it was refused."""
        ...

    def drop(self) -> None:
        """Hear that it was called for, and nobody answered."""
        ...

    def data(self, data: bytes, *, from_caller: bool) -> None:
        """Hear bytes, which are not delivered yet."""
        ...

    def finish(self, *, from_caller: bool) -> None:
        """Hear that one end has no more to send."""
        ...

    def reset(self, *, from_caller: bool) -> None:
        """Hear that one end has broken it off."""
        ...


@dataclass(frozen=True)
class Way:
    """From whom to whom.

    Parameters
    ----------
    caller : str
        The host that calls.
    called : Address
        Host and port in the hospital.
    local : Address
        The loopback socket behind it.
    dropped : bool
        Whether a firewall drops what goes there.
    """

    caller: str
    called: Address
    local: Address
    dropped: bool = False


class Relays:
    """One relay for each way that is called while it stands.

    A caller is told the relay's port instead of the called system's. Both
    still learn from the network who is at the other end.

    Parameters
    ----------
    network : Network
        Whose connections.
    loop : BackgroundLoop
        Where they run.
    hear : callable
        Takes the way and the caller's port, and returns who hears the connection.
    wanted : callable
        Tells for calling and called host whether to stand between them.
    """

    def __init__(
        self,
        network: Network,
        loop: BackgroundLoop,
        hear: Callable[[Way, int], Listener],
        wanted: Callable[[str, str], bool],
    ) -> None:
        self._network = network
        self._loop = loop
        self._hear = hear
        self._wanted = wanted
        self._open: dict[Way, tuple[socket.socket, Future[None]]] = {}

    def way(self, caller: str, called: Address, local: Address, *, dropped: bool) -> Address:
        """Return where to connect instead of to `local`; it never waits."""
        if not self._wanted(caller, called.host):
            return local
        way = Way(caller, called, local, dropped)
        if way not in self._open:
            listening = socket.create_server((LOOPBACK, 0))
            listening.setblocking(False)
            self._open[way] = listening, self._loop.spawn(self._accept(way, listening))
        listening, _ = self._open[way]
        return Address(LOOPBACK, listening.getsockname()[1])

    def refused(self, caller: str, called: Address) -> None:
        """Hear of a call that was refused before it came to a socket; it never waits."""
        if self._wanted(caller, called.host):
            self._loop.spawn(self._refuse(Way(caller, called, called)))

    async def _refuse(self, way: Way) -> None:
        with socket.socket() as unused:  # whose port it would have called from
            unused.bind((LOOPBACK, 0))
            self._hear(way, unused.getsockname()[1]).refuse()

    def close(self) -> None:
        """Take no new connection; those that stand go on until their ends close them."""
        for _, accepting in self._open.values():
            accepting.cancel()
        self._loop.run(asyncio.sleep(0))  # the listening sockets are closed on the loop
        self._open.clear()

    async def _accept(self, way: Way, listening: socket.socket) -> None:
        loop, talks = asyncio.get_running_loop(), set()
        try:
            while True:
                near, (_, port) = await loop.sock_accept(listening)
                talk = loop.create_task(self._talk(way, near, port))
                talks.add(talk)  # the loop itself would let go of it
                talk.add_done_callback(talks.discard)
        finally:
            listening.close()

    async def _talk(self, way: Way, near: socket.socket, port: int) -> None:
        loop = asyncio.get_running_loop()
        listener = self._hear(way, port)
        if way.dropped:
            listener.drop()
            await _swallow(loop, near)
            return
        far = socket.socket()
        with near, far:
            for end in (near, far):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far.bind((LOOPBACK, 0))
            outgoing = int(far.getsockname()[1])
            self._network.relayed(outgoing, (port, int(near.getsockname()[1])))
            try:
                try:
                    await loop.sock_connect(far, (way.local.host, way.local.port))
                except OSError:
                    listener.refuse()
                    _break_off(near)
                    return
                listener.open()
                await asyncio.gather(
                    _pump(loop, near, far, listener, from_caller=True),
                    _pump(loop, far, near, listener, from_caller=False),
                )
            finally:
                self._network.relay_ended(outgoing)


async def _swallow(loop: AbstractEventLoop, source: socket.socket) -> None:
    """Answer nothing, until the caller gives up."""
    with source, contextlib.suppress(OSError):
        source.setblocking(False)
        while await loop.sock_recv(source, _AT_ONCE):
            pass


async def _pump(
    loop: AbstractEventLoop,
    source: socket.socket,
    target: socket.socket,
    listener: Listener,
    *,
    from_caller: bool,
) -> None:
    """Carry bytes one way until there are no more."""
    try:
        while data := await loop.sock_recv(source, _AT_ONCE):
            listener.data(data, from_caller=from_caller)
            try:
                await loop.sock_sendall(target, data)
            except OSError:  # nobody is there to read it; the other pump hears why
                return
    except OSError:
        listener.reset(from_caller=from_caller)
        _break_off(target)
        return
    listener.finish(from_caller=from_caller)
    with contextlib.suppress(OSError):  # it is closed already
        target.shutdown(socket.SHUT_WR)


def _break_off(end: socket.socket) -> None:
    """Let a socket say RST instead of FIN when it is closed, and end what waits on it."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RD)
