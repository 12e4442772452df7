"""A PACS that is lost with its disk, and comes back from a backup; what that cost is measured."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import ConfigurationError, LabError, NotFound
from labsim.systems.pacs.backup import snapshots

pytestmark = pytest.mark.usefixtures("small_scans")


@pytest.fixture
def time() -> ManualClock:
    return ManualClock(datetime(2026, 3, 2, 10, 30))


@pytest.fixture
def clinic_at(time: ManualClock) -> Iterator[Hospital]:
    with Hospital(seed=7, clock=time) as running:
        yield running


def test_what_was_not_in_the_backup_is_lost_and_counted(
    clinic_at: Hospital, time: ManualClock, tmp_path: Path
) -> None:
    saved = clinic_at.exam()
    clinic_at.settle()
    clinic_at.pacs.backup(tmp_path)
    time.advance(timedelta(hours=6))
    lost = clinic_at.exam()
    clinic_at.settle()
    kept_until = set(map(str, clinic_at.pacs.paths(lost.procedure.study_uid)))
    clinic_at.lose("pacs")
    assert not (clinic_at.path / "pacs").exists()
    time.advance(timedelta(minutes=45))
    recovery = clinic_at.recover_pacs(tmp_path)
    assert recovery.lost_time == timedelta(hours=6)
    assert recovery.away == timedelta(minutes=45)
    assert recovery.restore_seconds > 0
    assert recovery.lost_studies == (lost.procedure.study_uid,)
    assert len(recovery.lost_images) == len(kept_until)
    assert clinic_at.pacs.count(saved.procedure.study_uid) == 4
    assert clinic_at.pacs.count(lost.procedure.study_uid) == 0
    assert list(clinic_at.pacs.consistency(deep=True)) == []


def test_a_host_whose_clock_is_wrong_changes_nothing_of_the_figures(
    clinic_at: Hospital, time: ManualClock, tmp_path: Path
) -> None:
    clinic_at.host("pacs").clock.skew(-7200)
    clinic_at.pacs.backup(tmp_path)
    time.advance(timedelta(hours=1))
    clinic_at.lose("pacs")
    time.advance(timedelta(minutes=5))
    recovery = clinic_at.recover_pacs(tmp_path)
    assert (recovery.lost_time, recovery.away) == (timedelta(hours=1), timedelta(minutes=5))


def test_while_it_is_down_a_scanner_keeps_its_images_and_sends_them_later(
    clinic_at: Hospital, tmp_path: Path
) -> None:
    clinic_at.pacs.backup(tmp_path)
    clinic_at.pacs.stop_service("dicom")
    exam = clinic_at.exam()
    assert "pacs:104" in exam.problem
    clinic_at.lose("pacs")
    with pytest.raises(LabError, match="pacs is down"):
        clinic_at.pacs  # noqa: B018
    clinic_at.ct.send()
    assert "pacs:104 refused: nothing listens" in clinic_at.journal.all()[-1].summary
    clinic_at.recover_pacs(tmp_path)
    clinic_at.ct.send()
    assert clinic_at.pacs.count(exam.procedure.study_uid) == 4


def test_it_runs_on_another_host_and_the_old_name_leads_there(
    clinic_at: Hospital, tmp_path: Path
) -> None:
    clinic_at.pacs.backup(tmp_path)
    clinic_at.lose("pacs")
    clinic_at.recover_pacs(tmp_path, host="rescue")
    places = {str(e.address) for e in clinic_at.pacs.endpoints}
    assert {"rescue:104", "rescue:2575"} <= places
    assert clinic_at.exam().problem == ""  # the scanner still calls pacs:104


def test_a_scanner_does_not_move_to_another_host(clinic_at: Hospital) -> None:
    clinic_at.take_down("ct1")
    with pytest.raises(LabError, match="cannot run on another host"):
        clinic_at.bring_up("ct1", host="rescue")
    clinic_at.bring_up("ct1")
    assert clinic_at.exam().problem == ""


def test_what_runs_is_not_recovered_and_what_is_down_not_taken_down(
    clinic_at: Hospital, tmp_path: Path
) -> None:
    clinic_at.pacs.backup(tmp_path)
    with pytest.raises(LabError, match="The PACS runs"):
        clinic_at.recover_pacs(tmp_path)
    with pytest.raises(LabError, match="pacs is not down"):
        clinic_at.bring_up("pacs")
    clinic_at.take_down("pacs")
    with pytest.raises(LabError, match="pacs is down"):
        clinic_at.take_down("pacs")
    with pytest.raises(NotFound):
        clinic_at.recover_pacs(tmp_path / "nothing")
    clinic_at.recover_pacs(tmp_path)  # still possible


def test_the_order_of_the_systems_stays(clinic_at: Hospital) -> None:
    before = list(clinic_at.systems)
    clinic_at.rebuild("his")
    assert list(clinic_at.systems) == before


# Backups by the clock


def test_backups_are_made_when_they_are_due_and_old_ones_go(
    clinic_at: Hospital, time: ManualClock, tmp_path: Path
) -> None:
    clinic_at.pacs.backups.add(tmp_path, every=timedelta(hours=4), keep=2)
    clinic_at.settle()
    assert snapshots(tmp_path) == [1]
    clinic_at.his.register_patient()  # something happens, but it is not time
    clinic_at.settle()
    assert snapshots(tmp_path) == [1]
    for _ in range(3):
        time.advance(timedelta(hours=4))
        clinic_at.exam()
        clinic_at.settle()
    assert snapshots(tmp_path) == [3, 4]
    ((folder, every, keep, due, last, outcome),) = list(clinic_at.pacs.backups.table())
    assert (folder, every, keep) == (str(tmp_path), "4:00:00", 2)
    assert (last, due) == ("2026-03-02T22:30:00", "2026-03-03T02:30:00")
    assert outcome.endswith("0 problems")


def test_files_that_no_snapshot_names_any_more_are_removed(
    clinic_at: Hospital, time: ManualClock, tmp_path: Path
) -> None:
    exam = clinic_at.exam()
    clinic_at.pacs.backups.add(tmp_path, every=timedelta(hours=1), keep=1)
    clinic_at.settle()
    before = len(list((tmp_path / "files").glob("*/*.dcm")))
    clinic_at.pacs.delete_study(exam.procedure.study_uid, "for the test")
    time.advance(timedelta(hours=1))
    clinic_at.his.register_patient()
    clinic_at.settle()
    assert before > 0
    assert list((tmp_path / "files").glob("*/*.dcm")) == []


def test_a_schedule_outlives_a_restart(
    clinic_at: Hospital, time: ManualClock, tmp_path: Path
) -> None:
    clinic_at.pacs.backups.add(tmp_path, every=timedelta(hours=1))
    clinic_at.settle()
    clinic_at.rebuild("pacs")
    time.advance(timedelta(hours=1))
    clinic_at.his.register_patient()
    clinic_at.settle()
    assert snapshots(tmp_path) == [1, 2]
    clinic_at.pacs.backups.remove(tmp_path)
    time.advance(timedelta(hours=1))
    clinic_at.his.register_patient()
    clinic_at.settle()
    assert snapshots(tmp_path) == [1, 2]


def test_a_backup_that_fails_says_so_and_is_tried_again(
    clinic_at: Hospital, time: ManualClock, tmp_path: Path
) -> None:
    place = tmp_path / "backup"
    place.write_text("in the way")
    clinic_at.pacs.backups.add(place, every=timedelta(hours=1))
    clinic_at.settle()
    assert "failed" in str(clinic_at.pacs.backups.table())
    assert clinic_at.journal.events(source="pacs", kind="error")
    place.unlink()
    time.advance(timedelta(hours=1))
    clinic_at.his.register_patient()
    clinic_at.settle()
    assert snapshots(place) == [1]


def test_a_schedule_that_makes_no_sense_is_refused(clinic_at: Hospital, tmp_path: Path) -> None:
    for every, keep in ((timedelta(), 7), (timedelta(hours=1), 0)):
        with pytest.raises(ConfigurationError, match="no schedule"):
            clinic_at.pacs.backups.add(tmp_path, every=every, keep=keep)
