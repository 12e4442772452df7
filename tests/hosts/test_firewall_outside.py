"""Firewalls before programs from outside, which dial a loopback port themselves."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError
from labsim.systems.facility import Endpoint

ACK = b"MSH|^~\\&|X|H|RIS|H|20260301080000||ADT^A04|C1|P|2.3.1"


def door(hospital: Hospital, system: str, protocol: str) -> Endpoint:
    return next(e for e in hospital.endpoints() if (e.system, e.protocol) == (system, protocol))


def knock(place: Endpoint, said: bytes = b"", wait: float = 5.0) -> bytes:
    """Connect from outside, say something, and return what comes; empty for an orderly end."""
    with socket.create_connection((place.local.host, place.local.port), 5) as connection:
        connection.settimeout(wait)
        connection.sendall(said)
        return connection.recv(1000)


def echo(peer: Callable[[str], Path], place: Endpoint, *options: str) -> int:
    """Let DCMTK verify, and return its exit code."""
    titles = ["-aet", "TOOLS", "-aec", place.title, place.local.host, str(place.local.port)]
    done = subprocess.run(
        [str(peer("echoscu")), *options, *titles],
        timeout=20,
        env={**os.environ, "TCP_NODELAY": "1"},
        capture_output=True,
    )
    return done.returncode


@pytest.mark.parametrize("source", ["outside", "desk", "lan", "any"])
def test_a_program_from_outside_stands_on_the_machine_of_the_desk(
    hospital: Hospital, source: str, peer: Callable[[str], Path]
) -> None:
    place = door(hospital, "pacs", "dicom")
    assert echo(peer, place) == 0
    hospital.host("pacs").firewall.add("reject", source, 104)
    assert echo(peer, place) != 0
    address = hospital.host("desk").address
    notes = [e.summary for e in hospital.journal.events(source="pacs", kind="state")]
    assert f"firewall rejected tcp from outside ({address}) to port 104: rule 1" in notes
    hospital.host("pacs").firewall.remove(1)
    assert echo(peer, place) == 0


def test_the_systems_get_through_a_wall_against_the_outside(
    hospital: Hospital, small_scans: None
) -> None:
    for name in ("pacs", "ris", "his", "ct1"):
        hospital.host(name).firewall.add("reject", "outside")
    assert hospital.exam().problem == ""
    assert hospital.tools.echoscu("pacs") == "0x0000 Success"
    notes = [e.summary for e in hospital.journal.events(kind="state")]
    assert [note for note in notes if "firewall rejected" in note] == []


@pytest.mark.usefixtures("small_scans")
def test_the_systems_get_through_while_they_are_captured(
    hospital: Hospital, tmp_path: Path
) -> None:
    for name in ("pacs", "ris", "his", "ct1"):
        hospital.host(name).firewall.add("reject", "outside")
    with hospital.capture(tmp_path / "exam.pcapng"):
        assert hospital.exam().problem == ""


@pytest.mark.parametrize(
    ("system", "protocol"), [("ris", "mllp"), ("pacs", "dicomweb"), ("pacs", "metrics")]
)
def test_every_protocol_is_reset(hospital: Hospital, system: str, protocol: str) -> None:
    place = door(hospital, system, protocol)
    hospital.host(system).firewall.add("reject", "outside", place.address.port)
    with pytest.raises(ConnectionError):
        knock(place)
    hospital.host(system).firewall.remove(1)
    asked = b"\x0b" + ACK + b"\x1c\r" if protocol == "mllp" else b"GET / HTTP/1.0\r\n\r\n"
    assert knock(place, asked) != b""


@pytest.mark.parametrize(
    ("system", "protocol"), [("ris", "mllp"), ("pacs", "dicomweb"), ("pacs", "dicom")]
)
def test_who_is_dropped_hears_nothing(hospital: Hospital, system: str, protocol: str) -> None:
    hospital.host(system).firewall.add("drop", "outside")
    asked = b"GET / HTTP/1.0\r\n\r\n"
    with pytest.raises(TimeoutError):
        knock(door(hospital, system, protocol), asked, wait=0.3)


def test_who_is_dropped_hears_the_end_of_the_service(hospital: Hospital) -> None:
    hospital.host("ris").firewall.add("drop", "outside")
    place = door(hospital, "ris", "mllp")
    with socket.create_connection((place.local.host, place.local.port), 5) as connection:
        connection.settimeout(5)
        dropped = hospital.journal.wait_for(lambda e: "firewall dropped" in e.summary, 5)
        assert dropped is not None
        hospital.ris.stop_service("mllp")
        assert connection.recv(10) == b""


def test_syslog_is_closed_to_the_outside_and_open_to_the_systems() -> None:
    with Hospital(seed=7, site="community") as hospital:
        place = door(hospital, "audit", "syslog")
        hospital.host("audit").firewall.add("reject", "outside")
        with pytest.raises(ConnectionError):
            knock(place)
        before = len(hospital.audit.search())
        hospital.his.register_patient()
        assert hospital.wait_until(lambda: len(hospital.audit.search()) > before)


def test_a_caller_by_tls_is_stopped_before_the_handshake(peer: Callable[[str], Path]) -> None:
    with Hospital(seed=7, site="university") as hospital:
        desk, place = hospital.ca.issue("desk"), door(hospital, "pacs", "dicom-tls")
        files = ["+tls", str(desk.key), str(desk.certificate), "+cf", str(hospital.ca.root)]
        assert echo(peer, place, *files) == 0
        hospital.host("pacs").firewall.add("drop", "outside", 2762)
        with pytest.raises(TimeoutError):
            knock(place, b"\x16\x03\x01", wait=0.3)
        assert hospital.tools.echoscu("pacs", tls=True) == "0x0000 Success"


def test_the_rules_of_a_host_that_took_over_hold(small_scans: None) -> None:
    with Hospital(seed=7, site="university") as hospital:
        hospital.pacs.replication.run()
        hospital.host("standby").firewall.add("reject", "outside", 104)
        hospital.fail_over()
        place = door(hospital, "pacs", "dicom")
        with pytest.raises(ConnectionError):
            knock(place)
        assert hospital.ct.echo("store") == "0x0000 Success"


def test_a_rule_names_nobody_unknown(hospital: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="outside, pacs"):
        hospital.host("pacs").firewall.add("reject", "elsewhere")
