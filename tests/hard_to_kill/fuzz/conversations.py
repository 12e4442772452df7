"""DICOM conversations as they were on the wire, to be played again, broken or not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import pytest
from mutation import Mutator
from pynetdicom.association import Association

from labsim.wire.bounded import Traffic

ABORT = bytes([7, 0, 0, 0, 0, 4, 0, 0, 0, 0])
RELEASE_RQ = bytes([5, 0, 0, 0, 0, 4, 0, 0, 0, 0])
RELEASE_RP = bytes([6, 0, 0, 0, 0, 4, 0, 0, 0, 0])
REJECT = bytes([3, 0, 0, 0, 0, 4, 0, 1, 1, 1])
# Types and items of PDUs, with lengths that are not true.
TOKENS = (
    ABORT,
    RELEASE_RQ,
    RELEASE_RP,
    REJECT,
    b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03",
    b"\x20\x00\xff\xff",
    b"\x30\x00\x00\x11",
    b"\x40\x00\x00\x11",
    b"\x50\x00\x00\x00",
    b"\x51\x00\x00\x04\x00\x00\x00\x00",
    b"\x54\x00\x00\x00",
    b"\x58\x00\x00\x06\x02\x01\x00\x00\x00\x00",
    b"1.2.840.10008.1.2.2",
    b"1.2.840.10008.1.2.1.99",
    b"\x00" * 16,
)


@dataclass
class Conversation:
    """What one caller said on one association.

    Parameters
    ----------
    port : int
        Loopback port of whom it called.
    pdus : list of bytes
        In their order, the A-ASSOCIATE-RQ first.
    """

    port: int
    pdus: list[bytes] = field(default_factory=list)

    def to(self, port: int, called: str, calling: str) -> Conversation:
        """Return it as somebody else would say it to another system (PS3.8 9.3.2)."""
        request = self.pdus[0]
        titles = f"{called:16}{calling:16}".encode()
        return Conversation(port, [request[:10] + titles + request[42:], *self.pdus[1:]])

    def broken(self, mutator: Mutator) -> Conversation:
        """Return it with one PDU broken, or with its PDUs in a wrong order."""
        chance, pdus = mutator.random, list(self.pdus)
        place = chance.randrange(len(pdus))
        way = chance.randrange(10)
        if way == 0:
            chance.shuffle(pdus)
        elif way == 1:
            pdus.insert(place, chance.choice((ABORT, RELEASE_RP, REJECT, pdus[0])))
        elif way == 2:
            del pdus[place]
        elif way == 3:
            pdus[place:place] = [pdus[place]] * 3
        elif way == 4:
            pdus[place] = bytes([chance.randrange(10)]) + pdus[place][1:]
        else:
            pdus[place] = mutator.mutate(pdus[place])
        return replace(self, pdus=pdus)

    def play(self) -> int:
        """Say it to the same system again, and go; return the port that it came from."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as line:
            own = int(line.getsockname()[1])
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):  # it hung up, as it may
                for number, pdu in enumerate(self.pdus):
                    line.sendall(pdu)
                    if number == 0:
                        line.settimeout(0.1)
                        with suppress(TimeoutError):
                            line.recv(65536)
                        line.settimeout(10)
                line.shutdown(socket.SHUT_WR)
                line.settimeout(0.1)
                while line.recv(65536):
                    pass
        return own


@contextmanager
def recorded() -> Iterator[list[Conversation]]:
    """Record what is said by whoever calls in this process."""
    said: dict[Association, Conversation] = {}
    write = Traffic.write

    def writing(self: Traffic, data: bytes) -> None:
        if self.association.is_requestor:
            if self.association not in said:
                said[self.association] = Conversation(self.socket.getpeername()[1])
            said[self.association].pdus.append(bytes(data))
        write(self, data)

    conversations: list[Conversation] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Traffic, "write", writing)
        yield conversations
    conversations += said.values()
