"""For tests of the engine: one of its own, a receiver that does as it is told, a plain sender."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from labsim.channels import ChannelSpec
from labsim.clock import ManualClock
from labsim.errors import Hl7Error
from labsim.journal import Journal
from labsim.site import EngineSite, Site
from labsim.systems.engine import Engine
from labsim.systems.facility import Facility
from labsim.wire.background import BackgroundLoop
from labsim.wire.hl7 import Header, Message, acknowledge, segment
from labsim.wire.mllp import MllpEndpoint, Taken
from labsim.wire.network import Address, Network

NOW = datetime(2026, 3, 2, 10, 30)
START, END = b"\x0b", b"\x1c\r"


class Receiver:
    """The RIS of these tests: it takes everything, or refuses everything."""

    address = Address("ris", 2575)

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._endpoint: MllpEndpoint | None = None
        self.taken: list[Message] = []
        self.refusal: Hl7Error | None = None

    @property
    def control_ids(self) -> list[str]:
        return [message.control_id for message in self.taken]

    def start(self) -> None:
        self._endpoint = self._rig.endpoint("ris")
        kinds = ("ADT^A04", "ADT^A08", "ORM^O01")
        port = self._endpoint.listen({kind: Taken("RAD-1", self._take) for kind in kinds})
        self._rig.network.publish(self.address, port, "ris")

    def stop(self) -> None:
        if self._endpoint is not None:
            self._endpoint.close()
            self._rig.network.withdraw(self.address)
            self._endpoint = None

    def _take(self, message: Message) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.taken.append(message)


class Rig:
    """What an engine stands on, and those it speaks with."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(NOW)
        self.journal = Journal(folder / "journal", self.clock)
        self.network = Network()
        self.loop = BackgroundLoop()
        self.folder = folder
        self.ris = Receiver(self)
        self.ris.start()
        self._engines: list[Engine] = []

    def close(self) -> None:
        for engine in list(self._engines):
            self.stop(engine)
        self.ris.stop()
        self.loop.close()
        self.journal.close()

    def endpoint(self, system: str) -> MllpEndpoint:
        return MllpEndpoint(system, self.journal, self.clock, self.network, self.loop)

    def engine(self, *channels: dict[str, Any], **tables: dict[str, str]) -> Engine:
        """Start an engine, a new one or the one that was stopped."""
        made = Engine(self._site(channels or (self.channel(),), tables), self._facility())
        self._engines.append(made)
        made.start()
        made.resume()
        return made

    def stop(self, engine: Engine) -> None:
        self._engines.remove(engine)
        engine.stop()

    @staticmethod
    def channel(to: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
        """Describe a channel to the RIS that tries again soon."""
        patience = {"retry_every": 0.05, "timeout": 2}
        ris = {"name": "ris", "host": "ris", "port": 2575, **patience, **(to or {})}
        messages = {"ADT^*": "RAD-1", "ORM^O01": "RAD-2"}
        return {"name": "in", "messages": messages, "destinations": [ris]} | values

    @staticmethod
    def adt(
        control_id: str = "1",
        message_type: str = "ADT^A04",
        *more: str,
        name: str = "Doe^Jane",
        patient_class: str = "O",
        mode: tuple[str, str] = ("", ""),
    ) -> Message:
        """Make a message of the HIS for the RIS; `mode` is MSH-15 and MSH-16."""
        header = Header(("HIS", "X"), ("RIS", "X"), message_type, control_id, NOW, "2.3.1", *mode)
        pid = segment("PID", {3: f"P{control_id}^^^X", 5: name})
        return Message.build(header, pid, segment("PV1", {2: patient_class, 19: "V1"}), *more)

    def send(
        self, engine: Engine, *messages: Message | bytes, count: int | None = None
    ) -> list[Message]:
        """Send messages over one connection, all at once, and return their acknowledgments."""
        (place,) = engine.endpoints
        with socket.create_connection((place.local.host, place.local.port), 5) as connection:
            blocks = [m if isinstance(m, bytes) else m.encode() for m in messages]
            connection.sendall(b"".join(START + block + END for block in blocks))
            return self.read(connection, len(blocks) if count is None else count)

    @staticmethod
    def read(connection: socket.socket, count: int) -> list[Message]:
        """Read so many messages, fewer if the connection ends."""
        received = b""
        while received.count(END) < count:
            piece = connection.recv(65536)
            if not piece:
                break
            received += piece
        return [Message.decode(block[1:]) for block in received.split(END)[:-1]]

    @staticmethod
    def acknowledge(
        connection: socket.socket, message: Message, code: str = "AA", *, of: str = ""
    ) -> None:
        """Acknowledge a message, or another one in its place."""
        ack = acknowledge(message, code, "9", NOW)
        text = ack.text.replace(f"MSA|{code}|{message.control_id}", f"MSA|{code}|{of}")
        connection.sendall(START + (text if of else ack.text).encode() + END)

    @contextmanager
    def scripted(self, *acts: Callable[[socket.socket], None]) -> Iterator[None]:
        """Let the RIS be a program that does something of its own with each connection."""
        self.ris.stop()
        problems: list[BaseException] = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(5)

            def serve() -> None:
                try:
                    for act in acts:
                        with server.accept()[0] as connection:
                            connection.settimeout(5)
                            act(connection)
                except BaseException as error:  # for the test's own thread
                    problems.append(error)

            thread = threading.Thread(target=serve)
            thread.start()
            self.network.publish(self.ris.address, server.getsockname()[1], "ris")
            yield
            thread.join(6)
            self.network.withdraw(self.ris.address)
        assert problems == []

    def _site(self, channels: tuple[dict[str, Any], ...], tables: dict[str, Any]) -> Site:
        specs = [ChannelSpec.model_validate(entry) for entry in channels]
        own = EngineSite(
            host="engine", hl7_port=2575, application="ENGINE", channels=specs, tables=tables
        )
        return Site.load("community").model_copy(update={"engine": own})

    def _facility(self) -> Facility:
        return Facility(
            institution="Test",
            issuer="X",
            seed=1,
            folder=self.folder,
            clock=self.clock,
            journal=self.journal,
            network=self.network,
            loop=self.loop,
            ports={},
        )


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A network with a journal, and a RIS that listens."""
    made = Rig(tmp_path)
    yield made
    made.close()
