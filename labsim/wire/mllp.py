"""MLLP: HL7 v2 messages on a TCP connection, each answered as it asks to be.

The framing (start block, end block, carriage return: HL7 v2.5.1 appendix C)
is python-hl7's; what is asked of a message and what the journal hears is ours.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import IncompleteReadError, Task
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hl7.mllp import InvalidBlockError, start_hl7_server

from labsim.clock import Clock
from labsim.errors import DeliveryFailed, Hl7Error, LabError, Unreachable
from labsim.journal import Journal
from labsim.wire.acknowledging import answers_to, is_enhanced
from labsim.wire.background import BackgroundLoop
from labsim.wire.doorway import Doorway
from labsim.wire.hl7 import Message, acknowledge, reject_unreadable
from labsim.wire.mllp_link import MllpLink, NotMllp
from labsim.wire.network import Address, Network, port_taken
from labsim.wire.receiving import Arrival, ByType, NotNow, Receiver, Verdict
from labsim.wire.receiving import Taken as Taken
from labsim.wire.tls import Credentials, explain

LARGEST_MESSAGE = 4 * 1024 * 1024
_TOO_LONG = f"longer than {LARGEST_MESSAGE // 1024 // 1024} MB, or has no end block."
TIMEOUT = 5.0


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
    tls : bool, optional
        Whether it sends and listens by TLS, with the certificate of its host;
        as the hospital does if left out.

    Attributes
    ----------
    refused : callable
        Is told why TLS was not agreed on, with a caller or with who was called;
        on a thread where it may wait.
    """

    def __init__(
        self,
        system: str,
        journal: Journal,
        clock: Clock,
        network: Network,
        loop: BackgroundLoop,
        *,
        tls: bool | None = None,
    ) -> None:
        self.tls = network.security.mllp if tls is None else tls
        self.refused: Callable[[str], object] = lambda what: None
        self._system = system
        self._journal = journal
        self._clock = clock
        self._network = network
        self._loop = loop
        self._receiver: Receiver = ByType({})
        self._server: asyncio.Server | None = None
        self._closing = False
        self._conversations: set[Task[None]] = set()
        self._acks = 0

    # Receiving

    def listen(
        self,
        takes: Mapping[str, Taken] | Receiver,
        port: int = 0,
        *,
        tls: Credentials | None = None,
        mutual: bool | None = None,
    ) -> int:
        """Take in messages.

        Parameters
        ----------
        takes : mapping or Receiver
            What is taken in, by message type, or who takes it in; on a thread of its own.
        port : int
            Loopback port, 0 for a free one.
        tls : Credentials, optional
            To speak TLS; those of its host if left out where it speaks TLS at all.
        mutual : bool, optional
            Whether a caller by TLS must show a certificate; as in the hospital if left out.

        Returns
        -------
        int
            The port.

        Raises
        ------
        PortTaken
            If another program listens there.
        """
        self._receiver = ByType(takes) if isinstance(takes, Mapping) else takes
        self._closing = False
        if tls is None and self.tls:
            tls = self._network.credentials
        if mutual is None:
            mutual = self._network.security.mutual
        context = tls.server(mutual=mutual, complain=self._no_handshake) if tls else None
        try:
            self._server = self._loop.run(self._listen(port, context))
        except OSError as error:
            raise port_taken(port, f"HL7 of {self._system}", error) from error
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def protocol(self) -> str:
        """What is spoken there: ``"mllp"`` or ``"mllp-tls"``."""
        return "mllp-tls" if self.tls else "mllp"

    def close(self) -> None:
        """Stop listening and end the conversations that are open."""
        if self._server is not None:
            self._loop.run(self._close())
            self._server = None

    async def _listen(self, port: int, context: ssl.SSLContext | None) -> asyncio.Server:
        secured = {"ssl": context, "ssl_handshake_timeout": TIMEOUT} if context else {}
        server: asyncio.Server = await start_hl7_server(
            self._connected, sock=Doorway(self._network, port), limit=LARGEST_MESSAGE, **secured
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
        place = Address(*writer.get_extra_info("peername")[:2])
        coming = _next_block(reader)
        try:
            while True:
                blocks = [await coming]
                coming = _next_block(reader)
                caller = self._network.caller(place.port) or str(place)
                while len(blocks) < self._receiver.batch and await _is_there(coming):
                    blocks.append(coming.result())
                    coming = _next_block(reader)
                answers, go_on = await asyncio.to_thread(self._answer, blocks, caller)
                for answer in answers:
                    writer.writeblock(answer.encode())
                await writer.drain()
                if not go_on:
                    return
        except IncompleteReadError as error:
            if error.partial:
                self._complain(str(place), "The connection ended in the middle of a message.")
        except InvalidBlockError:
            self._complain(str(place), "Bytes came that are not MLLP: no start block 0x0B.")
        except ValueError:
            self._complain(str(place), f"A message is {_TOO_LONG}")
        except ConnectionError as error:
            self._complain(str(place), f"The connection broke: {error}.")
        finally:
            coming.cancel()

    def _no_handshake(self, what: str) -> None:
        text = f"a connection ended before TLS was agreed on: {what}"
        self._complain("", f"{text}.")
        # This is the loop, which must not wait.
        self._loop.spawn(asyncio.to_thread(self.refused, f"HL7: {text}"))

    def _complain(self, caller: str, what: str) -> None:
        self._journal.record(self._system, "error", f"HL7: {what}", peer=caller)

    def _answer(self, blocks: Sequence[bytes], caller: str) -> tuple[list[Message], bool]:
        """Take in messages; return their acknowledgments, and whether to go on. Never raises."""
        read = [self._read(data, caller) for data in blocks]
        arrivals = [entry for entry in read if isinstance(entry, Arrival)]
        places = [self._place_of(arrival.message) for arrival in arrivals]
        for arrival, place in zip(arrivals, places, strict=True):
            self._record(arrival.message, "received", arrival.caller, *place)
        outcomes = zip(self._take(arrivals), places, strict=False)
        answers: list[Message] = []
        for entry in read:
            if not isinstance(entry, Arrival):
                answers += entry
                continue
            verdict, place = next(outcomes)
            if isinstance(verdict, NotNow):
                self._complain(entry.caller, f"{verdict.what} The connection ends unanswered.")
                return answers, False
            answers += self._acknowledgments(entry, verdict, place)
        return answers, True

    def _read(self, data: bytes, caller: str) -> Arrival | list[Message]:
        """Read one message; return what to answer instead if it cannot be read."""
        try:
            message = Message.decode(data)
        except Hl7Error as error:
            summary = f"HL7 message refused: {error.what}"
            payload = {"hl7": data.decode("iso8859-1")}
            self._journal.record(self._system, "error", summary, peer=caller, payload=payload)
            return self._refusal(data, error)
        # An address tells less than the name that a program from outside gives itself.
        known = "" if ":" in caller else caller
        return Arrival(message, data, known or message["MSH-3"])

    def _take(self, arrivals: Sequence[Arrival]) -> Sequence[Verdict]:
        try:
            return self._receiver.take(arrivals)
        except Exception as error:  # the senders must hear of it: AE, never AA
            what = error.what if isinstance(error, LabError) else f"Internal error: {error!r}"
            return [Hl7Error(what)] * len(arrivals)

    def _acknowledgments(
        self, arrival: Arrival, refusal: Hl7Error | None, place: tuple[str, dict[str, str]]
    ) -> list[Message]:
        message, answers = arrival.message, []
        for code, text in answers_to(message, refusal):
            enhanced = is_enhanced(message)
            now = self._clock.now()
            answers.append(
                acknowledge(message, code, self._next_id(), now, text, enhanced=enhanced)
            )
            self._record(answers[-1], "sent", arrival.caller, *place)
        if refusal is not None and not answers:
            what = f"{message.type} {message.control_id} is refused, which nobody asked to be told"
            self._complain(arrival.caller, f"{what}: {refusal.what}")
        return answers

    def _place_of(self, message: Message) -> tuple[str, dict[str, str]]:
        """Return the IHE transaction of a message, and what ties it to an exam."""
        return self._receiver.transaction(message), hl7_keys(message)

    def _refusal(self, data: bytes, error: Hl7Error) -> list[Message]:
        """Answer what cannot be read, to its sender where the header says who that is."""
        header = data.replace(b"\n", b"\r").split(b"\r")[0].decode("iso8859-1")
        number, now = self._next_id(), self._clock.now()
        try:
            return [acknowledge(Message(header), error.code, number, now, error.what)]
        except Hl7Error:
            return [reject_unreadable(error.code, number, now, error.what)]

    def _next_id(self) -> str:
        self._acks += 1
        return f"{self._system.upper()}-ACK{self._acks:06d}"[:20]

    # Sending

    def link(self) -> MllpLink:
        """Return a connection for a sender that keeps it open; end it with `hang_up`."""
        credentials = self._network.credentials if self.tls else None
        return MllpLink(self._system, self._network, LARGEST_MESSAGE, credentials)

    def hang_up(self, link: MllpLink, *, for_good: bool = False) -> None:
        """End a connection, never to open it again or until it is needed.

        Who waits for an answer on it waits no longer.
        """
        link.close(for_good=for_good)

    def send(
        self,
        message: Message,
        peer: Address,
        transaction: str,
        keys: Mapping[str, str],
        *,
        link: MllpLink | None = None,
        timeout: float | None = None,
        match: bool = True,
    ) -> Message:
        """Send one message and wait for its acknowledgment.

        Which one that is MSH-15 and MSH-16 say: in the enhanced mode an accept
        acknowledgment, an application acknowledgment, or one after the other.

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
        link : MllpLink, optional
            A connection that is kept open; if left out, one is made for this message.
        timeout : float, optional
            Seconds to wait; `TIMEOUT` if left out.
        match : bool
            Whether an acknowledgment must name the message (MSA-2 is MSH-10) to count.

        Returns
        -------
        Message
            The last acknowledgment, whatever its code. If it is CA although an
            application acknowledgment was asked for, that one did not come in time.

        Raises
        ------
        DeliveryFailed
            If the peer cannot be reached, does not answer in time, or answers
            something that is no acknowledgment of this message.
        """
        name = self._network.system_at(peer) or message["MSH-5"]
        self._record(message, "sent", name, transaction, keys)
        own, seconds = link or self.link(), TIMEOUT if timeout is None else timeout
        problem: Exception | None = None
        try:
            own.exchange(message, peer, match=match, timeout=seconds)
        except (Unreachable, Hl7Error, OSError, NotMllp) as error:
            problem = error
        finally:
            if link is None:
                self.hang_up(own)
        for answer in (*own.strays, *own.answers):
            self._record(answer, "received", name, transaction, keys)
        if problem is not None:
            cause = _cause(problem, own, message, seconds, peer.host)
            failure = self._undelivered(message, peer, cause, keys)
            if isinstance(problem, ssl.SSLError) or own.is_unproven:
                self.refused(f"HL7 to {peer}: {cause}")
            if not own.answers:
                raise failure from problem
        return own.answers[-1]

    def _undelivered(
        self, message: Message, peer: Address, cause: str, keys: Mapping[str, str]
    ) -> DeliveryFailed:
        what = f"{message.type} to {message['MSH-5']} ({peer}) was not delivered: {cause}"
        name = self._network.system_at(peer) or message["MSH-5"]
        self._journal.record(self._system, "error", what, peer=name, keys=keys)
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
        if self.tls:
            detail["tls"] = True
        if message["MSH-9.1"] == "ACK":
            code, text = message["MSA-1"], message["MSA-3"]
            summary = f"ACK {code} for {message['MSA-2']}" + (f": {text}" if text else "")
            detail |= {"answer": f"ACK {code}", "acknowledges": message["MSA-2"]}
        else:
            summary = f"{message.type} {message.control_id}"
            detail |= {"request": True, "for": message["MSH-5"]}
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


def _next_block(reader: Any) -> Task[bytes]:
    """Begin to read a message; nobody has to ask what became of it."""
    coming: Task[bytes] = asyncio.get_running_loop().create_task(reader.readblock())
    coming.add_done_callback(lambda ended: None if ended.cancelled() else ended.exception())
    return coming


async def _is_there(coming: Task[bytes]) -> bool:
    """Tell whether another message has come whole already."""
    await asyncio.sleep(0)
    return coming.done() and not coming.cancelled() and coming.exception() is None


def _cause(error: Exception, link: MllpLink, message: Message, seconds: float, host: str) -> str:
    if link.strays and not link.answers:
        other = link.strays[-1]["MSA-2"] or "nothing"
        return f"{message['MSH-5']} acknowledged {other} instead of {message.control_id}."
    if link.answers:
        return f"it was accepted, but no application acknowledgment came within {seconds:g} s."
    if isinstance(error, LabError):
        return error.what
    if isinstance(error, ssl.SSLError):
        return f"TLS failed, {explain(error, host)[0]}."
    if isinstance(error, TimeoutError) and link.was_shaking_hands:
        return f"no TLS handshake within {seconds:g} s."
    if isinstance(error, TimeoutError):
        return f"no acknowledgment within {seconds:g} s."
    if isinstance(error, ConnectionRefusedError):
        return "connection refused."
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        if link.is_unproven:
            return "it hung up on our TLS; its log says what was wrong with our certificate."
        return "the connection ended before the acknowledgment."
    if isinstance(error, NotMllp):
        return f"the answer is no MLLP: {error}."
    return f"{error}."
