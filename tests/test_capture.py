"""Captures of the hospital's wires, read by tshark."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.capture import ip_address
from labsim.errors import ConfigurationError, LabError, NotFound

Peer = Callable[[str], Path]

pytestmark = pytest.mark.usefixtures("small_scans")


def tshark(peer: Peer, file: Path, only: str, *fields: str) -> list[str]:
    """Return a line for each packet that passes a display filter."""
    command = [str(peer("tshark")), "-r", str(file), "-Y", only, "-T", "fields"]
    command += ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    for field in fields or ["frame.number"]:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.splitlines()


def test_tshark_sees_an_exam_as_the_protocols_it_went_by(
    hospital: Hospital, peer: Peer, tmp_path: Path
) -> None:
    file = tmp_path / "exam.pcapng"
    with hospital.capture(file):
        exam = hospital.exam()
        assert hospital.settle()
    assert exam.problem == ""
    said = " ".join(tshark(peer, file, "dicom", "_ws.col.Info"))
    for message in ("C-FIND-RQ", "N-CREATE-RQ", "N-SET-RQ", "N-ACTION-RQ", "A-RELEASE response"):
        assert message in said
    assert said.count("C-STORE-RSP") >= len(exam.images)
    orders = tshark(peer, file, 'hl7.message.type == "ORM"', "ip.src", "ip.dst")
    assert len(set(orders)) == 3  # HIS to RIS, RIS to HIS and PACS
    assert tshark(peer, file, "_ws.malformed") == []


def test_tshark_finds_nothing_wrong_with_the_packets(
    hospital: Hospital, peer: Peer, tmp_path: Path
) -> None:
    file = tmp_path / "exam.pcapng"
    with hospital.capture(file):
        hospital.exam()
    assert tshark(peer, file, "tcp.flags.syn == 1") != []
    assert tshark(peer, file, "tcp.analysis.flags") == []
    assert tshark(peer, file, 'tcp.checksum.status != "Good" || ip.checksum.status != "Good"') == []


def test_a_system_has_its_own_address_and_its_port_of_the_hospital(
    hospital: Hospital, peer: Peer, tmp_path: Path
) -> None:
    file = tmp_path / "echo.pcapng"
    with hospital.capture(file, link=("desk", "pacs")) as capture:
        hospital.tools.echoscu("pacs")
    (line,) = tshark(peer, file, "dicom.pdu.type == 1", "ip.src", "ip.dst", "tcp.dstport")
    source, target, port = line.split("\t")
    assert port == "104"
    assert (source, target) == (hospital.host("desk").address, hospital.host("pacs").address)
    assert source != target
    assert [row[:2] for row in capture.table()] == [("desk", "pacs:104")]


def test_a_capture_of_one_link_leaves_the_others_alone(hospital: Hospital, tmp_path: Path) -> None:
    with hospital.capture(tmp_path / "a.pcapng", link=("pacs", "ct1")) as capture:
        hospital.exam()
        assert hospital.settle()
    ends = {frozenset((str(row[0]), str(row[1]).partition(":")[0])) for row in capture.table()}
    assert ends == {frozenset({"ct1", "pacs"})}


def test_a_port_where_nothing_listens_is_seen_to_refuse(hospital: Hospital, tmp_path: Path) -> None:
    hospital.ris.stop_service("mllp")
    with hospital.capture(tmp_path / "a.pcapng") as capture, pytest.raises(LabError):
        hospital.his.register_patient()
    assert [(row[0], row[1], row[5]) for row in capture.table()] == [("his", "ris:2575", "refused")]


def test_a_refusal_of_a_link_that_is_not_captured_is_not_seen(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.host("ris").firewall.add("reject", "his")
    with (
        hospital.capture(tmp_path / "a.pcapng", link=("ct1", "pacs")) as capture,
        pytest.raises(LabError),
    ):
        hospital.his.register_patient()
    assert list(capture.table()) == []


def test_the_journal_of_a_captured_exam_is_the_journal_of_any_other(
    hospital: Hospital, tmp_path: Path
) -> None:
    plain = hospital.exam(name="Silva^Ana")
    assert hospital.settle()
    with hospital.capture(tmp_path / "a.pcapng"):
        seen = hospital.exam(name="Silva^Ana")
        assert hospital.settle()

    def told(accession: str) -> list[tuple[str, str, str, str]]:
        events = hospital.journal.exam(accession)
        return sorted((e.source, e.peer, e.kind, e.transaction) for e in events)

    assert told(seen.accession) == told(plain.accession)
    # Each association has one name, which both of its ends wrote.
    events = hospital.journal.events(kind="association")
    ends: dict[str, set[str]] = {}
    for event in events:
        ends.setdefault(event.keys["association"], set()).add(event.source)
    assert {len(sources - {"tools", "desk"}) for sources in ends.values()} <= {1, 2}
    scans = [sources for sources in ends.values() if "ct1" in sources]
    assert scans != []
    assert all(len(sources) == 2 for sources in scans)


def test_links_that_stood_before_are_captured_and_work_on_afterwards(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.exam()
    with hospital.capture(tmp_path / "a.pcapng", link=("ris", "his")) as capture:
        hospital.exam()
        assert hospital.settle()
    assert len(capture.table()) > 0
    seen = len(capture.table())
    assert hospital.exam().problem == ""
    assert len(capture.table()) == seen


def test_a_hospital_that_stops_ends_its_capture(tmp_path: Path) -> None:
    with Hospital(seed=7) as hospital:
        capture = hospital.capture(tmp_path / "a.pcapng")
        hospital.tools.echoscu("pacs")
    assert not capture.running
    assert (tmp_path / "a.pcapng").stat().st_size > 500


def test_what_cannot_be_captured_is_said(hospital: Hospital, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no system 'pacz'"):
        hospital.capture(tmp_path / "a.pcapng", link=("ct1", "pacz"))
    with pytest.raises(ConfigurationError, match="no link"):
        hospital.capture(tmp_path / "a.pcapng", link=("ct1",))
    with pytest.raises(ConfigurationError, match="cannot be written"):
        hospital.capture(tmp_path / "nowhere" / "a.pcapng")
    with (
        hospital.capture(tmp_path / "a.pcapng"),
        pytest.raises(LabError, match="Another capture is on"),
    ):
        hospital.capture(tmp_path / "b.pcapng")


def test_hosts_are_numbered_in_their_order() -> None:
    known = ["outside", "his", "ris"]
    assert str(ip_address("ris", known)) == "10.0.0.12"
    assert str(ip_address("stranger", known)) == "10.0.0.13"
    assert str(ip_address("stranger", known)) == "10.0.0.13"
