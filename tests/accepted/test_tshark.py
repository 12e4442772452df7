"""tshark reads what passes through a hospital: whole exams, a fail-over, a firewall in the way."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.imaging.ct import PROTOCOLS
from labsim.wire.hl7 import Message

Peer = Callable[[str], Path]
# tshark finds by itself what is spoken at a port, but for 514, where it expects a remote shell.
_AUDIT = ("-d", "tcp.port==514,syslog")
_PROTOCOLS = ("dicom", "hl7", "http", "syslog")


@pytest.fixture(scope="module", autouse=True)
def few_images() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for part, protocol in list(PROTOCOLS.items()):
            patch.setitem(PROTOCOLS, part, replace(protocol, slices=4, size=32))
        yield


def tshark(peer: Peer, file: Path, only: str, *fields: str) -> list[str]:
    """Return a line for each packet that passes a display filter."""
    command = [str(peer("tshark")), "-2", *_AUDIT, "-r", str(file), "-Y", only, "-T", "fields"]
    command += ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    for field in fields or ["frame.number", "_ws.col.Info"]:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.splitlines()


def require_sound(peer: Peer, file: Path) -> None:
    """Nothing is malformed, lost or repeated; no checksum is wrong; no warning or error."""
    wrong = "tcp.checksum.status != 1 || ip.checksum.status != 1"
    # Warnings and errors; that a port refuses is what a test asks for itself.
    worse = "(_ws.expert.severity >= 0x00600000 && tcp.flags.reset == 0)"
    found = tshark(peer, file, f"_ws.malformed || tcp.analysis.flags || {wrong} || {worse}")
    assert found == []
    unknown = f"tcp.len > 0 && !({' || '.join(_PROTOCOLS)}) && !tcp.reassembled_in"
    assert tshark(peer, file, unknown) == []


def said(hospital: Hospital, after: int) -> Counter[str]:
    """Count the HL7 messages that the journal saw sent, by message type."""
    sent = [
        Message(hospital.journal.payload(event)["hl7"])
        for event in hospital.journal.events(kind="hl7", after=after)
        if event.detail["direction"] == "sent"
    ]
    return Counter(message["MSH-9.1"] for message in sent)


def heard(peer: Peer, file: Path) -> Counter[str]:
    lines = tshark(peer, file, "hl7", "hl7.message.type")
    return Counter(kind for line in lines for kind in line.split(","))


def test_the_exam_of_a_community_hospital(peer: Peer, tmp_path: Path) -> None:
    file = tmp_path / "exam.pcapng"
    with Hospital(seed=7, site="community") as hospital:
        before = hospital.journal.all()[-1].seq
        with hospital.capture(file):
            exam = hospital.exam("CTTHORAX", name="Müller^Jörg")
            assert exam.problem == ""
            hospital.his.update_patient(exam.patient.patient_id, sex="M")  # type: ignore[union-attr]
            token = hospital.pacs.tokens.issue("desk")
            found = hospital.tools.qido(f"/studies?AccessionNumber={exam.accession}", token)
            assert len(found.datasets) == 1
            assert hospital.settle(30)
        told = said(hospital, before)
    require_sound(peer, file)
    assert heard(peer, file) == told
    assert {"ADT", "ORM", "ORU", "ACK"} <= set(told)
    info = " ".join(tshark(peer, file, "dicom", "_ws.col.Info"))
    for verb in ("C-FIND", "C-STORE", "C-GET", "N-CREATE", "N-SET", "N-ACTION", "N-EVENT-REPORT"):
        assert f"{verb}-RQ" in info, verb
        assert f"{verb}-RSP" in info, verb
    assert info.count("C-STORE-RQ") >= 2 * len(exam.images)
    assert "A-ASSOCIATE reject" not in info
    assert "ABORT" not in info
    assert tshark(peer, file, "tcp.flags.reset == 1") == []
    assert tshark(peer, file, "http.request", "http.request.method") != []
    assert set(tshark(peer, file, "http.response", "http.response.code")) == {"200"}


def test_a_university_that_fails_over(peer: Peer, tmp_path: Path) -> None:
    file = tmp_path / "over.pcapng"
    with Hospital(seed=7, site="university") as hospital:
        assert hospital.settle(30)
        with hospital.capture(file):
            assert hospital.exam().problem == ""
            assert hospital.settle(30)
            hospital.lose("pacs")
            hospital.fail_over()
            exam = hospital.exam()
            assert exam.problem == ""
            assert hospital.settle(30)
        address = hospital.host(hospital.site.pacs.host).address
    require_sound(peer, file)
    stored = tshark(peer, file, "dicom.pdu.type == 1", "ip.dst")
    assert address in stored


@pytest.mark.parametrize("action", ["reject", "drop"])
def test_a_firewall_in_the_way(peer: Peer, tmp_path: Path, action: str) -> None:
    file = tmp_path / "wall.pcapng"
    with Hospital(seed=7, site="community") as hospital:
        wall = hospital.host("pacs").firewall
        with hospital.capture(file) as capture:
            wall.add(action, "ct1", 104)
            exam = hospital.exam()
            assert "sending of the images" in exam.problem
            wall.remove(1)
            assert hospital.ct.send().waiting == 0
            assert hospital.settle(30)
        last = [row[5] for row in capture.table() if row[:2] == ("ct1", "pacs:104")]
        assert last == ["refused" if action == "reject" else "dropped", "closed"]
        ends = [hospital.host(name).address for name in ("ct1", "pacs")]
    require_sound(peer, file)
    tried = f"ip.addr == {ends[0]} && ip.addr == {ends[1]} && tcp.port == 104"
    resets = tshark(peer, file, f"{tried} && tcp.flags.reset == 1", "tcp.stream")
    asked = tshark(peer, file, f"{tried} && tcp.flags.syn == 1 && tcp.flags.ack == 0", "tcp.stream")
    answered = tshark(
        peer, file, f"{tried} && tcp.flags.syn == 1 && tcp.flags.ack == 1", "tcp.stream"
    )
    unanswered = set(asked) - set(answered)
    assert unanswered != set()
    assert answered != []
    assert set(resets) == (unanswered if action == "reject" else set())
