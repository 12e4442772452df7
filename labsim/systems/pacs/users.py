"""Accounts and roles of the PACS, as data in its database."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from labsim.database import Database
from labsim.errors import ConfigurationError, NotFound
from labsim.systems.records import Record
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS roles (
    role   TEXT PRIMARY KEY,
    rights TEXT NOT NULL            -- JSON
);
CREATE TABLE IF NOT EXISTS users (
    name         TEXT PRIMARY KEY,
    full_name    TEXT NOT NULL,
    role         TEXT NOT NULL REFERENCES roles,
    salt         BLOB NOT NULL,
    digest       BLOB NOT NULL,     -- scrypt of the password
    failures     INTEGER NOT NULL DEFAULT 0,
    locked_until TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS access_policy (id INTEGER PRIMARY KEY, policy TEXT NOT NULL);
"""
RIGHTS: Mapping[str, str] = {
    "query": "look at what is there",
    "retrieve": "have images sent",
    "correct": "change what the index says of an image",
    "delete": "delete studies",
    "configure": "change what the archive does and whom it knows",
    "repair": "change the index by SQL, restore",
    "export": "write images to media",
}
_ROLES: Mapping[str, Collection[str]] = {
    "viewer": ("query", "retrieve"),
    "technologist": ("query", "retrieve", "correct"),
    "radiologist": ("query", "retrieve", "correct", "export"),
    "administrator": tuple(RIGHTS),
    "service": ("query", "configure", "repair"),
}
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}  # 16 MB and about 50 ms for each guess
_SHORTEST = 8


@dataclass(frozen=True)
class AccessPolicy(Record):
    """When an account is locked, and a session ends.

    Parameters
    ----------
    attempts : int
        Wrong passwords in a row after which an account is locked.
    lock_minutes, idle_minutes : float
        For how long; and how long a session may stand unused. Hospital time.
    """

    attempts: int = 5
    lock_minutes: float = 15
    idle_minutes: float = 30


@dataclass(frozen=True)
class User(Record):
    """One account.

    Parameters
    ----------
    name, full_name : str
        Login, and the person.
    role : str
        What they are.
    failures : int
        Wrong passwords since the last right one.
    locked_until : datetime or None
        Hospital time.
    """

    name: str
    full_name: str
    role: str
    failures: int
    locked_until: datetime | None


class Accounts:
    """Keeps users, roles and the policy.

    Parameters
    ----------
    db : Database
        Has the tables of `SCHEMA`; the roles are entered if it is new.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        if db.value("SELECT COUNT(*) FROM roles") == 0:
            for role, rights in _ROLES.items():
                db.insert("roles", role=role, rights=json.dumps(list(rights)))
        kept = db.value("SELECT policy FROM access_policy WHERE id = 1")
        self.policy = AccessPolicy(**json.loads(kept)) if kept else AccessPolicy()

    def rights(self, role: str) -> frozenset[str]:
        """Return what a role has the right to.

        Raises
        ------
        NotFound
            If there is no such role.
        """
        kept = self._db.value("SELECT rights FROM roles WHERE role = ?", role)
        if kept is None:
            raise NotFound(f"There is no role {role!r}.", f"Roles: {', '.join(self.names())}.")
        return frozenset(json.loads(kept))

    def names(self) -> list[str]:
        """Return every role."""
        return [row["role"] for row in self._db.rows("SELECT role FROM roles ORDER BY rowid")]

    def roles_with(self, right: str) -> list[str]:
        """Return the roles that have a right."""
        return [role for role in self.names() if right in self.rights(role)]

    def find(self, name: str) -> User | None:
        """Return an account, None if there is none."""
        row = self._db.row("SELECT * FROM users WHERE name = ?", name)
        if row is None:
            return None
        until = datetime.fromisoformat(row["locked_until"]) if row["locked_until"] else None
        return User(row["name"], row["full_name"], row["role"], row["failures"], until)

    def all(self) -> list[User]:
        """Return every account by name."""
        names = [row["name"] for row in self._db.rows("SELECT name FROM users ORDER BY name")]
        return [user for user in map(self.find, names) if user is not None]

    def password_fits(self, name: str, password: str) -> bool:
        """Tell whether a password is an account's; as slowly for a name that is none."""
        row = self._db.row("SELECT salt, digest FROM users WHERE name = ?", name)
        salt, digest = (row["salt"], row["digest"]) if row is not None else (b"-" * 16, b"")
        return hmac.compare_digest(_digest(password, salt), digest)

    def failed(self, user: User, now: datetime) -> bool:
        """Count a wrong password, and tell whether it was one too many."""
        failures = user.failures + 1
        locked = failures >= self.policy.attempts
        until = now + timedelta(minutes=self.policy.lock_minutes)
        self._db.run(
            "UPDATE users SET failures = ?, locked_until = ? WHERE name = ?",
            0 if locked else failures,
            until.isoformat() if locked else "",
            user.name,
        )
        return locked

    def succeeded(self, user: User) -> None:
        """Forget the wrong passwords before a right one."""
        self._db.run("UPDATE users SET failures = 0, locked_until = '' WHERE name = ?", user.name)

    def save(self, name: str, full_name: str, role: str, password: str) -> None:
        """Enter an account, or change it."""
        salt = os.urandom(16)
        self._db.upsert(
            "users",
            "name",
            name=name,
            full_name=full_name,
            role=role,
            salt=salt,
            digest=_digest(password, salt),
            failures=0,
            locked_until="",
        )

    def change(self, name: str, column: str, value: str) -> None:
        """Change one column of an account."""
        self._db.run(f"UPDATE users SET {column} = ? WHERE name = ?", value, name)

    def remove(self, name: str) -> None:
        """Delete an account."""
        self._db.run("DELETE FROM users WHERE name = ?", name)

    def set_rights(self, role: str, rights: Collection[str]) -> None:
        """Define a role."""
        self._db.upsert("roles", "role", role=role, rights=json.dumps(sorted(rights)))

    def set_policy(self, **changes: float) -> None:
        """Change the policy."""
        self.policy = replace(self.policy, **changes)  # type: ignore[arg-type]
        text = json.dumps(vars(self.policy))
        self._db.upsert("access_policy", "id", id=1, policy=text)


def check_password(password: str) -> None:
    """Raise `ConfigurationError` for a password that is none."""
    if len(password) < _SHORTEST:
        raise ConfigurationError(
            f"A password of {len(password)} characters is too short.",
            f"Use {_SHORTEST} or more.",
        )


def user_table(users: Collection[User]) -> Table:
    """Return accounts as a table, without anything secret."""
    rows = [
        (user.name, user.full_name, user.role, user.failures, user.locked_until or "")
        for user in users
    ]
    columns = ("user", "name", "role", "wrong passwords", "locked until")
    return Table(columns, rows, "Users of the PACS")


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT)
