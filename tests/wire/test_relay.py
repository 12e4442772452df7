"""What stands between two ends while a capture is on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from labsim.wire.background import BackgroundLoop
from labsim.wire.network import Address, Network
from labsim.wire.relay import Relays, Way

PLACE = Address("pacs", 104)


class Ear:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.changed = threading.Condition()

    def open(self) -> None:
        self._keep("open")

    def refuse(self) -> None:
        self._keep("refused")

    def data(self, data: bytes, *, from_caller: bool) -> None:
        self._keep((data, from_caller))

    def finish(self, *, from_caller: bool) -> None:
        self._keep(("finished", from_caller))

    def reset(self, *, from_caller: bool) -> None:
        self._keep(("reset", from_caller))

    def wait_for(self, what: object) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: what in self.heard, 5)

    def _keep(self, what: object) -> None:
        with self.changed:
            self.heard.append(what)
            self.changed.notify_all()


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def called() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        yield server


@pytest.fixture
def tapped(called: socket.socket, ear: Ear) -> Iterator[Network]:
    """A network whose ways to the archive lead through a relay."""
    network, loop = Network(), BackgroundLoop()

    def hear(way: Way, port: int) -> Ear:
        assert (way.caller, way.called) == ("ct1", PLACE)
        return ear

    relays = Relays(network, loop, hear, lambda caller, _: caller == "ct1")
    network.publish(PLACE, called.getsockname()[1], "pacs")
    network.tap(relays)
    yield network.seen_from("ct1")
    relays.close()
    loop.close()


def dial(network: Network) -> socket.socket:
    local = network.resolve(PLACE)
    return socket.create_connection((local.host, local.port), 5)


def test_bytes_go_both_ways_and_are_heard(tapped: Network, called: socket.socket, ear: Ear) -> None:
    with dial(tapped) as near:
        near.sendall(b"question")
        far, _ = called.accept()
        far.settimeout(5)
        with far:
            assert far.recv(100) == b"question"
            far.sendall(b"answer")
            assert near.recv(100) == b"answer"
    assert ear.heard[:3] == ["open", (b"question", True), (b"answer", False)]


def test_an_end_that_has_said_all_still_gets_the_answer(
    tapped: Network, called: socket.socket, ear: Ear
) -> None:
    with dial(tapped) as near:
        near.sendall(b"all")
        near.shutdown(socket.SHUT_WR)
        far, _ = called.accept()
        far.settimeout(5)
        with far:
            assert [far.recv(100), far.recv(100)] == [b"all", b""]
            far.sendall(b"late answer")
        assert [near.recv(100), near.recv(100)] == [b"late answer", b""]
    assert ear.wait_for(("finished", False))
    assert ear.heard.index(("finished", True)) < ear.heard.index((b"late answer", False))


def test_a_connection_that_is_broken_off_is_broken_off_at_the_other_end(
    tapped: Network, called: socket.socket, ear: Ear
) -> None:
    near = dial(tapped)
    far, _ = called.accept()
    far.settimeout(5)
    far.settimeout(5)
    with far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        near.close()
        with pytest.raises(ConnectionResetError):
            far.recv(100)
    assert ear.wait_for(("reset", True))


def test_a_refused_connection_is_heard_as_one(
    tapped: Network, called: socket.socket, ear: Ear
) -> None:
    called.close()
    # Whether it is before or after the caller has connected, it is reset.
    with contextlib.suppress(ConnectionResetError), dial(tapped) as near:
        assert near.recv(100) == b""
    assert ear.heard == ["refused"]


def test_both_ends_know_each_other_through_the_relay(
    tapped: Network, called: socket.socket
) -> None:
    with dial(tapped) as near:
        tapped.calls(near.getsockname()[1], "ct1")
        far, (_, seen) = called.accept()
        with far:
            assert seen != near.getsockname()[1]
            assert tapped.caller(seen) == "ct1"
            ours = tapped.connected(near.getsockname()[1], near.getpeername()[1], "caller")
            theirs = tapped.connected(seen, far.getsockname()[1], "called")
            assert ours == theirs


def test_who_is_not_listened_to_calls_directly(tapped: Network, called: socket.socket) -> None:
    assert tapped.seen_from("mr1").resolve(PLACE).port == called.getsockname()[1]
    assert tapped.resolve(PLACE, tapped=False).port == called.getsockname()[1]
    assert tapped.resolve(PLACE).port == tapped.resolve(PLACE).port != called.getsockname()[1]
