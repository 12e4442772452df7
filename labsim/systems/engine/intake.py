"""How a message comes into the engine: to its channels, through their rules, onto the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from labsim.channels import ChannelSpec
from labsim.errors import Hl7Error
from labsim.systems.engine.configuration import Configuration
from labsim.systems.engine.rules import failed_condition, transformed
from labsim.systems.engine.store import MessageStore, Outgoing
from labsim.systems.facility import System
from labsim.wire.hl7 import Message
from labsim.wire.mllp import hl7_keys
from labsim.wire.receiving import Arrival, NotNow, Verdict, require_control_id


class Intake:
    """Takes messages in, so many at once as are waiting, with one commit for all of them.

    Parameters
    ----------
    system : System
        The engine, for its database and its journal.
    configuration : Configuration
        The channels.
    store : MessageStore
        Where the messages go.
    queued : callable
        Called when something has been queued.
    """

    batch = 64  # beyond that a commit is no longer what takes the time

    def __init__(
        self,
        system: System,
        configuration: Configuration,
        store: MessageStore,
        queued: Callable[[], None],
    ) -> None:
        self._system = system
        self._configuration = configuration
        self._store = store
        self._queued = queued

    def transaction(self, message: Message) -> str:
        """Return the IHE transaction that a message is for the first channel that takes it."""
        return next((found for _, found in self._channels_for(message) if found), "")

    def take(self, arrivals: Sequence[Arrival]) -> Sequence[Verdict]:
        """Keep messages and queue them for their destinations.

        What is said of them is said after the commit: then they are on disk.
        """
        verdicts: list[Verdict] = []
        notes: list[tuple[str, Message]] = []
        with self._system.db.transaction():
            for arrival in arrivals:
                verdicts.append(self._take(arrival, notes))
                if isinstance(verdicts[-1], NotNow):
                    break
        for text, message in notes:
            self._system.note(text, **hl7_keys(message))
        self._queued()
        return verdicts

    def again(self, row: sqlite3.Row, message: Message) -> int:
        """Send a kept message, or an edited copy of it, through its channel anew."""
        channel = self._configuration.channel(row["channel"])
        notes: list[tuple[str, Message]] = []
        with self._system.db.transaction():
            self._store.resent(row["id"])
            number = self._keep(
                channel, row["transaction_"], message, message.encode(), "", notes, row["id"]
            )
        for text, about in notes:
            self._system.note(text, **hl7_keys(about))
        self._queued()
        return number

    def _channels_for(self, message: Message) -> list[tuple[ChannelSpec, str]]:
        found = []
        for channel in self._configuration.channels.values():
            transaction = channel.transaction(message.type)
            if (
                transaction is not None
                and channel.sender in ("", message["MSH-3"])
                and channel.receiver in ("", message["MSH-5"])
            ):
                found.append((channel, transaction))
        return found

    def _take(self, arrival: Arrival, notes: list[tuple[str, Message]]) -> Verdict:
        message = arrival.message
        channels = self._channels_for(message)
        try:
            require_control_id(message)
            if not channels:
                raise Hl7Error(
                    f"No channel takes {message.type} of {message['MSH-3']!r} "
                    f"for {message['MSH-5']!r}.",
                    code="AR",
                )
        except Hl7Error as error:
            return error
        for channel, _ in channels:
            if not self._configuration.is_running(channel.name):
                return NotNow(f"Channel {channel.name} is stopped.")
        for channel, transaction in channels:
            if not self._is_repeated(channel, message, notes):
                self._keep(channel, transaction, message, arrival.data, arrival.caller, notes)
        return None

    def _is_repeated(
        self, channel: ChannelSpec, message: Message, notes: list[tuple[str, Message]]
    ) -> bool:
        if not channel.remember_for:
            return False
        number = self._store.repeated(
            message, channel.name, channel.remember_for, content=channel.compare == "content"
        )
        if number:
            what = f"{message.type} {message.control_id} repeats message {number}: not sent again"
            notes.append((what, message))
        return bool(number)

    def _keep(
        self,
        channel: ChannelSpec,
        transaction: str,
        message: Message,
        raw: bytes,
        caller: str,
        notes: list[tuple[str, Message]],
        origin: int | None = None,
    ) -> int:
        number = self._store.keep(
            message,
            raw,
            channel=channel.name,
            transaction=transaction,
            caller=caller,
            origin=origin,
        )
        condition = failed_condition(channel.filter, message)
        if condition:
            self._store.filtered(number, condition)
            notes.append((f"message {number} filtered by {channel.name}: {condition}", message))
            return number
        outgoing = [self._outgoing(channel, name.name, message) for name in channel.destinations]
        self._store.queue(number, channel.name, outgoing)
        for entry in outgoing:
            if entry.problem:
                what = f"message {number} to {entry.destination} is in the error queue"
                notes.append((f"{what}: {entry.problem}", message))
        return number

    def _outgoing(self, channel: ChannelSpec, name: str, message: Message) -> Outgoing:
        destination = channel.destination(name)
        assert destination is not None
        try:
            text = transformed(message.text, channel, destination, self._configuration.tables)
        except Hl7Error as error:
            return Outgoing(name, "", error.what)
        return Outgoing(name, text)
