"""What every system of a hospital is given, and what every system is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsim.clock import Clock
from labsim.database import Database
from labsim.journal import Journal
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


@dataclass(frozen=True)
class Endpoint:
    """One place where a system listens.

    Parameters
    ----------
    system : str
        Its name.
    protocol : str
        ``"dicom"``, ``"mwl"`` (a worklist), ``"mllp"`` or ``"syslog"``.
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
        self._endpoints: list[Endpoint] = []

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """Where it listens."""
        return tuple(self._endpoints)

    @abstractmethod
    def start(self) -> None:
        """Listen."""

    def resume(self) -> None:  # noqa: B027  (a scanner has nothing to take up)
        """Take up work that was waiting when the system stopped; all others are up now."""

    def stop(self) -> None:
        """Finish the background work at hand and close the files."""
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

    def note(self, summary: str, *, kind: str = "state", **keys: str) -> None:
        """Write a change of this system's own state into the journal."""
        self.facility.journal.record(self.name, kind, summary, keys=keys)

    def published(self, protocol: str, address: Address, local_port: int, title: str) -> None:
        """Make a listening port known to the network."""
        network = self.facility.network
        network.publish(address, local_port, self.name)
        endpoint = Endpoint(self.name, protocol, address, network.resolve(address), title)
        self._endpoints.append(endpoint)

    def fixed_port(self, protocol: str) -> int:
        """Return the loopback port that was asked for, 0 if any will do."""
        return self.facility.ports.get(f"{self.name}.{protocol}", 0)

    def __repr__(self) -> str:
        places = ", ".join(f"{e.title} {e.address} ({e.protocol})" for e in self._endpoints)
        return f"{self.name}: {places}" if places else self.name

    def now(self) -> str:
        """Return the hospital's time as text, to the second."""
        return self.facility.clock.now().isoformat(timespec="seconds")


def text_of(value: Any) -> str:
    """Return a value of a data set as text, empty for none."""
    return "" if value is None else str(value)
