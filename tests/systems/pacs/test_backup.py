"""Backups of a running archive, and the way back; also the half ones that real life brings."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage
from pynetdicom.association import Association

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import AccessDenied, ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.systems.pacs.backup import snapshots
from labsim.wire.network import Address

Store = Callable[..., list[FileDataset]]
Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]


def study_uid(number: int) -> str:
    return make_uid("kept study", number)


def problems(hospital: Hospital, **how: bool) -> list[str]:
    return [row[0] for row in hospital.pacs.consistency(**how)]


def contents(hospital: Hospital, number: int) -> list[bytes]:
    return [path.read_bytes() for path in hospital.pacs.paths(study_uid(number))]


def test_what_was_saved_comes_back_to_the_byte(
    archive: Hospital, store: Store, tmp_path: Path
) -> None:
    store(archive, 1)
    before = contents(archive, 1)
    done = archive.pacs.backup(tmp_path)
    assert (done.snapshot, done.instances, done.copied, done.problems) == (1, 2, 2, ())
    archive.pacs.delete_study(study_uid(1), "a mistake")
    archive.restore_pacs(tmp_path)
    assert contents(archive, 1) == before
    assert problems(archive, deep=True) == []
    store(archive, 2)  # and it goes on
    assert archive.pacs.count(study_uid(2)) == 2


def test_a_restored_archive_listens_where_it_did(archive: Hospital, tmp_path: Path) -> None:
    archive.pacs.backup(tmp_path)
    before = {(e.protocol, e.local) for e in archive.pacs.endpoints}
    archive.restore_pacs(tmp_path)
    assert {(e.protocol, e.local) for e in archive.pacs.endpoints} == before
    assert "Success" in archive.tools.echoscu("pacs")


def test_a_second_backup_copies_only_what_is_new(
    archive: Hospital, store: Store, tmp_path: Path
) -> None:
    store(archive, 1)
    archive.pacs.backup(tmp_path)
    store(archive, 2, count=3)
    done = archive.pacs.backup(tmp_path)
    assert (done.snapshot, done.instances, done.copied) == (2, 5, 3)
    archive.restore_pacs(tmp_path, snapshot=1)
    assert [archive.pacs.count(study_uid(n)) for n in (1, 2)] == [2, 0]
    archive.restore_pacs(tmp_path, snapshot=2)
    assert [archive.pacs.count(study_uid(n)) for n in (1, 2)] == [2, 3]
    assert problems(archive, deep=True) == []


def test_a_backup_agrees_with_itself_while_images_come_in(
    archive: Hospital, dial: Dial, image: Image, tmp_path: Path
) -> None:
    begun, enough = threading.Event(), threading.Event()
    sent: list[str] = []

    def scan() -> None:
        with dial(archive, "pacs", CTImageStorage) as association:
            while not enough.is_set():
                one = image()
                assert association.send_c_store(one).Status == 0x0000
                sent.append(one.SOPInstanceUID)
                if len(sent) == 5:
                    begun.set()

    scanner = threading.Thread(target=scan)
    scanner.start()
    try:
        assert begun.wait(5)
        done = [archive.pacs.backup(tmp_path) for _ in range(3)]
    finally:
        enough.set()
        scanner.join(5)
    assert [report.problems for report in done] == [()] * 3
    assert 5 <= done[0].instances <= len(sent)
    for number in (1, 2, 3):
        assert list(archive.pacs.verify_backup(tmp_path, number)) == []
    archive.restore_pacs(tmp_path, 2)
    assert problems(archive, deep=True) == []
    assert archive.pacs.sql("SELECT COUNT(*) FROM instances").rows[0][0] == done[1].instances


def test_nearline_studies_are_saved_too(
    archive: Hospital, clock: ManualClock, store: Store, tmp_path: Path
) -> None:
    store(archive, 1)
    archive.pacs.storage.configure(idle_days=1)
    clock.advance(timedelta(days=2))
    archive.pacs.storage.run()
    archive.pacs.backup(tmp_path)
    before = contents(archive, 1)
    archive.restore_pacs(tmp_path)
    assert contents(archive, 1) == before
    assert archive.pacs.storage.policy.idle_days == 1
    assert problems(archive, deep=True) == []


# What does not agree


def test_what_came_after_the_backup_is_missing_and_who_knows_of_it_says_so(
    small_scans: None, tmp_path: Path
) -> None:
    with Hospital(seed=7) as hospital:
        hospital.exam()
        hospital.pacs.backup(tmp_path)
        second = hospital.exam()
        assert second.procedure is not None
        study = second.procedure.study_uid
        hospital.restore_pacs(tmp_path)
        assert hospital.pacs.count(study) == 0
        assert problems(hospital, deep=True) == []  # index and files agree: they both forgot
        # The scanner has the archive's promise; the archive does not know of it.
        committed = hospital.ct.sql(
            "SELECT COUNT(*) FROM images WHERE commitment = ?", "committed"
        ).rows[0][0]
        kept = hospital.pacs.sql(
            "SELECT COUNT(*) FROM instances WHERE received_from = ?", hospital.ct.ae_title
        ).rows[0][0]
        assert committed == 2 * kept
        known = hospital.pacs.sql("SELECT study_uid FROM expected_studies")
        assert study not in [row[0] for row in known]
        assert study in [procedure.study_uid for procedure in hospital.ris.procedures()]


def test_an_index_older_than_the_files_shows(
    archive: Hospital, store: Store, tmp_path: Path
) -> None:
    store(archive, 1)
    archive.pacs.backup(tmp_path)
    store(archive, 2)
    archive.restore_pacs(tmp_path, only="index")
    assert problems(archive) == ["no entry"] * 2
    for row in archive.pacs.consistency():
        archive.pacs.mend(row[3], "reindex", "came after the backup")
    assert problems(archive, deep=True) == []
    assert archive.pacs.count(study_uid(2)) == 2


def test_files_older_than_the_index_show(archive: Hospital, store: Store, tmp_path: Path) -> None:
    store(archive, 1)
    archive.pacs.backup(tmp_path)
    store(archive, 2)
    archive.restore_pacs(tmp_path, only="files")
    assert problems(archive) == ["file missing"] * 2
    assert {row[1] for row in archive.pacs.consistency()} == {"K2"}


def test_an_old_index_and_a_deleted_study_show(
    archive: Hospital, store: Store, tmp_path: Path
) -> None:
    store(archive, 1)
    archive.pacs.backup(tmp_path)
    archive.pacs.delete_study(study_uid(1), "asked for")
    archive.restore_pacs(tmp_path, only="index")
    assert problems(archive) == ["file missing"] * 2


def test_a_file_that_rotted_before_the_backup_is_told(
    archive: Hospital, store: Store, tmp_path: Path
) -> None:
    store(archive, 1)
    path = archive.pacs.paths(study_uid(1))[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (problem,) = archive.pacs.backup(tmp_path).problems
    assert problem.endswith("not what the index says")
    assert len(archive.pacs.verify_backup(tmp_path)) == 1


@pytest.mark.parametrize("what", ["file", "index", "manifest", "swapped"])
def test_a_damaged_backup_is_found_and_not_restored(
    archive: Hospital, store: Store, tmp_path: Path, what: str
) -> None:
    store(archive, 1)
    archive.pacs.backup(tmp_path)
    store(archive, 2)
    archive.pacs.backup(tmp_path)
    last = tmp_path / "snapshots" / "0002"
    if what == "file":
        next((tmp_path / "files").rglob("*.dcm")).write_bytes(b"rot")
    elif what == "index":
        (last / "index.sqlite").write_bytes(b"rot")
    elif what == "manifest":
        (last / "manifest.json").write_text("{", encoding="utf-8")
    else:  # the index of one night, the manifest of another
        other = tmp_path / "snapshots" / "0001" / "index.sqlite"
        (last / "index.sqlite").write_bytes(other.read_bytes())
    before = archive.pacs
    with pytest.raises(ConfigurationError, match="damaged"):
        archive.restore_pacs(tmp_path)
    assert archive.pacs is before  # it went on all the while
    assert archive.pacs.count(study_uid(2)) == 2


def test_a_backup_that_broke_off_is_none(archive: Hospital, store: Store, tmp_path: Path) -> None:
    store(archive, 1)
    archive.pacs.backup(tmp_path)
    half = tmp_path / "snapshots" / "0002.half"
    half.mkdir()
    (half / "manifest.json").write_text(json.dumps({}), encoding="utf-8")
    assert snapshots(tmp_path) == [1]
    assert archive.pacs.backup(tmp_path).snapshot == 2


def test_another_hospitals_backup_is_refused(archive: Hospital, tmp_path: Path) -> None:
    with Hospital(site="community") as other:
        other.pacs.backup(tmp_path)
    with pytest.raises(ConfigurationError, match="of HILLSIDE, not of RIVERSIDE"):
        archive.restore_pacs(tmp_path)


def test_a_backup_within_the_hospital_is_refused(archive: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="that it is to save"):
        archive.pacs.backup(archive.path / "backup")


def test_who_may_not_repair_does_not_restore(
    archive: Hospital, store: Store, tmp_path: Path
) -> None:
    store(archive, 1)
    archive.pacs.backup(tmp_path)
    store(archive, 2)
    with archive.pacs.act_as("viewer"), pytest.raises(AccessDenied):
        archive.restore_pacs(tmp_path)
    assert archive.pacs.count(study_uid(2)) == 2


def test_who_restores_may_have_signed_in(tmp_path: Path) -> None:
    with Hospital(site="community") as hospital:
        hospital.pacs.users.add("sven", "service", "correct horse")
        hospital.pacs.backup(tmp_path)
        with hospital.pacs.login("sven", "correct horse"):
            hospital.restore_pacs(tmp_path)
        assert hospital.pacs.session.user == "admin"
        hospital.pacs.trail.resend()
        events = [row[2] for row in hospital.audit.search(source="pacs")]
        assert events[-4:] == ["Login", "Logout", "Application Stop", "Application Start"]


def test_audit_messages_that_wait_outlive_a_restore(tmp_path: Path) -> None:
    with Hospital(site="community") as hospital:
        hospital.pacs.trail.resend()
        hospital.pacs.backup(tmp_path)
        hospital.pacs.trail.resend()
        hospital.network.withdraw(Address("audit", 514))
        hospital.pacs.register_ae("NEW", host="new", port=104)
        hospital.restore_pacs(tmp_path)
        waiting = [row[2] for row in hospital.pacs.trail.waiting()]
        assert waiting == ["Network Configuration", "Application Stop", "Application Start"]


def test_without_a_backup_there_is_nothing_to_restore(archive: Hospital, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no snapshot"):
        archive.restore_pacs(tmp_path)
    with pytest.raises(NotFound, match="no snapshot 7"):
        archive.pacs.verify_backup(tmp_path, 7)


def test_the_index_of_a_backup_is_one_whole_file(
    archive: Hospital, store: Store, tmp_path: Path
) -> None:
    store(archive, 1)
    archive.pacs.backup(tmp_path)
    place = tmp_path / "snapshots" / "0001"
    assert {path.name for path in place.iterdir()} == {"index.sqlite", "manifest.json"}
    index = sqlite3.connect(place / "index.sqlite")
    assert index.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    index.close()
