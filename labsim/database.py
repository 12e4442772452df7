"""One SQLite file of one system, used from many threads."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labsim.errors import ConfigurationError, LabError
from labsim.table import Table

_COUNTERS = "CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);"

_MOST_PAGES = 1073741823  # SQLite's own default
# Seconds to wait for another program's transaction; shorter than any peer waits for an answer.
_PATIENCE = 2.0


class DiskFull(LabError, sqlite3.OperationalError):
    """A row had no room; nothing of its transaction was kept."""


class DatabaseLocked(LabError, sqlite3.OperationalError):
    """Another program holds the file, and a row could not be written."""


class Database:
    """A system's own tables.

    One connection behind one lock: SQLite writes one at a time anyway, and a
    lock of ours waits without the busy errors that several connections raise.

    Parameters
    ----------
    path : Path
        The file; made if it is not there.
    schema : str
        ``CREATE TABLE IF NOT EXISTS …`` statements.

    Raises
    ------
    ConfigurationError
        If the file is no database, cannot be written, or has other tables than
        this version works with.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            path, timeout=_PATIENCE, check_same_thread=False, isolation_level=None
        )
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare(schema)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise ConfigurationError(
                f"{path} cannot be used: {error}.",
                "Put a copy of it back, or choose another folder.",
            ) from error
        except ConfigurationError:
            self._connection.close()
            raise

    def _prepare(self, schema: str) -> None:
        # With the write-ahead log a reader from outside (a learner's SQL) never blocks a writer.
        self._connection.execute("PRAGMA journal_mode = WAL")
        # What was acknowledged must survive a power cut, so each commit reaches the disk.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._require_same_columns(_COUNTERS + schema)
        self._connection.executescript(_COUNTERS + schema)

    def _require_same_columns(self, schema: str) -> None:
        """Refuse a file that another version made: what is missing would show much later."""
        with contextlib.closing(sqlite3.connect(":memory:")) as model:
            model.executescript(schema)
            wanted = _columns(model)
        found = _columns(self._connection)
        for table, columns in wanted.items():
            if found.get(table, columns) != columns:
                raise ConfigurationError(
                    f"{self.path} was made by another version of the lab: "
                    f"table {table} has other columns.",
                    "Choose another folder, or go on with that version.",
                )

    def may_grow(self, size: int | None) -> None:
        """Let the file grow by so many bytes at most; without a limit if None.

        A statement that needs more fails with `DiskFull`.
        """
        with self._lock:
            limit = _MOST_PAGES
            if size is not None:
                page = self._connection.execute("PRAGMA page_size").fetchone()[0]
                limit = self._connection.execute("PRAGMA page_count").fetchone()[0] + size // page
            self._connection.execute(f"PRAGMA max_page_count = {limit}")

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Keep all statements of the block, or none of them.

        Parameters
        ----------
        durable : bool
            Whether they are to survive a power cut. False is for what may be
            found out anew; a killed process loses nothing of it either.
        """
        with self._lock:
            if self._connection.in_transaction:  # an outer block decides
                yield
                return
            if not durable:
                self._connection.execute("PRAGMA synchronous = NORMAL")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException as error:  # Ctrl-C too: half a transaction must not stay
                with contextlib.suppress(sqlite3.ProgrammingError):  # closed: SQLite went back
                    if self._connection.in_transaction:  # else it went back when the disk was full
                        self._connection.execute("ROLLBACK")
                told = self._in_words(error)
                if told is not None:
                    raise told from error
                raise
            finally:
                if not durable:
                    with contextlib.suppress(sqlite3.ProgrammingError):
                        self._connection.execute("PRAGMA synchronous = FULL")

    def run(self, sql: str, *values: Any) -> int:
        """Run one statement and return how many rows it changed.

        Raises
        ------
        DiskFull
            If there is no room for it.
        DatabaseLocked
            If another program holds the file, and does not let go of it.
        """
        return self._execute(sql, values).rowcount

    def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each of `rows`, all or none."""
        with self.transaction():
            try:
                self._connection.executemany(sql, rows)
            except sqlite3.OperationalError as error:
                raise (self._in_words(error) or error) from error

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row of a query, None if there is none."""
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
            return found

    def value(self, sql: str, *values: Any) -> Any:
        """Return the first column of the first row, None if there is none."""
        found = self.row(sql, *values)
        return found[0] if found is not None else None

    def insert(self, table: str, **columns: Any) -> int:
        """Add one row and return its row number.

        Raises
        ------
        DiskFull
            If there is no room for it.
        DatabaseLocked
            If another program holds the file, and does not let go of it.
        """
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        with self._lock:  # the row number is the connection's last one
            cursor = self._execute(
                f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(columns.values())
            )
            return cursor.lastrowid or 0

    def upsert(self, table: str, key: str, **columns: Any) -> None:
        """Add one row, or update the one with the same `key` column."""
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name != key)
        self.run(
            f"INSERT INTO {table} ({names}) VALUES ({marks}) "
            f"ON CONFLICT ({key}) DO UPDATE SET {changes}",
            *columns.values(),
        )

    def ask(self, sql: str, *values: Any, limit: int = 500, seconds: float = 5.0) -> Table:
        """Answer somebody's own question, on a connection that can only read.

        Parameters
        ----------
        sql : str
            One statement.
        *values
            For its question marks.
        limit : int
            How many rows to return at most.
        seconds : float
            After which a statement is given up.

        Raises
        ------
        ConfigurationError
            If the statement is wrong, would change something, or takes too long.
        """
        end = time.monotonic() + seconds
        with contextlib.closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as door:
            door.set_progress_handler(lambda: time.monotonic() > end, 10_000)
            try:
                cursor = door.execute(sql, values)
                rows = cursor.fetchmany(limit + 1)
            except (sqlite3.Error, sqlite3.Warning) as error:
                raise self._explain(error) from error
            columns = [column[0] for column in cursor.description or ()]
        more = f", the first {limit} rows" if len(rows) > limit else ""
        return Table(columns, rows[:limit], f"{self.path.name}{more}")

    def _execute(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        with self._lock:
            try:
                return self._connection.execute(sql, values)
            except sqlite3.OperationalError as error:
                told = self._in_words(error)
                if told is not None:
                    raise told from error
                raise

    def _in_words(self, error: BaseException) -> LabError | None:
        """Return what the operating system or another program is to blame for, else None."""
        code = getattr(error, "sqlite_errorcode", None)  # ours are errors of SQLite, but have none
        if code == sqlite3.SQLITE_FULL:
            return DiskFull(
                f"{self.path.name} cannot grow: the database or disk is full.",
                "Look at df() of its host; make room there, or give it a larger quota.",
            )
        if code is not None and code & 0xFF == sqlite3.SQLITE_BUSY:
            return DatabaseLocked(
                f"{self.path.name} is locked by another program.",
                "End the transaction that it has open; nothing has to be restarted.",
            )
        return None

    def _explain(self, error: Exception) -> ConfigurationError:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        names = ", ".join(row["name"] for row in self.rows(tables))
        text = str(error)
        if "readonly" in text:
            return ConfigurationError("This connection can only read.", "Ask with SELECT.")
        if "interrupted" in text:
            return ConfigurationError(
                "The statement took too long and was given up.", "Narrow it with WHERE or LIMIT."
            )
        return ConfigurationError(f"SQLite does not understand that: {text}.", f"Tables: {names}.")

    def copy_to(self, path: Path) -> None:
        """Write a copy as of one moment, while others go on writing (SQLite's online backup)."""
        with (
            contextlib.closing(sqlite3.connect(self.path)) as source,
            contextlib.closing(sqlite3.connect(path)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # the copy is one file, without a log

    def next(self, counter: str) -> int:
        """Count one on and return it: 1, 2, 3 … also after a restart."""
        with self.transaction():
            self.run(
                "INSERT INTO counters VALUES (?, 1) "
                "ON CONFLICT (name) DO UPDATE SET value = value + 1",
                counter,
            )
            return int(self.value("SELECT value FROM counters WHERE name = ?", counter))

    def close(self) -> None:
        """Write everything out and close the file."""
        with self._lock:
            self._connection.close()


def _columns(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """Return the names of the columns of every table."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {
        table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for (table,) in tables
    }
