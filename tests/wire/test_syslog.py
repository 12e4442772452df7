"""Syslog on real sockets: framing, order, and what a sender can know."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labsim.clock import WallClock
from labsim.errors import ConfigurationError, PortTaken, Unreachable
from labsim.journal import Journal
from labsim.wire.background import BackgroundLoop
from labsim.wire.network import LOOPBACK, Address, Network, free_port
from labsim.wire.syslog import (
    LARGEST_DATAGRAM,
    SyslogListener,
    SyslogMessage,
    SyslogUnreadable,
    send,
)


class Receiver:
    """A listener that keeps what it is given, and fails when told to."""

    def __init__(self, journal: Journal, loop: BackgroundLoop) -> None:
        self.taken: list[bytes] = []
        self.fails = False
        self.grown = threading.Condition()
        self.loop = loop
        self.listener = SyslogListener("audit", journal, Network(), loop, self.take)
        self.address = Address(LOOPBACK, self.listener.listen())

    def take(self, data: bytes, caller: str) -> None:
        if self.fails:
            raise OSError("disk full")
        with self.grown:
            self.taken.append(data)
            self.grown.notify_all()

    def wait_for(self, count: int) -> list[bytes]:
        with self.grown:
            assert self.grown.wait_for(lambda: len(self.taken) >= count, 5)
        return self.taken


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path, WallClock())
    yield made
    made.close()


@pytest.fixture
def receiver(journal: Journal) -> Iterator[Receiver]:
    loop = BackgroundLoop()
    made = Receiver(journal, loop)
    yield made
    made.listener.close()
    loop.close()


def ended_in_order(door: socket.socket) -> bool:
    """Say that no more comes, and tell whether the other side closed without a reset."""
    try:
        door.shutdown(socket.SHUT_WR)
        return door.recv(1) == b""
    except OSError:  # a reset, which may have come before the shutdown
        return False


def message(text: str, **changes: object) -> SyslogMessage:
    plain = {"host": "pacs", "app": "pacs", "process": "7", "kind": "IHE+RFC-3881"}
    return SyslogMessage(**plain, time="2026-03-02T10:30:00+01:00", text=text, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["<a/>", "Łęcka", "two\nlines", ""])
def test_a_message_is_read_as_it_was_written(text: str) -> None:
    sent = message(text, sequence=12)
    assert SyslogMessage.decode(sent.encode()) == sent


def test_the_octets_are_those_of_rfc_5424() -> None:
    expected = (
        b'<85>1 2026-03-02T10:30:00+01:00 pacs pacs 7 IHE+RFC-3881 [meta sequenceId="3"] '
        b"\xef\xbb\xbf<a/>"
    )
    assert message("<a/>", sequence=3).encode() == expected


def test_a_message_of_another_sender_is_read() -> None:
    data = (
        b"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 "
        b'[exampleSDID@32473 iut="3" eventSource="App\\"lication]"][meta sequenceId="9"] text'
    )
    came = SyslogMessage.decode(data)
    assert (came.priority, came.app, came.sequence, came.text) == (165, "evntslog", 9, "text")


@pytest.mark.parametrize("data", [b"", b"<34>Oct 11 22:14:15 su: failed", b"\xff\xfe"])
def test_what_is_not_rfc_5424_is_not_read(data: bytes) -> None:
    with pytest.raises(SyslogUnreadable):
        SyslogMessage.decode(data)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_messages_arrive_in_order(receiver: Receiver, transport: str) -> None:
    frames = [message(f"<a>{number}</a>").encode() for number in range(30)]
    send(frames, receiver.address, transport, receiver.loop)
    assert receiver.wait_for(30) == frames


def test_over_tcp_all_is_taken_when_send_returns(receiver: Receiver) -> None:
    frames = [message("x" * 100_000).encode() for _ in range(5)]
    send(frames, receiver.address, "tcp", receiver.loop)
    assert receiver.taken == frames


def test_a_receiver_that_fails_is_noticed(receiver: Receiver, journal: Journal) -> None:
    receiver.fails = True
    with pytest.raises(Unreachable, match="broke off"):
        send([message("a").encode()], receiver.address, "tcp", receiver.loop)
    (error,) = journal.events(kind="error")
    assert error.summary == "syslog not kept: disk full"


@pytest.mark.parametrize("octets", [b"abc 1", b"0 ", b"99999999999 ", b"20 too short", b"12"])
def test_a_wrong_frame_is_journaled_and_the_connection_reset(
    receiver: Receiver, journal: Journal, octets: bytes
) -> None:
    with socket.create_connection((LOOPBACK, receiver.address.port), 5) as door:
        door.sendall(octets)
        assert not ended_in_order(door)  # that would say that it was taken
    assert journal.wait_for(lambda e: e.kind == "error" and "framing" in e.summary, 5)
    assert receiver.taken == []


def test_what_came_before_a_wrong_frame_is_kept(receiver: Receiver) -> None:
    frame = message("a").encode()
    with socket.create_connection((LOOPBACK, receiver.address.port), 5) as door:
        door.sendall(b"%d %bnonsense" % (len(frame), frame))
        assert receiver.wait_for(1) == [frame]


def test_nobody_there_is_told(receiver: Receiver) -> None:
    with pytest.raises(Unreachable):
        send([b"x"], Address(LOOPBACK, free_port()), "tcp", receiver.loop)


def test_silence_is_given_up(
    receiver: Receiver, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labsim.wire.syslog.TIMEOUT", 0.1)
    with pytest.raises(Unreachable, match="within"):
        send([b"x"], Address(LOOPBACK, silent_port), "tcp", receiver.loop)


def test_too_much_for_a_datagram_is_refused(receiver: Receiver) -> None:
    with pytest.raises(ConfigurationError, match="datagram"):
        send([b"x" * (LARGEST_DATAGRAM + 1)], receiver.address, "udp", receiver.loop)


def test_a_port_in_use_is_told(receiver: Receiver, journal: Journal) -> None:
    other = SyslogListener("other", journal, Network(), receiver.loop, lambda data, caller: None)
    with pytest.raises(PortTaken):
        other.listen(receiver.address.port)


def test_closing_ends_an_open_connection(journal: Journal, receiver: Receiver) -> None:
    frame = message("a").encode()
    with socket.create_connection((LOOPBACK, receiver.address.port), 5) as door:
        door.sendall(b"%d %b" % (len(frame), frame))
        receiver.wait_for(1)
        receiver.listener.close()
        with pytest.raises(ConnectionResetError):
            door.recv(1)
