"""HL7 over MLLP, with peers that do everything wrong."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime

import pytest

from labsim.clock import ManualClock
from labsim.errors import DeliveryFailed, Hl7Error, PortTaken
from labsim.journal import Journal
from labsim.wire import mllp
from labsim.wire.background import BackgroundLoop
from labsim.wire.hl7 import Header, Message, acknowledge, segment
from labsim.wire.mllp import MllpEndpoint, Taken, hl7_keys
from labsim.wire.network import Address, Network, free_port

START, END = b"\x0b", b"\x1c\r"
RIS = Address("ris", 2575)
NOW = datetime(2026, 3, 1, 8)
Make = Callable[[str], MllpEndpoint]


def adt(message_type: str = "ADT^A04", control_id: str = "HIS1", name: str = "Doe^Jane") -> Message:
    header = Header(("HIS", "X"), ("RIS", "X"), message_type, control_id, NOW)
    segments = segment("PID", {3: "P1^^^X", 5: name}), segment("PV1", {19: "V1"})
    return Message.build(header, *segments)


def framed(message: Message | bytes) -> bytes:
    return START + (message if isinstance(message, bytes) else message.encode()) + END


@pytest.fixture
def make(
    journal: Journal, clock: ManualClock, network: Network, loop: BackgroundLoop
) -> Iterator[Make]:
    """Make the HL7 interface of a system."""
    made: list[MllpEndpoint] = []

    def endpoint(system: str) -> MllpEndpoint:
        made.append(MllpEndpoint(system, journal, clock, network, loop))
        return made[-1]

    yield endpoint
    for one in made:
        one.close()


@pytest.fixture
def taken() -> list[Message]:
    """What the RIS of these tests took in."""
    return []


@pytest.fixture
def ris(make: Make, network: Network, taken: list[Message]) -> int:
    """A RIS that listens; its loopback port."""

    def crash(message: Message) -> None:
        raise KeyError("a bug")

    def refuse(message: Message) -> None:
        raise Hl7Error("ORC-2 is empty.", code="AE")

    port = make("ris").listen(
        {
            "ADT^A04": Taken("RAD-1", taken.append),
            "ADT^A08": Taken("RAD-12", crash),
            "ORM^O01": Taken("RAD-2", refuse),
        }
    )
    network.publish(RIS, port)
    return port


@pytest.fixture
def his(make: Make) -> MllpEndpoint:
    """A HIS that sends."""
    return make("his")


@pytest.fixture
def caller(ris: int) -> Iterator[socket.socket]:
    """A program of a learner's that has connected to the RIS."""
    with socket.create_connection(("127.0.0.1", ris), 5) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connected


def answers(caller: socket.socket, count: int) -> list[Message]:
    """Read so many acknowledgments, and no byte more."""
    received = b""
    while received.count(END) < count:
        piece = caller.recv(65536)
        assert piece, f"the connection ended after {received!r}"
        received += piece
    *blocks, rest = received.split(END)
    assert rest == b""
    assert all(block[:1] == START for block in blocks)
    return [Message.decode(block[1:]) for block in blocks]


def answer(caller: socket.socket, sent: bytes) -> Message:
    caller.sendall(sent)
    return answers(caller, 1)[0]


def is_closed(caller: socket.socket) -> bool:
    """Wait until the other side has ended the connection."""
    try:
        return caller.recv(1) == b""
    except ConnectionError:
        return True


def complaint(journal: Journal, text: str) -> bool:
    """Wait until an error with this text is in the journal."""
    found = journal.wait_for(lambda event: event.kind == "error" and text in event.summary, 5)
    return found is not None


# Receiving


def test_a_message_is_acknowledged(caller: socket.socket, taken: list[Message]) -> None:
    ack = answer(caller, framed(adt()))
    assert (ack["MSA-1"], ack["MSA-2"]) == ("AA", "HIS1")
    assert [message["PID-5"] for message in taken] == ["Doe^Jane"]


def test_bytes_that_come_one_at_a_time_are_one_message(caller: socket.socket) -> None:
    for byte in framed(adt()):
        caller.sendall(bytes([byte]))
    assert answers(caller, 1)[0]["MSA-1"] == "AA"


def test_two_messages_in_one_segment_are_both_acknowledged_in_order(
    caller: socket.socket, taken: list[Message]
) -> None:
    caller.sendall(framed(adt(control_id="1")) + framed(adt(control_id="2")))
    assert [ack["MSA-2"] for ack in answers(caller, 2)] == ["1", "2"]
    assert [message.control_id for message in taken] == ["1", "2"]


def test_a_connection_serves_one_message_after_the_other(caller: socket.socket) -> None:
    for number in ("1", "2", "3"):
        assert answer(caller, framed(adt(control_id=number)))["MSA-2"] == number


def test_many_callers_get_each_their_own_answer(ris: int) -> None:
    def call(number: int) -> str:
        with socket.create_connection(("127.0.0.1", ris), 5) as connected:
            return answer(connected, framed(adt(control_id=str(number))))["MSA-2"]

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(call, range(20))) == [str(number) for number in range(20)]


def test_every_acknowledgment_has_a_control_id_of_its_own(caller: socket.socket) -> None:
    caller.sendall(framed(adt(control_id="1")) * 3)
    assert len({ack.control_id for ack in answers(caller, 3)}) == 3


def test_text_in_the_declared_character_set_arrives(
    caller: socket.socket, taken: list[Message]
) -> None:
    text = adt(name="Møller^Åse").text.replace("UNICODE UTF-8", "8859/1")
    assert answer(caller, framed(text.encode("iso8859-1")))["MSA-1"] == "AA"
    assert taken[0]["PID-5"] == "Møller^Åse"


def test_the_journal_has_the_message_and_its_acknowledgment(
    caller: socket.socket, journal: Journal
) -> None:
    answer(caller, framed(adt()))
    received, sent = journal.events(kind="hl7")
    assert (received.summary, received.sender, received.receiver) == ("ADT^A04 HIS1", "HIS", "ris")
    assert (sent.summary, sent.sender, sent.receiver) == ("ACK AA for HIS1", "ris", "HIS")
    for event in (received, sent):
        assert event.transaction == "RAD-1"
        assert (event.keys["patient_id"], event.keys["visit"]) == ("P1", "V1")
    assert journal.payload(received) == {"hl7": adt().text}


# Receiving what is wrong


def test_garbage_without_a_start_block_ends_the_connection(
    caller: socket.socket, journal: Journal, taken: list[Message]
) -> None:
    caller.sendall(b"GET / HTTP/1.1\r\n\r\n" + END)
    assert is_closed(caller)
    assert complaint(journal, "not MLLP")
    assert taken == []


def test_a_message_without_msh_is_rejected(caller: socket.socket, taken: list[Message]) -> None:
    ack = answer(caller, framed(b"PID|||P1||Doe^Jane\r"))
    assert ack["MSA-1"] == "AR"
    assert "instead of MSH" in ack["MSA-3"]
    assert taken == []


def test_an_empty_message_is_rejected(caller: socket.socket) -> None:
    assert answer(caller, framed(b""))["MSA-1"] == "AR"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_feeds_at_the_ends_of_segments_are_rejected(
    caller: socket.socket, taken: list[Message], ending: str
) -> None:
    ack = answer(caller, framed(adt().text.replace("\r", ending).encode()))
    assert ack["MSA-1"] == "AR"
    assert "line feeds" in ack["MSA-3"]
    assert taken == []


def test_bytes_of_an_undeclared_character_set_are_an_error(
    caller: socket.socket, taken: list[Message], journal: Journal
) -> None:
    text = adt(name="Møller").text.replace("UNICODE UTF-8", "")
    ack = answer(caller, framed(text.encode("iso8859-1")))
    assert ack["MSA-1"] == "AE"
    assert "MSH-18" in ack["MSA-3"]
    assert taken == []
    assert complaint(journal, "0xF8")


def test_a_sender_learns_which_of_its_messages_had_the_wrong_bytes(caller: socket.socket) -> None:
    text = adt(name="Møller").text.replace("UNICODE UTF-8", "")
    ack = answer(caller, framed(text.encode("iso8859-1")))
    assert (ack["MSA-2"], ack["MSH-5"], ack.type) == ("HIS1", "HIS", "ACK^A04")


def test_a_character_set_that_is_not_supported_is_rejected(caller: socket.socket) -> None:
    ack = answer(caller, framed(adt().text.replace("UNICODE UTF-8", "BIG-5").encode()))
    assert ack["MSA-1"] == "AR"
    assert "BIG-5" in ack["MSA-3"]


def test_a_message_of_an_unknown_type_is_rejected(caller: socket.socket) -> None:
    ack = answer(caller, framed(adt("SIU^S12")))
    assert (ack["MSA-1"], ack["MSA-2"]) == ("AR", "HIS1")
    assert "SIU^S12" in ack["MSA-3"]


def test_a_message_without_a_control_id_is_rejected(caller: socket.socket) -> None:
    ack = answer(caller, framed(adt(control_id="")))
    assert ack["MSA-1"] == "AR"
    assert "MSH-10" in ack["MSA-3"]


def test_what_a_system_refuses_is_answered_with_its_reason(caller: socket.socket) -> None:
    ack = answer(caller, framed(adt("ORM^O01")))
    assert (ack["MSA-1"], ack["MSA-2"], ack["MSA-3"]) == ("AE", "HIS1", "ORC-2 is empty.")


def test_a_handler_that_raises_is_never_answered_with_success(
    caller: socket.socket, journal: Journal
) -> None:
    ack = answer(caller, framed(adt("ADT^A08")))
    assert (ack["MSA-1"], ack["MSA-2"]) == ("AE", "HIS1")
    assert "KeyError" in ack["MSA-3"]
    received, sent = journal.events(kind="hl7")
    assert received.summary == "ADT^A08 HIS1"
    assert "ACK AE for HIS1: Internal error: KeyError" in sent.summary
    assert answer(caller, framed(adt()))["MSA-1"] == "AA"


def test_a_connection_that_ends_in_the_middle_of_a_message_is_noticed(
    caller: socket.socket, journal: Journal, taken: list[Message]
) -> None:
    caller.sendall(framed(adt())[:-2])
    caller.shutdown(socket.SHUT_WR)
    assert is_closed(caller)
    assert complaint(journal, "middle of a message")
    assert taken == []


def test_a_connection_without_a_message_is_nothing_to_complain_about(
    caller: socket.socket, journal: Journal
) -> None:
    caller.shutdown(socket.SHUT_WR)
    assert is_closed(caller)
    assert list(journal.events()) == []


def test_a_message_that_is_too_long_is_not_kept_in_memory(
    caller: socket.socket, journal: Journal, taken: list[Message]
) -> None:
    with pytest.raises(ConnectionError):  # it breaks while there is still more to send
        caller.sendall(START + bytes(4 * mllp.LARGEST_MESSAGE))
    assert complaint(journal, "longer than 4 MB")
    assert taken == []


def test_a_message_just_short_of_too_long_is_taken(
    caller: socket.socket, taken: list[Message]
) -> None:
    long = adt(name="x" * (mllp.LARGEST_MESSAGE - 1000))
    assert answer(caller, framed(long))["MSA-1"] == "AA"
    assert len(taken[0]["PID-5"]) == mllp.LARGEST_MESSAGE - 1000


def test_one_bad_caller_does_not_disturb_another(ris: int, caller: socket.socket) -> None:
    with socket.create_connection(("127.0.0.1", ris), 5) as bad:
        bad.sendall(START + b"half a mess")
        assert answer(caller, framed(adt()))["MSA-1"] == "AA"


def test_a_slow_handler_does_not_hold_up_another_caller(make: Make) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def take(message: Message) -> None:
        if message.control_id == "slow":
            begun.set()
            assert go_on.wait(5)

    port = make("ris").listen({"ADT^A04": Taken("RAD-1", take)})
    with (
        socket.create_connection(("127.0.0.1", port), 5) as slow,
        socket.create_connection(("127.0.0.1", port), 5) as fast,
    ):
        slow.sendall(framed(adt(control_id="slow")))
        assert begun.wait(5)
        assert answer(fast, framed(adt(control_id="fast")))["MSA-2"] == "fast"
        go_on.set()
        assert answers(slow, 1)[0]["MSA-2"] == "slow"


def test_a_port_that_is_taken_is_named(make: Make, silent_port: int) -> None:
    with pytest.raises(PortTaken, match=f"{silent_port} for HL7 of ris"):
        make("ris").listen({}, silent_port)


def test_closing_ends_open_conversations_and_frees_the_port(make: Make) -> None:
    for sent in (b"", START + b"half a mess") * 10:  # some have only just been accepted
        endpoint = make("ris")
        port = endpoint.listen({})
        with socket.create_connection(("127.0.0.1", port), 5) as connected:
            connected.sendall(sent)
            endpoint.close()
            assert is_closed(connected)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)


# Sending


@contextmanager
def peer_that(act: Callable[[socket.socket], None]) -> Iterator[Address]:
    """Run a peer that does something wrong with the first connection."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(5)

        def serve() -> None:
            with closing(server.accept()[0]) as connected:
                connected.settimeout(5)
                act(connected)

        serving = pool.submit(serve)
        yield Address(*server.getsockname())
        serving.result(5)


def read_message(connected: socket.socket) -> Message:
    received = b""
    while not received.endswith(END):
        received += connected.recv(65536)
    return Message.decode(received[1:-2])


def undelivered(his: MllpEndpoint, peer: Address) -> str:
    with pytest.raises(DeliveryFailed) as caught:
        his.send(adt(), peer, "RAD-1", hl7_keys(adt()))
    return caught.value.what


def test_the_acknowledgment_comes_back_to_the_sender(his: MllpEndpoint, ris: int) -> None:
    assert his.send(adt(), RIS, "RAD-1", {})["MSA-1"] == "AA"


def test_an_acknowledgment_with_an_error_comes_back_too(his: MllpEndpoint, ris: int) -> None:
    ack = his.send(adt("ORM^O01"), RIS, "RAD-2", {})
    assert (ack["MSA-1"], ack["MSA-3"]) == ("AE", "ORC-2 is empty.")


def test_sender_and_receiver_both_write_what_they_saw(
    his: MllpEndpoint, ris: int, journal: Journal
) -> None:
    journal.name("HIS", "his")
    journal.name("RIS", "ris")
    his.send(adt(), RIS, "RAD-1", hl7_keys(adt()))
    events = journal.events(kind="hl7", visit="V1")
    seen = [(event.source, event.detail["direction"], event.summary) for event in events]
    assert seen == [
        ("his", "sent", "ADT^A04 HIS1"),
        ("ris", "received", "ADT^A04 HIS1"),
        ("ris", "sent", "ACK AA for HIS1"),
        ("his", "received", "ACK AA for HIS1"),
    ]
    assert [(event.sender, event.receiver) for event in events.once()] == [
        ("his", "ris"),
        ("ris", "his"),
    ]


def test_an_acknowledgment_of_another_message_does_not_count(his: MllpEndpoint) -> None:
    def act(connected: socket.socket) -> None:
        wrong = acknowledge(read_message(connected), "AA", "1", NOW).text.replace("HIS1", "HIS0")
        connected.sendall(framed(wrong.encode()))

    with peer_that(act) as peer:
        assert "acknowledged HIS0 instead of HIS1" in undelivered(his, peer)


def test_waiting_for_an_acknowledgment_is_bounded(
    his: MllpEndpoint, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mllp, "TIMEOUT", 0.2)
    began = time.monotonic()
    text = undelivered(his, Address("127.0.0.1", silent_port))
    assert time.monotonic() - began < 3
    assert "no acknowledgment within 0.2 s" in text


def test_a_peer_that_does_not_listen_is_told(his: MllpEndpoint, journal: Journal) -> None:
    peer = Address("127.0.0.1", free_port())
    text = undelivered(his, peer)
    assert "connection refused" in text
    assert f"RIS ({peer})" in text
    (event,) = journal.events(kind="error")
    assert event.summary == text
    assert event.keys["visit"] == "V1"


def test_an_address_that_the_network_does_not_know_is_told(his: MllpEndpoint) -> None:
    assert "No host is called 'riz'" in undelivered(his, Address("riz", 2575))


def test_a_peer_that_hangs_up_at_once_is_told(his: MllpEndpoint) -> None:
    with peer_that(lambda connected: None) as peer:
        assert "ended before the acknowledgment" in undelivered(his, peer)


def test_half_an_acknowledgment_is_none(his: MllpEndpoint) -> None:
    def act(connected: socket.socket) -> None:
        ack = acknowledge(read_message(connected), "AA", "1", NOW)
        connected.sendall(framed(ack)[:-1])

    with peer_that(act) as peer:
        assert "ended before the acknowledgment" in undelivered(his, peer)


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + END,
        framed(b"PID|1\r"),
        framed(b""),
        framed(b"\xff\xfe"),
    ],
)
def test_an_answer_that_is_no_hl7_is_told(his: MllpEndpoint, garbage: bytes) -> None:
    def act(connected: socket.socket) -> None:
        read_message(connected)
        connected.sendall(garbage)

    with peer_that(act) as peer:
        assert "ADT^A04 to RIS" in undelivered(his, peer)


def test_an_answer_without_end_is_told(his: MllpEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mllp, "LARGEST_MESSAGE", 1000)

    def act(connected: socket.socket) -> None:
        read_message(connected)
        connected.sendall(START + b"x" * 5000)
        is_closed(connected)

    with peer_that(act) as peer:
        assert "longer than" in undelivered(his, peer)


def test_an_acknowledgment_that_comes_byte_by_byte_is_read(his: MllpEndpoint) -> None:
    def act(connected: socket.socket) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in framed(acknowledge(read_message(connected), "AA", "1", NOW)):
            connected.sendall(bytes([byte]))

    with peer_that(act) as peer:
        assert his.send(adt(), peer, "RAD-1", {})["MSA-1"] == "AA"


def test_a_message_that_its_character_set_cannot_hold_is_told(his: MllpEndpoint, ris: int) -> None:
    message = Message(adt(name="山田").text.replace("UNICODE UTF-8", "8859/1"))
    with pytest.raises(DeliveryFailed, match="8859/1"):
        his.send(message, RIS, "RAD-1", {})


def test_keys_come_from_where_ihe_puts_them() -> None:
    message = Message.build(
        Header(("RIS", "X"), ("PACS", "X"), "ORM^O01", "1", NOW),
        segment("PID", {3: "P1^^^X"}),
        segment("PV1", {19: "V1^^^X"}),
        segment("OBR", {2: "O1^HIS", 3: "F1^RIS", 18: "A1"}),
        segment("ZDS", {1: "1.2.3^100^Application^DICOM"}),
    )
    assert hl7_keys(message) == {
        "patient_id": "P1",
        "visit": "V1",
        "placer_order": "O1",
        "filler_order": "F1",
        "accession": "A1",
        "study_uid": "1.2.3",
    }
