"""The table of hanging protocols of a workstation."""

from __future__ import annotations

import json
from sqlite3 import Row

from labsim.errors import NotFound
from labsim.systems.facility import System
from labsim.systems.workstation.protocols import (
    STANDARD,
    DisplaySet,
    HangingProtocol,
    ImageSet,
    Position,
    require_sound,
)
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS hanging_protocols (
    name         TEXT PRIMARY KEY,
    description  TEXT NOT NULL,
    level        TEXT NOT NULL,
    modalities   TEXT NOT NULL,     -- a backslash between
    body_part    TEXT NOT NULL,     -- empty: any
    laterality   TEXT NOT NULL,     -- empty: any
    screens      INTEGER NOT NULL,
    partial_data TEXT NOT NULL,
    enabled      INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE IF NOT EXISTS image_sets (
    protocol  TEXT NOT NULL,
    number    INTEGER NOT NULL,
    label     TEXT NOT NULL,
    prior     INTEGER NOT NULL,
    selectors TEXT NOT NULL,        -- JSON: attribute keyword to the values that match
    PRIMARY KEY (protocol, number)
);
CREATE TABLE IF NOT EXISTS display_sets (
    protocol  TEXT NOT NULL,
    number    INTEGER NOT NULL,
    image_set INTEGER NOT NULL,
    layout    TEXT NOT NULL,
    position  TEXT NOT NULL,        -- JSON
    justification TEXT NOT NULL,
    PRIMARY KEY (protocol, number)
);
"""


class Protocols:
    """The table of hanging protocols of one workstation.

    Parameters
    ----------
    system : System
        The workstation.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._db = system.db
        if self._db.next("hanging protocols") == 1:
            for protocol in STANDARD:
                self._keep(protocol)

    def add(self, protocol: HangingProtocol) -> None:
        """Add a protocol, or replace the one of that name.

        Raises
        ------
        ConfigurationError
            If it cannot be followed.
        """
        require_sound(protocol)
        self._keep(protocol)
        self._system.note(f"hanging protocol {protocol.name!r} set")

    def remove(self, name: str) -> None:
        """Remove a protocol.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        self.get(name)
        self._forget(name)
        self._system.note(f"hanging protocol {name!r} removed")

    def enable(self, name: str, *, enabled: bool = True) -> None:
        """Use a protocol, or leave it aside.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        self.get(name)
        self._db.run("UPDATE hanging_protocols SET enabled = ? WHERE name = ?", int(enabled), name)
        self._system.note(f"hanging protocol {name!r} {'enabled' if enabled else 'disabled'}")

    def get(self, name: str) -> HangingProtocol:
        """Return one protocol.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        row = self._db.row("SELECT * FROM hanging_protocols WHERE name = ?", name)
        if row is None:
            names = self._db.rows("SELECT name FROM hanging_protocols ORDER BY rowid")
            raise NotFound(
                f"There is no hanging protocol {name!r}.",
                f"There are {', '.join(each['name'] for each in names)}.",
            )
        return self._read(row)

    def enabled(self) -> list[HangingProtocol]:
        """Return the protocols that are in use."""
        rows = self._db.rows("SELECT * FROM hanging_protocols WHERE enabled = 1 ORDER BY rowid")
        return [self._read(row) for row in rows]

    def table(self) -> Table:
        """Return every protocol: what it is for and what it shows."""
        rows = []
        for row in self._db.rows("SELECT * FROM hanging_protocols ORDER BY rowid"):
            each = self._read(row)
            labels = {one.number: one.label for one in each.image_sets}
            rows.append(
                (
                    each.name,
                    each.level,
                    "\\".join(each.modalities),
                    each.body_part,
                    each.laterality,
                    each.priors,
                    each.screens,
                    ", ".join(labels[one.image_set] for one in each.display_sets),
                    "yes" if row["enabled"] else "no",
                )
            )
        columns = ("name", "level", "modality", "body part", "laterality", "priors", "screens")
        caption = f"Hanging protocols of {self._system.name}"
        return Table((*columns, "shows", "in use"), rows, caption)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def _read(self, row: Row) -> HangingProtocol:
        query = "SELECT * FROM {} WHERE protocol = ? ORDER BY number"
        return HangingProtocol(
            row["name"],
            row["description"],
            tuple(row["modalities"].split("\\")),
            tuple(
                ImageSet(r["number"], r["label"], r["prior"], _selectors(r["selectors"]))
                for r in self._db.rows(query.format("image_sets"), row["name"])
            ),
            tuple(
                DisplaySet(
                    r["number"],
                    r["image_set"],
                    _position(r["position"]),
                    r["layout"],
                    r["justification"],
                )
                for r in self._db.rows(query.format("display_sets"), row["name"])
            ),
            row["body_part"],
            row["laterality"],
            row["screens"],
            row["partial_data"],
            row["level"],
        )

    def _keep(self, protocol: HangingProtocol) -> None:
        with self._db.transaction():
            self._forget(protocol.name)
            self._db.insert(
                "hanging_protocols",
                name=protocol.name,
                description=protocol.description,
                level=protocol.level,
                modalities="\\".join(protocol.modalities),
                body_part=protocol.body_part,
                laterality=protocol.laterality,
                screens=protocol.screens,
                partial_data=protocol.partial_data,
            )
            for images in protocol.image_sets:
                self._db.insert(
                    "image_sets",
                    protocol=protocol.name,
                    number=images.number,
                    label=images.label,
                    prior=images.prior,
                    selectors=json.dumps(dict(images.selectors)),
                )
            for shown in protocol.display_sets:
                self._db.insert(
                    "display_sets",
                    protocol=protocol.name,
                    number=shown.number,
                    image_set=shown.image_set,
                    layout=shown.layout,
                    position=json.dumps(shown.position),
                    justification=shown.justification,
                )

    def _forget(self, name: str) -> None:
        with self._db.transaction():
            self._db.run("DELETE FROM hanging_protocols WHERE name = ?", name)
            self._db.run("DELETE FROM image_sets WHERE protocol = ?", name)
            self._db.run("DELETE FROM display_sets WHERE protocol = ?", name)


def _selectors(text: str) -> dict[str, tuple[str, ...]]:
    return {keyword: tuple(values) for keyword, values in json.loads(text).items()}


def _position(text: str) -> Position:
    left, top, right, bottom = json.loads(text)
    return left, top, right, bottom
