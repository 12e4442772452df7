"""One message of the engine's store, to be looked at."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from labsim.table import Table
from labsim.wire.hl7 import Message


class StoredMessage:
    """A message as it came and as it was sent on.

    Parameters
    ----------
    row : Row
        What the store has of it.
    deliveries : sequence of Row
        What became of it, destination by destination.

    Attributes
    ----------
    number : int
        Its number in the store.
    channel, state : str
        Whose it is, and how far it came.
    caller : str
        The system that sent it, empty for a copy made here.
    origin : int or None
        The message that it is a copy of.
    data : bytes
        As it came.
    raw : Message
        The same, readable.
    transformed : dict of str to Message
        By destination; none where a step failed.
    """

    def __init__(self, row: sqlite3.Row, deliveries: Sequence[sqlite3.Row]) -> None:
        self.number: int = row["id"]
        self.channel: str = row["channel"]
        self.state: str = row["state"]
        self.reason: str = row["reason"]
        self.caller: str = row["caller"]
        self.origin: int | None = row["origin"]
        self.received_at: str = row["received_at"]
        self.repeats: int = row["repeats"]
        self.data: bytes = row["raw"]
        self.raw = Message(row["text"])
        self._deliveries = deliveries
        self.transformed = {
            entry["destination"]: Message(entry["text"]) for entry in deliveries if entry["text"]
        }

    def deliveries(self) -> Table:
        """Return what became of it, destination by destination."""
        columns = ("destination", "state", "attempts", "answer", "ended_at")
        rows = [[entry[column] for column in columns] for entry in self._deliveries]
        return Table(columns, rows, f"Deliveries of message {self.number}")

    def table(self) -> Table:
        """Return it field by field, as it came and as each destination gets it."""
        came = _values(self.raw)
        sent = {name: _values(message) for name, message in self.transformed.items()}
        places = dict.fromkeys(place for values in (came, *sent.values()) for place in values)
        rows = [
            (*place[:2], came.get(place, ""), *(values.get(place, "") for values in sent.values()))
            for place in places
        ]
        caption = f"Message {self.number} of channel {self.channel}: {self.state}"
        return Table(("field", "name", "received", *(f"to {name}" for name in sent)), rows, caption)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _values(message: Message) -> dict[tuple[str, str, int], str]:
    """Return every field by its place, its name and which of the segments of that name it is in."""
    values: dict[tuple[str, str, int], str] = {}
    for place, name, value in message.table():
        count = 0
        while (place, name, count) in values:
            count += 1
        values[place, name, count] = value
    return values
