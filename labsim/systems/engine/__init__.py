"""The integration engine, through which the other systems' HL7 messages go.

No IHE actor: IHE leaves the way between two actors open. For its senders the
engine is the receiver: it acknowledges (AA) what it has on disk, and what the
real receiver says later is seen here, in the error queue, and not by the
sender.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from labsim.errors import ConfigurationError, Hl7Error, NotFound
from labsim.site import EngineSite, Site
from labsim.systems.engine import configuration, store
from labsim.systems.engine.channel import Channel
from labsim.systems.engine.configuration import Configuration
from labsim.systems.engine.intake import Intake
from labsim.systems.engine.queues import Queue
from labsim.systems.engine.search import MESSAGE_COLUMNS, conditions, message_row
from labsim.systems.engine.store import MessageStore
from labsim.systems.engine.stored import StoredMessage
from labsim.systems.facility import Facility, System
from labsim.systems.gauges import Gauge, waiting
from labsim.table import Table
from labsim.wire.hl7 import Message
from labsim.wire.hl7_edit import Path, with_raw_value, written
from labsim.wire.mllp import MllpEndpoint
from labsim.wire.network import Address

_PRUNABLE = ("sent", "filtered", "resent")


class Engine(System):
    """Receives HL7 messages, keeps them, changes them by rules, and sends them on.

    Parameters
    ----------
    site : Site
        Its own entry, with the channels that it starts with.
    facility : Facility
        What it shares with the others.
    """

    def __init__(self, site: Site, facility: Facility) -> None:
        super().__init__("engine", facility, store.SCHEMA + configuration.SCHEMA)
        assert site.engine is not None
        self._own: EngineSite = site.engine
        self._hl7 = MllpEndpoint(
            self.name, facility.journal, facility.clock, facility.network, facility.loop
        )
        self._configuration = Configuration(self.db, site.engine)
        self._store = MessageStore(self.db, facility.clock)
        self._intake = Intake(self, self._configuration, self._store, self._wake)
        self._queues: dict[tuple[str, str], Queue] = {}
        self._progress = threading.Condition()

    def gauges(self) -> list[Gauge]:
        """Return how long each of its queues is."""
        rows = self.db.rows(
            "SELECT channel || '/' || destination AS queue, SUM(state = 'queued') AS length "
            "FROM deliveries GROUP BY queue ORDER BY queue"
        )
        return [*super().gauges(), *(waiting(row["queue"], row["length"]) for row in rows)]

    def start(self) -> None:
        """Listen for the messages of every channel."""
        address = Address(self._own.host, self._own.hl7_port)
        listen = partial(self._hl7.listen, self._intake)
        protocol, title = self._hl7.protocol, self._own.application
        self.serve(protocol, address, title, listen, self._hl7.close, place="mllp")

    def resume(self) -> None:
        """Send what waits, now that its receivers are up."""
        self._fit_queues()

    def stop(self) -> None:
        """Stop listening and sending; what waits is on disk."""
        self._close_services()
        for queue in self._queues.values():
            queue.stop()
        super().stop()

    # Channels

    def channel(self, name: str) -> Channel:
        """Return one channel, to look at, change, stop and start.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        return Channel(name, self._configuration, self._changed)

    def channels(self) -> list[Channel]:
        """Return every channel."""
        return [self.channel(name) for name in self._configuration.channels]

    def deploy(self, description: Mapping[str, Any]) -> Channel:
        """Add a channel, or replace the one of its name.

        Parameters
        ----------
        description : mapping
            What a ``[[channels]]`` table of a TOML file would hold.

        Raises
        ------
        ConfigurationError
            If it is no channel.
        """
        spec = self._configuration.deploy(description)
        self._fit_queues()
        self._changed(f"channel {spec.name} deployed")
        return self.channel(spec.name)

    def lookup(self, name: str) -> Table:
        """Return a lookup table.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        rows = list(self._configuration.table(name).items())
        return Table(("value", "becomes"), rows, f"Lookup table {name}")

    def set_table(self, name: str, entries: Mapping[str, str | None]) -> Table:
        """Set entries of a lookup table, which is made if it is not there.

        Parameters
        ----------
        name : str
            Its name.
        entries : mapping
            What each value becomes; None takes an entry out.
        """
        self._configuration.set_table(name, entries)
        shown = ", ".join(f"{key} → {value}" for key, value in entries.items())
        self._changed(f"lookup table {name}: {shown}")
        return self.lookup(name)

    # Messages

    def messages(
        self,
        *,
        channel: str = "",
        state: str = "",
        patient: str = "",
        accession: str = "",
        control_id: str = "",
        text: str = "",
        since: str = "",
        until: str = "",
        limit: int = 200,
    ) -> Table:
        """Search the message store.

        Parameters
        ----------
        channel, control_id : str
            Exactly this channel, this MSH-10.
        state : str
            ``"received"``, ``"filtered"``, ``"queued"``, ``"sent"``, ``"error"`` or
            ``"resent"`` (an error of which a copy was sent).
        patient, accession : str
            Patient ID (PID-3), Accession Number (OBR-18).
        text : str
            Anything in the message, as it came or as it was sent.
        since, until : str
            Hospital time of receipt, ISO 8601, as much of it as matters.
        limit : int
            How many at most; the newest are shown.

        Raises
        ------
        ConfigurationError
            If there is no such state.
        """
        wanted = conditions(
            channel=channel,
            state=state,
            patient=patient,
            accession=accession,
            control_id=control_id,
            text=text,
            since=since,
            until=until,
        )
        rows = self._store.search(wanted, limit)
        return Table(MESSAGE_COLUMNS, [message_row(row) for row in rows], "Messages of the engine")

    def errors(self) -> Table:
        """Return the error queue: what could not be transformed, was refused or given up."""
        return self.messages(state="error")

    def message(self, number: int) -> StoredMessage:
        """Return one message, as it came and as it was sent.

        Raises
        ------
        NotFound
            If there is none of that number.
        """
        return StoredMessage(self._row(number), self._store.deliveries(number))

    def resend(self, number: int, changes: Mapping[str, str] | None = None) -> int:
        """Send a message through its channel again, as it came or edited.

        Parameters
        ----------
        number : int
            From `messages`.
        changes : mapping, optional
            New values by their place: ``{"OBR-4.1": "CTHEAD"}``; ``^`` parts
            the components of a whole field.

        Returns
        -------
        int
            The number of the copy, which names its original. The original
            leaves the error queue; both are kept.

        Raises
        ------
        NotFound
            If there is none of that number.
        ConfigurationError
            If a place or value cannot be.
        """
        row = self._row(number)
        text = row["text"]
        for place, value in (changes or {}).items():
            path = Path.of(place)
            if not path.field:
                raise ConfigurationError(f"{place} is a whole segment.", 'Name a field: "PID-5".')
            text = with_raw_value(text, path, written(value, path))
        try:
            message = Message(text)
            message.encode()
        except Hl7Error as error:
            raise ConfigurationError(f"The message would be wrong: {error.what}") from error
        copy = self._intake.again(row, message)
        edited = f", {', '.join(changes)} edited" if changes else ""
        self.note(f"message {number} sent again as {copy}{edited}")
        return copy

    def delete(self, number: int) -> None:
        """Delete a message with all that is kept of it, whatever its state.

        Raises
        ------
        NotFound
            If there is none of that number.
        """
        row = self._row(number)
        self._store.forget([number])
        self.note(f"message {number} ({row['type']} {row['control_id']}) deleted: {row['state']}")
        self._tell()

    def prune(self, older_than: timedelta) -> Table:
        """Delete what is done with: sent, filtered and resent messages of some age.

        What waits and what is in error is never pruned.

        Parameters
        ----------
        older_than : timedelta
            Hospital time since receipt.

        Returns
        -------
        Table
            How many of each state were deleted.
        """
        rows = self._store.older(self.facility.clock.now() - older_than, _PRUNABLE)
        self._store.forget([row["id"] for row in rows])
        counts = [(s, sum(row["state"] == s for row in rows)) for s in _PRUNABLE]
        self.note("pruned: " + ", ".join(f"{count} {state}" for state, count in counts))
        return Table(("state", "deleted"), counts, "Pruned messages")

    def statistics(self) -> Table:
        """Return for each channel what came, what became of it, and how long it took.

        The mean time is from receipt to acknowledgment by the destination,
        in milliseconds, over the messages that are kept.
        """
        rows = []
        for channel in self.channels():
            found = self._store.statistics(channel.name)
            counts = [found[state] for state in ("filtered", "queued", "sent", "error", "resent")]
            mean = "" if found["mean"] is None else round(found["mean"] * 1000)
            received = sum(found[state] for state in store.STATES)
            rows.append(
                (
                    channel.name,
                    "running" if channel.running else "stopped",
                    received,
                    found["repeats"],
                    found["transformed"],
                    *counts,
                    found["last"],
                    mean,
                )
            )
        columns = (
            "channel",
            "is",
            "received",
            "repeated",
            "transformed",
            "filtered",
            "queued",
            "sent",
            "error",
            "resent",
            "last message",
            "mean ms",
        )
        return Table(columns, rows, "Channels of the engine")

    table = statistics

    def waiting(self) -> int:
        """Return how many messages wait for a destination."""
        return self._store.waiting()

    def wait_until_sent(self, timeout: float = 5.0) -> bool:
        """Wait until nothing waits for a destination any more.

        Parameters
        ----------
        timeout : float
            Seconds.

        Returns
        -------
        bool
            Whether it came to that.
        """
        with self._progress:
            return self._progress.wait_for(lambda: not self.waiting(), timeout)

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until nothing waits for a destination; tell whether it came to that."""
        return self.wait_until_sent(timeout)

    def _row(self, number: int) -> Any:
        row = self._store.row(number)
        if row is None:
            raise NotFound(
                f"The engine has no message {number}.", "hospital.engine.messages() lists them."
            )
        return row

    def _fit_queues(self) -> None:
        """Have a running queue for every destination, and for nothing else."""
        wanted = {
            (channel.name, destination.name)
            for channel in self._configuration.channels.values()
            for destination in channel.destinations
        }
        for place in set(self._queues) - wanted:
            self._queues.pop(place).stop()
        for place in sorted(wanted - set(self._queues)):
            queue = Queue(self, *place, self._configuration, self._store, self._hl7, self._tell)
            self._queues[place] = queue
            queue.start()

    def _changed(self, words: str) -> None:
        self.note(words)
        for queue in list(self._queues.values()):
            queue.wake(at_once=True)

    def _wake(self) -> None:
        for queue in list(self._queues.values()):
            queue.wake()

    def _tell(self) -> None:
        with self._progress:
            self._progress.notify_all()
