"""A disk with a quota: what does not fit is refused as on a full disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError, LabError


def test_a_scan_that_does_not_fit_is_refused_and_fits_when_there_is_room(
    hospital: Hospital, small_scans: None
) -> None:
    host = hospital.host("pacs")
    host.set_quota(host.disk.used + 200)
    assert "A700" in hospital.exam().problem
    assert hospital.pacs.sql("SELECT count(*) FROM instances")[0][0] == 0
    assert list((hospital.path / "pacs" / "files").rglob("*.dcm")) == []
    assert "no space left on the disk of pacs" in str(host.log("image not stored"))
    assert host.df()[-1][4] < 100_000
    host.set_quota(0)
    assert hospital.exam().problem == ""


def register_many(hospital: Hospital) -> None:
    for _ in range(200):
        hospital.his.register_patient()


def test_a_database_does_not_grow_over_the_quota_even_after_a_boot(hospital: Hospital) -> None:
    host = hospital.host("his")
    host.set_quota(1)
    host.shut_down()
    host.boot()
    with pytest.raises(LabError, match=r"his\.sqlite.*disk is full") as full:
        register_many(hospital)
    assert "df()" in full.value.next_step
    assert isinstance(full.value, sqlite3.OperationalError)  # for those who know SQLite
    host.set_quota(0)
    hospital.his.register_patient()


def test_a_quota_is_kept_and_shown(tmp_path: Path) -> None:
    with Hospital(seed=7, path=tmp_path / "h") as hospital:
        hospital.host("ris").set_quota(50_000_000)
    with Hospital(path=tmp_path / "h") as hospital:
        whole = hospital.host("ris").df()[-1]
        assert whole[3] == 50_000_000
        assert whole[2] + whole[4] == whole[3]


def test_a_quota_that_cannot_be_is_refused(hospital: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="-1"):
        hospital.host("ris").set_quota(-1)
    with pytest.raises(LabError, match="desk"):
        hospital.host("desk").set_quota(10)
