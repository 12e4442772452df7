"""The log file of a host, and the figures of its load."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import LabError


def test_a_host_logs_what_its_systems_do_by_its_own_clock() -> None:
    with Hospital(seed=7, clock=ManualClock(datetime(2026, 3, 2, 12))) as hospital:
        hospital.host("his").clock.skew(-60)
        hospital.his.register_patient()
        sent = hospital.host("his").log("ADT^A04")
        received = hospital.host("ris").log("adt^a04")
        assert sent[0][0] == "2026-03-02T11:59:00.000"
        assert received[0][0] == "2026-03-02T12:00:00.000"
        assert {row[1] for row in received} == {"ris"}
        assert len(hospital.host("pacs").log("zebra")) == 0


def test_the_newest_lines_come_last(hospital: Hospital) -> None:
    host = hospital.host("pacs")
    host.stop("dicom")
    host.start("dicom")
    assert [row[3] for row in host.tail(2)] == ["service dicom stopped", "service dicom started"]
    assert len(host.tail(0)) == 0
    assert len(host.tail(10_000)) == len(host.log())


def test_a_refused_caller_is_in_the_log_of_the_host_that_refused(hospital: Hospital) -> None:
    hospital.host("pacs").firewall.add("reject", "desk")
    with pytest.raises(LabError):
        hospital.tools.echoscu("pacs")
    assert "rejected tcp from desk" in str(hospital.host("pacs").tail(1))


def test_what_a_trainer_does_unseen_is_in_no_log(hospital: Hospital) -> None:
    with hospital.journal.hidden():
        hospital.host("pacs").stop("dicom")
    assert len(hospital.host("pacs").log("stopped")) == 0


def test_a_log_goes_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        with Hospital(seed=7, path=tmp_path / "h") as hospital:
            hospital.host("pacs").stop("dicom")
            path = hospital.host("pacs").log_file
    assert path.read_text(encoding="utf-8").count("service dicom stopped") == 2


def test_the_load_is_measured(hospital: Hospital, small_scans: None) -> None:
    assert hospital.exam().problem == ""
    figures = {row[0]: row[1] for row in hospital.host("pacs").load()}
    assert int(figures["threads of this host"]) >= 1
    assert float(figures["memory, whole lab"]) > 10
    assert float(figures["processor, threads of this host"]) >= 0
    assert float(figures["processor, whole lab"]) > float(
        figures["processor, threads of this host"]
    )
    hospital.host("pacs").shut_down()
    off = {row[0]: row[1] for row in hospital.host("pacs").load()}
    assert (off["up for"], off["threads of this host"]) == ("off", "0")
    assert off["disk"] == f"{hospital.host('pacs').df()[0][2] / 2**20:.1f}"


def test_an_exam_takes_room_on_the_disk(hospital: Hospital, small_scans: None) -> None:
    before = hospital.host("pacs").df()[0]
    assert hospital.exam().problem == ""
    after = hospital.host("pacs").df()[0]
    assert after[1] >= before[1] + 4  # images
    assert after[2] > before[2]
