"""Alerts: pending, firing, acknowledged, resolved, by the hospital's clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import ConfigurationError, DeliveryFailed, LabError, NotFound
from labsim.journal import Event
from labsim.wire.mllp import TIMEOUT

NOW = datetime(2026, 3, 2, 10, 30)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def time() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def clinic(time: ManualClock) -> Iterator[Hospital]:
    with Hospital(seed=7, clock=time) as running:
        yield running


def shown(hospital: Hospital) -> list[dict[str, Any]]:
    table = hospital.alerts.table()
    return [dict(zip(table.columns, row, strict=True)) for row in table]


def told(hospital: Hospital) -> list[str]:
    return [event.summary for event in hospital.journal.events(source="alerts")]


def states(hospital: Hospital) -> list[tuple[str, str, str]]:
    return [(row["alert"], row["where"], row["state"]) for row in shown(hospital)]


def fired(hospital: Hospital) -> Event:
    """Wait for an alert of a system that is down; nobody asks."""
    event = hospital.journal.wait_for(
        lambda event: event.source == "alerts" and "up is" in event.summary, TIMEOUT
    )
    assert event is not None
    return event


@pytest.mark.parametrize("site", ["clinic", "community", "university"])
def test_a_hospital_in_order_has_no_alert(site: str) -> None:
    with Hospital(seed=7, site=site) as hospital:
        hospital.settle()
        assert states(hospital) == []
        assert len(hospital.alerts.rules()) > 8


# Systems and services


def test_a_system_that_is_down_is_an_alert_of_its_own(clinic: Hospital, time: ManualClock) -> None:
    clinic.take_down("pacs")
    assert states(clinic) == [("system down", "pacs", "pending")]
    assert told(clinic) == []  # it may come up again at once
    time.advance(MINUTE)
    assert states(clinic) == [("system down", "pacs", "firing")]
    assert shown(clinic)[0]["severity"] == "critical"
    assert "bring_up" in shown(clinic)[0]["next step"]
    clinic.bring_up("pacs")
    assert states(clinic) == []
    fired, resolved = told(clinic)
    assert fired.startswith("system down (pacs): critical: up is 0")
    assert resolved == "system down (pacs): resolved"


def test_what_does_not_last_never_fires(clinic: Hospital, time: ManualClock) -> None:
    clinic.take_down("pacs")
    assert len(shown(clinic)) == 1
    time.advance(timedelta(seconds=10))
    clinic.bring_up("pacs")
    time.advance(MINUTE)
    assert states(clinic) == []
    assert len(clinic.alerts.history()) == 0


def test_a_service_that_is_stopped_is_named(clinic: Hospital, time: ManualClock) -> None:
    clinic.pacs.stop_service("dicom")
    clinic.alerts.look()
    time.advance(MINUTE)
    assert states(clinic) == [("service down", "pacs, dicom", "firing")]
    clinic.pacs.start_service("dicom")
    assert states(clinic) == []


# Nobody has to ask


def test_it_fires_without_anybody_asking(hospital: Hospital) -> None:
    hospital.alerts.set("system down", lasting=timedelta())
    hospital.take_down("pacs")
    event = fired(hospital)
    assert event.kind == "error"
    assert event.keys["system"] == "pacs"


def test_what_lasts_fires_though_nothing_else_happens(hospital: Hospital) -> None:
    hospital.alerts.set("system down", lasting=timedelta(seconds=1))
    hospital.take_down("pacs")
    fired(hospital)


def test_the_log_of_the_alerts_can_be_searched(clinic: Hospital) -> None:
    clinic.alerts.set("system down", lasting=timedelta())
    clinic.take_down("pacs")
    clinic.alerts.look()
    (line,) = clinic.logs("alerts", level="error", contains="pacs")
    assert line[1] == "error"


# Each metric


def test_a_queue_that_grows(clinic: Hospital, time: ManualClock) -> None:
    clinic.alerts.set("queue grows", threshold=0, lasting=5 * MINUTE, only={"queue": "outbox"})
    clinic.ris.stop_service("mllp")
    with suppress(DeliveryFailed):
        patient = clinic.his.register_patient()
        clinic.his.place_order(patient.patient_id, "CTHEAD", reason="Fall")
    assert ("queue grows", "his, outbox", "pending") in states(clinic)
    time.advance(5 * MINUTE)
    assert ("queue grows", "his, outbox", "firing") in states(clinic)


def test_messages_that_are_refused_are_counted_for_a_quarter_of_an_hour(
    clinic: Hospital, time: ManualClock
) -> None:
    clinic.alerts.set("HL7 errors", threshold=1)
    wrong = {"kind": "hl7", "summary": "ACK AE", "detail": {"answer": "ACK AE"}}
    for _ in range(2):
        assert states(clinic) == []
        clinic.journal.record("ris", **wrong)
    assert states(clinic) == [("HL7 errors", "ris", "firing")]
    time.advance(14 * MINUTE)
    assert states(clinic) == [("HL7 errors", "ris", "firing")]
    time.advance(2 * MINUTE)
    assert states(clinic) == []


def test_a_disk_that_is_nearly_full(clinic: Hospital) -> None:
    host = clinic.host("pacs")
    host.disk.resize(host.disk.used + 1000, host.systems)
    assert states(clinic) == [("disk nearly full", "pacs", "firing")]
    host.disk.resize(0, host.systems)
    assert states(clinic) == []


@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_clock_that_is_wrong_either_way(clinic: Hospital, seconds: float) -> None:
    clinic.host("ct1").clock.skew(seconds)
    assert states(clinic) == [("clock off", "ct1", "firing")]
    assert shown(clinic)[0]["value"] == "300"
    clinic.host("ct1").clock.sync()
    assert states(clinic) == []


def test_a_backup_that_is_old_or_came_to_nothing(
    clinic: Hospital, time: ManualClock, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    clinic.pacs.backups.add(tmp_path / "file" / "backups", every=timedelta(days=7))
    assert clinic.journal.wait_for(
        lambda event: "scheduled backup failed" in event.summary, TIMEOUT
    )
    clinic.settle()
    assert [(row["alert"], row["state"]) for row in shown(clinic)] == [("backup failed", "firing")]
    time.advance(timedelta(hours=27))
    assert {row["alert"] for row in shown(clinic)} == {"backup failed", "backup old"}


def test_a_standby_that_falls_behind_and_a_certificate_that_ends(time: ManualClock) -> None:
    with Hospital(seed=7, site="university", clock=time) as university:
        university.pacs.replication.run()
        university.pacs.replication.every = timedelta(days=1)
        assert states(university) == []
        university.ca.issue("pacs", days=5)
        assert states(university) == [("certificate ends", "pacs", "firing")]
        university.ca.renew("pacs")
        assert states(university) == []
        time.advance(11 * MINUTE)
        assert ("standby behind", "pacs", "pending") in states(university)


def test_of_a_system_that_is_down_nothing_is_taken_for_in_order(clinic: Hospital) -> None:
    clinic.alerts.set("many studies", metric="studies", comparison=">=", threshold=0)
    clinic.alerts.set("system down", lasting=timedelta())
    assert states(clinic) == [("many studies", "pacs", "firing")]
    clinic.take_down("pacs")
    assert states(clinic) == [("system down", "pacs", "firing"), ("many studies", "pacs", "firing")]


# People


def test_somebody_looks_after_it(clinic: Hospital, time: ManualClock) -> None:
    clinic.host("ct1").clock.skew(300)
    (alert,) = shown(clinic)
    time.advance(MINUTE)
    clinic.alerts.acknowledge(alert["number"], by="K. Brandt", note="time server was off")
    (alert,) = shown(clinic)
    assert (alert["state"], alert["by"]) == ("acknowledged", "K. Brandt")
    time.advance(MINUTE)
    clinic.host("ct1").clock.sync()
    clinic.alerts.look()
    (past,) = clinic.alerts.history()
    row = dict(zip(clinic.alerts.history().columns, past, strict=True))
    assert (row["fired"], row["acknowledged"], row["resolved"]) == (
        "2026-03-02T10:30:00",
        "2026-03-02T10:31:00",
        "2026-03-02T10:32:00",
    )
    assert row["note"] == "time server was off"
    assert told(clinic)[1] == "clock off (ct1): acknowledged by K. Brandt: time server was off"


def test_only_what_fires_is_acknowledged(clinic: Hospital) -> None:
    clinic.take_down("pacs")
    (alert,) = shown(clinic)
    with pytest.raises(LabError, match="is pending"):
        clinic.alerts.acknowledge(alert["number"])
    with pytest.raises(NotFound, match="no alert 99"):
        clinic.alerts.acknowledge(99)


# Rules


def test_a_rule_that_is_changed_keeps_what_is_not_named(clinic: Hospital) -> None:
    before = clinic.alerts.set("clock off")
    after = clinic.alerts.set("clock off", threshold=500, severity="info")
    assert (after.metric, after.next_step) == (before.metric, before.next_step)
    clinic.host("ct1").clock.skew(300)
    assert states(clinic) == []
    clinic.host("ct1").clock.skew(600)
    assert [row["severity"] for row in shown(clinic)] == ["info"]


def test_a_rule_that_is_removed_has_no_alerts(clinic: Hospital) -> None:
    clinic.host("ct1").clock.skew(300)
    assert len(shown(clinic)) == 1
    clinic.alerts.remove("clock off")
    assert states(clinic) == []
    assert "clock off" not in str(clinic.alerts.rules())
    with pytest.raises(NotFound, match="no alert 'clock off'"):
        clinic.alerts.remove("clock off")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"metric": "temperature"}, "metric 'temperature'"),
        ({"comparison": "about"}, "comparison 'about'"),
        ({"severity": "terrible"}, "severity 'terrible'"),
        ({"threshold": float("nan")}, "threshold nan"),
        ({"threshold": "many"}, "threshold 'many'"),
        ({"lasting": timedelta(seconds=-1)}, "duration"),
    ],
)
def test_a_wrong_rule_is_refused_and_changes_nothing(
    clinic: Hospital, changes: dict[str, Any], what: str
) -> None:
    before = str(clinic.alerts.rules())
    with pytest.raises(ConfigurationError, match=what):
        clinic.alerts.set("queue grows", **changes)
    assert str(clinic.alerts.rules()) == before


def test_a_new_rule_needs_its_metric(clinic: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="lacks comparison, threshold"):
        clinic.alerts.set("new", metric="up")


def test_rules_and_alerts_outlive_a_restart(tmp_path: Path, time: ManualClock) -> None:
    with Hospital(seed=7, path=tmp_path / "h", clock=time) as hospital:
        hospital.alerts.set("clock off", threshold=10)
        hospital.alerts.remove("backup old")
        hospital.host("ct1").clock.skew(20)
        (alert,) = shown(hospital)
        hospital.alerts.acknowledge(alert["number"], by="K. Brandt")
    with Hospital(path=tmp_path / "h", clock=time) as hospital:
        (again,) = shown(hospital)
        assert (again["number"], again["state"], again["by"]) == (
            alert["number"],
            "acknowledged",
            "K. Brandt",
        )
        assert "backup old" not in str(hospital.alerts.rules())


def test_prometheus_reads_them(clinic: Hospital, time: ManualClock) -> None:
    clinic.take_down("pacs")
    clinic.host("ct1").clock.skew(300)
    (family,) = text_string_to_metric_families(clinic.alerts.prometheus())
    found = {(s.labels["alertname"], s.labels["alertstate"]): s.value for s in family.samples}
    assert found == {("system down", "pending"): 1, ("clock off", "firing"): 1}


def test_a_look_that_is_under_way_while_the_hospital_stops_is_no_error(
    clinic: Hospital, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as stopping:
        stopping.setattr(clinic, "running", False)  # before any system is closed
        clinic.alerts._look_by_itself()
    assert caplog.records == []
