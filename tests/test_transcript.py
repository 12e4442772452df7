"""Views of the journal."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from labsim.journal import Event
from labsim.transcript import EXAM_KEYS, Transcript, collect_exam

Write = Callable[..., Event]


@pytest.fixture
def write() -> Write:
    """Write events as a journal would number them."""
    numbers = itertools.count(1)

    def make(summary: str, source: str = "ris", peer: str = "", **rest: object) -> Event:
        names = (*EXAM_KEYS, "association", "message")
        keys = {name: str(rest.pop(name)) for name in names if name in rest}
        shape = {name: rest.pop(name, "") for name in ("kind", "transaction")}
        number = next(numbers)
        return Event(
            seq=number,
            wall_time="",
            hospital_time=f"2026-03-01T08:00:{number:02d}.000",
            source=source,
            peer=peer,
            keys=keys,
            summary=summary,
            detail=rest,
            **shape,  # type: ignore[arg-type]
        )

    return make


def exam_of(accession: str, events: list[Event]) -> list[str]:
    by_key: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        for key in event.keys.items():
            by_key.setdefault(key, []).append(event)
    return [event.summary for event in collect_exam(accession, by_key)]


def test_keys_lead_from_event_to_event_in_both_directions_of_time(write: Write) -> None:
    events = [
        write("registered", visit="V1"),
        write("ordered", visit="V1", placer_order="O1"),
        write("scheduled", placer_order="O1", accession="A1", study_uid="1.2"),
        write("stored", study_uid="1.2", sop_uid="1.2.3"),
        write("committed", commitment_uid="1.9"),
        write("asked", accession="A1", commitment_uid="1.9"),
    ]
    expected = ["registered", "ordered", "scheduled", "stored", "committed", "asked"]
    assert exam_of("A1", events) == expected


def test_another_exam_of_the_same_visit_is_left_out(write: Write) -> None:
    events = [
        write("registered", visit="V1"),
        write("ordered 1", visit="V1", placer_order="O1"),
        write("ordered 2", visit="V1", placer_order="O2"),
        write("scheduled 1", placer_order="O1", accession="A1", visit="V1"),
        write("scheduled 2", placer_order="O2", accession="A2", visit="V1"),
    ]
    assert exam_of("A1", events) == ["registered", "ordered 1", "scheduled 1"]
    assert exam_of("A2", events) == ["registered", "ordered 2", "scheduled 2"]


def test_what_bears_another_accession_number_is_of_another_exam(write: Write) -> None:
    events = [
        write("scheduled", accession="A1", study_uid="1.2"),
        write("stored", study_uid="1.2"),
        write("of another exam in the same study", accession="A2", study_uid="1.2"),
    ]
    assert exam_of("A1", events) == ["scheduled", "stored"]


def test_an_association_belongs_to_the_exam_that_it_was_about(write: Write) -> None:
    events = [
        write("accepted", association="1-2"),
        write("image of 1", association="1-2", accession="A1"),
        write("image of 2", association="1-2", accession="A2"),
        write("released", association="1-2"),
        write("another", association="3-4"),
    ]
    assert exam_of("A1", events) == ["accepted", "image of 1", "released"]


def test_a_message_seen_by_both_sides_is_shown_once(write: Write) -> None:
    sent = write("order", "his", "ris", kind="hl7", direction="sent", message="7")
    received = write("order", "ris", "his", kind="hl7", direction="received", message="7")
    assert list(Transcript([sent, received]).once()) == [received]


def test_a_message_that_never_arrived_is_shown_as_its_sender_wrote_it(write: Write) -> None:
    arrived = write("order", "ris", "his", kind="hl7", direction="received", message="7")
    lost = write("order", "his", "ris", kind="hl7", direction="sent", message="8")
    same_name = write("find", "ct1", "ris", kind="dimse", direction="sent", message="7")
    assert list(Transcript([arrived, lost, same_name]).once()) == [arrived, lost, same_name]


def test_steps_count_requests_and_tell_the_answers(write: Write) -> None:
    def request(source: str, peer: str, transaction: str) -> Event:
        detail = {"direction": "received", "request": True}
        return write("request", source, peer, transaction=transaction, **detail)

    def answer(source: str, peer: str, transaction: str, text: str) -> Event:
        detail = {"direction": "received", "answer": text}
        return write("answer", source, peer, transaction=transaction, **detail)

    ok, full = "0x0000 Success", "0xA700 Out of resources"
    events = [
        request("ris", "ct1", "RAD-5"),
        answer("ct1", "ris", "RAD-5", ok),
        *(request("pacs", "ct1", "RAD-8") for _ in range(3)),
        *(answer("ct1", "pacs", "RAD-8", text) for text in (ok, full, ok)),
        write("a note is no message", "pacs", transaction="RAD-8"),
    ]
    query, store = Transcript(events).steps()
    assert (query.transaction, query.name) == ("RAD-5", "Query Modality Worklist")
    assert (query.sender, query.receiver, query.messages) == ("ct1", "ris", 1)
    assert query.outcome == ok
    assert (store.sender, store.receiver, store.messages) == ("ct1", "pacs", 3)
    assert store.outcome == f"2 × {ok}, {full}"
    assert store.time == "2026-03-01T08:00:03.000"


def test_a_request_without_an_answer_says_so(write: Write) -> None:
    request = write(
        "order", "his", "ris", kind="hl7", transaction="RAD-2", direction="sent", request=True
    )
    (step,) = Transcript([request]).steps()
    assert step.outcome == "no answer"
    (line,) = Transcript([request]).journey()
    assert line[3] == "his → ris"
    assert line[5] == "no answer"


def test_equal_messages_of_an_association_share_a_line(write: Write) -> None:
    def store(number: int) -> Event:
        return write(
            f"C-STORE {number}",
            "pacs",
            "ct1",
            kind="dimse",
            direction="received",
            run="C-STORE",
            message=str(number),
        )

    events = [
        write("accepted", "pacs", "ct1", kind="association", direction="received", message="a"),
        store(1),
        store(2),
        write("accepted", "pacs", "ct1", kind="association", direction="received", message="b"),
        store(3),
    ]
    shown = [(row[5], row[6]) for row in Transcript(events).table()]
    assert shown == [("", "accepted"), (2, "C-STORE"), ("", "accepted"), ("", "C-STORE")]


def test_a_transcript_is_a_sequence(write: Write) -> None:
    events = [write(str(number)) for number in range(3)]
    transcript = Transcript(events)
    assert len(transcript) == 3
    assert transcript[0] is events[0]
    assert list(transcript[1:]) == events[1:]
    assert isinstance(transcript[1:], Transcript)


def test_terminal_and_notebook_show_the_same_table(write: Write) -> None:
    transcript = Transcript([write("study <announced>", kind="state")])
    assert "study <announced>" in str(transcript)
    assert repr(transcript) == str(transcript)
    assert "study &lt;announced&gt;" in transcript._repr_html_()


def test_nothing_happened_is_a_table_too() -> None:
    assert "0 events" in str(Transcript([]))
    assert len(Transcript([]).journey()) == 0


@pytest.fixture
def hop(write: Write) -> Callable[..., list[Event]]:
    """Write what both ends of a hop write of a message and its acknowledgment."""

    def make(control_id: str, sender: str, receiver: str, code: str = "AA") -> list[Event]:
        shape = {"kind": "hl7", "transaction": "RAD-2"}
        ack = {"answer": f"ACK {code}", "acknowledges": control_id}
        name = f"{receiver}-{control_id}"
        order = {"message": control_id, "request": True, **shape}
        return [
            write("order", sender, receiver, direction="sent", **order),
            write("order", receiver, sender, direction="received", **order),
            write("ack", receiver, sender, message=name, direction="sent", **ack, **shape),
            write("ack", sender, receiver, message=name, direction="received", **ack, **shape),
        ]

    return make


def test_a_message_that_is_passed_on_is_shown_once_on_each_hop(
    hop: Callable[..., list[Event]],
) -> None:
    transcript = Transcript([*hop("7", "his", "engine"), *hop("7", "engine", "ris")])
    shown = [(event.summary, event.sender, event.receiver) for event in transcript.once()]
    assert shown == [
        ("order", "his", "engine"),
        ("ack", "engine", "his"),
        ("order", "engine", "ris"),
        ("ack", "ris", "engine"),
    ]


def test_a_message_that_arrived_on_one_hop_and_was_lost_on_the_next_is_shown_on_both(
    hop: Callable[..., list[Event]],
) -> None:
    lost = hop("7", "engine", "ris")[0]
    shown = [event.receiver for event in Transcript([*hop("7", "his", "engine"), lost]).once()]
    assert shown == ["engine", "his", "ris"]


def test_a_step_goes_from_the_first_sender_to_the_last_receiver(
    hop: Callable[..., list[Event]],
) -> None:
    [step] = Transcript([*hop("7", "his", "engine"), *hop("7", "engine", "ris", "AE")]).steps()
    assert (step.sender, step.via, step.receiver) == ("his", ("engine",), "ris")
    assert (step.messages, step.outcome) == (1, "ACK AE")  # the engine's AA is not the last word
    [line] = Transcript([*hop("7", "his", "engine"), *hop("7", "engine", "ris")]).journey()
    assert line[3] == "his → engine → ris"


def test_a_step_ends_where_its_message_stays(hop: Callable[..., list[Event]]) -> None:
    [step] = Transcript(hop("7", "his", "engine")).steps()
    assert (step.way, step.outcome) == ("his → engine", "ACK AA")


def test_messages_of_one_step_are_counted_whether_they_are_passed_on_or_wait(
    hop: Callable[..., list[Event]],
) -> None:
    events = [
        *hop("7", "his", "engine"),
        *hop("8", "his", "engine"),
        *hop("7", "engine", "ris", "AE"),
        *hop("9", "ris", "pacs"),
    ]
    [step] = Transcript(events).steps()
    assert (step.way, step.messages) == ("his → engine → ris", 3)
    assert step.outcome == "2 × ACK AA, ACK AE"


def test_a_message_that_goes_round_in_a_circle_has_an_end(
    hop: Callable[..., list[Event]],
) -> None:
    events = [*hop("7", "his", "engine"), *hop("7", "engine", "ris"), *hop("7", "ris", "engine")]
    [step] = Transcript(events).steps()
    assert step.way == "his → engine → ris"
