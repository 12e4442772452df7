"""One outgoing MLLP connection: a message goes out, its acknowledgments come back.

The socket is used by the thread that sends. Handing each message to a loop
and its answer back took longer than both are on their way.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time

from labsim.wire.acknowledging import awaited
from labsim.wire.hl7 import Message
from labsim.wire.network import Address, Network
from labsim.wire.tls import Credentials

_START, _END = b"\x0b", b"\x1c\r"  # HL7 v2.5.1 appendix C


class NotMllp(ValueError):
    """Bytes came that are no block, or none that is ever to end."""


class MllpLink:
    """A connection to one place, opened when it is first needed and again when it broke.

    It is used by one sender at a time; any thread may close it meanwhile.

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
        self._too_long = f"longer than {limit // 1024 // 1024} MB, or without end block"
        self._credentials = credentials
        self._local: Address | None = None
        self._connection: socket.socket | None = None
        self._came = b""  # and was not asked for yet
        self._lock = threading.Lock()
        self._in_use = False
        self._left_over: socket.socket | None = None
        self._ended = False
        self._deadline = 0.0  # on the monotonic clock
        self.was_shaking_hands = False
        self.is_unproven = False
        self.answers: list[Message] = []
        self.strays: list[Message] = []

    def exchange(self, message: Message, peer: Address, *, match: bool, timeout: float) -> None:
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
        timeout : float
            Seconds for all of it.

        Raises
        ------
        OSError
            If the connection cannot be made, or breaks; `TimeoutError` among them.
        NotMllp
            If what comes back is no block.
        """
        self.answers, self.strays = [], []
        self.was_shaking_hands = self._credentials is not None
        data = message.encode()
        self._deadline = time.monotonic() + timeout
        with self._lock:
            self._in_use = True
        try:
            connection = self._open(peer)
            self.was_shaking_hands = False
            connection.settimeout(self._left())
            connection.sendall(_START + data + _END)
            self._read_answers(connection, message, match)
        except ConnectionError:
            self.close()
            raise
        finally:
            self._leave()

    def close(self, *, for_good: bool = False) -> None:
        """End the connection.

        Parameters
        ----------
        for_good : bool
            Whether it is never opened again.
        """
        with self._lock:
            self._ended = self._ended or for_good
            connection, self._connection = self._connection, None
            self._came = b""
            if connection is None:
                return
            self._network.hung_up(_port_of(connection))
            # Wakes who waits on it, and says goodbye; of TLS the socket below, whatever its state.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            if self._in_use:
                self._left_over = connection  # closed by who waits, or the number were reused
            else:
                connection.close()

    def _leave(self) -> None:
        with self._lock:
            self._in_use = False
            if self._left_over is not None:
                self._left_over.close()
                self._left_over = None

    def _read_answers(self, connection: socket.socket, message: Message, match: bool) -> None:
        accept, application = awaited(message)
        while accept or application:
            answer = Message.decode(self._block(connection))
            self.is_unproven = False
            if match and answer["MSA-2"] != message.control_id:
                self.strays.append(answer)
                continue
            self.answers.append(answer)
            # The first of two says CA; anything else is the last word.
            accept, application = False, application and accept and answer["MSA-1"] == "CA"

    def _block(self, connection: socket.socket) -> bytes:
        """Read up to the end of the next block, and return what is in it."""
        while _END not in self._came:
            if len(self._came) > self._limit:
                raise NotMllp(self._too_long)
            connection.settimeout(self._left())
            more = connection.recv(65536)
            if not more:
                raise ConnectionResetError("the connection ended")
            self._came += more
        block, _, self._came = self._came.partition(_END)
        if len(block) > self._limit:
            raise NotMllp(self._too_long)
        if not block.startswith(_START):
            raise NotMllp("no start block 0x0B")
        return block[1:]

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _open(self, peer: Address) -> socket.socket:
        local = self._network.resolve(peer)
        known = self._connection
        if known is not None and (local != self._local or self._has_ended(known)):
            self.close()  # the other side has ended it, or another one listens there now
            known = None
        if known is None:
            known = self._dial(local, peer)
        return known

    def _has_ended(self, connection: socket.socket) -> bool:
        """Tell whether the other side has hung up; what it said before is kept."""
        connection.settimeout(0)
        try:
            more = connection.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        self._came += more
        return not more

    def _dial(self, local: Address, peer: Address) -> socket.socket:
        connection = socket.socket()
        if self._credentials is not None:
            # The name in the certificate is the host's, not the loopback address.
            connection = self._credentials.client().wrap_socket(
                connection, server_hostname=peer.host, do_handshake_on_connect=False
            )
        with self._lock:
            if self._ended:
                connection.close()
                raise ConnectionAbortedError("the sender has stopped")
            self._connection, self._came, self._local = connection, b"", local
        try:
            connection.settimeout(self._left())
            with self._network.dialling(local):
                connection.connect((local.host, local.port))
                self._network.calls(_port_of(connection), self._system)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
        except BaseException:  # Ctrl-C too: half a connection must not be taken for one
            self.close()
            raise
        self.is_unproven = self._credentials is not None
        return connection


def _port_of(connection: socket.socket) -> int:
    try:
        return int(connection.getsockname()[1])
    except OSError:  # it has broken off
        return 0
