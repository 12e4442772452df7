"""Which application entities the PACS knows, and what each may do."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt

from labsim.database import Database
from labsim.errors import ConfigurationError, NotFound
from labsim.ids import is_ae_title
from labsim.systems.pacs.transcoding import TARGETS
from labsim.wire.dimse import Peer
from labsim.wire.status import failure

SCHEMA = """
CREATE TABLE IF NOT EXISTS application_entities (
    ae_title    TEXT PRIMARY KEY,
    host        TEXT NOT NULL,
    port        INTEGER NOT NULL,
    may_store   INTEGER NOT NULL,
    may_query   INTEGER NOT NULL,
    transcode   INTEGER NOT NULL DEFAULT 1,
    preferred_syntax TEXT NOT NULL DEFAULT '',
    tls         INTEGER NOT NULL DEFAULT 0
);
"""


@dataclass(frozen=True)
class Entity:
    """One registered application entity.

    Parameters
    ----------
    ae_title : str
        As it calls, letter for letter.
    host, port
        Where it listens: for C-MOVE to it, and for commitment results.
    may_store, may_query : bool
        What its associations are accepted for.
    transcode : bool
        Whether images may be compressed or decompressed for it.
    preferred_syntax : str
        Transfer syntax UID in which images are sent to it where it takes
        that; as they are stored if empty.
    tls : bool
        Whether it is called by TLS.
    """

    ae_title: str
    host: str
    port: int
    may_store: bool = True
    may_query: bool = True
    transcode: bool = True
    preferred_syntax: str = ""
    tls: bool = False

    @property
    def peer(self) -> Peer:
        """How to call it."""
        return Peer(self.ae_title, self.host, self.port, self.tls)


class Entities:
    """The table of registered application entities.

    Parameters
    ----------
    db : Database
        Has the table of `SCHEMA`.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def register(self, entity: Entity) -> None:
        """Add an entity, or replace the one with the same title.

        Raises
        ------
        ConfigurationError
            If title, host, port or transfer syntax cannot be right.
        """
        if not is_ae_title(entity.ae_title):
            raise ConfigurationError(
                f"{entity.ae_title!r} is no AE title.",
                "1 to 16 characters, no backslash, not spaces alone (PS3.5 6.2).",
            )
        if not entity.host or not 1 <= entity.port <= 65535:
            raise ConfigurationError(
                f"{entity.host}:{entity.port} is no address.",
                "Give a host name and a port 1 to 65535.",
            )
        if entity.preferred_syntax and entity.preferred_syntax not in TARGETS:
            known = ", ".join(f"{uid} ({uid.name})" for uid in TARGETS)
            raise ConfigurationError(
                f"The PACS cannot turn images into {UID(entity.preferred_syntax).name!r}.",
                f"Choose one of {known}.",
            )
        self._db.upsert("application_entities", "ae_title", **vars(entity))

    def remove(self, ae_title: str) -> Entity:
        """Remove an entity and return what it was.

        Raises
        ------
        NotFound
            If it is not registered.
        """
        entity = self.get(ae_title)
        if entity is None:
            raise NotFound(
                f"No AE title {ae_title!r} is registered at the PACS.",
                f"Registered: {', '.join(e.ae_title for e in self.all())}.",
            )
        self._db.run("DELETE FROM application_entities WHERE ae_title = ?", ae_title)
        return entity

    def get(self, ae_title: str) -> Entity | None:
        """Return the entity of a title, None if it is not registered."""
        row = self._db.row("SELECT * FROM application_entities WHERE ae_title = ?", ae_title)
        return _entity(dict(row)) if row is not None else None

    def refuse(self, event: evt.Event, right: str) -> Dataset | None:
        """Return the refusal of a request that its caller has no right to, None if it has.

        Parameters
        ----------
        event : Event
            The request.
        right : str
            ``"may_store"`` or ``"may_query"``.
        """
        title = event.assoc.requestor.ae_title.strip()
        entity = self.get(title)
        if entity is not None and getattr(entity, right):
            return None
        return failure(0x0124, f"{title} {right.replace('_', ' ')}: no")

    def all(self) -> list[Entity]:
        """Return every registered entity by title."""
        rows = self._db.rows("SELECT * FROM application_entities ORDER BY ae_title")
        return [_entity(dict(row)) for row in rows]


def _entity(row: dict[str, object]) -> Entity:
    return Entity(
        ae_title=str(row["ae_title"]),
        host=str(row["host"]),
        port=int(str(row["port"])),
        may_store=bool(row["may_store"]),
        may_query=bool(row["may_query"]),
        transcode=bool(row["transcode"]),
        preferred_syntax=str(row["preferred_syntax"]),
        tls=bool(row["tls"]),
    )
