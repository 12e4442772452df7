"""Channels at work, and changed while they work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labsim.errors import ConfigurationError, NotFound
from labsim.wire.hl7 import segment

if TYPE_CHECKING:
    from labsim.systems.engine import Engine
    from tests.systems.engine.conftest import Rig


def states(engine: Engine) -> list[str]:
    return [row[7] for row in engine.messages()]


def order(code: str) -> str:
    return segment("OBR", {4: f"{code}^Thorax^LOCAL", 18: "A1"})


def test_a_filter_keeps_back_what_is_not_wanted(rig: Rig) -> None:
    engine = rig.engine(rig.channel(filter=['PV1-2 != "E"', 'MSH-9 in ["ADT^A04"]']))
    acks = rig.send(engine, rig.adt("1", patient_class="E"), rig.adt("2"), rig.adt("3", "ADT^A08"))
    assert [ack["MSA-1"] for ack in acks] == ["AA"] * 3  # taken, not wanted
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["2"]
    assert states(engine) == ["filtered", "sent", "filtered"]
    assert engine.messages(state="filtered").rows[0][9] == 'PV1-2 != "E"'


def test_steps_are_done_in_order_and_leave_the_rest_as_it_came(rig: Rig) -> None:
    steps = [
        {"set": "MSH-12", "to": "2.5.1"},
        {"copy": "PID-3.1", "to": "PID-2"},
        {"set": "PID-2", "to": "again"},
        {"delete": "PV1-19"},
        {"delete": "ZDS"},
    ]
    engine = rig.engine(rig.channel({"application": "RIS2"}, steps=steps))
    sent = rig.adt("1", "ADT^A04", "ZDS|1.2.3", "OBX|1|TX|||a\\T\\b||||||F")
    rig.send(engine, sent)
    assert engine.wait_until_sent()
    expected = (
        sent.text.replace("|2.3.1|", "|2.5.1|")
        .replace("PID|||P1", "PID||again|P1")
        .replace("|V1\r", "|\r")
        .replace("ZDS|1.2.3\r", "")
        .replace("|RIS|", "|RIS2|")
    )
    assert rig.ris.taken[0].text == expected
    assert engine.message(1).raw.text == sent.text


def test_each_destination_gets_its_own(rig: Rig) -> None:
    channel = rig.channel({"application": "RIS"})
    second = {"name": "copy", "application": "COPY", "steps": [{"delete": "PV1"}]}
    channel["destinations"].append(channel["destinations"][0] | second)
    engine = rig.engine(channel)
    rig.send(engine, rig.adt())
    assert engine.wait_until_sent()
    stored = engine.message(1)
    assert {name: m["MSH-5"] for name, m in stored.transformed.items()} == {
        "ris": "RIS",
        "copy": "COPY",
    }
    assert sorted(m["MSH-5"] for m in rig.ris.taken) == ["COPY", "RIS"]
    assert "PV1" not in stored.transformed["copy"].text
    columns = stored.table().columns
    assert tuple(columns) == ("field", "name", "received", "to ris", "to copy")


def test_a_wrong_mapping_is_found_in_the_error_queue_mended_and_sent_again(rig: Rig) -> None:
    steps = [{"map": "OBR-4.1", "table": "codes"}]
    engine = rig.engine(rig.channel(steps=steps), codes={"CT-HEAD": "CTHEAD"})
    [ack] = rig.send(engine, rig.adt("1", "ORM^O01", order("CT-CHEST")))
    assert ack["MSA-1"] == "AA"
    [error] = engine.errors()
    assert error[9] == "OBR-4.1 'CT-CHEST' is not in the lookup table 'codes'."
    engine.set_table("codes", {"CT-CHEST": "CTTHORAX"})
    assert dict(engine.lookup("codes").rows)["CT-CHEST"] == "CTTHORAX"
    copy = engine.resend(1)
    assert engine.wait_until_sent()
    assert rig.ris.taken[0]["OBR-4"] == "CTTHORAX^Thorax^LOCAL"
    assert states(engine) == ["resent", "sent"]
    assert engine.message(copy).origin == 1


def test_a_value_may_have_a_default_or_stay(rig: Rig) -> None:
    steps = [
        {"map": "OBR-4.1", "table": "codes", "default": "OTHER"},
        {"map": "PV1-2", "table": "classes", "keep_unknown": True},
    ]
    engine = rig.engine(rig.channel(steps=steps), codes={}, classes={"E": "EMER"})
    rig.send(engine, rig.adt("1", "ORM^O01", order("X")))
    assert engine.wait_until_sent()
    assert (rig.ris.taken[0]["OBR-4.1"], rig.ris.taken[0]["PV1-2"]) == ("OTHER", "O")


def test_what_a_step_makes_unwritable_is_an_error(rig: Rig) -> None:
    engine = rig.engine(rig.channel(steps=[{"set": "MSH-18", "to": "8859/1"}]))
    rig.send(engine, rig.adt(name="山田"))
    [error] = engine.errors()
    assert "is not in the character set of MSH-18 8859/1" in error[9]


def test_a_character_set_is_changed_with_its_declaration(rig: Rig) -> None:
    engine = rig.engine(rig.channel(steps=[{"set": "MSH-18", "to": "8859/1"}]))
    rig.send(engine, rig.adt(name="Møller"))
    assert engine.wait_until_sent()
    assert (rig.ris.taken[0]["MSH-18"], rig.ris.taken[0]["PID-5"]) == ("8859/1", "Møller")


def test_a_wrong_port_is_repaired_while_it_runs(rig: Rig) -> None:
    engine = rig.engine()
    destination = engine.channel("in").destination("ris")
    destination.change(port=2576, retry_every=60)
    rig.send(engine, rig.adt())
    assert rig.journal.wait_for(lambda e: "ris:2576 refused" in e.summary, 5) is not None
    destination.change(port=2575)  # tried again at once
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["1"]
    [noted, _] = [e.summary for e in rig.journal.events(source="engine", kind="state")]
    assert noted == "channel in: destination ris: port 2575 → 2576, retry_every 0.05 → 60"


def test_a_stopped_destination_keeps_what_comes(rig: Rig) -> None:
    engine = rig.engine()
    destination = engine.channel("in").destination("ris")
    destination.stop()
    assert not destination.running
    assert rig.send(engine, rig.adt())[0]["MSA-1"] == "AA"
    assert not engine.wait_until_sent(0.2)
    assert rig.ris.taken == []
    destination.start()
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["1"]


def test_a_stopped_channel_answers_nobody(rig: Rig) -> None:
    engine = rig.engine()
    channel = engine.channel("in")
    channel.stop()
    assert rig.send(engine, rig.adt()) == []  # the connection ends, the sender keeps it
    assert len(engine.messages()) == 0
    assert rig.journal.wait_for(lambda e: "Channel in is stopped" in e.summary, 1) is not None
    channel.start()
    assert rig.send(engine, rig.adt())[0]["MSA-1"] == "AA"


def test_changes_survive_a_restart(rig: Rig) -> None:
    engine = rig.engine(rig.channel(), codes={"A": "B"})
    engine.channel("in").change(filter=['PV1-2 == "I"'])
    engine.channel("in").destination("ris").stop()
    engine.set_table("codes", {"A": None, "C": "D"})
    rig.stop(engine)
    engine = rig.engine()
    assert engine.channel("in").spec.filter == ['PV1-2 == "I"']
    assert not engine.channel("in").destination("ris").running
    assert list(engine.lookup("codes").rows) == [("C", "D")]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"filter": ["PV1-2 ~ E"]}, "is no condition"),
        ({"steps": [{"sett": "PID-5"}]}, "exactly one of set, copy, map, delete"),
        ({"steps": [{"map": "PID-8", "table": "nowhere"}]}, "uses a table 'nowhere'"),
        ({"destinations": []}, "destinations"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_what_cannot_be_is_not_taken_over(rig: Rig, values: dict[str, object], words: str) -> None:
    engine = rig.engine()
    before = engine.channel("in").spec
    with pytest.raises(ConfigurationError, match=words):
        engine.channel("in").change(**values)
    assert engine.channel("in").spec == before


def test_a_port_that_cannot_be_is_refused(rig: Rig) -> None:
    engine = rig.engine()
    with pytest.raises(ConfigurationError, match=r"destinations\.0\.port"):
        engine.channel("in").destination("ris").change(port=70000)


def test_unknown_names_are_named(rig: Rig) -> None:
    engine = rig.engine()
    with pytest.raises(NotFound, match="no channel 'out'"):
        engine.channel("out")
    with pytest.raises(NotFound, match="no destination 'pacs'"):
        engine.channel("in").destination("pacs")
    with pytest.raises(NotFound, match="no lookup table 'codes'"):
        engine.lookup("codes")
    with pytest.raises(NotFound, match="no message 7"):
        engine.message(7)
    with pytest.raises(ConfigurationError, match="No message is 'lost'"):
        engine.messages(state="lost")


def test_a_channel_is_deployed_while_the_engine_runs(rig: Rig) -> None:
    engine = rig.engine(rig.channel(sender="LAB"))
    assert rig.send(engine, rig.adt())[0]["MSA-1"] == "AR"
    engine.deploy(rig.channel(name="second", sender="HIS"))
    assert rig.send(engine, rig.adt())[0]["MSA-1"] == "AA"
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["1"]


def test_a_repeated_message_is_acknowledged_and_not_sent_twice(rig: Rig) -> None:
    engine = rig.engine()
    for _ in range(2):
        assert rig.send(engine, rig.adt())[0]["MSA-1"] == "AA"
    acks = rig.send(engine, rig.adt(), rig.adt())  # in one batch as well
    assert [ack["MSA-1"] for ack in acks] == ["AA", "AA"]
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["1"]
    assert engine.message(1).repeats == 3
    assert engine.statistics().rows[0][2:4] == (1, 3)


def test_the_same_control_id_with_another_content_is_another_message(rig: Rig) -> None:
    engine = rig.engine()
    rig.send(engine, rig.adt(), rig.adt(name="Roe^Richard"))
    assert engine.wait_until_sent()
    assert [m["PID-5"] for m in rig.ris.taken] == ["Doe^Jane", "Roe^Richard"]
    engine.channel("in").change(compare="control id")
    rig.send(engine, rig.adt(name="Poe^Edgar"))
    assert len(engine.messages()) == 2


def test_recognition_ends_with_its_time_or_when_it_is_off(rig: Rig) -> None:
    from datetime import timedelta

    engine = rig.engine(rig.channel(remember_for=60))
    rig.send(engine, rig.adt())
    rig.clock.advance(timedelta(seconds=61))
    rig.send(engine, rig.adt())
    assert len(engine.messages()) == 2
    engine.channel("in").change(remember_for=0)
    rig.send(engine, rig.adt(), rig.adt())
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["1"] * 4


def test_a_channel_and_its_destination_can_be_read(rig: Rig) -> None:
    engine = rig.engine(rig.channel(filter=['PV1-2 != "E"'], steps=[{"delete": "ZDS"}]))
    text = str(engine.channel("in"))
    for words in ('PV1-2 != "E"', "delete ZDS", "ris:2575", "ADT^* RAD-1", "3600 s"):
        assert words in text
    assert "match_control_id" in str(engine.channel("in").destination("ris"))
    assert "<table" in engine.channel("in")._repr_html_()
