"""Peers that fall silent, dawdle, do not read, or never end: nobody waits for them for ever."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest
from pydicom.dataset import Dataset
from pynetdicom import build_context, evt
from pynetdicom.association import Association

from labsim.errors import AssociationFailed
from labsim.journal import Journal
from labsim.sop_classes import STUDY_ROOT_FIND, VERIFICATION
from labsim.wire import bounded, dimse
from labsim.wire.dimse import DicomNode, Peer
from labsim.wire.network import Network

ECHO = [build_context(VERIFICATION)]
FIND = [build_context(STUDY_ROOT_FIND)]
Dial = Callable[..., AbstractContextManager[Association]]


class Raw:
    """A caller that speaks DICOM octet by octet, or stops to."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.settimeout(10)
        self._request = request

    def join(self) -> None:
        """Ask for an association, and get it."""
        self.socket.sendall(self._request)
        assert self.pdu()[0] == 2

    def pdu(self) -> tuple[int, bytes]:
        """Read one PDU: its type, and what is in it."""
        kind, length = struct.unpack(">BxL", self.exactly(6))
        return kind, self.exactly(length)

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            portion = self.socket.recv(size - len(data))
            assert portion, "the connection has ended"
            data += portion
        return data

    def is_hung_up_on(self) -> bool:
        """Wait until the other side ends the connection."""
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionResetError:
            pass
        return True


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait half a second for a word, and a second for a PDU, where it is 5 and 30."""
    monkeypatch.setattr(dimse, "TIMEOUT", 0.5)
    monkeypatch.setattr(dimse, "LONGEST", 1.0)


@pytest.fixture
def caller(journal: Journal, network: Network) -> Iterator[DicomNode]:
    node = DicomNode("ct1", "CT1", journal, network)
    yield node
    node.close()


@pytest.fixture
def pacs(journal: Journal, network: Network, quick: None) -> Iterator[DicomNode]:
    node = DicomNode("pacs", "PACS", journal, network)
    yield node
    node.close()


@contextmanager
def connected(port: int, request: bytes) -> Iterator[Raw]:
    raw = Raw(port, request)
    with raw.socket:
        yield raw


@pytest.fixture
def request_of(caller: DicomNode, pacs: DicomNode) -> Callable[..., tuple[int, bytes]]:
    """Let a node listen; return the port, and the A-ASSOCIATE-RQ that it would accept."""

    def make(*handlers: object, contexts: Sequence[object] = ECHO) -> tuple[int, bytes]:
        port = pacs.listen(contexts, handlers)  # type: ignore[arg-type]
        sent: list[bytes] = []
        record = [(evt.EVT_DATA_SENT, lambda event: sent.append(event.data))]
        with caller.associate(
            Peer("PACS", "127.0.0.1", port),
            contexts,
            handlers=record,  # type: ignore[arg-type]
        ):
            pass
        return port, sent[0]

    return make


def told(journal: Journal, words: str) -> bool:
    return journal.wait_for(lambda event: words in event.summary, 10) is not None


def gone(node: DicomNode, seconds: float = 10) -> bool:
    """Wait until no association of a node is left."""
    end = time.monotonic() + seconds
    waiting = threading.Event()
    while node.associations and time.monotonic() < end:
        waiting.wait(0.02)
    return not node.associations


# Who calls a system over DICOM


@pytest.mark.parametrize(
    "begun",
    [
        b"\x01",
        b"\x01\0\0\0\0\xc8\0\1",  # 2 of 200 octets of an A-ASSOCIATE-RQ
    ],
)
def test_a_caller_that_stops_within_its_request_is_hung_up_on(
    request_of: Callable[..., tuple[int, bytes]],
    pacs: DicomNode,
    caller: DicomNode,
    journal: Journal,
    begun: bytes,
) -> None:
    port, request = request_of()
    with connected(port, request) as raw:
        raw.socket.sendall(begun)
        assert raw.is_hung_up_on()
        assert gone(pacs)


def test_a_caller_that_stops_within_a_message_is_hung_up_on_and_others_are_served(
    request_of: Callable[..., tuple[int, bytes]],
    pacs: DicomNode,
    caller: DicomNode,
    journal: Journal,
) -> None:
    port, request = request_of()
    with connected(port, request) as raw:
        raw.join()
        raw.socket.sendall(b"\x04\0\0\0\1\0\0\0")
        with caller.associate(Peer("PACS", "127.0.0.1", port), ECHO) as association:
            assert association.send_c_echo().Status == 0x0000
        assert raw.is_hung_up_on()
        assert gone(pacs)
    assert told(journal, "did not finish a message that it had begun")


def test_a_caller_that_sends_an_octet_now_and_then_is_hung_up_on(
    request_of: Callable[..., tuple[int, bytes]], pacs: DicomNode, journal: Journal
) -> None:
    port, request = request_of()
    pause = threading.Event()
    with connected(port, request) as raw:
        raw.join()
        raw.socket.sendall(b"\x04\0\0\0\1\0")
        raw.socket.settimeout(0.1)
        for _ in range(100):  # never silent for half a second
            try:
                raw.socket.sendall(b"\0")
                if raw.socket.recv(1) == b"":
                    break
            except TimeoutError:
                pass
            except ConnectionError:
                break
            pause.wait(0.05)
        else:
            pytest.fail("it is still listened to")
        assert gone(pacs)
    assert told(journal, "did not finish a message that it had begun")


def test_a_caller_that_does_not_read_is_hung_up_on(
    request_of: Callable[..., tuple[int, bytes]], pacs: DicomNode, journal: Journal
) -> None:
    large = Dataset()
    large.StudyDescription, large.PatientComments = "x", "x" * 60_000

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        for _ in range(1000):
            yield 0xFF00, large

    port, request = request_of((evt.EVT_C_FIND, find), contexts=FIND)
    with connected(port, request) as raw:
        raw.join()
        raw.socket.sendall(_find_request())
        assert told(journal, "does not read what it is sent")
        assert gone(pacs)


def _find_request() -> bytes:
    """Return a C-FIND-RQ with its identifier, in a P-DATA-TF (PS3.7 9.3.2.1)."""
    elements = [
        (0x0002, STUDY_ROOT_FIND.encode().ljust(28, b"\0")),
        (0x0100, b"\x20\0"),
        (0x0110, b"\1\0"),
        (0x0700, b"\0\0"),
        (0x0800, b"\1\0"),
    ]
    body = b"".join(struct.pack("<HHL", 0, tag, len(v)) + v for tag, v in elements)
    command = struct.pack("<HHLL", 0, 0, 4, len(body)) + body
    keys = struct.pack("<HHL", 8, 0x52, 6) + b"STUDY "
    items = b"".join(
        struct.pack(">LBB", len(data) + 2, 1, control) + data
        for control, data in ((3, command), (2, keys))
    )
    return struct.pack(">BxL", 4, len(items)) + items


def test_a_message_that_says_it_is_of_4_gb_is_refused_at_once(
    request_of: Callable[..., tuple[int, bytes]], pacs: DicomNode, journal: Journal
) -> None:
    port, request = request_of()
    with connected(port, request) as raw:
        raw.join()
        raw.socket.sendall(b"\x04\0\xff\xff\xff\xff")
        kind, body = raw.pdu()
        assert (kind, body[2]) == (7, 2)  # A-ABORT by the service provider (PS3.8 9.3.8)
        assert raw.is_hung_up_on()
        assert gone(pacs)
    assert told(journal, "a message of 4294967295 bytes or more was refused")


def test_a_message_that_never_ends_is_refused(
    request_of: Callable[..., tuple[int, bytes]],
    pacs: DicomNode,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded, "LARGEST_MESSAGE", 100_000)
    port, request = request_of()
    fragment = bytes(20_000)
    item = struct.pack(">LBB", len(fragment) + 2, 1, 1) + fragment  # of a command, not the last
    with connected(port, request) as raw:
        raw.join()
        for _ in range(5):
            raw.socket.sendall(struct.pack(">BxL", 4, len(item)) + item)
        assert raw.pdu()[0] == 7
        assert gone(pacs)
    assert told(journal, "was refused: it is too long")


def test_a_request_that_is_too_long_is_refused(
    request_of: Callable[..., tuple[int, bytes]], pacs: DicomNode, journal: Journal
) -> None:
    port, request = request_of()
    with connected(port, request) as raw:
        raw.socket.sendall(b"\x01\0\x7f\xff\xff\xff")
        assert raw.is_hung_up_on()
        assert gone(pacs)
    assert told(journal, "a request of 2147483647 bytes or more was refused")


@pytest.mark.parametrize("begun", [b"\x04\0", b"\x04\0\0\0\1\0\0\0"])
def test_a_node_that_closes_does_not_wait_for_the_rest_of_a_message(
    request_of: Callable[..., tuple[int, bytes]],
    pacs: DicomNode,
    monkeypatch: pytest.MonkeyPatch,
    begun: bytes,
) -> None:
    monkeypatch.setattr(dimse, "TIMEOUT", 10.0)
    monkeypatch.setattr(dimse, "LONGEST", 20.0)
    port, request = request_of()
    with connected(port, request) as raw:
        raw.join()
        raw.socket.sendall(begun)
        began = time.monotonic()
        pacs.close()
        assert time.monotonic() - began < 5
        assert raw.is_hung_up_on()


# Whom a system calls over DICOM


@contextmanager
def answering(port_says: bytes) -> Iterator[int]:
    """Listen, say these octets to each caller, and nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        kept: list[socket.socket] = []

        def serve() -> None:
            connection = server.accept()[0]
            kept.append(connection)
            connection.sendall(port_says)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()
        for connection in kept:
            connection.close()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("said", [b"", b"\x02", b"\x02\0\0\0\0\xb8\0\1", b"\x02\0\xff\xff\xff\xff"])
def test_a_called_system_that_stops_within_its_answer_is_given_up(
    caller: DicomNode, said: bytes
) -> None:
    with answering(said) as port:
        began = time.monotonic()
        with (
            pytest.raises(AssociationFailed),
            caller.associate(Peer("PACS", "127.0.0.1", port), ECHO),
        ):
            pass
        assert time.monotonic() - began < 5
        assert caller.associations == 0
