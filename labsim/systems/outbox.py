"""A system's outgoing HL7 messages: kept until the receiver has accepted them, sent in order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from labsim.errors import DeliveryFailed
from labsim.systems.facility import System
from labsim.systems.gauges import Gauge, waiting
from labsim.table import Table
from labsim.wire.hl7 import Header, Message, with_structure
from labsim.wire.mllp import MllpEndpoint, hl7_keys
from labsim.wire.network import Address

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    id          INTEGER PRIMARY KEY,
    host        TEXT NOT NULL,
    port        INTEGER NOT NULL,
    transaction_ TEXT NOT NULL,
    keys        TEXT NOT NULL,
    message     TEXT NOT NULL,
    state       TEXT NOT NULL,  -- waiting, delivered, refused
    answer      TEXT NOT NULL DEFAULT '',
    queued_at   TEXT NOT NULL
);
"""


class Outbox:
    """Sends one system's messages, each only when those before it have gone.

    Parameters
    ----------
    system : System
        Whose messages; its database has the table of `SCHEMA`.
    endpoint : MllpEndpoint
        Its HL7 interface.
    application : str
        Its name in MSH-3.
    """

    def __init__(self, system: System, endpoint: MllpEndpoint, application: str) -> None:
        self._system = system
        self._endpoint = endpoint
        self._application = application

    def header(self, message_type: str, receiver: str, version: str = "2.3.1") -> Header:
        """Start a message to an application of this hospital, with the next control ID."""
        facility = self._system.facility
        number = self._system.db.next("control_id")
        return Header(
            sender=(self._application, facility.issuer),
            receiver=(receiver, facility.issuer),
            message_type=with_structure(message_type),
            control_id=f"{self._application[:10]}{number:08d}",
            time=facility.clock.now(),
            version=version,
        )

    def gauge(self) -> Gauge:
        """Return how many messages wait."""
        count = "SELECT COUNT(*) FROM outbox WHERE state = 'waiting'"
        return waiting("outbox", self._system.db.value(count))

    def post(
        self, message: Message, to: Address, transaction: str, **keys: str
    ) -> Future[Message | None]:
        """Keep a message and send it in the background.

        Parameters
        ----------
        message : Message
            With a header from `header`.
        to : Address
            Host and port in the hospital.
        transaction : str
            IHE transaction.
        **keys : str
            For the journal, beside those in the message itself.

        Returns
        -------
        Future
            Its acknowledgment; fails with `DeliveryFailed`.
        """
        row = self._system.db.insert(
            "outbox",
            host=to.host,
            port=to.port,
            transaction_=transaction,
            keys=json.dumps({**hl7_keys(message), **keys}),
            message=message.text,
            state="waiting",
            queued_at=self._system.facility.clock.now().isoformat(timespec="seconds"),
        )
        return self._system.worker.submit(self._deliver, to, row)

    def send(self, message: Message, to: Address, transaction: str, **keys: str) -> None:
        """Keep a message, send it, and wait until it has been accepted.

        Raises
        ------
        DeliveryFailed
            If it was refused, or could not be delivered and waits.
        """
        self.post(message, to, transaction, **keys).result()

    def resend(self) -> int:
        """Send what waits, and return how many messages went.

        Raises
        ------
        DeliveryFailed
            If the first one still cannot be delivered.
        """
        waiting = self._rows("waiting")
        for address in dict.fromkeys(Address(row["host"], row["port"]) for row in waiting):
            self._system.worker.submit(self._deliver, address, None).result()
        return len(waiting) - len(self._rows("waiting"))

    def resume(self) -> None:
        """Try again, in the background, to send what waited at the last stop."""
        for address in {Address(row["host"], row["port"]) for row in self._rows("waiting")}:
            self._system.worker.submit(self._deliver, address, None)

    def table(self) -> Table:
        """Return every message with its state."""
        rows = self._system.db.rows("SELECT * FROM outbox ORDER BY id")
        shown = [(row, Message(row["message"])) for row in rows]
        return Table(
            ("control ID", "message", "to", "state", "answer"),
            [
                (m.control_id, m.type, f"{row['host']}:{row['port']}", row["state"], row["answer"])
                for row, m in shown
            ],
            f"Outbox of {self._system.name}",
        )

    def _rows(self, state: str) -> list[dict[str, Any]]:
        found = self._system.db.rows("SELECT * FROM outbox WHERE state = ? ORDER BY id", state)
        return [dict(row) for row in found]

    def _deliver(self, to: Address, wanted: int | None) -> Message | None:
        """Send what waits for an address, oldest first, up to the row `wanted`."""
        answer = None
        for row in self._rows("waiting"):
            if Address(row["host"], row["port"]) == to and (wanted is None or row["id"] <= wanted):
                answer = self._attempt(row, to)
        if wanted is not None and answer is not None:
            self._raise_if_refused(wanted)
        return answer

    def _attempt(self, row: Mapping[str, Any], to: Address) -> Message:
        message = Message(row["message"])
        keys = json.loads(row["keys"])
        answer = self._endpoint.send(message, to, row["transaction_"], keys)
        state = "delivered" if answer["MSA-1"] in ("AA", "CA") else "refused"
        self._system.db.run(
            "UPDATE outbox SET state = ?, answer = ? WHERE id = ?",
            state,
            f"{answer['MSA-1']} {answer['MSA-3']}".strip(),
            row["id"],
        )
        return answer

    def _raise_if_refused(self, wanted: int) -> None:
        row = self._system.db.row("SELECT * FROM outbox WHERE id = ?", wanted)
        assert row is not None
        if row["state"] == "refused":
            message = Message(row["message"])
            raise DeliveryFailed(
                f"{message['MSH-5']} refused {message.type} {message.control_id}: {row['answer']}.",
                "Correct what the answer names; the message stays in the outbox as refused.",
            )
