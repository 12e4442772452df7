"""What every system of a hospital is given, and what every system is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsim.clock import Clock
from labsim.database import Database
from labsim.errors import NotFound, PortTaken
from labsim.journal import Journal
from labsim.systems.gauges import Gauge, size_of
from labsim.table import Table
from labsim.wire.background import BackgroundLoop
from labsim.wire.network import Address, Network


@dataclass(frozen=True)
class Facility:
    """The hospital as its systems see it.

    Parameters
    ----------
    institution : str
        Its name, as printed in images and messages.
    issuer : str
        Who gives the patient IDs: the assigning authority of PID-3, the
        Issuer of Patient ID (0010,0021).
    seed : int
        Decides everything that is invented.
    folder : Path
        Where each system keeps its state, in a folder of its own.
    clock, journal, network, loop
        Shared by all systems.
    ports : mapping of str to int
        Loopback ports asked for, by ``"pacs.dicom"`` and the like.
    room : callable
        Asked before a file of so many bytes is written; raises `OSError` if
        the host's disk is full.
    """

    institution: str
    issuer: str
    seed: int
    folder: Path
    clock: Clock
    journal: Journal
    network: Network
    loop: BackgroundLoop
    ports: dict[str, int]
    room: Callable[[int], None] = lambda size: None


@dataclass(frozen=True)
class Endpoint:
    """One place where a system listens.

    Parameters
    ----------
    system : str
        Its name.
    protocol : str
        ``"dicom"``, ``"mwl"`` (a worklist), ``"mllp"``, ``"dicomweb"``, ``"metrics"``,
        ``"replication"`` or ``"syslog"``; with ``-tls`` behind it where TLS is spoken.
    address : Address
        Host and port in the hospital.
    local : Address
        The loopback socket behind it.
    title : str
        AE title, or HL7 application.
    """

    system: str
    protocol: str
    address: Address
    local: Address
    title: str

    @property
    def tls(self) -> bool:
        """Whether TLS is spoken there."""
        return self.protocol.endswith("-tls")


@dataclass
class Service:
    """What a system listens with; it can be stopped and started while the system runs.

    Parameters
    ----------
    protocol : str
        As in `Endpoint`.
    address : Address
        Host and port in the hospital.
    title : str
        AE title, or application.
    listen : callable
        Takes a loopback port, 0 for any, begins to listen and returns the port.
    close : callable
        Ends listening and the conversations that are open.
    port : int
        The loopback port, which it keeps when it is started again.
    place : str
        Under which name that port is asked for.
    running : bool
        Whether it listens.
    """

    protocol: str
    address: Address
    title: str
    listen: Callable[[int], int]
    close: Callable[[], None]
    port: int
    place: str
    running: bool = False


class System(ABC):
    """One system: a name, a folder, a database, a line in the journal, background work.

    Parameters
    ----------
    name : str
        Its name in the hospital.
    facility : Facility
        What it shares with the others.
    schema : str
        Its tables.
    """

    def __init__(self, name: str, facility: Facility, schema: str) -> None:
        self.name = name
        self.facility = facility
        self.folder = facility.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.db = Database(self.folder / f"{name}.sqlite", schema)
        self.worker = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-worker")
        self._services: list[Service] = []

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """Where it listens."""
        here = self.facility.network.interface
        return tuple(
            Endpoint(self.name, s.protocol, s.address, Address(here, s.port), s.title)
            for s in self._services
            if s.running
        )

    @abstractmethod
    def start(self) -> None:
        """Listen."""

    def resume(self) -> None:  # noqa: B027  (a scanner has nothing to take up)
        """Take up work that was waiting when the system stopped; all others are up now."""

    def stop(self) -> None:
        """Stop listening, finish the background work at hand and close the files."""
        self._close_services()
        self.worker.shutdown(cancel_futures=True)
        self.db.close()

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until the background work at hand is done; tell whether it came to that."""
        done, _ = wait([self.worker.submit(int)], timeout)
        return bool(done)

    def sql(self, statement: str, *values: Any) -> Table:
        """Ask the system's own database, reading only.

        Parameters
        ----------
        statement : str
            One SQL statement, such as ``"SELECT * FROM studies"``.
        *values
            For its question marks.

        Raises
        ------
        ConfigurationError
            If the statement is wrong, would change something, or takes too long.
        """
        return self.db.ask(statement, *values)

    def gauges(self) -> list[Gauge]:
        """Return what the system measures of itself, as it is now."""
        text = "Bytes on disk in the system's own folder."
        return [Gauge("disk_used_bytes", text, size_of(self.folder))]

    def note(self, summary: str, *, kind: str = "state", **keys: str) -> None:
        """Write a change of this system's own state into the journal."""
        self.facility.journal.record(self.name, kind, summary, keys=keys)

    # Services

    def listening(self) -> Sequence[Service]:
        """Return what the system listens with, running or not."""
        return tuple(self._services)

    def services(self) -> Table:
        """Return what the system listens with, and whether it does."""
        rows = [
            (s.protocol, str(s.address), s.title, "running" if s.running else "stopped")
            for s in self._services
        ]
        return Table(("service", "address", "title", "state"), rows, f"Services of {self.name}")

    def start_service(self, protocol: str) -> None:
        """Listen again with a service that was stopped.

        Raises
        ------
        NotFound
            If the system has none of that protocol.
        PortTaken
            If another program has taken its port meanwhile.
        """
        service = self._service(protocol)
        if not service.running:
            self._open_service(service)
            self.note(f"service {protocol} started")

    def stop_service(self, protocol: str) -> None:
        """Stop listening with a service; the system itself runs on.

        Raises
        ------
        NotFound
            If the system has none of that protocol.
        """
        service = self._service(protocol)
        if service.running:
            self._close_service(service)
            self.note(f"service {protocol} stopped")

    def serve(
        self,
        protocol: str,
        address: Address,
        title: str,
        listen: Callable[[int], int],
        close: Callable[[], None],
        *,
        place: str = "",
    ) -> None:
        """Begin to listen, and let the network know.

        Parameters
        ----------
        protocol, address, title, listen, close
            As in `Service`.
        place : str
            Under which name a fixed loopback port is asked for; the protocol if left out.
        """
        place = place or protocol
        port = self.facility.ports.get(f"{self.name}.{place}", 0)
        service = Service(protocol, address, title, listen, close, port, place)
        self._services.append(service)
        self._open_service(service)

    def _open_service(self, service: Service) -> None:
        service.port = self._bind(service)
        service.running = True
        self.facility.network.publish(service.address, service.port, self.name)

    def _bind(self, service: Service) -> int:
        """Listen at the port asked for; a host with an address of its own tries the true one."""
        if not service.port and self.facility.network.is_spread:
            with suppress(PortTaken):  # those below 1024 are the administrator's, as a rule
                return service.listen(service.address.port)
        return service.listen(service.port)

    def _close_service(self, service: Service) -> None:
        # First the way there, so that nobody is led to a port that another program may get.
        self.facility.network.withdraw(service.address)
        service.running = False
        service.close()

    def _service(self, protocol: str) -> Service:
        for service in self._services:
            if service.protocol == protocol:
                return service
        known = ", ".join(service.protocol for service in self._services)
        raise NotFound(f"{self.name} has no service {protocol!r}.", f"It has {known}.")

    def _close_services(self) -> None:
        """End every service for good."""
        for service in self._services:
            if service.running:
                self._close_service(service)
        self._services.clear()

    def __repr__(self) -> str:
        places = ", ".join(f"{e.title} {e.address} ({e.protocol})" for e in self.endpoints)
        return f"{self.name}: {places}" if places else self.name

    def now(self) -> str:
        """Return the hospital's time as text, to the second."""
        return self.facility.clock.now().isoformat(timespec="seconds")


def text_of(value: Any) -> str:
    """Return a value of a data set as text, empty for none."""
    return "" if value is None else str(value)
