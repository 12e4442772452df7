"""Repairs of the index by SQL, and one disagreement after the other."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.errors import AccessDenied, ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.systems.pacs.access import Session

Store = Callable[..., list[FileDataset]]
SECRET = "correct horse"
FIX = "UPDATE studies SET description = ? WHERE accession = ?"


def study_uid(number: int) -> str:
    return make_uid("kept study", number)


@pytest.fixture
def engineer(archive: Hospital, store: Store) -> Iterator[Session]:
    """Somebody of the service who has signed in; two studies are there."""
    store(archive, 1)
    store(archive, 2)
    archive.pacs.users.add("sven", "service", SECRET)
    with archive.pacs.login("sven", SECRET) as session:
        yield session


def descriptions(hospital: Hospital) -> list[str]:
    return [row[0] for row in hospital.pacs.sql("SELECT description FROM studies ORDER BY id")]


def test_a_repair_is_only_tried_at_first(archive: Hospital, engineer: Session) -> None:
    told = archive.pacs.repair(FIX, "wrong name", "CT head", "K1")
    assert list(told) == [("update", "studies", 1, "description", "CT thorax", "CT head")]
    assert told.caption == "1 rows would change"
    assert descriptions(archive) == ["CT thorax"] * 2
    assert len(archive.pacs.repairs()) == 0


def test_a_repair_changes_what_it_said(archive: Hospital, engineer: Session) -> None:
    tried = archive.pacs.repair(FIX, "wrong name", "CT head", "K1")
    done = archive.pacs.repair(FIX, "wrong name", "CT head", "K1", dry_run=False)
    assert list(done) == list(tried)
    assert descriptions(archive) == ["CT head", "CT thorax"]
    ((_, user, reason, statement, rows, _),) = archive.pacs.repairs()
    assert (user, reason, statement, rows) == ("sven", "wrong name", FIX, 1)
    assert archive.journal.events(source="pacs")[-1].summary == (
        "index repaired by sven, 1 rows: wrong name"
    )


def test_the_index_before_the_first_change_of_a_session_is_kept(
    archive: Hospital, engineer: Session
) -> None:
    for text in ("first", "second"):
        archive.pacs.repair(FIX, "a test", text, "K1", dry_run=False)
    (copy,) = (archive.pacs.folder / "repairs").iterdir()
    assert {row[5] for row in archive.pacs.repairs()} == {copy.name}
    with closing(sqlite3.connect(copy)) as before:
        assert before.execute("SELECT description FROM studies").fetchall() == [("CT thorax",)] * 2
    with archive.pacs.login("sven", SECRET):
        archive.pacs.repair(FIX, "a test", "third", "K1", dry_run=False)
    assert len(list((archive.pacs.folder / "repairs").iterdir())) == 2


def test_deleted_and_inserted_rows_are_shown(archive: Hospital, engineer: Session) -> None:
    gone = archive.pacs.repair("DELETE FROM instances WHERE series = 1", "a test")
    assert {(row[0], row[2]) for row in gone} == {("delete", 1), ("delete", 2)}
    new = archive.pacs.repair(
        "INSERT INTO holds VALUES ('1.2', 'because', 'sven', '2026-03-02')", "a test"
    )
    assert [row[0] for row in new] == ["insert"] * 4
    assert archive.pacs.sql("SELECT COUNT(*) FROM instances").rows[0][0] == 4


def test_a_broken_reference_takes_all_back(archive: Hospital, engineer: Session) -> None:
    with pytest.raises(ConfigurationError, match="FOREIGN KEY"):
        archive.pacs.repair("UPDATE series SET study = 99", "a test", dry_run=False)
    assert archive.pacs.count(study_uid(1)) == 2
    assert len(archive.pacs.repairs()) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH 'other.sqlite' AS other",
        "PRAGMA writable_schema = ON",
        "PRAGMA foreign_keys = OFF",
        "DROP TABLE instances",
        "DROP INDEX studies_by_date",
        "ALTER TABLE studies ADD COLUMN colour TEXT",
        "CREATE TABLE mine (a)",
        "CREATE TRIGGER t AFTER DELETE ON studies BEGIN DELETE FROM users; END",
        "UPDATE sqlite_master SET sql = ''",
        "UPDATE users SET role = 'administrator'",
        "UPDATE roles SET rights = '[]'",
        "DELETE FROM repairs",
        "DELETE FROM deletions",
        "INSERT INTO users SELECT 'eve', '', 'administrator', '', '', 0, ''",
        "VACUUM INTO 'copy.sqlite'",
        "COMMIT",
        "SELECT load_extension('evil')",
        "DELETE FROM holds; DELETE FROM studies",
        "SELECT * FROM studies",
        "nonsense",
        "UPDATE studies SET nothing = 1",
    ],
)
def test_what_no_repair_may_do_is_refused(
    archive: Hospital, engineer: Session, statement: str
) -> None:
    tables = "SELECT name, sql FROM sqlite_master ORDER BY name"
    before = list(archive.pacs.sql(tables)), list(archive.pacs.sql("SELECT * FROM users"))
    with pytest.raises(ConfigurationError):
        archive.pacs.repair(statement, "a test", dry_run=False)
    assert (list(archive.pacs.sql(tables)), list(archive.pacs.sql("SELECT * FROM users"))) == before
    assert descriptions(archive) == ["CT thorax"] * 2
    assert not (Path.cwd() / "copy.sqlite").exists()


def test_a_table_goes_only_when_asked_for(archive: Hospital, engineer: Session) -> None:
    archive.pacs.repair("DROP TABLE holds", "a test", allow_drop=True)
    assert len(archive.pacs.retention.holds()) == 0  # it was only tried
    archive.pacs.repair("DROP TABLE holds", "a test", allow_drop=True, dry_run=False)
    with pytest.raises(ConfigurationError, match="no such table"):
        archive.pacs.sql("SELECT * FROM holds")
    with pytest.raises(ConfigurationError):
        archive.pacs.repair("DROP TABLE users", "a test", allow_drop=True, dry_run=False)


def test_a_repair_has_a_reason(archive: Hospital, engineer: Session) -> None:
    with pytest.raises(ConfigurationError, match="has a reason"):
        archive.pacs.repair("DELETE FROM studies", " ")


def test_the_console_alone_repairs_nothing(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    with pytest.raises(AccessDenied, match="asks for a login"):
        archive.pacs.repair("DELETE FROM instances", "a test", dry_run=False)
    archive.pacs.users.add("vera", "viewer", SECRET)
    with archive.pacs.login("vera", SECRET), pytest.raises(AccessDenied, match="right to repair"):
        archive.pacs.repair("DELETE FROM instances", "a test", dry_run=False)
    assert archive.pacs.count(study_uid(1)) == 2


# One disagreement after the other


def damaged(hospital: Hospital, number: int) -> tuple[str, Path]:
    """Flip one bit of the first image of a study; return its name and place."""
    path = hospital.pacs.paths(study_uid(number))[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return path.relative_to(hospital.pacs.folder / "files").as_posix(), path


def test_bit_rot_is_found_when_every_file_is_read(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    name, _ = damaged(archive, 1)
    assert list(archive.pacs.consistency()) == []  # its size is right
    ((problem, accession, _, file),) = archive.pacs.consistency(deep=True)
    assert (problem, accession, file) == ("file has another content than was stored", "K1", name)
    ((_, _, choices),) = archive.pacs.mend_choices(deep=True)
    assert choices == "restore, recompute, drop"


def test_a_rotten_file_comes_back_from_the_backup(
    archive: Hospital, store: Store, tmp_path: Path
) -> None:
    store(archive, 1)
    archive.pacs.backup(tmp_path)
    before = archive.pacs.paths(study_uid(1))[0].read_bytes()
    name, path = damaged(archive, 1)
    archive.pacs.mend(name, "restore", "bit rot", backup=tmp_path)
    assert path.read_bytes() == before
    assert list(archive.pacs.consistency(deep=True)) == []


def test_a_missing_file_comes_back_from_the_backup(
    archive: Hospital, store: Store, tmp_path: Path
) -> None:
    store(archive, 1)
    archive.pacs.backup(tmp_path)
    path = archive.pacs.paths(study_uid(1))[0]
    path.unlink()
    name = path.relative_to(archive.pacs.folder / "files").as_posix()
    archive.pacs.mend(name, "restore", "gone", backup=tmp_path)
    assert list(archive.pacs.consistency(deep=True)) == []


def test_a_backup_of_other_times_restores_nothing(
    archive: Hospital, store: Store, tmp_path: Path
) -> None:
    store(archive, 1)
    archive.pacs.backup(tmp_path)
    archive.pacs.configure_duplicates("replace")
    store(archive, 1, PatientComments="sent again, and changed")
    name, path = damaged(archive, 1)
    rotten = path.read_bytes()
    with pytest.raises(NotFound, match="another than was stored"):
        archive.pacs.mend(name, "restore", "bit rot", backup=tmp_path)
    assert path.read_bytes() == rotten


def test_a_file_that_is_believed_gets_its_digest_anew(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    name, _ = damaged(archive, 1)
    archive.pacs.mend(name, "recompute", "the radiologist finds it sound")
    assert list(archive.pacs.consistency(deep=True)) == []
    assert archive.pacs.count(study_uid(1)) == 2


def test_an_entry_without_a_file_is_dropped_and_the_last_one_takes_its_study(
    archive: Hospital, store: Store
) -> None:
    store(archive, 1)
    for left, path in zip((1, 0), archive.pacs.paths(study_uid(1)), strict=True):
        path.unlink()
        name = path.relative_to(archive.pacs.folder / "files").as_posix()
        archive.pacs.mend(name, "drop", "lost in a fire")
        assert archive.pacs.count(study_uid(1)) == left
    assert len(archive.pacs.table()) == 0


def test_a_stray_file_is_entered_or_removed(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    (first, second) = archive.pacs.paths(study_uid(1))
    stray = first.parent / "stray.dcm"
    stray.write_bytes(b"?")
    archive.pacs._index._db.run("DELETE FROM instances WHERE number = 2")
    root = archive.pacs.folder / "files"
    names = [path.relative_to(root).as_posix() for path in (stray, second)]
    assert {row[3] for row in archive.pacs.consistency()} == set(names)
    with pytest.raises(ConfigurationError, match="cannot be entered"):
        archive.pacs.mend(names[0], "reindex", "a test")
    archive.pacs.mend(names[0], "remove", "not an image")
    archive.pacs.mend(names[1], "reindex", "a lost entry")
    assert list(archive.pacs.consistency(deep=True)) == []
    assert archive.pacs.count(study_uid(1)) == 2


def test_a_choice_that_does_not_fit_is_refused(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    name, path = damaged(archive, 1)
    with pytest.raises(ConfigurationError, match="does not mend"):
        archive.pacs.mend(name, "reindex", "a test")
    with pytest.raises(ConfigurationError, match="has a reason"):
        archive.pacs.mend(name, "drop", "")
    with pytest.raises(ConfigurationError, match="needs a backup"):
        archive.pacs.mend(name, "restore", "a test")
    sound = archive.pacs.paths(study_uid(1))[1].relative_to(archive.pacs.folder / "files")
    with pytest.raises(NotFound, match="Nothing is wrong"):
        archive.pacs.mend(sound.as_posix(), "drop", "a test")
    with pytest.raises(NotFound, match="Nothing is wrong"):
        archive.pacs.mend("../../hospital.sqlite", "remove", "a test")
    with archive.pacs.act_as("viewer"), pytest.raises(AccessDenied):
        archive.pacs.mend(name, "drop", "a test")
    assert path.exists()
