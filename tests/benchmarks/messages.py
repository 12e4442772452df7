"""HL7 messages through the engine: in, onto the disk, out, and acknowledged at both ends."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from row import Row

from labsim import Hospital
from labsim.wire.network import Address

COUNT = 3000
_END = b"\x1c\r"


def run(folder: Path) -> list[Row]:
    """Return how many are taken in, and how many come out, in a second."""
    with Hospital(site="community", path=folder) as hospital, _receiver() as receiver:
        hospital.network.publish(Address("receiver", 2575), receiver.port)
        hospital.engine.channel("his-to-ris").destination("ris").change(host="receiver")
        place = next(e for e in hospital.engine.endpoints if e.protocol == "mllp")
        begun = time.perf_counter()
        _send(place.local.port)
        taken_in = time.perf_counter() - begun
        assert receiver.full.wait(120), f"only {receiver.count} of {COUNT} came out"
        through = time.perf_counter() - begun
        assert hospital.settle(60)
    what, unit = "HL7 messages of one sender", "messages/s"
    return [
        Row(f"{what}, persisted and acknowledged", COUNT / taken_in, unit, aim="1,000 messages/s"),
        Row(f"{what}, through the engine", COUNT / through, unit, aim="1,000 messages/s"),
    ]


@dataclass
class _Receiver:
    port: int
    count: int = 0
    full: threading.Event = field(default_factory=threading.Event)


@contextmanager
def _receiver() -> Iterator[_Receiver]:
    """Run a receiver that says AA at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        receiver = _Receiver(server.getsockname()[1])
        threading.Thread(target=_accept, args=(server, receiver), daemon=True).start()
        yield receiver
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, receiver: _Receiver) -> None:
    with contextlib.suppress(OSError):  # it is closed at the end
        while True:
            connection, _ = server.accept()
            with connection:
                _answer(connection, receiver)


def _answer(connection: socket.socket, receiver: _Receiver) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    coming = b""
    while data := connection.recv(65536):
        *whole, coming = (coming + data).split(_END)
        for message in whole:
            number = message.split(b"|")[9]
            header = b"MSH|^~\\&|R|R|ENGINE|E|20260101||ACK|" + number + b"|P|2.3.1"
            connection.sendall(b"\x0b" + header + b"\rMSA|AA|" + number + b"\r" + _END)
            receiver.count += 1
        if receiver.count >= COUNT:
            receiver.full.set()


def _send(port: int) -> None:
    """Send without waiting for each acknowledgment, and wait for all of them in the end."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sender = threading.Thread(target=_write, args=(connection,))
        sender.start()
        answered = 0
        while answered < COUNT:
            data = connection.recv(65536)
            assert data, "the engine has hung up"
            answered += data.count(b"\x1c")
        sender.join()


def _write(connection: socket.socket) -> None:
    for number in range(COUNT):
        lines = [
            "MSH|^~\\&|HIS|HILLSIDE|RIS|HILLSIDE|20260101101010||ADT^A08|"
            f"B{number:06d}|P|2.3.1||||||UNICODE UTF-8",
            "EVN|A08|20260101101010",
            f"PID|1||P{number:06d}^^^HILLSIDE^PI||Doe^Jane||19700101|F",
            "PV1|1|O",
        ]
        connection.sendall(b"\x0b" + "\r".join(lines).encode() + b"\r" + _END)
