"""Broken HL7 messages in broken frames (MLLP: HL7 v2.5.1 appendix C), to every interface."""

from __future__ import annotations

import socket
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count

import pytest
from conftest import Watch
from mutation import Mutator, rounds

from labsim import Hospital
from labsim.wire.hl7 import Message

SYSTEMS = ("his", "ris", "engine", "pacs")
BATCH = 50
MOST_GROWTH = 40.0  # MB, over all inputs
START, END = b"\x0b", b"\x1c\r"
TOKENS = (
    START,
    END,
    b"\x1c",
    b"\r",
    b"\n",
    b"\r\n",
    b"|",
    b"^",
    b"~",
    b"\\",
    b"&",
    b"\\X0d\\",
    b"\\.br\\",
    b'""',
    b"MSH|",
    b"PID|",
    b"ORC|",
    b"OBR|",
    b"MSA|AA|",
    b"UNICODE UTF-8",
    b"8859/1",
    b"UNICODE",
    b"\xff\xfe",
    b"\xe4",
    b"\x00",
    b"9" * 400,
    b"ADT^A08",
    b"ADT^A40",
    b"ORM^O01",
    b"ORU^R01",
    b"ACK",
    b"|AL|NE|",
)


@pytest.fixture(scope="module")
def messages(community: Hospital) -> dict[str, list[bytes]]:
    """Return what each system received in the course of an exam."""
    exam = community.exam()
    assert exam.complete, exam.problem
    community.settle()
    found = defaultdict(list)
    for event in community.journal.events(kind="hl7"):
        if event.detail["direction"] == "received" and "acknowledges" not in event.detail:
            text = community.journal.payload(event)["hl7"]
            found[event.source].append(text.encode())
    return found


def talk(port: int, data: bytes) -> tuple[int, bytes]:
    """Say it, hear what is answered until the other side is done; return the port it came from."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        own = int(line.getsockname()[1])
        line.settimeout(20)
        with suppress(ConnectionError):  # it may hang up at once
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            while piece := line.recv(65536):
                heard += piece
    return own, heard


@pytest.mark.parametrize("system", SYSTEMS)
def test_broken_messages_are_refused_or_kept_and_the_journal_has_each(
    community: Hospital, watch: Watch, messages: dict[str, list[bytes]], system: str
) -> None:
    valid = messages[system]
    assert valid, f"nothing was recorded of {system}"
    port = watch.endpoint(system, "mllp").local.port
    mutator, numbers = Mutator(f"HL7 {system}", TOKENS, valid), count(1)

    def broken() -> bytes:
        """A message with a control ID of its own; it or its frame is broken."""
        fields = mutator.random.choice(valid).split(b"|")
        fields[9] = f"FUZZ{next(numbers):08d}".encode()
        message = b"|".join(fields)
        if mutator.random.random() < 0.8:
            return START + mutator.mutate(message) + END
        return mutator.mutate(START + message + END)

    def batch(size: int) -> None:
        last = community.journal.last()
        after = last.seq if last else 0
        with ThreadPoolExecutor(8) as callers:
            inputs = [broken() for _ in range(size)]
            said = list(callers.map(lambda data: talk(port, data), inputs))
        events = [e for e in community.journal.all() if e.seq > after and e.source == system]
        refused = {
            int(e.peer.rpartition(":")[2] or 0)
            for e in events
            if e.kind == "error" and ":" in e.peer
        }
        acks = [e for e in events if e.detail.get("acknowledges") is not None]
        received = {
            e.keys.get("control_id", "")
            for e in events
            if e.kind == "hl7" and e.detail["direction"] == "received"
        }
        answers, untold = 0, []
        for data, (own, heard) in zip(inputs, said, strict=True):
            found = [Message(m.lstrip(START).decode()) for m in heard.split(END) if m]
            answers += len(found)
            if not found and own not in refused:
                untold.append(data)
            for answer in found:
                assert answer["MSA-1"] in ("AA", "AE", "AR", "CA", "CE", "CR"), answer
                if answer["MSA-1"] in ("AA", "CA"):
                    assert answer["MSA-2"] in received, f"accepted, and nowhere: {answer}"
        # Some ask for no acknowledgment (MSH-15 and MSH-16), and some are empty.
        acknowledged = {ack.detail["acknowledges"] for ack in acks}
        silent = len([number for number in received if number not in acknowledged])
        silent += len([e for e in events if "nobody asked to be told" in e.summary])
        assert len(untold) <= silent, f"unanswered and untold: {untold}"
        unreadable = [e for e in events if "message refused" in e.summary]
        assert len(acks) + len(unreadable) >= answers, "an answer is not in the journal"
        own, heard = talk(port, START + mutator.random.choice(valid) + END)  # it goes on
        assert b"MSA|" in heard

    batch(BATCH)
    watch.begin()
    before = watch.memory()
    for _ in range(0, rounds(300), BATCH):
        batch(BATCH)
    assert community.settle(20)
    watch.check()
    assert watch.memory() - before < MOST_GROWTH
