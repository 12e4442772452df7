"""Which acknowledgments a message asks for (HL7 v2.5.1 2.9, table 0155)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import datetime

import pytest

from labsim.clock import ManualClock
from labsim.errors import Hl7Error
from labsim.journal import Journal
from labsim.wire.acknowledging import answers_to, awaited
from labsim.wire.background import BackgroundLoop
from labsim.wire.hl7 import Header, Message, segment
from labsim.wire.mllp import MllpEndpoint, Taken
from labsim.wire.network import Address, Network

NOW = datetime(2026, 3, 1, 8)
ERROR, REJECT = Hl7Error("wrong", code="AE"), Hl7Error("not here", code="AR")


def adt(accept: str = "", application: str = "", kind: str = "ADT^A04") -> Message:
    header = Header(("HIS", "X"), ("RIS", "X"), kind, "1", NOW, "2.5.1", accept, application)
    return Message.build(header, segment("PID", {3: "P1"}))


@pytest.mark.parametrize(
    ("accept", "application", "refusal", "codes"),
    [
        ("", "", None, ["AA"]),
        ("", "", ERROR, ["AE"]),
        ("", "", REJECT, ["AR"]),
        ("AL", "AL", None, ["CA", "AA"]),
        ("AL", "AL", ERROR, ["CA", "AE"]),
        ("AL", "AL", REJECT, ["CR"]),
        ("AL", "NE", None, ["CA"]),
        ("AL", "NE", ERROR, ["CE"]),
        ("AL", "", ERROR, ["CE"]),
        ("AL", "ER", None, ["CA"]),
        ("AL", "ER", ERROR, ["CA", "AE"]),
        ("AL", "SU", None, ["CA", "AA"]),
        ("AL", "SU", ERROR, ["CE"]),
        ("NE", "AL", None, ["AA"]),
        ("NE", "AL", REJECT, ["AR"]),
        ("", "AL", ERROR, ["AE"]),
        ("ER", "NE", None, []),
        ("ER", "NE", ERROR, ["CE"]),
        ("SU", "NE", None, ["CA"]),
        ("SU", "NE", REJECT, []),
        ("NE", "NE", None, []),
        ("NE", "NE", ERROR, []),
        ("2.3.1", "", None, ["CA"]),
        ("", "8859/1", ERROR, ["AE"]),
    ],
)
def test_a_message_is_answered_as_it_asks_to_be(
    accept: str, application: str, refusal: Hl7Error | None, codes: list[str]
) -> None:
    answers = answers_to(adt(accept, application), refusal)
    assert [code for code, _ in answers] == codes
    for code, text in answers:
        assert bool(text) == (code not in ("AA", "CA"))


@pytest.mark.parametrize(
    ("accept", "application", "expected"),
    [
        ("", "", (False, True)),
        ("AL", "NE", (True, False)),
        ("AL", "AL", (True, True)),
        ("NE", "AL", (False, True)),
        ("ER", "SU", (False, True)),
    ],
)
def test_a_sender_waits_for_what_always_comes(
    accept: str, application: str, expected: tuple[bool, bool]
) -> None:
    assert awaited(adt(accept, application)) == expected


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def make(
    journal: Journal, clock: ManualClock, network: Network, loop: BackgroundLoop
) -> Iterator[dict[str, MllpEndpoint]]:
    """A RIS that takes A04 and refuses A08, and a HIS that sends to it."""

    def refuse(message: Message) -> None:
        raise ERROR

    made = {name: MllpEndpoint(name, journal, clock, network, loop) for name in ("his", "ris")}
    takes = {"ADT^A04": Taken("RAD-1", lambda message: None), "ADT^A08": Taken("RAD-12", refuse)}
    network.publish(Address("ris", 2575), made["ris"].listen(takes), "ris")
    yield made
    made["ris"].close()


def test_two_acknowledgments_come_as_messages_of_their_own(
    make: dict[str, MllpEndpoint], network: Network
) -> None:
    local = network.resolve(Address("ris", 2575))
    with socket.create_connection((local.host, local.port), 5) as connection:
        connection.sendall(b"\x0b" + adt("AL", "AL", "ADT^A08").encode() + b"\x1c\r")
        received = b""
        while received.count(b"\x1c\r") < 2:
            received += connection.recv(4096)
    commit, application = (Message.decode(b[1:]) for b in received.split(b"\x1c\r")[:-1])
    assert (commit["MSA-1"], commit["MSA-2"]) == ("CA", "1")
    assert (application["MSA-1"], application["MSA-3"]) == ("AE", "wrong")
    assert commit.control_id != application.control_id
    # Nobody has to acknowledge an acknowledgment.
    assert (application["MSH-15"], application["MSH-16"]) == ("NE", "NE")


@pytest.mark.parametrize(
    ("mode", "kind", "last"),
    [
        (("AL", "AL"), "ADT^A04", "AA"),
        (("AL", "AL"), "ADT^A08", "AE"),
        (("AL", "NE"), "ADT^A04", "CA"),
        (("AL", "NE"), "ADT^A08", "CE"),
        (("NE", "AL"), "ADT^A08", "AE"),
        (("AL", "AL"), "ADT^A99", "CR"),
    ],
)
def test_a_sender_gets_the_last_word(
    make: dict[str, MllpEndpoint], mode: tuple[str, str], kind: str, last: str
) -> None:
    ack = make["his"].send(adt(*mode, kind), Address("ris", 2575), "RAD-1", {})
    assert ack["MSA-1"] == last


def test_an_open_connection_is_used_again(
    make: dict[str, MllpEndpoint], journal: Journal, network: Network
) -> None:
    his = make["his"]
    link = his.link()
    try:
        for _ in range(3):
            his.send(adt(), Address("ris", 2575), "RAD-1", {}, link=link)
        port = link._connection.getsockname()[1]
        assert network.caller(port) == "his"
    finally:
        his.hang_up(link)
    assert network.caller(port) == ""


def test_the_receiver_knows_which_system_called(
    make: dict[str, MllpEndpoint], journal: Journal, network: Network, loop: BackgroundLoop
) -> None:
    engine = MllpEndpoint("engine", journal, journal._clock, network, loop)
    engine.send(adt(), Address("ris", 2575), "RAD-1", {})  # whatever MSH-3 says
    hops = [(event.sender, event.receiver) for event in journal.events(kind="hl7")]
    assert hops == [("engine", "ris")] * 2 + [("ris", "engine")] * 2


@pytest.mark.parametrize("mode", [("NE", "NE"), ("SU", "")])
def test_a_refusal_that_nobody_asked_to_be_told_is_in_the_journal(
    make: dict[str, MllpEndpoint], network: Network, journal: Journal, mode: tuple[str, str]
) -> None:
    local = network.resolve(Address("ris", 2575))
    with socket.create_connection((local.host, local.port), 5) as connection:
        connection.sendall(b"\x0b" + adt(*mode, "ADT^A08").encode() + b"\x1c\r")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(4096) == b""
    (error,) = journal.events(kind="error")
    assert error.summary.endswith("ADT^A08 1 is refused, which nobody asked to be told: wrong")


def test_a_condition_that_is_none_is_awaited_as_it_is_answered() -> None:
    assert awaited(adt("2.3.1")) == (True, False)
    assert awaited(adt("", "8859/1")) == (False, True)
