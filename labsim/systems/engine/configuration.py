"""The engine's channels and lookup tables, as it keeps them and as they are changed."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from labsim.channels import ChannelSpec, require_consistent
from labsim.database import Database
from labsim.errors import ConfigurationError, NotFound
from labsim.site import EngineSite

SCHEMA = """
CREATE TABLE IF NOT EXISTS channels (
    name       TEXT PRIMARY KEY,
    definition TEXT NOT NULL            -- JSON, as labsim.channels reads it
);
CREATE TABLE IF NOT EXISTS lookups (
    name  TEXT NOT NULL,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name, key)
);
CREATE TABLE IF NOT EXISTS stopped (
    channel     TEXT NOT NULL,
    destination TEXT NOT NULL,          -- empty for the whole channel
    PRIMARY KEY (channel, destination)
);
"""


class Configuration:
    """Channels, lookup tables, and what is stopped.

    Parameters
    ----------
    db : Database
        The engine's; it has the tables of `SCHEMA`.
    site : EngineSite
        What it is set up with when it starts for the first time.
    """

    def __init__(self, db: Database, site: EngineSite) -> None:
        self._db = db
        self._lock = threading.RLock()
        self._channels: dict[str, ChannelSpec] = {}
        with db.transaction():  # who is cut off here begins anew
            if db.next("configured") == 1:
                for channel in site.channels:
                    self._keep(channel)
                for name, entries in site.tables.items():
                    self.set_table(name, entries)
        rows = db.rows("SELECT definition FROM channels ORDER BY rowid")
        found = [ChannelSpec.model_validate_json(row["definition"]) for row in rows]
        self._channels = {channel.name: channel for channel in found}
        self._tables = self._read_tables()
        self._stopped = {
            (row["channel"], row["destination"]) for row in db.rows("SELECT * FROM stopped")
        }

    @property
    def channels(self) -> Mapping[str, ChannelSpec]:
        """Every channel by its name."""
        return self._channels

    @property
    def tables(self) -> Mapping[str, Mapping[str, str]]:
        """Every lookup table by its name."""
        return self._tables

    def channel(self, name: str) -> ChannelSpec:
        """Return one channel.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        if name not in self._channels:
            raise NotFound(
                f"The engine has no channel {name!r}.", f"It has {', '.join(self._channels)}."
            )
        return self._channels[name]

    def change(self, name: str, changes: Mapping[str, Any]) -> ChannelSpec:
        """Change some values of a channel, and keep it.

        Raises
        ------
        ConfigurationError
            If the result would be no channel.
        """
        before = json.loads(self.channel(name).model_dump_json(by_alias=True))
        return self.deploy(before | dict(changes))

    def deploy(self, description: Mapping[str, Any]) -> ChannelSpec:
        """Add a channel, or replace the one of its name.

        Raises
        ------
        ConfigurationError
            If it is no channel, or uses a table that is not there.
        """
        with self._lock:
            try:
                channel = ChannelSpec.model_validate(description)
                require_consistent([channel], {name: {} for name in self._tables})
            except ValidationError as error:
                found = "; ".join(
                    f"{'.'.join(map(str, problem['loc'])) or 'channel'}: {problem['msg']}"
                    for problem in error.errors()
                )
                raise ConfigurationError(f"That is no channel. {found}.") from error
            except ValueError as error:
                raise ConfigurationError(f"That is no channel: {error}.") from error
            self._keep(channel)
            self._channels = self._channels | {channel.name: channel}
            return channel

    def set_table(self, name: str, entries: Mapping[str, str | None]) -> None:
        """Set entries of a lookup table; one without a value is taken out."""
        with self._lock, self._db.transaction():
            for key, value in entries.items():
                if value is None:
                    self._db.run("DELETE FROM lookups WHERE name = ? AND key = ?", name, key)
                else:
                    self._db.run(
                        "INSERT OR REPLACE INTO lookups VALUES (?, ?, ?)", name, key, value
                    )
            self._tables = {name: {}} | self._read_tables()

    def table(self, name: str) -> Mapping[str, str]:
        """Return one lookup table.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        if name not in self._tables:
            known = ", ".join(self._tables) or "none"
            raise NotFound(f"The engine has no lookup table {name!r}.", f"It has {known}.")
        return self._tables[name]

    def is_running(self, channel: str, destination: str = "") -> bool:
        """Tell whether a channel, and one of its destinations, is not stopped."""
        return not {(channel, ""), (channel, destination)} & self._stopped

    def set_running(self, running: bool, channel: str, destination: str = "") -> None:
        """Stop a channel or a destination, or let it go on, until told otherwise."""
        place = (channel, destination)
        with self._lock:
            if running:
                statement = "DELETE FROM stopped WHERE channel = ? AND destination = ?"
                self._stopped = self._stopped - {place}
            else:
                statement = "INSERT OR IGNORE INTO stopped VALUES (?, ?)"
                self._stopped = self._stopped | {place}
            self._db.run(statement, *place)

    def _keep(self, channel: ChannelSpec) -> None:
        definition = channel.model_dump_json(by_alias=True)
        self._db.upsert("channels", "name", name=channel.name, definition=definition)

    def _read_tables(self) -> dict[str, dict[str, str]]:
        used = {name for channel in self._channels.values() for name in channel.tables()}
        tables: dict[str, dict[str, str]] = {name: {} for name in sorted(used)}
        for row in self._db.rows("SELECT * FROM lookups ORDER BY name, rowid"):
            tables.setdefault(row["name"], {})[row["key"]] = row["value"]
        return tables
