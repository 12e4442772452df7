"""DICOM associations, with peers that do everything wrong."""

from __future__ import annotations

import base64
import functools
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from labsim.errors import AssociationFailed, LabError, PortTaken
from labsim.journal import Journal
from labsim.sop_classes import (
    MODALITY_WORKLIST,
    MPPS,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from labsim.wire import dimse
from labsim.wire.association_log import dataset_of, dicom_keys
from labsim.wire.dimse import Call, DicomNode, Peer
from labsim.wire.network import Network, free_port
from labsim.wire.status import CALLING_TITLE_UNKNOWN, describe_status, failure

ECHO = [build_context(VERIFICATION)]
Node = Callable[..., DicomNode]
Handlers = Sequence[tuple[evt.EventType, Callable[..., Any]]]


@pytest.fixture
def node(journal: Journal, network: Network) -> Iterator[Node]:
    """Make the DICOM interface of a system."""
    made: list[DicomNode] = []

    def make(system: str, ae_title: str = "") -> DicomNode:
        made.append(DicomNode(system, ae_title or system.upper(), journal, network))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def ct(node: Node) -> DicomNode:
    """A scanner that calls."""
    return node("ct1")


@pytest.fixture
def serve(node: Node) -> Callable[..., Peer]:
    """Make a PACS that listens; the answer is how to call it."""

    def listen(
        *handlers: tuple[evt.EventType, Callable[..., Any]],
        contexts: Sequence[PresentationContext] = ECHO,
        **rest: Any,
    ) -> Peer:
        port = node("pacs").listen(contexts, handlers, **rest)
        return Peer("PACS", "127.0.0.1", port)

    return listen


@pytest.fixture
def pacs(serve: Callable[..., Peer]) -> Peer:
    """A PACS that answers C-ECHO."""
    return serve((evt.EVT_C_ECHO, lambda event: 0x0000))


def echo(node: DicomNode, peer: Peer) -> int | None:
    with node.associate(peer, ECHO) as association:
        status: int | None = association.send_c_echo().get("Status")
    return status


def refusal(node: DicomNode, peer: Peer, contexts: Sequence[PresentationContext] = ECHO) -> Any:
    with pytest.raises(AssociationFailed) as caught, node.associate(peer, contexts):
        pass
    return caught.value


def happened(journal: Journal, text: str, source: str = "") -> bool:
    """Wait until the journal tells of it."""
    found = journal.wait_for(
        lambda event: text in event.summary and source in ("", event.source), 5
    )
    return found is not None


def image(uid: str = "1.2.3.4") -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, uid
    made.PatientID, made.StudyInstanceUID = "P1", "1.2.3"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


# Associations


def test_an_echo_is_answered(ct: DicomNode, pacs: Peer) -> None:
    assert echo(ct, pacs) == 0x0000


def test_both_sides_write_the_same_course_of_an_association(
    ct: DicomNode, pacs: Peer, journal: Journal
) -> None:
    journal.name("CT1", "ct1")
    journal.name("PACS", "pacs")
    echo(ct, pacs)
    assert happened(journal, "released", "pacs")
    events = journal.events()
    course = [
        "A-ASSOCIATE accepted: 1 presentation context",
        "C-ECHO-RQ Verification SOP Class",
        "C-ECHO-RSP Verification SOP Class: 0x0000 Success",
        "association released",
    ]
    for system in ("ct1", "pacs"):
        assert [event.summary for event in events if event.source == system] == course
    assert [event.summary for event in events.once()] == course
    assert len({event.keys["association"] for event in events}) == 1
    directions = [(event.sender, event.receiver) for event in events.once()]
    assert directions == [("ct1", "pacs"), ("ct1", "pacs"), ("pacs", "ct1"), ("ct1", "pacs")]


def test_an_association_is_released_at_the_end_of_its_block(ct: DicomNode, pacs: Peer) -> None:
    with ct.associate(pacs, ECHO) as association:
        assert association.is_established
    assert association.is_released
    assert not association.is_alive()


def test_an_association_is_aborted_when_its_block_raises(
    ct: DicomNode, pacs: Peer, journal: Journal
) -> None:
    with pytest.raises(ZeroDivisionError), ct.associate(pacs, ECHO):
        raise ZeroDivisionError
    assert happened(journal, "association aborted", "pacs")
    assert not any("released" in event.summary for event in journal.events())


def test_many_callers_are_served_at_once(node: Node, pacs: Peer) -> None:
    callers = [node(f"ct{number}") for number in range(12)]
    with ThreadPoolExecutor(len(callers)) as pool:
        assert list(pool.map(lambda caller: echo(caller, pacs), callers)) == [0] * len(callers)


def test_no_message_waits_for_the_acknowledgment_of_another(
    ct: DicomNode, serve: Callable[..., Peer]
) -> None:
    options: list[int] = []

    def look(event: evt.Event) -> int:
        sock = event.assoc.dul.socket.socket
        options.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return 0x0000

    with ct.associate(serve((evt.EVT_C_ECHO, look)), ECHO) as association:
        association.send_c_echo()
        assert association.dul.socket is not None
        assert association.dul.socket.socket is not None
        sock = association.dul.socket.socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert options
    assert all(options)


def test_each_association_negotiates_its_roles_anew(
    ct: DicomNode, serve: Callable[..., Peer]
) -> None:
    storage = build_context(CTImageStorage)
    storage.scu_role = storage.scp_role = True
    peer = serve(contexts=[storage])
    roles = []
    for wanted in (True, False, True):
        negotiation = [build_role(CTImageStorage, scp_role=True)] if wanted else []
        proposed = [build_context(CTImageStorage)]
        with ct.associate(peer, proposed, negotiation=negotiation) as association:
            roles.append(association.accepted_contexts[0].as_scp)
    assert roles == [True, False, True]


# Associations that do not come about


def test_a_wrong_called_title_is_rejected_with_1_1_7(
    ct: DicomNode, pacs: Peer, journal: Journal
) -> None:
    error = refusal(ct, Peer("PAX", pacs.host, pacs.port))
    assert error.reason == "rejected 1/1/7"
    assert "called AE title not recognized (1/1/7)" in error.what
    assert error.next_step
    assert happened(journal, "rejected 1/1/7", "pacs")
    (told,) = journal.events(source="pacs")
    assert "calling CT1, called PAX" in told.summary


def test_a_caller_that_is_not_admitted_is_rejected_with_1_1_3(
    ct: DicomNode, serve: Callable[..., Peer], journal: Journal
) -> None:
    calls: list[Call] = []

    def admit(call: Call) -> tuple[int, int, int]:
        calls.append(call)
        return CALLING_TITLE_UNKNOWN

    peer = serve(admit=admit)
    error = refusal(ct, peer, [*ECHO, build_context(MPPS)])
    assert error.reason == "rejected 1/1/3"
    assert "calling AE title not recognized (1/1/3)" in error.what
    assert calls == [Call("CT1", "PACS", frozenset({VERIFICATION, MPPS}))]
    assert happened(journal, "rejected 1/1/3", "pacs")


def test_who_is_admitted_comes_in(ct: DicomNode, serve: Callable[..., Peer]) -> None:
    peer = serve((evt.EVT_C_ECHO, lambda event: 0x0000), admit=lambda call: None)
    assert echo(ct, peer) == 0x0000


def test_a_wrong_called_title_counts_more_than_an_unknown_caller(
    ct: DicomNode, serve: Callable[..., Peer]
) -> None:
    peer = serve(admit=lambda call: CALLING_TITLE_UNKNOWN)
    assert refusal(ct, Peer("PAX", peer.host, peer.port)).reason == "rejected 1/1/7"


def test_a_port_where_nobody_listens_is_refused(ct: DicomNode, journal: Journal) -> None:
    peer = Peer("PACS", "127.0.0.1", free_port())
    error = refusal(ct, peer)
    assert error.reason == "refused"
    assert str(peer.address) in error.what
    assert [(event.kind, event.summary) for event in journal.events()] == [("error", error.what)]


def test_a_host_that_the_network_does_not_know_is_unreachable(ct: DicomNode) -> None:
    error = refusal(ct, Peer("PACS", "pacz", 104))
    assert error.reason == "unreachable"
    assert "No host is called 'pacz'" in error.what


def test_waiting_for_a_silent_peer_is_bounded(
    ct: DicomNode, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dimse, "TIMEOUT", 0.2)
    began = time.monotonic()
    error = refusal(ct, Peer("PACS", "127.0.0.1", silent_port))
    assert time.monotonic() - began < 3
    assert error.reason == "aborted"
    assert "did not answer" in error.what


@pytest.mark.parametrize(
    "answer",
    [
        b"\x07\0\0\0\0\x04\0\0\0\0",  # A-ABORT
        b"",  # only hangs up
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x02\0\0\0\0\xc8abcd",  # A-ASSOCIATE-AC that breaks off
    ],
)
def test_a_peer_that_answers_anything_else_is_told(
    ct: DicomNode, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dimse, "TIMEOUT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def act() -> None:
            with closing(server.accept()[0]) as connected:
                connected.settimeout(5)
                connected.recv(65536)
                connected.sendall(answer)

        acting = pool.submit(act)
        error = refusal(ct, Peer("PACS", *server.getsockname()))
        acting.result(5)
    assert error.reason == "aborted"


def test_a_peer_that_supports_nothing_of_what_is_proposed_is_told(
    ct: DicomNode, pacs: Peer
) -> None:
    error = refusal(ct, pacs, [build_context(MPPS)])
    assert error.reason == "no context"
    assert "Modality Performed Procedure Step" in error.what


def test_what_was_refused_is_in_the_journal(ct: DicomNode, pacs: Peer, journal: Journal) -> None:
    with ct.associate(pacs, [*ECHO, build_context(MPPS)]) as association:
        assert len(association.accepted_contexts) == 1
    accepted = journal.events(source="ct1", kind="association")[0]
    assert accepted.detail["refused_contexts"] == ["Modality Performed Procedure Step SOP Class"]


@pytest.mark.parametrize("title", ["", "   ", "X" * 17, "A\\B", "RÖNTGEN"])
def test_a_title_that_cannot_be_is_not_called_with_or_by(
    ct: DicomNode, pacs: Peer, journal: Journal, network: Network, title: str
) -> None:
    assert "no AE title" in refusal(ct, Peer(title, pacs.host, pacs.port)).what
    caller = DicomNode("desk", title, journal, network)
    assert "no AE title" in refusal(caller, pacs).what


def test_a_real_program_sees_the_rejection(pacs: Peer, peer: Callable[[str], Path]) -> None:
    def call(title: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [peer("echoscu"), "-v", "-aec", title, pacs.host, str(pacs.port)],
            env={**os.environ, "TCP_NODELAY": "1"},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    assert call("PACS").returncode == 0
    refused = call("PAX")
    assert refused.returncode != 0
    assert "Called AE Title Not Recognized" in refused.stdout + refused.stderr


# A peer that goes away


def test_an_abort_by_the_peer_is_no_answer(
    ct: DicomNode, serve: Callable[..., Peer], journal: Journal
) -> None:
    peer = serve((evt.EVT_C_ECHO, lambda event: event.assoc.abort()))
    assert echo(ct, peer) is None
    assert happened(journal, "association aborted", "ct1")
    assert happened(journal, "association aborted", "pacs")


def test_waiting_for_an_answer_is_bounded(
    ct: DicomNode, serve: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def hang(event: evt.Event) -> int:
        go_on.wait(5)
        return 0x0000

    peer = serve((evt.EVT_C_ECHO, hang))
    monkeypatch.setattr(dimse, "TIMEOUT", 0.2)
    began = time.monotonic()
    assert echo(ct, peer) is None
    assert time.monotonic() - began < 3
    go_on.set()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x0bMSH|^~\\&|\r\x1c\r",
        b"\x01\0\0\0\0\x04abcd",  # A-ASSOCIATE-RQ that breaks off
        b"\x01\0\xff\xff\xff\xff",  # one of 4 GB
        b"\x04\0\0\0\0\x06\0\0\0\x02\x01\x03",  # P-DATA before any association
        b"\0" * 100,
    ],
)
def test_garbage_on_the_port_is_noticed_and_harms_nobody(
    ct: DicomNode, pacs: Peer, journal: Journal, garbage: bytes
) -> None:
    with socket.create_connection((pacs.host, pacs.port), 5) as connected:
        connected.sendall(garbage)
        connected.shutdown(socket.SHUT_WR)
        while connected.recv(4096):
            pass
    assert happened(journal, "without an association request", "pacs")
    assert echo(ct, pacs) == 0x0000


def test_a_caller_that_disappears_is_noticed(ct: DicomNode, pacs: Peer, journal: Journal) -> None:
    with ct.associate(pacs, ECHO) as association:
        sock = association.dul.socket
        assert sock is not None
        sock.close()
    assert happened(journal, "aborted", "pacs")
    assert echo(ct, pacs) == 0x0000


@pytest.fixture
def ask(ct: DicomNode, pacs: Peer) -> Callable[..., None]:
    """Ask for an association as the scanner does, and break the connection when it is there."""
    sent: list[bytes] = []
    record = [(evt.EVT_DATA_SENT, lambda event: sent.append(event.data))]
    with ct.associate(pacs, ECHO, handlers=record):
        pass

    def call(local_port: int) -> None:
        own = ("127.0.0.1", local_port)
        with socket.create_connection((pacs.host, pacs.port), 5, own) as connected:
            connected.sendall(sent[0])
            assert connected.recv(65536)[:1] == b"\x02"  # A-ASSOCIATE-AC
            # With this the connection is reset, and its ports are free at once.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return call


def test_a_caller_that_resets_the_connection_is_noticed(
    ask: Callable[..., None], ct: DicomNode, pacs: Peer, journal: Journal
) -> None:
    ask(0)
    assert happened(journal, "association aborted", "pacs")
    assert echo(ct, pacs) == 0x0000


def test_two_associations_over_the_same_ports_are_told_apart(
    ask: Callable[..., None], journal: Journal
) -> None:
    port, names = free_port(), []
    for _ in range(2):
        before = journal.all()[-1].seq
        ask(port)
        for what in ("accepted", "aborted"):
            event = journal.wait_for(
                lambda event, what=what: event.source == "pacs" and what in event.summary,
                5,
                after=before,
            )
            assert event is not None
            names.append(event.keys["association"])
    assert names[0] == names[1] != names[2] == names[3]


# Handlers that raise


def _crash(event: evt.Event) -> Any:
    raise KeyError("a bug")


def _crash_when_asked_for_more(first: Sequence[Any], event: evt.Event) -> Iterator[Any]:
    yield from first
    raise KeyError("a bug")


def _identifier() -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel, made.StudyInstanceUID = "STUDY", "1.2.3"
    return made


def _last(answers: Iterator[tuple[Dataset, Dataset | None]]) -> Dataset:
    return list(answers)[-1][0]


_SENDERS: dict[str, tuple[UID, evt.EventType, Callable[[Association], Dataset]]] = {
    "C-ECHO": (VERIFICATION, evt.EVT_C_ECHO, lambda a: a.send_c_echo()),
    "C-STORE": (CTImageStorage, evt.EVT_C_STORE, lambda a: a.send_c_store(image())),
    "C-FIND": (
        STUDY_ROOT_FIND,
        evt.EVT_C_FIND,
        lambda a: _last(a.send_c_find(_identifier(), STUDY_ROOT_FIND)),
    ),
    "C-FIND of a worklist": (
        MODALITY_WORKLIST,
        evt.EVT_C_FIND,
        lambda a: _last(a.send_c_find(_identifier(), MODALITY_WORKLIST)),
    ),
    "C-GET": (
        STUDY_ROOT_GET,
        evt.EVT_C_GET,
        lambda a: _last(a.send_c_get(_identifier(), STUDY_ROOT_GET)),
    ),
    "C-MOVE": (
        STUDY_ROOT_MOVE,
        evt.EVT_C_MOVE,
        lambda a: _last(a.send_c_move(_identifier(), "CT1", STUDY_ROOT_MOVE)),
    ),
    "N-CREATE": (
        MPPS,
        evt.EVT_N_CREATE,
        lambda a: a.send_n_create(_identifier(), MPPS, "1.2.3")[0],
    ),
    "N-SET": (MPPS, evt.EVT_N_SET, lambda a: a.send_n_set(_identifier(), MPPS, "1.2.3")[0]),
    "N-GET": (
        UID("1.2.840.10008.3.1.2.3.4"),  # MPPS Retrieve
        evt.EVT_N_GET,
        lambda a: a.send_n_get([], UID("1.2.840.10008.3.1.2.3.4"), "1.2.3")[0],
    ),
    "N-ACTION": (
        STORAGE_COMMITMENT,
        evt.EVT_N_ACTION,
        lambda a: a.send_n_action(
            _identifier(), 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
        )[0],
    ),
    "N-DELETE": (
        UID("1.2.840.10008.5.1.1.1"),  # Basic Film Session
        evt.EVT_N_DELETE,
        lambda a: a.send_n_delete(UID("1.2.840.10008.5.1.1.1"), "1.2.3"),
    ),
}


@pytest.mark.parametrize("request_name", _SENDERS)
def test_a_handler_that_raises_is_never_answered_with_success(
    ct: DicomNode, serve: Callable[..., Peer], journal: Journal, request_name: str
) -> None:
    sop_class, event, send = _SENDERS[request_name]
    contexts = [build_context(sop_class)]
    with ct.associate(serve((event, _crash), contexts=contexts), contexts) as association:
        status = send(association).Status
        assert association.is_established  # a failure is an answer, not an abort
    assert status == 0x0110 or 0xC000 <= status <= 0xCFFF
    (told,) = journal.events(source="pacs", kind="error")
    assert "KeyError: 'a bug'" in told.summary
    assert told.keys["association"] == journal.events(source="ct1")[0].keys["association"]


def test_an_event_report_that_cannot_be_taken_is_never_answered_with_success(
    ct: DicomNode, serve: Callable[..., Peer], journal: Journal
) -> None:
    context = build_context(STORAGE_COMMITMENT)
    context.scu_role, context.scp_role = False, True
    peer = serve((evt.EVT_N_EVENT_REPORT, _crash), contexts=[context])
    role = build_role(STORAGE_COMMITMENT, scp_role=True)
    proposed = [build_context(STORAGE_COMMITMENT)]
    with ct.associate(peer, proposed, negotiation=[role]) as association:
        status, _ = association.send_n_event_report(
            _identifier(), 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
        )
    assert status.Status == 0x0110
    assert len(journal.events(source="pacs", kind="error")) == 1


@pytest.mark.parametrize(
    ("request_name", "first"),
    [
        ("C-FIND", [(0xFF00, _identifier())]),
        ("C-GET", [2]),
        ("C-MOVE", [("127.0.0.1", 1)]),
    ],
)
def test_a_handler_that_raises_on_the_way_is_never_answered_with_success(
    ct: DicomNode,
    serve: Callable[..., Peer],
    journal: Journal,
    request_name: str,
    first: Sequence[Any],
) -> None:
    sop_class, event, send = _SENDERS[request_name]
    contexts = [build_context(sop_class)]
    peer = serve((event, functools.partial(_crash_when_asked_for_more, first)), contexts=contexts)
    with ct.associate(peer, contexts) as association:
        assert 0xC000 <= send(association).Status <= 0xCFFF
    assert len(journal.events(source="pacs", kind="error")) == 1


def test_a_caller_that_cannot_take_what_comes_back_says_so(
    ct: DicomNode, serve: Callable[..., Peer], journal: Journal
) -> None:
    def get(event: evt.Event) -> Iterator[Any]:
        yield 1
        yield 0xFF00, image()

    storage = build_context(CTImageStorage)
    storage.scu_role = storage.scp_role = True
    peer = serve((evt.EVT_C_GET, get), contexts=[build_context(STUDY_ROOT_GET), storage])
    with ct.associate(
        peer,
        [build_context(STUDY_ROOT_GET), build_context(CTImageStorage)],
        negotiation=[build_role(CTImageStorage, scp_role=True)],
        handlers=[(evt.EVT_C_STORE, _crash)],
    ) as association:
        answer = _last(association.send_c_get(_identifier(), STUDY_ROOT_GET))
    assert answer.Status != 0x0000
    assert answer.NumberOfFailedSuboperations == 1
    assert len(journal.events(source="ct1", kind="error")) == 1


def test_an_error_with_words_is_told_to_the_caller(
    ct: DicomNode, serve: Callable[..., Peer]
) -> None:
    def refuse(event: evt.Event) -> int:
        raise LabError("The archive’s disk is full. " * 5)

    contexts = [build_context(CTImageStorage)]
    peer = serve((evt.EVT_C_STORE, refuse), contexts=contexts)
    with ct.associate(peer, contexts) as association:
        answer = association.send_c_store(image())
    assert answer.Status == 0x0110
    assert answer.ErrorComment.startswith("The archive?s disk is full.")
    assert len(answer.ErrorComment) == 64


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x10\0\x20\0ZZ\x02\0P1",  # a value representation that does not exist
        b"\x10\0\x20\0",  # nothing but a tag
    ],
)
def test_a_data_set_that_cannot_be_read_is_an_error_and_kept(
    ct: DicomNode,
    serve: Callable[..., Peer],
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    garbage: bytes,
) -> None:
    def find(event: evt.Event) -> Iterator[Any]:
        str(event.identifier.PatientID)
        yield 0xFF00, _identifier()

    contexts = [build_context(STUDY_ROOT_FIND, ExplicitVRLittleEndian)]
    peer = serve((evt.EVT_C_FIND, find), contexts=contexts)
    monkeypatch.setattr("pynetdicom.association.encode", lambda *_: garbage)  # of the caller
    with ct.associate(peer, contexts) as association:
        answer = _last(association.send_c_find(_identifier(), STUDY_ROOT_FIND))
    assert answer.Status == 0xC311
    received = journal.events(source="pacs", kind="dimse")[0]
    assert base64.b64decode(journal.payload(received)["dicom"]) == garbage
    assert len(journal.events(source="pacs", kind="error")) == 1


# Listening


def test_a_port_that_is_taken_is_named(serve: Callable[..., Peer], silent_port: int) -> None:
    with pytest.raises(PortTaken, match=f"{silent_port} for DICOM of pacs"):
        serve(port=silent_port)


def test_closing_aborts_what_is_open_and_frees_the_port(
    node: Node, ct: DicomNode, journal: Journal
) -> None:
    pacs = node("pacs")
    port = pacs.listen(ECHO, [])
    with ct.associate(Peer("PACS", "127.0.0.1", port), ECHO) as association:
        pacs.close()
        assert happened(journal, "aborted", "ct1")
    assert not association.is_established
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_closing_does_not_wait_for_a_caller_that_says_nothing(node: Node) -> None:
    pacs = node("pacs")
    port = pacs.listen(ECHO, [])
    with socket.create_connection(("127.0.0.1", port), 5) as connected:
        connected.sendall(b"\x01\0")
        began = time.monotonic()
        pacs.close()
        assert time.monotonic() - began < dimse.TIMEOUT / 2


def test_a_node_that_never_listened_can_be_closed(node: Node) -> None:
    node("pacs").close()


# What the journal tells


def test_a_query_is_kept_as_it_was_sent(
    ct: DicomNode, serve: Callable[..., Peer], journal: Journal
) -> None:
    def find(event: evt.Event) -> Iterator[Any]:
        yield 0xFF00, answer

    answer = _identifier()
    answer.SpecificCharacterSet, answer.PatientName = "ISO_IR 192", "Møller^Åse"
    contexts = [build_context(STUDY_ROOT_FIND)]
    with ct.associate(serve((evt.EVT_C_FIND, find), contexts=contexts), contexts) as association:
        list(association.send_c_find(_identifier(), STUDY_ROOT_FIND))
    request, pending, final = journal.events(source="ct1", kind="dimse")
    assert dataset_of(journal.payload(request)) == _identifier()
    assert dataset_of(journal.payload(pending)) == answer
    assert request.keys["study_uid"] == "1.2.3"
    assert (request.transaction, final.transaction) == ("RAD-14", "RAD-14")
    assert (request.detail.get("request"), "answer" in request.detail) == (True, False)
    assert "answer" not in pending.detail
    assert final.detail["answer"] == "0x0000 Success"
    assert final.payload is None


def test_an_image_is_not_kept_in_the_journal(
    ct: DicomNode, serve: Callable[..., Peer], journal: Journal
) -> None:
    contexts = [build_context(CTImageStorage)]
    peer = serve((evt.EVT_C_STORE, lambda event: 0x0000), contexts=contexts)
    with ct.associate(peer, contexts) as association:
        association.send_c_store(image("1.2.3.4"))
    stored = journal.events(source="pacs", kind="dimse")
    assert [event.keys["sop_uid"] for event in stored] == ["1.2.3.4", "1.2.3.4"]
    assert [event.payload for event in stored] == [None, None]
    assert [event.transaction for event in stored] == ["RAD-8", "RAD-8"]


def test_an_image_that_was_moved_belongs_to_the_retrieval(
    ct: DicomNode, serve: Callable[..., Peer], journal: Journal
) -> None:
    contexts = [build_context(CTImageStorage)]
    peer = serve((evt.EVT_C_STORE, lambda event: 0x0000), contexts=contexts)
    with ct.associate(peer, contexts) as association:
        association.send_c_store(image(), originator_aet="DESK", originator_id=1)
    received = journal.events(source="pacs", kind="dimse")[0]
    assert received.transaction == "RAD-16"


def test_a_failure_is_told_with_its_comment(
    ct: DicomNode, serve: Callable[..., Peer], journal: Journal
) -> None:
    contexts = [build_context(CTImageStorage)]
    full = failure(0xA700, "disk full")
    peer = serve((evt.EVT_C_STORE, lambda event: full), contexts=contexts)
    with ct.associate(peer, contexts) as association:
        association.send_c_store(image())
    answer = journal.events(source="ct1", kind="dimse")[-1]
    assert answer.summary.endswith("0xA700 Out of resources (disk full)")
    assert answer.detail["answer"] == "0xA700 Out of resources"


def test_keys_are_single_values_without_wild_cards() -> None:
    asked = Dataset()
    asked.PatientID, asked.AccessionNumber = "P1", "A*"
    asked.StudyInstanceUID = ["1.2.3", "1.2.4"]
    step = Dataset()
    step.AccessionNumber = "A1"
    asked.ScheduledStepAttributesSequence = [step]
    assert dicom_keys(asked) == {"patient_id": "P1", "accession": "A1"}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0x0000, "0x0000 Success"),
        (0xFF00, "0xFF00 Pending"),
        (0xA700, "0xA700 Out of resources"),
        (0xC001, "0xC001 Cannot understand or unable to process"),
        (0xA7FF, "0xA7FF Failure"),
        (0xB007, "0xB007 Warning"),
    ],
)
def test_a_status_is_told_with_its_meaning(status: int, words: str) -> None:
    assert describe_status(status) == words


def test_a_comment_fits_its_attribute() -> None:
    answer = failure(0xA700, "é" * 100)
    assert answer.ErrorComment == "?" * 64
    assert answer.Status == 0xA700
