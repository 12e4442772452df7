"""Settings of a system that can be changed while it runs, and that outlast it."""

from __future__ import annotations

from labsim.database import Database
from labsim.errors import ConfigurationError
from labsim.systems.facility import System

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
"""


class Choice:
    """One of a few values, kept in the system's database (table of `SCHEMA`).

    Parameters
    ----------
    *values : str
        What it may be.
    """

    def __init__(self, *values: str) -> None:
        self._values = values

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, system: System | None, owner: type | None = None) -> str:
        if system is None:  # somebody looks at the class
            return self._name
        return str(system.db.value("SELECT value FROM settings WHERE name = ?", self._name))

    def __set__(self, system: System, value: str) -> None:
        if value not in self._values:
            raise ConfigurationError(
                f"{value!r} is no {self._name} of the {system.name.upper()}.",
                f"Use {' or '.join(self._values)}.",
            )
        system.db.upsert("settings", "name", name=self._name, value=value)
        system.note(f"{self._name} set to {value}")


def preset(db: Database, name: str, value: str) -> None:
    """Keep what the site says, unless something is kept already."""
    db.run("INSERT OR IGNORE INTO settings VALUES (?, ?)", name, value)
