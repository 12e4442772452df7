"""One outgoing MLLP connection: a message goes out, its acknowledgments come back."""

from __future__ import annotations

from typing import Any

from hl7.mllp import open_hl7_connection

from labsim.wire.acknowledging import awaited
from labsim.wire.hl7 import Message
from labsim.wire.network import LOOPBACK, Address, Network
from labsim.wire.tls import Credentials


class MllpLink:
    """A connection to one place, opened when it is first needed and again when it broke.

    It is used by one sender at a time, on the loop.

    Parameters
    ----------
    system : str
        Whose connection it is.
    network : Network
        Knows the loopback address, and is told who calls.
    limit : int
        How many bytes an acknowledgment may have.
    credentials : Credentials, optional
        To speak TLS with.

    Attributes
    ----------
    answers : list of Message
        The acknowledgments of the last message that count.
    strays : list of Message
        Those that came meanwhile and acknowledge something else.
    was_shaking_hands : bool
        Whether the last message came no further than to agreeing on TLS.
    is_unproven : bool
        Whether nothing has come back by TLS yet. A server of TLS 1.3 judges the caller's
        certificate after the caller has begun to send (RFC 8446 4.4.2), and may just hang up.
    """

    def __init__(
        self, system: str, network: Network, limit: int, credentials: Credentials | None = None
    ) -> None:
        self._system = system
        self._network = network
        self._limit = limit
        self._credentials = credentials
        self._local: Address | None = None
        self._reader: Any = None
        self._writer: Any = None
        self._ended = False
        self._port = 0
        self.was_shaking_hands = False
        self.is_unproven = False
        self.answers: list[Message] = []
        self.strays: list[Message] = []

    async def exchange(self, message: Message, peer: Address, *, match: bool) -> None:
        """Send one message and read its acknowledgments.

        Parameters
        ----------
        message : Message
            What to send.
        peer : Address
            Host and port in the hospital.
        match : bool
            Whether an acknowledgment counts only if its MSA-2 is the message's
            MSH-10 (HL7 v2.5.1 2.9.2).
        """
        self.answers, self.strays = [], []
        self.was_shaking_hands = self._credentials is not None
        data = message.encode()
        reader, writer = await self._open(peer)
        self.was_shaking_hands = False
        writer.writeblock(data)
        await writer.drain()
        accept, application = awaited(message)
        while accept or application:
            answer = Message.decode(await reader.readblock())
            self.is_unproven = False
            if match and answer["MSA-2"] != message.control_id:
                self.strays.append(answer)
                continue
            self.answers.append(answer)
            # The first of two says CA; anything else is the last word.
            accept, application = False, application and accept and answer["MSA-1"] == "CA"

    def close(self, *, for_good: bool = False) -> None:
        """End the connection; call it on the loop.

        Parameters
        ----------
        for_good : bool
            Whether it is never opened again.
        """
        self._ended = self._ended or for_good
        if self._writer is not None:
            self._network.hung_up(self._port)
            self._writer.close()
            self._writer = None

    async def _open(self, peer: Address) -> tuple[Any, Any]:
        local = self._network.resolve(peer)
        if self._writer is not None and (self._reader.at_eof() or local != self._local):
            self.close()  # the other side has ended it, or another one listens there now
        if self._ended:
            raise ConnectionAbortedError("the sender has stopped")
        if self._writer is None:
            with self._network.dialling(local):
                self._reader, self._writer = await open_hl7_connection(
                    local.host, local.port, limit=self._limit, **self._security(peer)
                )
                # None once the other side has broken off, as after a handshake it did not like.
                self._port = (self._writer.get_extra_info("sockname") or (LOOPBACK, 0))[1]
                self._network.calls(self._port, self._system)
            self._local = local
            self.is_unproven = self._credentials is not None
            if self._ended:  # it was stopped while it connected
                self.close()
                raise ConnectionAbortedError("the sender has stopped")
        return self._reader, self._writer

    def _security(self, peer: Address) -> dict[str, Any]:
        if self._credentials is None:
            return {}
        # The name in the certificate is the host's, not the loopback address.
        return {"ssl": self._credentials.client(), "server_hostname": peer.host}
