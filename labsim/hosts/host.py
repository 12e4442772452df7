"""A host: the machine that a system runs on, with what its administrator can do to it."""

from __future__ import annotations

import time
from pathlib import Path

from labsim.errors import LabError, NotFound
from labsim.hosts.clock import HostClock
from labsim.hosts.disk import Disk
from labsim.hosts.firewall import Firewall
from labsim.hosts.load import load
from labsim.hosts.log import HostLog
from labsim.hosts.plan import Place
from labsim.hosts.snapshots import Power, Snapshots
from labsim.systems.facility import Service, System
from labsim.table import Table


class Host:
    """One machine of the hospital.

    Attributes
    ----------
    name, address, segment : str
        Its name, IP address and segment.
    vlan : int
        Number of the segment.
    firewall : Firewall
        Who may connect to it.
    clock : HostClock
        What its systems take for the time.
    disk : Disk
        What its systems use of it, and may use.
    """

    def __init__(
        self,
        place: Place,
        firewall: Firewall,
        clock: HostClock,
        snapshots: Snapshots,
        log: HostLog,
        disk: Disk,
        power: Power,
    ) -> None:
        self.name = place.host
        self.address = place.address
        self.segment = place.segment
        self.vlan = place.vlan
        self.firewall = firewall
        self.clock = clock
        self._snapshots = snapshots
        self._log = log
        self.disk = disk
        self._since: float | None = time.monotonic()
        self._names = place.systems
        self._power = power

    @property
    def running(self) -> bool:
        """Whether it is on; the desk, which is your own machine, always is."""
        return all(name in self._power.systems for name in self._own)

    @property
    def systems(self) -> list[System]:
        """What runs on it; nothing while it is off."""
        running = self._power.systems
        return [running[name] for name in self._names if name in running]

    def services(self) -> Table:
        """Return what its systems listen with, and whether they do."""
        rows = [
            (service.protocol, str(service.address), service.title, state)
            for system in self.systems
            for service in system.listening()
            for state in ("running" if service.running else "stopped",)
        ]
        return Table(("service", "address", "title", "state"), rows, f"Services of {self.name}")

    def start(self, protocol: str) -> None:
        """Start a service that was stopped.

        Raises
        ------
        NotFound
            If the host has none of that protocol.
        LabError
            If it is shut down, or another program has taken the port.
        """
        self._with(protocol).start_service(protocol)

    def stop(self, protocol: str) -> None:
        """Stop a service; its port refuses connections.

        Raises
        ------
        NotFound
            If the host has none of that protocol.
        LabError
            If it is shut down.
        """
        self._with(protocol).stop_service(protocol)

    def shut_down(self) -> None:
        """Stop its systems and switch it off; what they keep on disk stays.

        Raises
        ------
        LabError
            If no system of the hospital runs on it.
        """
        for system in self._require_own():
            if system in self._power.systems:
                self._power.take_down(system)
        self._since = None

    def boot(self) -> None:
        """Switch it on; its systems start from what is on disk, on the same ports.

        Raises
        ------
        LabError
            If no system of the hospital runs on it.
        """
        for system in self._require_own():
            if system not in self._power.systems:
                self._power.bring_up(system)
        self._since = self._since or time.monotonic()

    def log(self, text: str = "") -> Table:
        """Return its log file, the lines that contain `text` in upper or lower case."""
        return self._log.table(text)

    def tail(self, lines: int = 10) -> Table:
        """Return the newest lines of its log file."""
        return self._log.table(last=lines)

    @property
    def log_file(self) -> Path:
        """Where its log is on this machine."""
        return self._log.path

    def load(self) -> Table:
        """Return processor time, memory and time of running, as this machine measures them."""
        return load(self.name, self._names, self.disk.used, self._since)

    def df(self) -> Table:
        """Return how much of the disk its systems use, in bytes, and how much is free."""
        return self.disk.table()

    def set_quota(self, size: int) -> None:
        """Give its disk a size.

        Parameters
        ----------
        size : int
            How many bytes its systems may use together; 0 for no quota. Less than they
            use already means that the disk is full.

        Raises
        ------
        ConfigurationError
            If it is negative.
        """
        self._require_own()
        self.disk.resize(size, self.systems)

    def snapshot(self, name: str) -> None:
        """Take a snapshot of its disk and firewall.

        Its systems are down meanwhile: connections end, and get no answer
        until they are up again.

        Parameters
        ----------
        name : str
            Letters, digits, ``-`` and ``_``.

        Raises
        ------
        ConfigurationError
            If the name is none, or taken.
        LabError
            If no system of the hospital runs on the host.
        """
        self._require_own()
        self._snapshots.take(name)

    def snapshots(self) -> Table:
        """Return its snapshots, the oldest first."""
        return self._snapshots.table()

    def revert(self, name: str) -> None:
        """Go back to a snapshot: what its systems stored after it is lost.

        Parameters
        ----------
        name : str
            Of the snapshot.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        self._snapshots.revert(name)

    def __repr__(self) -> str:
        state = "on" if self.running else "off"
        return f"{self.name} ({self.address}, {self.segment}, VLAN {self.vlan}): {state}"

    @property
    def _own(self) -> list[str]:
        return [name for name in self._names if name != "desk"]

    def _require_own(self) -> list[str]:
        if not self._own:
            raise LabError(
                f"No system of the hospital runs on {self.name}.",
                "hospital.hosts() shows what runs where.",
            )
        return self._own

    def _with(self, protocol: str) -> System:
        if not self.running:
            raise LabError(f"{self.name} is shut down.", f'hospital.host("{self.name}").boot()')
        known: list[Service] = []
        for system in self.systems:
            for service in system.listening():
                if service.protocol == protocol:
                    return system
                known.append(service)
        names = ", ".join(service.protocol for service in known) or "none"
        raise NotFound(f"{self.name} has no service {protocol!r}.", f"It has {names}.")
