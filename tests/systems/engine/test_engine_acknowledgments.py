"""Which answers count for the engine, as a sender and as a receiver."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from labsim.errors import Hl7Error

if TYPE_CHECKING:
    from tests.systems.engine.conftest import Rig


def test_an_acknowledgment_of_another_message_does_not_count(rig: Rig) -> None:
    def wrong(connection: socket.socket) -> None:
        [message] = rig.read(connection, 1)
        rig.acknowledge(connection, message, of="77")

    def right(connection: socket.socket) -> None:
        [message] = rig.read(connection, 1)
        rig.acknowledge(connection, message)

    engine = rig.engine()
    with rig.scripted(wrong, right):
        rig.send(engine, rig.adt())
        assert engine.wait_until_sent()
    found = rig.journal.wait_for(lambda e: "acknowledged 77 instead of 1" in e.summary, 1)
    assert found is not None
    [delivery] = engine.message(1).deliveries()
    assert delivery[1:3] == ["sent", 2]


def test_a_late_acknowledgment_is_not_taken_for_the_next_message(rig: Rig) -> None:
    def late(connection: socket.socket) -> None:
        first, second = rig.read(connection, 2)  # the second is the first again
        rig.acknowledge(connection, first)
        rig.acknowledge(connection, second)
        [third] = rig.read(connection, 1)
        rig.acknowledge(connection, third, "AR")

    engine = rig.engine(rig.channel({"timeout": 0.2, "hang_up_when_late": False}))
    with rig.scripted(late):
        rig.send(engine, rig.adt("1"), rig.adt("2"))
        assert engine.wait_until_sent()
    assert [row[7] for row in engine.messages()] == ["sent", "error"]


def test_without_the_comparison_a_late_acknowledgment_hides_a_loss(rig: Rig) -> None:
    def late(connection: socket.socket) -> None:
        first, second = rig.read(connection, 2)
        rig.acknowledge(connection, first)
        rig.acknowledge(connection, second)
        rig.read(connection, 1)  # the third is never taken, and nobody hears of it

    careless = {"timeout": 0.2, "hang_up_when_late": False, "match_control_id": False}
    engine = rig.engine(rig.channel(careless))
    with rig.scripted(late):
        rig.send(engine, rig.adt("1"), rig.adt("2"))
        assert engine.wait_until_sent()
    assert [row[7] for row in engine.messages()] == ["sent", "sent"]


def test_a_connection_with_a_late_acknowledgment_is_given_up(rig: Rig) -> None:
    def late(connection: socket.socket) -> None:
        rig.read(connection, 1)
        assert connection.recv(1) == b""  # nobody waits here any more

    def prompt(connection: socket.socket) -> None:
        [message] = rig.read(connection, 1)
        rig.acknowledge(connection, message)

    engine = rig.engine(rig.channel({"timeout": 0.2}))
    with rig.scripted(late, prompt):
        rig.send(engine, rig.adt())
        assert engine.wait_until_sent()
    assert [row[7] for row in engine.messages()] == ["sent"]


@pytest.mark.parametrize("mode", ["accept", "application"])
def test_a_destination_in_the_enhanced_mode_is_asked_for_it(rig: Rig, mode: str) -> None:
    engine = rig.engine(rig.channel({"acknowledgment": mode}))
    rig.send(engine, rig.adt())
    assert engine.wait_until_sent()
    [message] = rig.ris.taken
    wanted = {"accept": ("AL", "NE"), "application": ("AL", "AL")}[mode]
    assert (message["MSH-15"], message["MSH-16"]) == wanted
    acks = [
        event.detail["answer"]
        for event in rig.journal.events(source="engine", kind="hl7")
        if event.peer == "ris" and event.detail["direction"] == "received"
    ]
    assert acks == {"accept": ["ACK CA"], "application": ["ACK CA", "ACK AA"]}[mode]
    assert [row[7] for row in engine.messages()] == ["sent"]


def test_an_application_error_after_the_commit_lands_in_the_error_queue(rig: Rig) -> None:
    engine = rig.engine(rig.channel({"acknowledgment": "application"}))
    rig.ris.refusal = Hl7Error("ORC-2 is empty.")
    rig.send(engine, rig.adt())
    assert engine.wait_until_sent()
    [error] = engine.errors()
    assert error[9] == "AE ORC-2 is empty."


def test_a_commit_without_the_application_acknowledgment_is_an_error_and_not_repeated(
    rig: Rig,
) -> None:
    def forgetful(connection: socket.socket) -> None:
        [message] = rig.read(connection, 1)
        rig.acknowledge(connection, message, "CA")
        assert connection.recv(1) == b""

    engine = rig.engine(rig.channel({"acknowledgment": "application", "timeout": 0.2}))
    with rig.scripted(forgetful):
        rig.send(engine, rig.adt())
        assert engine.wait_until_sent()
        rig.stop(engine)
    engine = rig.engine()
    [error] = engine.errors()
    assert error[9] == "CA, but no application acknowledgment came"


def test_a_sender_in_the_enhanced_mode_gets_commit_and_application_acknowledgment(
    rig: Rig,
) -> None:
    engine = rig.engine()
    commit, application = rig.send(engine, rig.adt(mode=("AL", "AL")), count=2)
    assert (commit["MSA-1"], commit["MSA-2"]) == ("CA", "1")
    assert (application["MSA-1"], application["MSA-2"]) == ("AA", "1")
    assert commit.control_id != application.control_id


def test_a_message_that_no_channel_takes_is_a_commit_reject(rig: Rig) -> None:
    engine = rig.engine(rig.channel(sender="LAB"))
    [ack] = rig.send(engine, rig.adt(mode=("AL", "AL")))
    assert ack["MSA-1"] == "CR"
