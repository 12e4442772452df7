"""A system's SQLite file."""

from __future__ import annotations

import gc
import sqlite3
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labsim.database import Database
from labsim.errors import ConfigurationError, LabError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS owners (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS pets (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE, owner TEXT REFERENCES owners, age INTEGER
);
"""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "pets.sqlite", _SCHEMA)
    yield opened
    opened.close()


def test_what_is_inserted_is_found(db: Database) -> None:
    number = db.insert("pets", name="Ada", age=3)
    row = db.row("SELECT * FROM pets WHERE id = ?", number)
    assert row is not None
    assert (row["name"], row["age"]) == ("Ada", 3)


def test_nothing_found_is_none(db: Database) -> None:
    assert db.row("SELECT * FROM pets") is None
    assert db.value("SELECT name FROM pets") is None
    assert db.rows("SELECT * FROM pets") == []


def test_run_tells_how_many_rows_it_changed(db: Database) -> None:
    db.run_many("INSERT INTO pets (name, age) VALUES (?, ?)", [("a", 1), ("b", 1), ("c", 2)])
    assert db.run("UPDATE pets SET age = 9 WHERE age = 1") == 2


def test_upsert_adds_and_then_changes_only_what_is_given(db: Database) -> None:
    db.upsert("pets", "name", name="Ada", age=3)
    db.upsert("pets", "name", name="Ada", age=4)
    assert [tuple(row) for row in db.rows("SELECT name, age FROM pets")] == [("Ada", 4)]


def test_a_transaction_that_raises_leaves_nothing(db: Database) -> None:
    def give_up() -> None:
        with db.transaction():
            db.insert("pets", name="Ada")
            db.insert("pets", name="Bob")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        give_up()
    assert db.value("SELECT COUNT(*) FROM pets") == 0


def test_the_outer_transaction_decides_about_an_inner_one(db: Database) -> None:
    def give_up() -> None:
        with db.transaction():
            with db.transaction():
                db.insert("pets", name="Ada")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        give_up()
    assert db.value("SELECT COUNT(*) FROM pets") == 0


def test_run_many_keeps_all_or_none(db: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        db.run_many("INSERT INTO pets (name) VALUES (?)", [("a",), ("b",), ("a",)])
    assert db.value("SELECT COUNT(*) FROM pets") == 0


def test_a_database_is_usable_after_a_failed_statement(db: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        db.insert("pets", name="Ada", owner="nobody")  # foreign keys are enforced
    db.insert("pets", name="Ada")
    assert db.value("SELECT COUNT(*) FROM pets") == 1


def test_counters_count_from_one_each_for_itself(db: Database) -> None:
    assert [db.next("order"), db.next("order"), db.next("visit")] == [1, 2, 1]


def test_no_number_is_given_twice_when_threads_count(db: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: db.next("order"), range(80)))
    assert sorted(numbers) == list(range(1, 81))


def test_threads_do_not_see_half_a_transaction_of_another(db: Database) -> None:
    begun, seen = threading.Event(), []

    def look() -> None:
        begun.wait(5)
        seen.append(db.value("SELECT COUNT(*) FROM pets"))

    reader = threading.Thread(target=look)
    reader.start()
    with db.transaction():
        db.insert("pets", name="Ada")
        begun.set()
        reader.join(0.05)  # gives it the chance to look too early
        db.insert("pets", name="Bob")
    reader.join(5)
    assert seen == [2]


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    first = Database(tmp_path / "pets.sqlite", _SCHEMA)
    first.insert("pets", name="Ada")
    first.next("order")
    first.close()
    second = Database(tmp_path / "pets.sqlite", _SCHEMA)
    assert second.value("SELECT name FROM pets") == "Ada"
    assert second.next("order") == 2
    second.close()


def test_a_reader_from_outside_is_not_blocked_by_a_writer(db: Database) -> None:
    db.insert("pets", name="Ada")
    outside = sqlite3.connect(db.path, timeout=0)
    try:
        with db.transaction():
            db.insert("pets", name="Bob")
            assert outside.execute("SELECT COUNT(*) FROM pets").fetchone() == (1,)
        assert outside.execute("SELECT COUNT(*) FROM pets").fetchone() == (2,)
    finally:
        outside.close()


def test_a_commit_reaches_the_disk(db: Database) -> None:
    assert db.value("PRAGMA synchronous") == 2  # FULL
    assert db.value("PRAGMA journal_mode") == "wal"


def test_what_may_be_found_out_anew_does_not_wait_for_the_disk(db: Database) -> None:
    normal, full = 1, 2
    with db.transaction(durable=False):
        assert db.value("PRAGMA synchronous") == normal
    assert db.value("PRAGMA synchronous") == full
    with pytest.raises(ZeroDivisionError), db.transaction(durable=False):
        raise ZeroDivisionError
    assert db.value("PRAGMA synchronous") == full


def test_a_transaction_that_cannot_be_committed_leaves_nothing(db: Database) -> None:
    def give_a_pet_to_nobody() -> None:
        with db.transaction():
            db.run("PRAGMA defer_foreign_keys = ON")  # so that it is COMMIT which fails
            db.insert("pets", name="Ada", owner="nobody")

    with pytest.raises(sqlite3.IntegrityError):
        give_a_pet_to_nobody()
    with db.transaction():
        db.insert("pets", name="Bob")
    assert [row["name"] for row in db.rows("SELECT name FROM pets")] == ["Bob"]


def test_a_full_disk_is_told_as_such(db: Database) -> None:
    def fill() -> None:
        with db.transaction():
            db.insert("owners", name="x" * 100_000)

    db.value(f"PRAGMA max_page_count = {db.value('PRAGMA page_count')}")
    with pytest.raises(sqlite3.OperationalError, match="database or disk is full"):
        fill()
    assert db.rows("SELECT * FROM owners") == []


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "pets.sqlite"
    path.write_bytes(b"cats and dogs" * 100)
    with pytest.raises(ConfigurationError, match=r"pets\.sqlite cannot be used: file is not a"):
        Database(path, _SCHEMA)


# Somebody's own SQL


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "asked.sqlite", "CREATE TABLE IF NOT EXISTS t (n INTEGER);")
    opened.run_many("INSERT INTO t VALUES (?)", [(n,) for n in range(10)])
    yield opened
    opened.close()


def test_a_question_is_answered_with_its_columns(asked: Database) -> None:
    table = asked.ask("SELECT n, n * n AS square FROM t WHERE n > ? ORDER BY n", 7)
    assert list(table.columns) == ["n", "square"]
    assert [tuple(row) for row in table] == [(8, 64), (9, 81)]


def test_many_rows_are_cut_and_said_to_be(asked: Database) -> None:
    table = asked.ask("SELECT n FROM t", limit=3)
    assert len(table) == 3
    assert "the first 3 rows" in table.caption


@pytest.mark.parametrize(
    "statement", ["DELETE FROM t", "UPDATE t SET n = 1", "DROP TABLE t", "CREATE TABLE u (n)"]
)
def test_a_question_changes_nothing(asked: Database, statement: str) -> None:
    with pytest.raises(ConfigurationError, match="can only read"):
        asked.ask(statement)
    assert asked.value("SELECT COUNT(*) FROM t") == 10


def test_a_wrong_question_is_answered_with_the_tables_there_are(asked: Database) -> None:
    with pytest.raises(ConfigurationError, match=r"no such table: studies.*Tables: counters, t"):
        asked.ask("SELECT * FROM studies")


def test_two_statements_are_one_too_many(asked: Database) -> None:
    with pytest.raises(ConfigurationError, match="one statement at a time"):
        asked.ask("SELECT 1; SELECT 2")


def test_a_question_that_never_ends_is_given_up(asked: Database) -> None:
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT MAX(n) FROM c"
    with pytest.raises(ConfigurationError, match="took too long"):
        asked.ask(endless, seconds=0.05)


def test_an_interrupt_between_a_transaction_and_its_block_leaves_no_complaint(
    tmp_path: Path,
) -> None:
    # Ctrl-C may come when the transaction has begun and the block has not: nobody ends it then
    # but the garbage collector, after the file was closed.
    opened = Database(tmp_path / "pets.sqlite", _SCHEMA)
    transaction = opened.transaction()
    transaction.__enter__()
    opened.insert("pets", name="Ada")
    opened.close()
    complaints: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda said: complaints.append(said.exc_value)
    try:
        del transaction
        gc.collect()
    finally:
        sys.unraisablehook = before
    again = Database(tmp_path / "pets.sqlite", _SCHEMA)
    kept = again.value("SELECT COUNT(*) FROM pets")
    again.close()
    assert (complaints, kept) == ([], 0)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    Database(path, "CREATE TABLE IF NOT EXISTS pets (name TEXT);").close()
    with pytest.raises(ConfigurationError, match=r"another version.*table pets has other columns"):
        Database(path, "CREATE TABLE IF NOT EXISTS pets (name TEXT, age INTEGER);")
    # One more table is no other version of those that are there.
    more = "CREATE TABLE IF NOT EXISTS pets (name TEXT); CREATE TABLE IF NOT EXISTS t (n INTEGER);"
    Database(path, more).close()


def test_a_row_that_has_no_room_leaves_nothing_of_its_transaction(tmp_path: Path) -> None:
    db = Database(tmp_path / "his.sqlite", "CREATE TABLE IF NOT EXISTS a (text TEXT);")
    db.may_grow(0)

    def fill() -> None:
        with db.transaction():
            for _ in range(50):
                db.insert("a", text="x" * 1000)

    try:
        for attempt in (fill, lambda: db.run_many("INSERT INTO a VALUES (?)", [("x" * 9000,)] * 9)):
            with pytest.raises(LabError, match=r"his\.sqlite cannot grow.*df\(\)"):
                attempt()
            assert db.value("SELECT COUNT(*) FROM a") == 0
        db.may_grow(None)
        fill()
        assert db.value("SELECT COUNT(*) FROM a") == 50
    finally:
        db.close()
