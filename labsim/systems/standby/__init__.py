"""The standby: a replica of the PACS on another host, ready to take its place.

What it keeps has the form of a backup (`labsim.systems.pacs.backup`), so that
a failover is a restore from the last replica that arrived whole.
"""

from __future__ import annotations

from functools import partial

from labsim.site import StandbySite
from labsim.systems.facility import Facility, System
from labsim.systems.pacs import backup
from labsim.systems.standby.receiving import FileHandler, MissingHandler, SnapshotHandler
from labsim.table import Table
from labsim.wire.http import HttpNode
from labsim.wire.network import Address

_KEPT = 2  # replicas; the older one in case the last proves damaged
_SCHEMA = """
CREATE TABLE IF NOT EXISTS replicas (
    snapshot    INTEGER PRIMARY KEY,
    taken_at    TEXT NOT NULL,     -- of which moment of the PACS
    received_at TEXT NOT NULL,
    images      INTEGER NOT NULL
);
"""


class Standby(System):
    """Takes in replicas of the PACS.

    Parameters
    ----------
    own : StandbySite
        Its own entry.
    facility : Facility
        What it shares with the others.
    """

    def __init__(self, own: StandbySite, facility: Facility) -> None:
        super().__init__("standby", facility, _SCHEMA)
        self._own = own
        self.replica = self.folder / "replica"
        self._http = HttpNode(self.name, facility.journal, facility.network, facility.loop)

    def start(self) -> None:
        """Listen for the PACS."""
        routes = [
            (r"/replica/missing", MissingHandler, {"standby": self}),
            (r"/replica/files/([0-9a-f]{64})", FileHandler, {"standby": self}),
            (r"/replica/snapshot", SnapshotHandler, {"standby": self}),
        ]
        address = Address(self._own.host, self._own.http_port)
        listen = partial(self._http.listen, routes)
        protocol = self._http.named("replication")
        self.serve(protocol, address, "STANDBY", listen, self._http.close, place="http")

    def taken(self, number: int, taken_at: str, images: int) -> None:
        """Note a replica that has arrived whole, and let older ones go."""
        self.db.insert(
            "replicas", snapshot=number, taken_at=taken_at, received_at=self.now(), images=images
        )
        backup.forget_older(self.replica, _KEPT)
        self.note(f"replica {number} of {taken_at} taken in: {images} images")

    def table(self) -> Table:
        """Return the replicas that are kept, with their age when they arrived."""
        kept = backup.snapshots(self.replica)
        rows = [
            tuple(row)
            for row in self.db.rows("SELECT * FROM replicas ORDER BY snapshot")
            if row["snapshot"] in kept
        ]
        columns = ("replica", "of the PACS at", "received at", "images")
        return Table(columns, rows, "Replicas of the PACS")
