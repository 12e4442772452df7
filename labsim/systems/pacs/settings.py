"""How the archive has been set up, beside whom it knows."""

from __future__ import annotations

from collections.abc import Mapping

from labsim.database import Database
from labsim.errors import ConfigurationError

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
"""
# Each with its values; the first is what holds until another is set.
_VALUES: Mapping[str, tuple[str, ...]] = {
    # A SOP Instance UID names one content for ever (PS3.5 9), and what was
    # committed must stay: most archives keep the first, and so does this one.
    "duplicates": ("keep", "replace", "reject"),
    # Most archives answer a query that the hierarchy does not allow.
    "strict_hierarchy": ("no", "yes"),
}


class Settings:
    """The table of settings.

    Parameters
    ----------
    db : Database
        Has the table of `SCHEMA`.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, name: str) -> str:
        """Return the value of a setting."""
        value = self._db.value("SELECT value FROM settings WHERE name = ?", name)
        return _VALUES[name][0] if value is None else str(value)

    def set(self, name: str, value: str) -> None:
        """Change a setting.

        Raises
        ------
        ConfigurationError
            If it has no such value.
        """
        if value not in _VALUES[name]:
            raise ConfigurationError(
                f"{name} cannot be {value!r}.", f"Choose {', '.join(map(repr, _VALUES[name]))}."
            )
        self._db.upsert("settings", "name", name=name, value=value)
