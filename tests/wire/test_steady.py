"""Associations with a peer whose messages cannot be read: they are aborted, closed and told of."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import build_context, evt
from pynetdicom.dsutils import encode

from labsim.journal import Journal
from labsim.sop_classes import VERIFICATION
from labsim.wire.dimse import DicomNode
from labsim.wire.network import Network

ABORT = 7


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def request() -> bytes:
    """An A-ASSOCIATE-RQ for C-ECHO (PS3.8 9.3.2)."""
    context = b"\1\0\0\0" + item(0x30, VERIFICATION.encode()) + item(0x40, b"1.2.840.10008.1.2")
    user = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3")
    titles = f"{'PACS':16}{'CT1':16}".encode()
    body = b"\0\1\0\0" + titles + bytes(32) + item(0x10, b"1.2.840.10008.3.1.1.1")
    return pdu(1, body + item(0x20, context) + item(0x50, user))


def pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBL", kind, 0, len(content)) + content


def command(**elements: object) -> bytes:
    """A P-DATA-TF with a whole command set (PS3.7 6.3)."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    data = encode(dataset, True, True) or b""
    return pdu(4, struct.pack(">L", len(data) + 2) + b"\1\3" + data)


ECHO = {
    "AffectedSOPClassUID": VERIFICATION,
    "CommandField": 0x0030,
    "MessageID": 1,
    "CommandDataSetType": 0x0101,
}


@pytest.fixture
def port(journal: Journal, network: Network) -> Iterator[int]:
    """The port of a PACS that answers C-ECHO."""
    pacs = DicomNode("pacs", "PACS", journal, network)
    yield pacs.listen([build_context(VERIFICATION)], [(evt.EVT_C_ECHO, lambda event: 0x0000)])
    pacs.close()


def everything(line: socket.socket) -> bytes:
    """Read until the other side hangs up."""
    read = b""
    while piece := line.recv(65536):
        read += piece
    return read


@pytest.mark.parametrize(
    "message",
    [
        command(**{k: v for k, v in ECHO.items() if k != "CommandField"}),
        command(**{k: v for k, v in ECHO.items() if k != "CommandDataSetType"}),
        command(**{**ECHO, "CommandField": [0x0030, 0x0030]}),
        command(**{**ECHO, "CommandField": 0x7777}),
    ],
    ids=["no Command Field", "no Data Set Type", "two Command Fields", "unknown Command Field"],
)
def test_a_message_that_cannot_be_read_aborts_its_association(
    port: int, journal: Journal, message: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        line.sendall(request())
        assert line.recv(65536)[0] == 2  # accepted
        line.sendall(message)
        assert everything(line)[0] == ABORT
    assert journal.wait_for(lambda e: e.summary == "association aborted", 5)
    assert journal.wait_for(
        lambda e: "cannot be read" in e.summary and bool(e.keys["association"]), 5
    )


def test_an_answer_that_comes_after_an_abort_is_dropped(journal: Journal, network: Network) -> None:
    """The peer aborts while its request is being answered, and says one thing more."""
    pacs = DicomNode("pacs", "PACS", journal, network)
    over, nobody = threading.Event(), threading.Event()

    def answer(event: evt.Event) -> int:
        line.sendall(pdu(6, bytes(4)))  # answers a release that nobody asked for
        assert over.wait(5)
        return 0x0000

    def transition(event: Any) -> None:
        if event.next_state == "Sta13":  # which lasts until the answer is there
            over.set()
            waiting = event.assoc.dul.to_provider_queue
            assert any(not waiting.empty() or nobody.wait(0.01) for _ in range(500))

    handlers = [(evt.EVT_C_ECHO, answer), (evt.EVT_FSM_TRANSITION, transition)]
    port = pacs.listen([build_context(VERIFICATION)], handlers)
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        line.sendall(request())
        assert line.recv(65536)[0] == 2
        line.sendall(command(**ECHO))
        assert everything(line)[0] == ABORT
    assert journal.wait_for(lambda e: e.summary == "association aborted", 5)
    pacs.close()


@pytest.mark.parametrize("place", [3, 40, 120])
def test_a_caller_that_stops_within_its_request_is_let_go(
    port: int, journal: Journal, place: int
) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        line.sendall(request()[:place])
        assert everything(line) == b""
    assert journal.wait_for(lambda e: "did not finish a message" in e.summary, 5)
