"""Broken PDUs of the DICOM upper layer (PS3.8 9.3), to every kind of system."""

from __future__ import annotations

import socket
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from conftest import DICOM, Watch
from conversations import TOKENS, Conversation, recorded
from mutation import Mutator, rounds

from labsim import Hospital

SYSTEMS = ("pacs", "ris", "ct1", "ai", "ws1")
BATCH = 50
MOST_GROWTH = 40.0  # MB, over all inputs


@pytest.fixture(scope="module")
def conversations(community: Hospital) -> dict[str, list[Conversation]]:
    """Return what was said to each system in the course of an exam, and by the desk."""
    with recorded() as said:
        exam = community.exam()
        assert exam.complete, exam.problem
        assert exam.procedure is not None
        for system in SYSTEMS:
            community.tools.echoscu(system)
        community.tools.findscu("pacs", PatientID="*")
        community.tools.movescu(exam.procedure.study_uid)
        community.settle()
    by_port = {e.local.port: e.system for e in community.endpoints() if e.protocol in DICOM}
    found = defaultdict(list)
    for conversation in said:
        found[by_port.get(conversation.port, "?")].append(conversation)
    images = next(c for c in found["pacs"] if len(c.pdus) > 5)
    for system in ("ai", "ws1"):
        place = next(e for e in community.endpoints() if e.system == system and e.protocol in DICOM)
        found[system].append(images.to(place.local.port, place.title, "PACS"))
    return found


_NO_REQUEST = ("without an association request", "did not finish a message")


def settled(hospital: Hospital, system: str, after: int, ports: list[int]) -> list[str]:
    """Return what the journal does not tell of connections: that they were, how they ended."""
    courses: dict[str, set[str]] = defaultdict(set)
    told: set[int] = set()
    for event in hospital.journal.all():
        if event.seq <= after or event.source != system:
            continue
        if event.kind == "association" and event.detail["direction"] == "received":
            name = event.keys["association"]
            courses[name].add(event.keys["message"].rpartition(" ")[2])
            told.add(int(name.partition("-")[0]))
        elif event.kind == "error" and any(words in event.summary for words in _NO_REQUEST):
            told.add(int(event.peer.rpartition(":")[2]))
    problems = [f"nothing of port {port}" for port in ports if port not in told]
    for name, course in courses.items():
        if "accepted" in course and not course & {"released", "aborted"}:
            problems.append(f"{name} has not ended: {course}")
    return problems


@pytest.mark.parametrize("system", SYSTEMS)
def test_broken_pdus_harm_nothing_and_each_connection_is_in_the_journal(
    community: Hospital,
    watch: Watch,
    conversations: dict[str, list[Conversation]],
    system: str,
) -> None:
    mutator = Mutator(f"PDU {system}", TOKENS, [p for c in conversations[system] for p in c.pdus])
    played = conversations[system]
    assert played, f"nothing was recorded of {system}"

    def batch(number: int, count: int) -> None:
        last = community.journal.last()
        after = last.seq if last else 0
        broken = [played[(number + n) % len(played)].broken(mutator) for n in range(count)]
        with ThreadPoolExecutor(8) as callers:
            ports = list(callers.map(Conversation.play, broken))
        watch.quiet()
        watch.echo(system)
        told = watch.comes_true(lambda: not settled(community, system, after, ports), 15)
        assert told, settled(community, system, after, ports)[:5]

    batch(0, BATCH // 2)
    watch.begin()
    before = watch.memory()
    for start in range(0, rounds(250), BATCH):
        batch(start, BATCH)
        watch.check()
    assert watch.memory() - before < MOST_GROWTH


def test_callers_that_stop_in_the_middle_hold_up_nobody_and_are_let_go(
    community: Hospital, watch: Watch, conversations: dict[str, list[Conversation]]
) -> None:
    mutator = Mutator("half open", TOKENS)
    watch.echo("pacs")
    watch.begin()
    last = community.journal.last()
    after = last.seq if last else 0
    ports = []
    with ExitStack() as lines:
        for conversation in conversations["pacs"] * 3:
            said = conversation.pdus[0]
            line = socket.create_connection(("127.0.0.1", conversation.port), 10)
            lines.enter_context(line)
            ports.append(int(line.getsockname()[1]))
            line.sendall(said[: mutator.random.randrange(len(said))])
        watch.echo("pacs")  # while they wait
        watch.check()  # none of them has hung up
    assert watch.comes_true(lambda: not settled(community, "pacs", after, ports), 15)
