"""The engine's messages on disk: as they came, as they go, and what became of them."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from labsim.clock import Clock
from labsim.database import Database
from labsim.wire.hl7 import Message
from labsim.wire.mllp import hl7_keys

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    channel      TEXT NOT NULL,
    origin       INTEGER,              -- the message that this one is a copy of
    caller       TEXT NOT NULL,
    application  TEXT NOT NULL,        -- MSH-3
    facility     TEXT NOT NULL,        -- MSH-4
    control_id   TEXT NOT NULL,
    type         TEXT NOT NULL,
    transaction_ TEXT NOT NULL,
    patient_id   TEXT NOT NULL,
    accession    TEXT NOT NULL,
    raw          BLOB NOT NULL,        -- the bytes as they came
    text         TEXT NOT NULL,
    digest       TEXT NOT NULL,
    state        TEXT NOT NULL,        -- received, filtered, queued, sent, error, resent
    reason       TEXT NOT NULL DEFAULT '',
    received_at  TEXT NOT NULL,        -- hospital time
    taken        REAL NOT NULL,        -- the machine's, in seconds
    repeats      INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS messages_by_control_id ON messages (control_id, channel);
CREATE INDEX IF NOT EXISTS messages_by_state ON messages (channel, state);
CREATE TABLE IF NOT EXISTS deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    message     INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    channel     TEXT NOT NULL,
    destination TEXT NOT NULL,
    text        TEXT NOT NULL,         -- transformed
    state       TEXT NOT NULL,         -- queued, sent, error, resent
    attempts    INTEGER NOT NULL DEFAULT 0,
    answer      TEXT NOT NULL DEFAULT '',
    ended_at    TEXT NOT NULL DEFAULT '',
    seconds     REAL                   -- from receipt to acknowledgment
);
CREATE INDEX IF NOT EXISTS deliveries_by_queue ON deliveries (channel, destination, state, id);
CREATE INDEX IF NOT EXISTS deliveries_by_message ON deliveries (message);
CREATE TABLE IF NOT EXISTS forgotten (  -- how many messages were pruned or deleted
    channel TEXT NOT NULL,
    state   TEXT NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (channel, state)
);
"""
STATES = ("received", "filtered", "queued", "sent", "error", "resent")

Condition = tuple[str, tuple[Any, ...]]  # SQL, and the values for its question marks


@dataclass(frozen=True)
class Delivery:
    """One message on its way to one destination."""

    id: int
    message: int
    text: str
    transaction: str
    attempts: int


@dataclass(frozen=True)
class Outgoing:
    """What the channel made of a message for one destination: its text, or why there is none."""

    destination: str
    text: str
    problem: str = ""


class MessageStore:
    """Keeps every message and follows it to its end.

    Parameters
    ----------
    db : Database
        The engine's; it has the tables of `SCHEMA`.
    clock : Clock
        The hospital's.
    """

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    # Coming in

    def repeated(self, message: Message, channel: str, seconds: float, *, content: bool) -> int:
        """Return the number of the message that this one repeats, 0 if it is new."""
        since = (self._clock.now() - timedelta(seconds=seconds)).isoformat(timespec="seconds")
        found = self._db.row(
            "SELECT id FROM messages WHERE control_id = ? AND channel = ? AND application = ? "
            "AND facility = ? AND received_at >= ? AND (? OR digest = ?) "
            "ORDER BY id",
            message.control_id,
            channel,
            message["MSH-3"],
            message["MSH-4"],
            since,
            not content,
            _digest(message.text),
        )
        if found is None:
            return 0
        self._db.run("UPDATE messages SET repeats = repeats + 1 WHERE id = ?", found["id"])
        return int(found["id"])

    def keep(
        self,
        message: Message,
        raw: bytes,
        *,
        channel: str,
        transaction: str,
        caller: str,
        origin: int | None = None,
    ) -> int:
        """Keep a message as it came, and return its number."""
        keys = hl7_keys(message)
        return self._db.insert(
            "messages",
            channel=channel,
            origin=origin,
            caller=caller,
            application=message["MSH-3"],
            facility=message["MSH-4"],
            control_id=message.control_id,
            type=message.type,
            transaction_=transaction,
            patient_id=keys.get("patient_id", ""),
            accession=keys.get("accession", ""),
            raw=raw,
            text=message.text,
            digest=_digest(message.text),
            state="received",
            received_at=self._now(),
            taken=time.time(),
        )

    def filtered(self, number: int, condition: str) -> None:
        """Note that a condition of its channel kept a message back."""
        self._set(number, "filtered", condition)

    def queue(self, number: int, channel: str, outgoing: Sequence[Outgoing]) -> None:
        """Queue a message for its destinations; what could not be made is an error."""
        for entry in outgoing:
            self._db.insert(
                "deliveries",
                message=number,
                channel=channel,
                destination=entry.destination,
                text=entry.text,
                state="error" if entry.problem else "queued",
                answer=entry.problem,
            )
        self._follow(number)

    # Going out

    def next(self, channel: str, destination: str) -> Delivery | None:
        """Return what a destination gets next, None if nothing waits."""
        row = self._db.row(
            "SELECT d.id, d.message, d.text, d.attempts, m.transaction_ FROM deliveries d "
            "JOIN messages m ON m.id = d.message WHERE d.channel = ? AND d.destination = ? "
            "AND d.state = 'queued' ORDER BY d.id LIMIT 1",
            channel,
            destination,
        )
        if row is None:
            return None
        return Delivery(
            row["id"], row["message"], row["text"], row["transaction_"], row["attempts"] + 1
        )

    def settle(self, delivery: Delivery, state: str, answer: str) -> None:
        """Keep what came of an attempt: ``queued`` again, ``sent`` or ``error``.

        If the power fails now, the message is sent again, which its control ID tells.
        """
        with self._db.transaction(durable=False):
            self._db.run(
                "UPDATE deliveries SET state = ?, attempts = ?, answer = ?, ended_at = ?, "
                "seconds = CASE ? WHEN 'sent' THEN "
                "? - (SELECT taken FROM messages WHERE id = message) END WHERE id = ?",
                state,
                delivery.attempts,
                answer,
                "" if state == "queued" else self._now(),
                state,
                time.time(),
                delivery.id,
            )
            self._follow(delivery.message)

    def waiting(self, channel: str = "", destination: str = "") -> int:
        """Return how many messages wait for a destination, a channel, or anywhere."""
        return int(
            self._db.value(
                "SELECT count(*) FROM deliveries WHERE state = 'queued' "
                "AND ? IN ('', channel) AND ? IN ('', destination)",
                channel,
                destination,
            )
        )

    # By hand

    def row(self, number: int) -> sqlite3.Row | None:
        """Return one message."""
        return self._db.row("SELECT * FROM messages WHERE id = ?", number)

    def deliveries(self, number: int) -> list[sqlite3.Row]:
        """Return what became of one message, destination by destination."""
        return self._db.rows("SELECT * FROM deliveries WHERE message = ? ORDER BY id", number)

    def search(self, conditions: Sequence[Condition], limit: int) -> list[sqlite3.Row]:
        """Return the newest messages for which all SQL conditions are true, oldest first."""
        where = " AND ".join(["1", *(condition for condition, _ in conditions)])
        found = self._db.rows(
            "SELECT m.*, (SELECT group_concat(answer, '; ') FROM deliveries d "
            "WHERE d.message = m.id AND d.answer != '') AS answer "
            f"FROM messages m WHERE {where} ORDER BY m.id DESC LIMIT ?",
            *(value for _, values in conditions for value in values),
            limit,
        )
        return found[::-1]

    def resent(self, number: int) -> None:
        """Take a message out of the error queue, because a copy of it is on its way."""
        self._db.run(
            "UPDATE deliveries SET state = 'resent' WHERE message = ? AND state = 'error'", number
        )
        if self.deliveries(number):
            self._follow(number)
        else:
            self._db.run(
                "UPDATE messages SET state = 'resent' WHERE id = ? AND state = 'error'", number
            )

    def forget(self, numbers: Sequence[int]) -> None:
        """Delete messages with what became of them; the statistics go on counting them."""
        with self._db.transaction():
            for number in numbers:
                row = self.row(number)
                if row is not None:
                    self._db.run(
                        "INSERT INTO forgotten VALUES (?, ?, 1) ON CONFLICT (channel, state) "
                        "DO UPDATE SET count = count + 1",
                        row["channel"],
                        row["state"],
                    )
                    self._db.run("DELETE FROM messages WHERE id = ?", number)

    def older(self, than: datetime, states: Sequence[str]) -> list[sqlite3.Row]:
        """Return number and state of the messages in some states that came before a moment."""
        marks = ", ".join("?" * len(states))
        return self._db.rows(
            f"SELECT id, state FROM messages WHERE state IN ({marks}) AND received_at < ?",
            *states,
            than.isoformat(timespec="seconds"),
        )

    def statistics(self, channel: str) -> dict[str, Any]:
        """Return how many messages of a channel are in each state, and when the last came."""
        counts = dict.fromkeys(STATES, 0)
        for found in self._db.rows(
            "SELECT state, count(*) AS n FROM messages WHERE channel = ? GROUP BY state "
            "UNION ALL SELECT state, count FROM forgotten WHERE channel = ?",
            channel,
            channel,
        ):
            counts[found["state"]] += found["n"]
        row = self._db.row(
            "SELECT max(received_at) AS last, total(repeats) AS repeats FROM messages "
            "WHERE channel = ?",
            channel,
        )
        sent = self._db.row(
            "SELECT count(*) AS made, avg(seconds) AS mean FROM deliveries "
            "WHERE channel = ? AND text != ''",
            channel,
        )
        assert row is not None
        assert sent is not None
        return counts | {
            "last": row["last"] or "",
            "repeats": int(row["repeats"]),
            "transformed": sent["made"],
            "mean": sent["mean"],
        }

    def _follow(self, number: int) -> None:
        """Give a message the state of its deliveries: the worst of them counts."""
        states = {row["state"] for row in self.deliveries(number)}
        for state in ("error", "queued", "sent", "resent"):
            if state in states:
                self._db.run("UPDATE messages SET state = ? WHERE id = ?", state, number)
                return

    def _set(self, number: int, state: str, reason: str) -> None:
        self._db.run(
            "UPDATE messages SET state = ?, reason = ? WHERE id = ?", state, reason, number
        )

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
