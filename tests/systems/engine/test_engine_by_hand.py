"""What an administrator does with stored messages: search, look, edit, resend, delete, prune."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from labsim.errors import ConfigurationError, Hl7Error
from labsim.wire.hl7 import segment

if TYPE_CHECKING:
    from labsim.systems.engine import Engine
    from tests.systems.engine.conftest import Rig


def numbers(engine: Engine, **wanted: str) -> list[int]:
    return [row[0] for row in engine.messages(**wanted)]


def refused(rig: Rig, engine: Engine) -> None:
    """Let the RIS refuse one message."""
    rig.ris.refusal = Hl7Error("no", code="AR")
    rig.send(engine, rig.adt("bad"))
    assert engine.wait_until_sent()
    rig.ris.refusal = None


def test_messages_are_found_by_what_is_known_of_them(rig: Rig) -> None:
    engine = rig.engine(rig.channel(filter=['PV1-2 != "E"']))
    rig.send(engine, rig.adt("1", "ORM^O01", segment("OBR", {18: "A7"})))
    rig.clock.advance(timedelta(days=1))
    rig.send(engine, rig.adt("2", name="Roe^Richard"), rig.adt("3", patient_class="E"))
    assert engine.wait_until_sent()
    assert numbers(engine) == [1, 2, 3]
    assert numbers(engine, accession="A7") == [1]
    assert numbers(engine, patient="P2") == [2]
    assert numbers(engine, control_id="3") == [3]
    assert numbers(engine, state="filtered") == [3]
    assert numbers(engine, text="roe^rich") == [2]
    assert numbers(engine, since="2026-03-03") == [2, 3]
    assert numbers(engine, until="2026-03-02") == [1]
    assert numbers(engine, channel="in", state="sent", patient="P1") == [1]
    assert numbers(engine, patient="P1", accession="A8") == []
    assert [row[0] for row in engine.messages(limit=2)] == [2, 3]


def test_a_message_is_found_by_what_it_was_changed_to(rig: Rig) -> None:
    engine = rig.engine(rig.channel(steps=[{"set": "PV1-3", "to": "WARD 9"}]))
    rig.send(engine, rig.adt())
    assert numbers(engine, text="WARD 9") == [1]


def test_a_message_is_shown_field_by_field_as_it_came_and_as_it_goes(rig: Rig) -> None:
    engine = rig.engine(rig.channel(steps=[{"set": "PID-5", "to": "Roe^Jane"}]))
    rig.send(engine, rig.adt("1", "ADT^A04", "OBX|1", "OBX|2"))
    rows = {(row[0], row[2]): row for row in engine.message(1).table()}
    name = next(row for row in rows.values() if row[0] == "PID-5")
    assert tuple(name) == ("PID-5", "Patient Name", "Doe^Jane", "Roe^Jane")
    assert ("OBX-1", "1") in rows
    assert ("OBX-1", "2") in rows
    assert engine.message(1).caller == "HIS"


def test_an_edited_copy_is_sent_and_names_its_original(rig: Rig) -> None:
    engine = rig.engine()
    refused(rig, engine)
    copy = engine.resend(1, {"PID-5": "Møller^Åse", "PV1-3.1": "A&B"})
    assert engine.wait_until_sent()
    [taken] = rig.ris.taken
    assert (taken["PID-5"], taken["PV1-3"], taken.control_id) == ("Møller^Åse", "A&B", "bad")
    original, edited = engine.message(1), engine.message(copy)
    assert (original.state, original.raw["PID-5"]) == ("resent", "Doe^Jane")
    assert (edited.state, edited.origin) == ("sent", 1)
    assert len(engine.errors()) == 0


def test_a_message_is_sent_again_as_it_was_although_it_is_known(rig: Rig) -> None:
    engine = rig.engine()
    rig.send(engine, rig.adt())
    assert engine.wait_until_sent()
    copy = engine.resend(1)
    assert engine.wait_until_sent()
    assert [m.text for m in rig.ris.taken] == [rig.adt().text] * 2
    assert [engine.message(n).state for n in (1, copy)] == ["sent", "sent"]


def test_a_repeated_message_after_a_resend_is_still_recognised(rig: Rig) -> None:
    engine = rig.engine()
    rig.send(engine, rig.adt())
    engine.resend(1)
    rig.send(engine, rig.adt())
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["1", "1"]


@pytest.mark.parametrize(
    "changes",
    [{"PID": "x"}, {"MSH-1": "#"}, {"patient": "x"}, {"MSH-18": "ASCII", "PID-5": "Møller"}],
)
def test_an_edit_that_cannot_be_is_refused(rig: Rig, changes: dict[str, str]) -> None:
    engine = rig.engine()
    rig.send(engine, rig.adt())
    with pytest.raises(ConfigurationError):
        engine.resend(1, changes)
    assert numbers(engine) == [1]


def test_a_deleted_message_is_gone_and_never_sent(rig: Rig) -> None:
    engine = rig.engine()
    engine.channel("in").destination("ris").stop()
    rig.send(engine, rig.adt("1"), rig.adt("2"))
    engine.delete(1)
    engine.channel("in").destination("ris").start()
    assert engine.wait_until_sent()
    assert rig.ris.control_ids == ["2"]
    assert numbers(engine) == [2]
    assert len(engine.sql("SELECT * FROM deliveries WHERE message = 1")) == 0


def test_pruning_takes_what_is_done_with_and_old_and_nothing_else(rig: Rig) -> None:
    engine = rig.engine(rig.channel(filter=['PV1-2 != "E"']))
    rig.send(engine, rig.adt("old"), rig.adt("unwanted", patient_class="E"))
    assert engine.wait_until_sent()
    refused(rig, engine)
    engine.channel("in").destination("ris").stop()
    rig.send(engine, rig.adt("waiting"))
    rig.clock.advance(timedelta(days=8))
    rig.send(engine, rig.adt("new", patient_class="E"))
    before = engine.statistics().rows
    counts = dict(engine.prune(timedelta(days=7)).rows)
    assert counts == {"sent": 1, "filtered": 1, "resent": 0}
    assert [row[4] for row in engine.messages()] == ["bad", "waiting", "new"]
    assert engine.statistics().rows[0][2] == before[0][2] == 5  # what came, came
    assert dict(engine.prune(timedelta(days=7)).rows) == {"sent": 0, "filtered": 0, "resent": 0}


def test_statistics_tell_what_became_of_what_came(rig: Rig) -> None:
    engine = rig.engine(rig.channel(filter=['PV1-2 != "E"']))
    rig.send(engine, rig.adt("1"), rig.adt("1"), rig.adt("2", patient_class="E"))
    assert engine.wait_until_sent()
    refused(rig, engine)
    engine.channel("in").destination("ris").stop()
    rig.send(engine, rig.adt("3"))
    (row,) = engine.statistics()
    told = dict(zip(engine.statistics().columns, row, strict=True))
    mean = told.pop("mean ms")
    assert told == {
        "channel": "in",
        "is": "running",
        "received": 4,
        "repeated": 1,
        "transformed": 3,
        "filtered": 1,
        "queued": 1,
        "sent": 1,
        "error": 1,
        "resent": 0,
        "last message": "2026-03-02T10:30:00",
    }
    assert 0 <= mean < 5000
    assert engine.waiting() == 1
