"""The journal: written once, read back, never in the way of the systems."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import NotFound
from labsim.journal import Event, Journal

START = datetime(2026, 3, 1, 8)
Open = Callable[[], Journal]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def reopen(tmp_path: Path, clock: ManualClock) -> Iterator[Open]:
    """Open the journal of one folder, as often as a hospital is started there."""
    opened: list[Journal] = []

    def make() -> Journal:
        for earlier in opened:
            earlier.close()
        opened.append(Journal(tmp_path, clock))
        return opened[-1]

    yield make
    for journal in opened:
        journal.close()


@pytest.fixture
def journal(reopen: Open) -> Journal:
    return reopen()


def test_events_are_numbered_from_one(journal: Journal) -> None:
    assert [journal.record("ris", "state", "x").seq for _ in range(3)] == [1, 2, 3]


def test_an_event_bears_the_hospitals_time_and_the_machines(
    journal: Journal, clock: ManualClock
) -> None:
    clock.advance(timedelta(hours=1))
    event = journal.record("ris", "state", "x")
    assert event.hospital_time == "2026-03-01T09:00:00.000"
    written = datetime.fromisoformat(event.wall_time)
    assert timedelta() <= datetime.now() - written < timedelta(minutes=1)


def test_keys_without_a_value_are_left_out(journal: Journal) -> None:
    event = journal.record("ris", "state", "x", keys={"accession": "A1", "visit": ""})
    assert event.keys == {"accession": "A1"}


def test_a_peer_is_shown_by_the_name_of_its_system(journal: Journal) -> None:
    journal.name("CT1_AE", "ct1")
    assert journal.record("pacs", "dimse", "x", peer="CT1_AE").peer == "ct1"
    assert journal.record("pacs", "dimse", "x", peer="STRANGER").peer == "STRANGER"


def test_the_direction_decides_who_is_sender_and_who_receiver(journal: Journal) -> None:
    sent = journal.record("ris", "hl7", "x", peer="pacs", detail={"direction": "sent"})
    received = journal.record("pacs", "hl7", "x", peer="ris", detail={"direction": "received"})
    assert (sent.sender, sent.receiver) == (received.sender, received.receiver) == ("ris", "pacs")


def test_events_are_narrowed_down_by_what_they_carry(journal: Journal) -> None:
    journal.record("ris", "hl7", "1", transaction="RAD-4", keys={"accession": "A1"})
    journal.record("ris", "state", "2", keys={"accession": "A1"})
    journal.record("pacs", "hl7", "3", transaction="RAD-4", keys={"accession": "A2"})

    def found(**wanted: str) -> list[str]:
        return [event.summary for event in journal.events(**wanted)]  # type: ignore[arg-type]

    assert found() == ["1", "2", "3"]
    assert found(source="ris") == ["1", "2"]
    assert found(kind="hl7") == ["1", "3"]
    assert found(transaction="RAD-4", accession="A2") == ["3"]
    assert found(accession="A1") == ["1", "2"]
    assert [event.summary for event in journal.events(after=1)] == ["2", "3"]


def test_what_a_trainer_does_stays_out_of_views(journal: Journal) -> None:
    journal.record("ris", "state", "seen", keys={"accession": "A1"})
    with journal.hidden():
        journal.record("trainer", "state", "secret", keys={"accession": "A1"})
    journal.record("ris", "state", "seen too", keys={"accession": "A1"})
    assert [event.summary for event in journal.events()] == ["seen", "seen too"]
    assert [event.summary for event in journal.exam("A1")] == ["seen", "seen too"]
    assert [event.summary for event in journal.all()] == ["seen", "secret", "seen too"]


def test_what_another_thread_does_meanwhile_is_not_hidden(journal: Journal) -> None:
    with journal.hidden():
        thread = threading.Thread(target=journal.record, args=("ris", "state", "seen"))
        thread.start()
        thread.join(5)
    assert [event.summary for event in journal.events()] == ["seen"]


def test_hiding_ends_with_an_error(journal: Journal) -> None:
    with pytest.raises(ZeroDivisionError), journal.hidden():
        raise ZeroDivisionError
    assert not journal.record("ris", "state", "x").hidden


def test_hidden_events_are_still_hidden_after_reopening(reopen: Open) -> None:
    journal = reopen()
    with journal.hidden():
        journal.record("trainer", "state", "secret")
    assert list(reopen().events()) == []


def test_subscribers_hear_every_event_until_they_end_it(journal: Journal) -> None:
    heard: list[int] = []
    end = journal.subscribe(lambda event: heard.append(event.seq))
    journal.record("ris", "state", "x")
    journal.record("ris", "state", "x")
    end()
    journal.record("ris", "state", "x")
    assert heard == [1, 2]


def test_a_subscriber_that_raises_harms_nobody(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []

    def broken(event: Event) -> None:
        raise RuntimeError("broken viewer")

    journal.subscribe(broken)
    journal.subscribe(lambda event: heard.append(event.seq))
    with caplog.at_level(logging.ERROR, "labsim.journal"):
        journal.record("ris", "state", "x")
    assert heard == [1]
    assert "broken viewer" in caplog.text


def test_a_subscriber_may_end_its_own_subscription(journal: Journal) -> None:
    heard: list[int] = []

    def once(event: Event) -> None:
        heard.append(event.seq)
        end()

    end = journal.subscribe(once)
    journal.record("ris", "state", "x")
    journal.record("ris", "state", "x")
    assert heard == [1]


def test_waiting_finds_what_happened_already(journal: Journal) -> None:
    journal.record("ris", "state", "x")
    found = journal.wait_for(lambda event: event.summary == "x", 0)
    assert found is not None
    assert found.seq == 1


def test_waiting_ends_when_another_thread_writes(journal: Journal) -> None:
    looking = threading.Event()

    def test(event: Event) -> bool:
        looking.set()
        return event.summary == "wanted"

    journal.record("ris", "state", "first")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(journal.wait_for, test, 20)
        assert looking.wait(5)
        written = journal.record("ris", "state", "wanted")
        assert future.result(5) == written


def test_waiting_is_bounded(journal: Journal) -> None:
    assert journal.wait_for(lambda event: True, 0.01) is None


def test_waiting_can_begin_after_an_event(journal: Journal) -> None:
    first, second = (journal.record("ris", "state", "x") for _ in range(2))
    assert journal.wait_for(lambda event: True, 0, after=first.seq) == second
    assert journal.wait_for(lambda event: True, 0, after=second.seq) is None


def test_many_threads_write_whole_lines_in_order(reopen: Open) -> None:
    journal = reopen()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: journal.record("ris", "state", f"é{n}" * 200), range(200)))
    lines = journal.path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, 201))
    assert len(reopen().all()) == 200


def test_each_event_is_on_disk_when_record_returns(journal: Journal) -> None:
    event = journal.record("ris", "hl7", "x", payload={"hl7": "MSH"})
    (line,) = journal.path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["summary"] == "x"
    payloads = (journal.path.parent / "payloads.jsonl").read_bytes()
    assert event.payload is not None
    assert json.loads(payloads[event.payload :]) == {"hl7": "MSH"}


def test_payloads_come_back_as_they_were(journal: Journal) -> None:
    bodies = [{"hl7": "MSH|^~\\&|\r"}, {"hl7": "Møller \U0001f9b4\n\u2028"}, {"dicom": "AAA="}]
    events = [journal.record("ris", "hl7", "x", payload=body) for body in bodies]
    assert [journal.payload(event) for event in reversed(events)] == bodies[::-1]
    assert journal.payload(journal.record("ris", "hl7", "x", payload={"n": 1})) == {"n": 1}


def test_an_event_without_a_message_says_so(journal: Journal) -> None:
    with pytest.raises(NotFound, match="carries no message"):
        journal.payload(journal.record("ris", "state", "step begun"))


def test_a_message_asked_for_too_late_is_an_error_with_words(journal: Journal) -> None:
    event = journal.record("ris", "hl7", "x", payload={"hl7": "MSH"})
    journal.close()
    with pytest.raises(NotFound, match="closed"):
        journal.payload(event)


def test_events_and_payloads_are_there_after_reopening(reopen: Open) -> None:
    journal = reopen()
    written = journal.record(
        "ris",
        "hl7",
        "ORM^O01",
        peer="pacs",
        transaction="RAD-4",
        keys={"accession": "A1"},
        detail={"direction": "sent", "n": 3},
        payload={"hl7": "MSH"},
    )
    again = reopen()
    assert again.all() == [written]
    assert again.payload(again.all()[0]) == {"hl7": "MSH"}
    assert list(again.exam("A1")) == [written]
    assert again.record("ris", "state", "x").seq == 2


@pytest.mark.parametrize(
    "half", [b'{"seq": 3, "wall_ti', b'{"seq": 3, "summary": "M\xc3', b"\0\0\0", b"[]", b"{}"]
)
def test_half_a_line_at_the_end_costs_that_line_only(
    reopen: Open, half: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    journal = reopen()
    journal.record("ris", "state", "first")
    journal.record("ris", "state", "second")
    with journal.path.open("ab") as file:
        file.write(half)
    with caplog.at_level(logging.WARNING, "labsim.journal"):
        again = reopen()
    assert "line 3" in caplog.text
    assert [event.summary for event in again.all()] == ["first", "second"]
    third = again.record("ris", "state", "third")
    assert reopen().all()[-1] == third


def test_a_damaged_line_in_the_middle_does_not_disturb_the_numbers(reopen: Open) -> None:
    journal = reopen()
    for name in ("first", "second", "third"):
        journal.record("ris", "state", name)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + b"####\n" + lines[2])
    again = reopen()
    fourth = again.record("ris", "state", "fourth")
    assert [event.seq for event in again.all()] == [1, 3, 4]
    assert again.wait_for(lambda event: True, 0, after=3) == fourth


def test_half_a_payload_does_not_spoil_the_next(reopen: Open) -> None:
    journal = reopen()
    first = journal.record("ris", "hl7", "x", payload={"hl7": "first"})
    with (journal.path.parent / "payloads.jsonl").open("ab") as file:
        file.write(b'{"hl7": "sec')
    again = reopen()
    third = again.record("ris", "hl7", "x", payload={"hl7": "third"})
    assert again.payload(first) == {"hl7": "first"}
    assert again.payload(third) == {"hl7": "third"}


def test_a_last_word_after_the_end_is_kept_in_memory(journal: Journal) -> None:
    journal.close()
    event = journal.record("ris", "state", "x", payload={"hl7": "MSH"})
    assert journal.all() == [event]
    assert journal.path.read_bytes() == b""


def test_an_exam_is_found_by_its_accession_number_only(journal: Journal) -> None:
    journal.record("ris", "state", "x", keys={"accession": "A1"})
    with pytest.raises(NotFound, match="'A2'"):
        journal.exam("A2")


def test_two_orders_of_one_patient_are_told_apart(hospital: Hospital) -> None:
    patient = hospital.his.register_patient()
    first, second = (hospital.his.place_order(patient.patient_id) for _ in range(2))
    exams = [hospital.ris.schedule(order.placer_order) for order in (first, second)]
    for own, foreign, procedure in ((first, second, exams[0]), (second, first, exams[1])):
        events = hospital.journal.exam(procedure.accession)
        placers = {event.keys.get("placer_order") for event in events}
        assert own.placer_order in placers
        assert foreign.placer_order not in placers
        assert {event.keys.get("accession") for event in events} == {None, procedure.accession}
        assert [step.transaction for step in events.steps()] == [
            "RAD-1",
            "RAD-2",
            "RAD-3",
            "RAD-4",
        ]
        assert [step.messages for step in events.steps()] == [1, 1, 1, 1]


def test_each_pair_of_systems_has_a_step_of_its_own(journal: Journal) -> None:
    journal.record("ris", "state", "scheduled", keys={"accession": "A1", "study_uid": "1.2"})
    for sender in ("ct1", "ct1", "ai"):
        journal.record(
            *(sender, "dimse", "C-STORE-RQ"),
            peer="pacs",
            transaction="RAD-8",
            keys={"study_uid": "1.2"},
            detail={"direction": "sent", "request": True},
        )
    steps = journal.exam("A1").steps()
    assert [(s.sender, s.receiver, s.messages) for s in steps] == [
        ("ct1", "pacs", 2),
        ("ai", "pacs", 1),
    ]
