"""SQL that changes the index: one statement, tried first, with a copy of the index kept before."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from labsim.errors import ConfigurationError, LabError
from labsim.systems.audit.trail import AuditTrail
from labsim.systems.facility import System
from labsim.systems.pacs.access import Access, Session
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS repairs (
    id        INTEGER PRIMARY KEY,
    at        TEXT NOT NULL,
    user      TEXT NOT NULL,
    reason    TEXT NOT NULL,
    statement TEXT NOT NULL,
    rows      INTEGER NOT NULL,
    copy      TEXT NOT NULL         -- of the index before the first change of the session
);
"""
# What a repair may not write: who may repair, and the proof of what was done.
_PROTECTED = {"users", "roles", "access_policy", "repairs", "audit_spool", "deletions", "counters"}
_WRITES = {
    sqlite3.SQLITE_INSERT: "insert",
    sqlite3.SQLITE_UPDATE: "update",
    sqlite3.SQLITE_DELETE: "delete",
}
_DROPS = {
    sqlite3.SQLITE_DROP_TABLE,
    sqlite3.SQLITE_DROP_INDEX,
    sqlite3.SQLITE_DROP_TRIGGER,
    sqlite3.SQLITE_DROP_VIEW,
}
_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_SHOWN = 100
_SCHEMA_TABLES = ("sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_sequence")


@dataclass
class _Guard:
    """Decides what a statement may do (SQLite's authorizer), and remembers what it writes."""

    may_drop: bool
    tables: set[str] = field(default_factory=set)
    refused: str = ""

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action in _READS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return self._unless(second == "load_extension", "an extension")
        if action in _WRITES:
            return self._write(first or "")
        if action in _DROPS:
            may = self.may_drop and not _is_protected(first or "")
            return self._unless(not may, f"a DROP of {first}")
        return self._unless(True, "that kind of statement (ATTACH, PRAGMA, ALTER, CREATE …)")

    def _write(self, table: str) -> int:
        if table in _SCHEMA_TABLES:  # as part of a DROP; SQLite itself refuses it otherwise
            return self._unless(not self.may_drop, "the schema")
        self.tables.add(table)
        return self._unless(_is_protected(table), f"the table {table}")

    def _unless(self, wrong: bool, what: str) -> int:
        if wrong:
            self.refused = self.refused or what
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


class Repairing:
    """Changes the index by SQL, for those who have signed in with the right to.

    Parameters
    ----------
    system : System
        The PACS.
    access : Access
        Who is asking.
    trail : AuditTrail
        Hears of each repair.
    """

    def __init__(self, system: System, access: Access, trail: AuditTrail) -> None:
        self._system = system
        self.access = access
        self._trail = trail
        self._copies: dict[int, str] = {}  # of which session, by its identity

    def repair(
        self,
        statement: str,
        reason: str,
        *values: Any,
        dry_run: bool = True,
        allow_drop: bool = False,
    ) -> Table:
        """Run one statement, and show each row that it changes.

        Parameters
        ----------
        statement : str
            One INSERT, UPDATE or DELETE; with `allow_drop` also a DROP.
        reason : str
            Why, for the record.
        *values
            For its question marks.
        dry_run : bool
            Whether it is only tried and taken back.
        allow_drop : bool
            Whether a table may go.

        Returns
        -------
        Table
            One line for each changed column.

        Raises
        ------
        AccessDenied
            If nobody has signed in with the right to repair.
        ConfigurationError
            If the statement is wrong, or does what no repair may do.
        """
        session = self.access.require("repair", "repair", signed_in=True)
        if not reason.strip():
            raise ConfigurationError("A repair has a reason.", "Say what it is to put right.")
        guard = _Guard(allow_drop)
        with contextlib.closing(self._door()) as door:
            self._find_tables(door, guard, statement, values)
            if not dry_run:
                self._keep_copy(session)
            door.execute("BEGIN IMMEDIATE")
            before = {table: _content(door, table) for table in guard.tables}
            try:
                rows = self._run(door, guard, statement, values)
                after = {table: _content(door, table) for table in guard.tables}
                door.execute("ROLLBACK" if dry_run else "COMMIT")
            except sqlite3.Error as error:
                raise self._wrong(error, guard) from error
        changes = list(_changes(before, after))
        if not dry_run:
            self._remember(session, statement, reason, rows)
        done = "would change" if dry_run else "changed"
        shown = f", the first {_SHOWN} lines" if len(changes) > _SHOWN else ""
        columns = ("change", "table", "row", "column", "before", "after")
        return Table(columns, changes[:_SHOWN], f"{rows} rows {done}{shown}")

    def table(self) -> Table:
        """Return every repair."""
        rows = self._system.db.rows(
            "SELECT at, user, reason, statement, rows, copy FROM repairs ORDER BY id"
        )
        columns = ("at", "user", "reason", "statement", "rows", "index before")
        return Table(columns, list(map(tuple, rows)), "Repairs of the index")

    def _door(self) -> sqlite3.Connection:
        door = sqlite3.connect(self._system.db.path, isolation_level=None)
        door.execute("PRAGMA foreign_keys = ON")
        door.execute("PRAGMA synchronous = FULL")
        return door

    def _find_tables(
        self, door: sqlite3.Connection, guard: _Guard, statement: str, values: tuple[Any, ...]
    ) -> None:
        """Compile the statement under the guard, without running it."""
        door.set_authorizer(guard)
        try:
            door.execute(f"EXPLAIN {statement}", values).close()
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._wrong(error, guard) from error
        finally:
            door.set_authorizer(None)
        if not guard.tables:
            raise ConfigurationError("This statement changes nothing.", "Ask with pacs.sql(…).")

    def _run(
        self, door: sqlite3.Connection, guard: _Guard, statement: str, values: tuple[Any, ...]
    ) -> int:
        door.set_authorizer(guard)
        try:
            return max(door.execute(statement, values).rowcount, 0)
        finally:
            door.set_authorizer(None)

    def _keep_copy(self, session: Session) -> None:
        if id(session) in self._copies:
            return
        folder = self._system.folder / "repairs"
        folder.mkdir(exist_ok=True)
        name = f"{self._system.db.next('repair_copy'):04d}.sqlite"
        self._system.db.copy_to(folder / name)
        self._copies[id(session)] = name
        self._system.note(f"index copied to repairs/{name} before a repair")

    def _remember(self, session: Session, statement: str, reason: str, rows: int) -> None:
        self._system.db.insert(
            "repairs",
            at=self._system.now(),
            user=session.user,
            reason=reason,
            statement=statement,
            rows=rows,
            copy=self._copies[id(session)],
        )
        text = f"index repaired by {session.user}, {rows} rows: {reason}"
        self._system.note(text)
        by = self._trail.person(session.user)
        self._trail.alert("110132", f"{text}: {statement}", by=by, about="index")

    def _wrong(self, error: Exception, guard: _Guard) -> LabError:
        if guard.refused:
            return ConfigurationError(
                f"A repair may not touch {guard.refused}.",
                "One INSERT, UPDATE or DELETE of the index; DROP with allow_drop=True.",
            )
        return ConfigurationError(
            f"SQLite refused the repair, nothing is changed: {error}.",
            'pacs.sql("SELECT sql FROM sqlite_master") shows the tables.',
        )


def _is_protected(table: str) -> bool:
    return table in _PROTECTED or table.startswith("sqlite_")


def _content(door: sqlite3.Connection, table: str) -> dict[Any, dict[str, Any]]:
    """Return every row of a table by its row number; nothing if the table is gone."""
    quoted = table.replace('"', '""')
    try:
        cursor = door.execute(f'SELECT rowid AS "_row", * FROM "{quoted}"')
    except sqlite3.OperationalError:
        return {}
    names = [column[0] for column in cursor.description][1:]
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor}


def _changes(
    before: dict[str, dict[Any, dict[str, Any]]], after: dict[str, dict[Any, dict[str, Any]]]
) -> Iterator[tuple[Any, ...]]:
    for table, old in before.items():
        new = after[table]
        for row in sorted(old.keys() | new.keys()):
            was, becomes = old.get(row, {}), new.get(row, {})
            change = "update" if was and becomes else "delete" if was else "insert"
            for column in was or becomes:
                if was.get(column) != becomes.get(column):
                    yield change, table, row, column, was.get(column), becomes.get(column)
