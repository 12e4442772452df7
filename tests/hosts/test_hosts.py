"""Hosts: their addresses, firewalls, services, power and clocks, met on real sockets."""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import (
    AssociationFailed,
    ConfigurationError,
    DeliveryFailed,
    LabError,
    NotFound,
    Unreachable,
)
from labsim.hosts.plan import plan
from labsim.site import Site
from labsim.wire.network import Address

PACS = Address("pacs", 104)


def clinic_toml() -> str:
    return (files("labsim.sites") / "clinic.toml").read_text(encoding="utf-8")


def notes(hospital: Hospital, source: str) -> list[str]:
    return [e.summary for e in hospital.journal.events(source=source, kind="state")]


# Address and segment


def test_every_system_has_a_host_with_an_address_of_its_segment() -> None:
    places = plan(Site.load("university"))
    assert len({place.address for place in places.values()}) == len(places)
    assert places["ct1"].address.startswith("10.20.30.")
    assert (places["ct1"].segment, places["ct1"].vlan) == ("modalities", 30)
    assert places["pacs"].segment == "servers"
    assert places["desk"].segment == "clinical"


def test_a_clinic_is_one_flat_segment(hospital: Hospital) -> None:
    assert {row[2] for row in hospital.hosts()} == {"lan"}
    assert {row[0] for row in hospital.hosts()} >= {"his", "ris", "pacs", "ct1", "desk"}


def test_a_name_and_its_address_lead_to_the_same_socket(hospital: Hospital) -> None:
    address = hospital.host("pacs").address
    assert hospital.network.resolve(Address(address, 104)) == hospital.network.resolve(PACS)
    assert hospital.host(address) is hospital.host("pacs")
    assert hospital.network.system_at(Address(address, 104)) == "pacs"


def test_a_system_may_be_configured_with_an_address(hospital: Hospital) -> None:
    hospital.pacs.register_ae("HERE", host=hospital.host("pacs").address, port=104)
    hospital.pacs.register_ae("NOBODY", host="10.99.0.1", port=104)
    with pytest.raises(Unreachable, match=r"10\.99\.0\.1"):
        hospital.network.resolve(Address("10.99.0.1", 104))


def test_an_unknown_host_is_named_with_those_there_are(hospital: Hospital) -> None:
    with pytest.raises(NotFound, match=r"'pax'.*pacs"):
        hospital.host("pax")


SEGMENT = '\n[[segments]]\nname = "{}"\nvlan = {}\nnetwork = "{}"\n'


@pytest.mark.parametrize(
    ("segments", "problem"),
    [
        ([("a", 1, "10.1.0.0/16"), ("b", 2, "10.1.2.0/24")], "'a' and 'b' overlap"),
        ([("a", 7, "10.1.0.0/24"), ("b", 7, "10.2.0.0/24")], "'a' and 'b' overlap"),
        ([("pacs", 1, "10.1.0.0/24")], "a name that no host has"),
        ([("a", 1, "10.1.0.7/24")], "not a valid IPv4 network"),
    ],
)
def test_segments_that_cannot_be_are_refused(
    segments: list[tuple[str, int, str]], problem: str, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(clinic_toml() + "".join(SEGMENT.format(*s) for s in segments), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=problem):
        Site.load(own)


def test_a_network_too_small_for_its_hosts_is_named(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(clinic_toml() + SEGMENT.format("tiny", 1, "10.1.0.0/29"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="too small for 6 hosts"):
        plan(Site.load(own))


# Firewall


def test_a_rejected_caller_hears_at_once_and_others_get_through(
    hospital: Hospital, small_scans: None
) -> None:
    hospital.host("pacs").firewall.add("reject", "ct1", 104)
    assert "firewall of pacs rejects" in hospital.exam().problem
    assert hospital.tools.echoscu("pacs").startswith("0x0000")  # from the desk
    (line,) = {n for n in notes(hospital, "pacs") if "rejected tcp" in n}
    assert (
        line
        == f"firewall rejected tcp from ct1 ({hospital.host('ct1').address}) to port 104: rule 1"
    )
    hospital.host("pacs").firewall.remove(1)
    assert hospital.exam().problem == ""


def test_a_dropped_dicom_caller_waits_for_its_own_time_out(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labsim.wire.dimse.TIMEOUT", 0.3)
    hospital.host("pacs").firewall.add("drop", "desk", 104)
    with pytest.raises(AssociationFailed):
        hospital.tools.echoscu("pacs")
    assert any("dropped tcp from desk" in note for note in notes(hospital, "pacs"))
    assert not hospital.journal.events(source="pacs", kind="association")  # nothing came


def test_a_dropped_message_waits_in_the_outbox(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labsim.wire.mllp.TIMEOUT", 0.3)
    hospital.host("ris").firewall.add("drop", "his")
    with pytest.raises(DeliveryFailed, match=r"no acknowledgment within 0\.3 s"):
        hospital.his.register_patient()
    assert hospital.ris.sql("SELECT * FROM patients").rows == []
    hospital.host("ris").firewall.remove(1)
    assert hospital.his.outbox.resend() == 1
    assert len(hospital.ris.sql("SELECT * FROM patients")) == 1


def test_the_first_rule_that_covers_a_connection_decides(hospital: Hospital) -> None:
    wall = hospital.host("pacs").firewall
    wall.add("reject")
    wall.add("allow", "lan", 104, place=1)
    seen = hospital.network.seen_from("ct1")
    assert seen.resolve(PACS) == hospital.network.published()[PACS]
    with pytest.raises(Unreachable, match="rejects"):
        seen.resolve(Address("pacs", 2575))
    assert [row[1] for row in wall.table()] == ["allow", "reject"]


def test_a_rule_for_a_segment_covers_its_hosts_only() -> None:
    with Hospital(seed=7, site="community") as hospital:
        hospital.host("pacs").firewall.add("reject", "modalities")
        with pytest.raises(Unreachable):
            hospital.network.seen_from("mr1").resolve(PACS)
        hospital.network.seen_from("ris").resolve(PACS)
        # By its address it is the same host.
        with pytest.raises(Unreachable):
            hospital.network.seen_from("mr1").resolve(Address(hospital.host("pacs").address, 104))


def test_a_host_always_reaches_itself(hospital: Hospital) -> None:
    hospital.host("pacs").firewall.add("reject")
    hospital.network.seen_from("pacs").resolve(PACS)


def test_rules_are_kept_on_disk(tmp_path: Path) -> None:
    with Hospital(seed=7, path=tmp_path / "h") as hospital:
        hospital.host("pacs").firewall.add("reject", "ct1", 104)
        hospital.host("pacs").firewall.add("drop", "desk")
        before = str(hospital.host("pacs").firewall.table())
    with Hospital(path=tmp_path / "h") as hospital:
        assert str(hospital.host("pacs").firewall.table()) == before
        with pytest.raises(Unreachable):
            hospital.network.seen_from("ct1").resolve(PACS)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (("burn", "any", 0), "'burn'"),
        (("drop", "ct9", 0), "'ct9'"),
        (("drop", "any", 70000), "70000"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(
    hospital: Hospital, rule: tuple[str, str, int], problem: str
) -> None:
    wall = hospital.host("pacs").firewall
    with pytest.raises(ConfigurationError, match=problem):
        wall.add(*rule)  # type: ignore[arg-type]
    assert len(wall.table()) == 0
    with pytest.raises(NotFound, match="no rule 1"):
        wall.remove(1)


# Services and power


def test_a_service_of_a_host_is_stopped_and_started(hospital: Hospital) -> None:
    host = hospital.host("pacs")
    host.stop("dicom")
    with pytest.raises(Unreachable, match="refused"):
        hospital.network.resolve(PACS)
    assert ("dicom", "pacs:104", "PACS", "stopped") in list(host.services())
    host.start("dicom")
    assert hospital.tools.echoscu("pacs").startswith("0x0000")
    with pytest.raises(NotFound, match="'gopher'"):
        host.stop("gopher")


def test_a_host_that_is_shut_down_refuses_and_boots_with_what_it_had(
    hospital: Hospital, small_scans: None
) -> None:
    assert hospital.exam().problem == ""
    before = hospital.pacs.sql("SELECT sop_uid FROM instances").rows
    place = next(e.local for e in hospital.endpoints() if e.address == PACS)
    host = hospital.host("pacs")
    host.shut_down()
    assert not host.running
    assert {row[0]: row[5] for row in hospital.hosts()}["pacs"] == "off"
    with pytest.raises(LabError, match="pacs is down"):
        hospital.pacs  # noqa: B018
    with pytest.raises(Unreachable, match="nothing listens on that host"):
        hospital.network.resolve(PACS)
    with pytest.raises(LabError, match="shut down"):
        host.start("dicom")
    assert hospital.settle()  # the others run on
    host.boot()
    assert hospital.pacs.sql("SELECT sop_uid FROM instances").rows == before
    assert next(e.local for e in hospital.endpoints() if e.address == PACS) == place
    assert list(hospital.systems) == ["his", "ris", "pacs", "ct1", "ws1"]
    assert hospital.exam().problem == ""


def test_switching_twice_is_switching_once(hospital: Hospital) -> None:
    host = hospital.host("ris")
    host.boot()
    host.shut_down()
    host.shut_down()
    assert host.systems == []
    host.boot()
    host.boot()
    assert host.running


def test_a_hospital_stops_with_a_host_that_is_off() -> None:
    with Hospital(seed=7) as hospital:
        hospital.host("pacs").shut_down()


def test_the_desk_cannot_be_switched_off(hospital: Hospital) -> None:
    with pytest.raises(LabError, match="desk"):
        hospital.host("desk").shut_down()


# Clock


def test_a_skewed_host_writes_the_wrong_time_and_the_journal_the_right_one() -> None:
    noon = datetime(2026, 3, 2, 12)
    with Hospital(seed=7, clock=ManualClock(noon)) as hospital:
        hospital.host("his").clock.skew(3600)
        hospital.his.register_patient()
        hospital.settle()
        sent = next(e for e in hospital.journal.events(source="his", kind="hl7"))
        assert str(hospital.message(sent)["MSH-7"]).startswith("20260302130000")
        assert sent.hospital_time.startswith("2026-03-02T12:00:00")
        answer = next(e for e in hospital.journal.events(source="ris", kind="hl7"))
        assert answer.hospital_time.startswith("2026-03-02T12:00:00")
        assert hospital.host("his").clock.sync() == 3600
        assert hospital.his.now() == "2026-03-02T12:00:00"


def test_a_scanner_with_a_wrong_clock_stamps_its_images(small_scans: None) -> None:
    with Hospital(seed=7, clock=ManualClock(datetime(2026, 3, 2, 23))) as hospital:
        hospital.host("ct1").clock.skew(-7200)
        assert hospital.exam().problem == ""
        dates = hospital.pacs.sql("SELECT study_time FROM studies").rows
        assert str(dates[0][0]).startswith("21"), dates


def test_a_clock_drifts_until_it_is_set_and_drifts_on(tmp_path: Path) -> None:
    clock = ManualClock(datetime(2026, 3, 2, 12))
    with Hospital(seed=7, clock=clock, path=tmp_path / "h") as hospital:
        own = hospital.host("ct1").clock
        own.drift(86.4)
        clock.advance(timedelta(hours=12))
        assert own.error == pytest.approx(43.2)
        assert own.sync() == pytest.approx(43.2)
        clock.advance(timedelta(hours=6))
        assert own.error == pytest.approx(21.6)
    with Hospital(clock=clock, path=tmp_path / "h") as hospital:
        assert hospital.host("ct1").clock.error == pytest.approx(21.6)
        with pytest.raises(ConfigurationError, match="does not run"):
            hospital.host("ct1").clock.drift(-86400)
