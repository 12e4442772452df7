"""Broken PDUs of the DICOM upper layer (PS3.8 9.3), to every kind of system."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from conftest import DICOM, Watch
from conversations import TOKENS, Conversation, recorded
from mutation import Mutator, rounds

from labsim import Hospital
from labsim.imaging.ct import PROTOCOLS

SYSTEMS = ("pacs", "ris", "ct1", "ai", "ws1")
BATCH = 50
MOST_GROWTH = 40.0  # MB, over all inputs


@pytest.fixture(scope="module")
def conversations(community: Hospital) -> dict[str, list[Conversation]]:
    """Return what was said to each system in the course of an exam, and by the desk."""
    with pytest.MonkeyPatch.context() as patch:
        for part, protocol in list(PROTOCOLS.items()):
            patch.setitem(PROTOCOLS, part, replace(protocol, slices=2, size=32))
        with recorded() as said:
            exam = community.exam()
            assert exam.complete, exam.problem
            desk = community.tools
            assert exam.procedure is not None
            for system in SYSTEMS:
                desk.echoscu(system)
            desk.findscu("pacs", PatientID="*")
            desk.movescu(exam.procedure.study_uid)
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
        elif event.kind == "error" and "without an association request" in event.summary:
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
        ports = [played[(number + n) % len(played)].broken(mutator).play() for n in range(count)]
        watch.quiet()
        watch.echo(system)
        told = watch.comes_true(lambda: not settled(community, system, after, ports), 5)
        assert told, settled(community, system, after, ports)[:5]

    batch(0, BATCH // 2)
    watch.begin()
    before = watch.memory()
    for start in range(0, rounds(250), BATCH):
        batch(start, BATCH)
        watch.check()
    assert watch.memory() - before < MOST_GROWTH
