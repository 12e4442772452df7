"""What the engine acknowledges it has, and what it has it sends on, in order and once."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
import textwrap
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import labsim
from labsim import Hospital
from labsim.errors import Hl7Error
from labsim.wire.hl7 import Message
from labsim.wire.network import Address

if TYPE_CHECKING:
    from labsim.systems.engine import Engine
    from tests.systems.engine.conftest import Rig

ROOT = Path(labsim.__file__).parents[1]


def states(engine: Engine) -> list[str]:
    return [row[7] for row in engine.messages()]


def test_a_message_goes_on_to_its_destination(rig: Rig) -> None:
    engine = rig.engine()
    [ack] = rig.send(engine, rig.adt())
    assert (ack["MSA-1"], ack["MSA-2"]) == ("AA", "1")
    assert engine.wait_until_sent()
    assert rig.ris.taken[0].text == rig.adt().text  # MSH-10 and all
    assert states(engine) == ["sent"]


def test_what_is_acknowledged_is_committed_to_disk(rig: Rig) -> None:
    rig.ris.stop()
    engine = rig.engine()
    rig.send(engine, rig.adt())
    with sqlite3.connect(engine.db.path) as other:
        (found,) = other.execute("SELECT raw FROM messages").fetchall()
    other.close()
    assert found[0] == rig.adt().encode()


def test_many_messages_on_one_connection_are_each_answered_and_sent_in_order(rig: Rig) -> None:
    engine = rig.engine()
    numbers = [str(n) for n in range(150)]  # more than one batch
    acks = rig.send(engine, *map(rig.adt, numbers))
    assert [(ack["MSA-1"], ack["MSA-2"]) for ack in acks] == [("AA", n) for n in numbers]
    assert engine.wait_until_sent(20)
    assert rig.ris.control_ids == numbers


def test_the_connection_to_a_destination_stays_open(rig: Rig) -> None:
    came: list[Message] = []

    def act(connection: object) -> None:
        for _ in range(3):
            [message] = rig.read(connection, 1)
            came.append(message)
            rig.acknowledge(connection, message)

    engine = rig.engine()
    with rig.scripted(act):
        rig.send(engine, *map(rig.adt, "123"))
        assert engine.wait_until_sent()
    assert [message.control_id for message in came] == ["1", "2", "3"]


def test_what_waits_for_a_receiver_that_is_down_comes_in_order_when_it_is_up(rig: Rig) -> None:
    rig.ris.stop()
    engine = rig.engine()
    acks = rig.send(engine, *map(rig.adt, "123"))
    assert [ack["MSA-1"] for ack in acks] == ["AA"] * 3
    assert states(engine) == ["queued"] * 3
    rig.ris.start()
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["1", "2", "3"]
    assert states(engine) == ["sent"] * 3


def test_a_receiver_that_restarts_gets_the_next_message_on_a_new_connection(rig: Rig) -> None:
    engine = rig.engine()
    rig.send(engine, rig.adt("1"))
    assert engine.wait_until_sent()
    rig.ris.stop()
    rig.ris.start()
    rig.send(engine, rig.adt("2"))
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["1", "2"]


def test_one_destination_that_is_down_holds_up_no_other(rig: Rig) -> None:
    channel = rig.channel()
    away = channel["destinations"][0] | {"name": "away", "host": "away"}
    channel["destinations"].insert(0, away)
    engine = rig.engine(channel)
    rig.send(engine, rig.adt())
    found = rig.journal.wait_for(lambda e: "ACK AA for 1" in e.summary and e.source == "ris", 5)
    assert found is not None
    assert rig.ris.control_ids == ["1"]
    assert states(engine) == ["queued"]


def test_a_stopped_engine_goes_on_where_it_was(rig: Rig) -> None:
    rig.ris.stop()
    engine = rig.engine()
    rig.send(engine, *map(rig.adt, "12"))
    rig.stop(engine)
    rig.ris.start()
    engine = rig.engine()
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["1", "2"]


def test_nothing_acknowledged_is_lost_when_the_engine_is_killed(tmp_path: Path) -> None:
    script = """
        import os, sys
        from labsim import Hospital
        from labsim.wire.network import Address
        hospital = Hospital(site="community", path=sys.argv[1]).start()
        hospital.network.withdraw(Address("ris", 2575))
        hospital.his.register_patient("Doe^Jane")  # returns when the engine has said AA
        os._exit(9)
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (killed.returncode, killed.stderr) == (9, "")
    with Hospital(site="community", path=tmp_path) as hospital:
        assert hospital.settle()
        assert hospital.ris.patient("P000001").name == "Doe^Jane"
        came = [
            event
            for event in hospital.journal.events(source="ris", kind="hl7")
            if event.detail.get("request")
        ]
        assert len(came) == 1


def test_a_message_in_another_character_set_arrives_byte_for_byte(rig: Rig) -> None:
    engine = rig.engine()
    text = rig.adt(name="Møller^Åse").text.replace("UNICODE UTF-8", "8859/1")
    [ack] = rig.send(engine, text.encode("iso8859-1"))
    assert ack["MSA-1"] == "AA"
    assert engine.wait_until_sent()
    assert rig.ris.taken[0]["PID-5"] == "Møller^Åse"
    assert engine.message(1).data == text.encode("iso8859-1")
    assert len(engine.messages(text="Møller")) == 1


def test_undeclared_bytes_are_refused_and_not_kept(rig: Rig) -> None:
    engine = rig.engine()
    text = rig.adt(name="Møller").text.replace("UNICODE UTF-8", "")
    [ack] = rig.send(engine, text.encode("iso8859-1"))
    assert ack["MSA-1"] == "AE"
    assert len(engine.messages()) == 0


def test_what_no_channel_takes_is_rejected(rig: Rig) -> None:
    engine = rig.engine(rig.channel(sender="LAB"))
    [ack] = rig.send(engine, rig.adt())
    assert (ack["MSA-1"], ack["MSA-3"]) == ("AR", "No channel takes ADT^A04 of 'HIS' for 'RIS'.")
    [ack] = rig.send(engine, rig.adt("2", "ORU^R01"))
    assert ack["MSA-1"] == "AR"
    assert len(engine.messages()) == 0


def test_one_that_cannot_be_taken_does_not_harm_the_others_of_its_batch(rig: Rig) -> None:
    engine = rig.engine()
    acks = rig.send(engine, rig.adt("1"), b"PID|1\r", rig.adt(""), rig.adt("4"))
    assert [ack["MSA-1"] for ack in acks] == ["AA", "AR", "AR", "AA"]
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["1", "4"]


def test_a_store_that_fails_is_told_to_the_sender(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = rig.engine()

    def full(*args: object, **kwargs: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(engine._store, "queue", full)  # after the message was written
    [ack] = rig.send(engine, rig.adt())
    assert ack["MSA-1"] == "AE"
    assert "disk is full" in ack["MSA-3"]
    assert len(engine.messages()) == 0


def test_a_queue_goes_on_after_its_store_failed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labsim.systems.engine.queues._STORE_RETRY", 0.05)
    engine = rig.engine()
    settle, failures = engine._store.settle, [sqlite3.OperationalError("disk is full")]

    def fail_once(*args: object) -> None:
        if failures:
            raise failures.pop()
        settle(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(engine._store, "settle", fail_once)
    rig.send(engine, rig.adt())
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["1", "1"]  # rather twice than not at all
    assert rig.journal.wait_for(lambda e: "disk is full" in e.summary, 1) is not None


def test_the_refusal_of_a_receiver_lands_in_the_error_queue(rig: Rig) -> None:
    engine = rig.engine()
    rig.ris.refusal = Hl7Error("PID-3 is unknown.", code="AE")
    [ack] = rig.send(engine, rig.adt("1"))
    assert ack["MSA-1"] == "AA"  # the engine has it; what the RIS thinks comes later
    assert engine.wait_until_sent()
    [error] = engine.errors()
    assert (error[7], error[9]) == ("error", "AE PID-3 is unknown.")
    rig.ris.refusal = None
    rig.send(engine, rig.adt("2"))
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["2"]


def test_attempts_may_be_limited(rig: Rig) -> None:
    rig.ris.stop()
    engine = rig.engine(rig.channel({"attempts": 3}))
    rig.send(engine, rig.adt())
    assert engine.wait_until_sent()
    [error] = engine.errors()
    assert "nothing listens" in error[9] or "No host" in error[9]
    (delivery,) = engine.message(1).deliveries()
    assert delivery[1:3] == ["error", 3]


def test_a_receiver_that_never_answers_leaves_the_message_in_the_queue(
    rig: Rig, silent_port: int
) -> None:
    rig.ris.stop()
    rig.network.publish(Address("ris", 2575), silent_port, "ris")
    engine = rig.engine(rig.channel({"timeout": 0.1}))
    rig.send(engine, rig.adt())
    found = rig.journal.wait_for(lambda e: "no acknowledgment within 0.1 s" in e.summary, 5)
    assert found is not None
    assert found.peer == "ris"
    assert states(engine) == ["queued"]


def test_a_pause_between_messages_is_kept(rig: Rig) -> None:
    engine = rig.engine(rig.channel({"pause": 0.1}))
    rig.send(engine, *map(rig.adt, "123"))
    assert engine.wait_until_sent()
    came = [
        event
        for event in rig.journal.events(source="ris", kind="hl7")
        if event.detail.get("request")
    ]
    times = [datetime.fromisoformat(event.wall_time) for event in came]
    assert all((b - a).total_seconds() > 0.09 for a, b in itertools.pairwise(times))
