"""MLLP: HL7 v2 messages on a TCP connection, each answered by an acknowledgment.

The framing (start block, end block, carriage return: HL7 v2.5.1 appendix C)
is python-hl7's; what is asked of a message and what the journal hears is ours.
"""

from __future__ import annotations

import asyncio
from asyncio import IncompleteReadError, Task
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hl7.mllp import InvalidBlockError, open_hl7_connection, start_hl7_server

from labsim.clock import Clock
from labsim.errors import DeliveryFailed, Hl7Error, LabError, Unreachable
from labsim.journal import Journal
from labsim.wire.background import BackgroundLoop
from labsim.wire.hl7 import Message, acknowledge, reject_unreadable
from labsim.wire.network import LOOPBACK, Address, Network, port_taken

LARGEST_MESSAGE = 4 * 1024 * 1024
_TOO_LONG = f"longer than {LARGEST_MESSAGE // 1024 // 1024} MB, or has no end block."
TIMEOUT = 5.0


@dataclass(frozen=True)
class Taken:
    """A kind of message that a system takes in.

    Parameters
    ----------
    transaction : str
        The IHE transaction it is, for this system.
    handle : callable
        What to do with it; raises `Hl7Error` to refuse it.
    """

    transaction: str
    handle: Callable[[Message], None]


def hl7_keys(message: Message) -> dict[str, str]:
    """Return what ties a message to an exam, from where IHE puts it."""
    orders = message["ORC-2.1"] or message["OBR-2.1"], message["ORC-3.1"] or message["OBR-3.1"]
    keys = {
        "patient_id": message["PID-3.1"],
        "visit": message["PV1-19.1"],
        "placer_order": orders[0],
        "filler_order": orders[1],
        "accession": message["OBR-18"] or message["IPC-1.1"],
        "study_uid": message["ZDS-1.1"] or message["IPC-3.1"],
    }
    return {name: value for name, value in keys.items() if value}


class MllpEndpoint:
    """One system's HL7 interface: it listens, and it sends.

    Parameters
    ----------
    system : str
        Whose interface it is, for the journal.
    journal, clock, network, loop
        The hospital's.
    """

    def __init__(
        self, system: str, journal: Journal, clock: Clock, network: Network, loop: BackgroundLoop
    ) -> None:
        self._system = system
        self._journal = journal
        self._clock = clock
        self._network = network
        self._loop = loop
        self._takes: Mapping[str, Taken] = {}
        self._server: asyncio.Server | None = None
        self._closing = False
        self._conversations: set[Task[None]] = set()
        self._acks = 0

    # Receiving

    def listen(self, takes: Mapping[str, Taken], port: int = 0) -> int:
        """Take in messages.

        Parameters
        ----------
        takes : mapping
            What is taken in, by message type; handled on a thread of its own.
        port : int
            Loopback port, 0 for a free one.

        Returns
        -------
        int
            The port.

        Raises
        ------
        PortTaken
            If another program listens there.
        """
        self._takes = takes
        self._closing = False
        try:
            self._server = self._loop.run(self._listen(port))
        except OSError as error:
            raise port_taken(port, f"HL7 of {self._system}", error) from error
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening and end the conversations that are open."""
        if self._server is not None:
            self._loop.run(self._close())
            self._server = None

    async def _listen(self, port: int) -> asyncio.Server:
        server: asyncio.Server = await start_hl7_server(
            self._connected, LOOPBACK, port, limit=LARGEST_MESSAGE
        )
        return server

    async def _close(self) -> None:
        assert self._server is not None
        self._closing = True
        await asyncio.sleep(0)  # asyncio forgets a connection that it is just accepting
        self._server.close()
        for task in self._conversations:
            task.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: Any, writer: Any) -> None:
        if self._closing:  # it was accepted just before the end
            writer.close()
            return
        # Kept in a set because the loop itself holds only weak references to tasks.
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)
        # Not in the task, because one that is cancelled before it began runs no line of it.
        task.add_done_callback(lambda _: writer.close())

    async def _converse(self, reader: Any, writer: Any) -> None:
        caller = "{}:{}".format(*writer.get_extra_info("peername")[:2])
        try:
            while True:
                data = await reader.readblock()
                answer = await asyncio.to_thread(self._answer, data, caller)
                writer.writeblock(answer.encode())
                await writer.drain()
        except IncompleteReadError as error:
            if error.partial:
                self._complain(caller, "The connection ended in the middle of a message.")
        except InvalidBlockError:
            self._complain(caller, "Bytes came that are not MLLP: no start block 0x0B.")
        except ValueError:
            self._complain(caller, f"A message is {_TOO_LONG}")
        except ConnectionError as error:
            self._complain(caller, f"The connection broke: {error}.")

    def _complain(self, caller: str, what: str) -> None:
        self._journal.record(self._system, "error", f"HL7: {what}", peer=caller)

    def _answer(self, data: bytes, caller: str) -> Message:
        """Take in one message and return its acknowledgment; never raises."""
        try:
            message = Message.decode(data)
        except Hl7Error as error:
            summary = f"HL7 message refused: {error.what}"
            payload = {"hl7": data.decode("iso8859-1")}
            self._journal.record(self._system, "error", summary, peer=caller, payload=payload)
            return self._refusal(data, error)
        taken = self._takes.get(message.type)
        transaction, keys = taken.transaction if taken else "", hl7_keys(message)
        self._record(message, "received", message["MSH-3"], transaction, keys)
        try:
            self._handle(message, taken)
            code, text = "AA", ""
        except Hl7Error as error:
            code, text = error.code, error.what
        except Exception as error:  # the sender must hear of it: AE, never AA
            code, text = "AE", f"Internal error: {error!r}"
        ack = acknowledge(message, code, self._next_id(), self._clock.now(), text)
        self._record(ack, "sent", message["MSH-3"], transaction, keys)
        return ack

    def _refusal(self, data: bytes, error: Hl7Error) -> Message:
        """Answer what cannot be read, to its sender where the header says who that is."""
        header = data.replace(b"\n", b"\r").split(b"\r")[0].decode("iso8859-1")
        number, now = self._next_id(), self._clock.now()
        try:
            return acknowledge(Message(header), error.code, number, now, error.what)
        except Hl7Error:
            return reject_unreadable(error.code, number, now, error.what)

    def _handle(self, message: Message, taken: Taken | None) -> None:
        if taken is None:
            known = ", ".join(sorted(self._takes))
            raise Hl7Error(f"{message.type} is not taken here, only {known}.", code="AR")
        if not message.control_id:
            raise Hl7Error("MSH-10 Message Control ID is empty.", code="AR")
        taken.handle(message)

    def _next_id(self) -> str:
        self._acks += 1
        return f"{self._system.upper()}-ACK{self._acks:06d}"[:20]

    # Sending

    def send(
        self, message: Message, peer: Address, transaction: str, keys: Mapping[str, str]
    ) -> Message:
        """Send one message and wait for its acknowledgment.

        Parameters
        ----------
        message : Message
            What to send.
        peer : Address
            Host and port in the hospital.
        transaction : str
            IHE transaction.
        keys : mapping
            For the journal.

        Returns
        -------
        Message
            The acknowledgment, whatever its code.

        Raises
        ------
        DeliveryFailed
            If the peer cannot be reached, does not answer in time, or answers
            something that is no acknowledgment of this message.
        """
        name = message["MSH-5"]
        self._record(message, "sent", name, transaction, keys)
        try:
            local = self._network.resolve(peer)
            data = self._loop.run(self._exchange(message.encode(), local), TIMEOUT)
            ack = Message.decode(data)
            if ack["MSA-2"] != message.control_id:
                raise DeliveryFailed(
                    f"{name} acknowledged {ack['MSA-2'] or 'nothing'} "
                    f"instead of {message.control_id}."
                )
        except (Unreachable, Hl7Error, DeliveryFailed) as error:
            raise self._undelivered(message, peer, error, keys) from error
        except (OSError, IncompleteReadError, TimeoutError, InvalidBlockError, ValueError) as error:
            raise self._undelivered(message, peer, error, keys) from error
        self._record(ack, "received", name, transaction, keys)
        return ack

    async def _exchange(self, data: bytes, local: Address) -> bytes:
        reader, writer = await open_hl7_connection(local.host, local.port, limit=LARGEST_MESSAGE)
        try:
            writer.writeblock(data)
            await writer.drain()
            answer: bytes = await reader.readblock()
            return answer
        finally:
            writer.close()

    def _undelivered(
        self, message: Message, peer: Address, error: Exception, keys: Mapping[str, str]
    ) -> DeliveryFailed:
        cause = error.what if isinstance(error, LabError) else _explain(error)
        what = f"{message.type} to {message['MSH-5']} ({peer}) was not delivered: {cause}"
        self._journal.record(self._system, "error", what, peer=message["MSH-5"], keys=keys)
        return DeliveryFailed(what, "It waits in the outbox; send it again when the cause is gone.")

    # Journal

    def _record(
        self,
        message: Message,
        direction: str,
        peer: str,
        transaction: str,
        keys: Mapping[str, str],
    ) -> None:
        detail: dict[str, Any] = {"direction": direction, "type": message.type}
        if message["MSH-9.1"] == "ACK":
            code, text = message["MSA-1"], message["MSA-3"]
            summary = f"ACK {code} for {message['MSA-2']}" + (f": {text}" if text else "")
            detail["answer"] = f"ACK {code}"
        else:
            summary = f"{message.type} {message.control_id}"
            detail["request"] = True
        self._journal.record(
            self._system,
            "hl7",
            summary,
            peer=peer,
            transaction=transaction,
            keys={**keys, "control_id": message.control_id, "message": message.control_id},
            detail=detail,
            payload={"hl7": message.text},
        )


def _explain(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no acknowledgment within {TIMEOUT:g} s."
    if isinstance(error, ConnectionRefusedError):
        return "connection refused."
    if isinstance(error, (IncompleteReadError, ConnectionResetError, BrokenPipeError)):
        return "the connection ended before the acknowledgment."
    if isinstance(error, ValueError):
        return f"the answer is {_TOO_LONG}"
    return f"{error}."
