"""Syslog: one line about one event (RFC 5424), by TCP with octet counting or by UDP.

Over TCP each message follows its length in octets (RFC 6587 3.4.1), and nobody
answers: what a sender learns is only that the receiver read to the end and
closed. Over UDP (RFC 5426) it learns nothing at all.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from asyncio import IncompleteReadError, Task
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labsim.errors import ConfigurationError, LabError, Unreachable
from labsim.journal import Journal
from labsim.wire.background import BackgroundLoop
from labsim.wire.doorway import Doorway
from labsim.wire.network import Address, Network, port_taken

TIMEOUT = 5.0
LARGEST_MESSAGE = 4 * 1024 * 1024
LARGEST_DATAGRAM = 65507  # octets that IPv4 leaves to UDP; RFC 5426 3.2 asks for less
_BOM = "\ufeff"  # says that MSG is UTF-8 (RFC 5424 6.4)
_HEADER = re.compile(
    r"<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) "
    r"(-|(?:\[(?:[^\"\]\\]|\"(?:[^\"\\]|\\.)*\")*\])+)(?: (.*))?",
    re.DOTALL,
)
_SEQUENCE = re.compile(r'\[meta [^\]]*?sequenceId="(\d+)"')


class SyslogUnreadable(LabError):
    """Bytes that are no syslog message of RFC 5424."""


@dataclass(frozen=True)
class SyslogMessage:
    """One message of RFC 5424.

    Parameters
    ----------
    host, app, process, kind : str
        HOSTNAME, APP-NAME, PROCID and MSGID; no spaces.
    time : str
        TIMESTAMP with its zone.
    text : str
        MSG.
    priority : int
        Facility times eight plus severity; 85 is "security, normal but
        significant", which audit messages have (PS3.15 A.6, ITI-20).
    sequence : int
        The ``sequenceId`` of RFC 5424 7.3.1; 0 for none.
    """

    host: str
    app: str
    process: str
    kind: str
    time: str
    text: str
    priority: int = 85
    sequence: int = 0

    def encode(self) -> bytes:
        """Return the message as it travels."""
        structured = f'[meta sequenceId="{self.sequence}"]' if self.sequence else "-"
        header = f"<{self.priority}>1 {self.time} {self.host} {self.app} {self.process} {self.kind}"
        return f"{header} {structured} {_BOM}{self.text}".encode()

    @classmethod
    def decode(cls, data: bytes) -> SyslogMessage:
        """Read a message.

        Raises
        ------
        SyslogUnreadable
            If it has no header of RFC 5424, or is not UTF-8.
        """
        try:
            found = _HEADER.fullmatch(data.decode())
        except UnicodeDecodeError as error:
            raise SyslogUnreadable("The message is not UTF-8.") from error
        if found is None:
            raise SyslogUnreadable("The message does not begin as RFC 5424 asks.")
        priority, time, host, app, process, kind, structured, text = found.groups()
        sequence = _SEQUENCE.search(structured)
        return cls(
            host=host,
            app=app,
            process=process,
            kind=kind,
            time=time,
            text=(text or "").removeprefix(_BOM),
            priority=int(priority),
            sequence=int(sequence[1]) if sequence else 0,
        )


def send(frames: Sequence[bytes], to: Address, transport: str, loop: BackgroundLoop) -> None:
    """Send encoded messages, in order.

    Parameters
    ----------
    frames : sequence of bytes
        From `SyslogMessage.encode`.
    to : Address
        A loopback address.
    transport : str
        ``"tcp"`` or ``"udp"``.
    loop : BackgroundLoop
        The hospital's.

    Raises
    ------
    Unreachable
        If nobody listens there, or the receiver did not read to the end.
    """
    try:
        if transport == "udp":
            _send_datagrams(frames, to)
        else:
            loop.run(_send_stream(frames, to), TIMEOUT)
    except TimeoutError as error:
        raise Unreachable(f"{to} did not read to the end within {TIMEOUT:g} s.") from error
    except OSError as error:
        raise Unreachable(f"{to} broke off: {error.strerror or error}.") from error


async def _send_stream(frames: Sequence[bytes], to: Address) -> None:
    reader, writer = await asyncio.open_connection(to.host, to.port)
    try:
        for frame in frames:
            writer.write(b"%d %b" % (len(frame), frame))
        await writer.drain()
        writer.write_eof()
        # A receiver that has taken all closes in order; one that failed resets the connection.
        await reader.read()
    finally:
        writer.close()


def _send_datagrams(frames: Sequence[bytes], to: Address) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.connect((to.host, to.port))
        for frame in frames:
            if len(frame) > LARGEST_DATAGRAM:
                raise ConfigurationError(
                    f"A message of {len(frame)} octets does not go into one datagram.",
                    "Send by TCP.",
                )
            door.send(frame)


class SyslogListener:
    """Takes syslog in, by TCP and by UDP on ports of the same number.

    Parameters
    ----------
    system : str
        Whose, for the journal.
    journal, network, loop
        The hospital's.
    handle : callable
        Given the octets of each message and who sent them, on a thread of its
        own. If it raises, a TCP connection is reset, so that the sender knows.
    """

    def __init__(
        self,
        system: str,
        journal: Journal,
        network: Network,
        loop: BackgroundLoop,
        handle: Callable[[bytes, str], None],
    ) -> None:
        self._system = system
        self._journal = journal
        self._network = network
        self._loop = loop
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._datagrams: _Datagrams | None = None
        self._tasks: set[Task[None]] = set()

    def listen(self, port: int = 0) -> int:
        """Take in messages; return the port.

        Raises
        ------
        PortTaken
            If another program listens there.
        """
        try:
            return self._loop.run(self._listen(port))
        except OSError as error:
            raise port_taken(port, f"syslog of {self._system}", error) from error

    def close(self) -> None:
        """Stop listening and end the connections that are open."""
        if self._server is not None:
            self._loop.run(self._close())
            self._server = None

    async def _listen(self, port: int) -> int:
        door = Doorway(self._network, port)
        self._server = await asyncio.start_server(self._connected, sock=door)
        port = int(self._server.sockets[0].getsockname()[1])
        loop, datagrams = asyncio.get_running_loop(), _Datagrams()
        try:
            place = (self._network.interface, port)
            await loop.create_datagram_endpoint(lambda: datagrams, local_addr=place)
        except OSError:
            self._server.close()
            self._server = None
            raise
        self._datagrams = datagrams
        self._keep(loop.create_task(self._take_datagrams(datagrams)))
        return port

    async def _close(self) -> None:
        assert self._server is not None
        await asyncio.sleep(0)  # asyncio forgets a connection that it is just accepting
        self._server.close()
        if self._datagrams is not None and self._datagrams.transport is not None:
            self._datagrams.transport.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _keep(self, task: Task[None]) -> None:
        # Kept in a set because the loop itself holds only weak references to tasks.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._keep(task)
        # Not in the task, because one that is cancelled before it began runs no line of it.
        task.add_done_callback(lambda _: writer.close())

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = "{}:{}".format(*writer.get_extra_info("peername")[:2])
        whole = False
        try:
            while (data := await _frame(reader)) is not None:
                await asyncio.to_thread(self._handle, data, caller)
            whole = True
        except (IncompleteReadError, ValueError) as error:
            self._complain(caller, f"framing: {error}")
        except Exception as error:  # whatever it was, the sender must not take it for success
            self._complain(caller, f"not kept: {error}")
        finally:
            if not whole:
                _reset(writer)

    async def _take_datagrams(self, datagrams: _Datagrams) -> None:
        while True:
            data, caller = await datagrams.waiting.get()
            try:
                await asyncio.to_thread(self._handle, data, caller)
            except Exception as error:  # nobody to answer: those that come after must not suffer
                self._complain(caller, f"not kept: {error}")

    def _complain(self, caller: str, what: str) -> None:
        self._journal.record(self._system, "error", f"syslog {what}", peer=caller)


class _Datagrams(asyncio.DatagramProtocol):
    """Keeps datagrams in the order in which they came."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[tuple[bytes, str]] = asyncio.Queue()
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.waiting.put_nowait((data, f"{addr[0]}:{addr[1]}"))


async def _frame(reader: asyncio.StreamReader) -> bytes | None:
    """Read MSG-LEN, a space, and so many octets (RFC 6587 3.4.1); None at the end."""
    digits = b""
    while (octet := await reader.read(1)) != b" ":
        if not octet and not digits:
            return None
        if not octet.isdigit() or len(digits) > 8:
            raise ValueError(f"{(digits + octet)[:12]!r} is no length followed by a space")
        digits += octet
    length = int(digits or b"0")
    if not 0 < length <= LARGEST_MESSAGE:
        raise ValueError(f"a message of {length} octets is not taken")
    return await reader.readexactly(length)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the connection end with a reset: an orderly end would say that all was taken."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        on_for_no_time = struct.pack("hh" if hasattr(socket, "WSAIoctl") else "ii", 1, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, on_for_no_time)
    writer.transport.abort()
