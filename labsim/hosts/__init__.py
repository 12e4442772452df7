"""The hosts of the hospital and the network between them.

Every system runs on a host. A host has an IP address in a segment, a
firewall, a clock, services and a log. They decide about real connections: the
network asks them each time that a system connects.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from labsim.clock import Clock
from labsim.database import Database
from labsim.errors import NotFound, Unreachable
from labsim.hosts import clock, disk, firewall, snapshots
from labsim.hosts.black_hole import BlackHole
from labsim.hosts.clock import HostClock
from labsim.hosts.disk import Disk
from labsim.hosts.firewall import Action, Firewall
from labsim.hosts.host import Host
from labsim.hosts.log import HostLog
from labsim.hosts.plan import OUTSIDE, outside, plan
from labsim.hosts.snapshots import Power, Snapshots
from labsim.journal import Event, Journal
from labsim.site import Site
from labsim.table import Table
from labsim.wire.network import Address, Network

__all__ = ["Host", "Hosts"]


_SCHEMA = firewall.SCHEMA + clock.SCHEMA + disk.SCHEMA + snapshots.SCHEMA


class Hosts:
    """All hosts of a hospital, and the gate on every way between them.

    Parameters
    ----------
    site : Site
        Which systems stand where.
    folder : Path
        The hospital's, where the settings of the hosts are kept.
    truth : Clock
        The hospital's time.
    journal : Journal
        Where changes and refused connections are written.
    network : Network
        Which asks at each connection.
    power : Power
        Who takes systems down and brings them up.
    """

    def __init__(
        self,
        site: Site,
        folder: Path,
        truth: Clock,
        journal: Journal,
        network: Network,
        power: Power,
    ) -> None:
        self._places = plan(site)
        self._db = Database(folder / "hosts.sqlite", _SCHEMA)
        self._hole = BlackHole()
        self._outside = outside(self._places, site.desk.host)
        sources = {*self._places, *(place.segment for place in self._places.values()), OUTSIDE}
        self._hosts: dict[str, Host] = {}
        self._logs: dict[str, HostLog] = {}  # of each system, and of the host itself
        for name, place in self._places.items():
            note = partial(journal.record, name, "state")
            wall = Firewall(name, self._db, sources, note)
            kept = Snapshots(name, place.systems, folder, self._db, wall, truth, note, power)
            own = HostClock(name, truth, self._db, note)
            folders = [folder / system for system in place.systems if system != "desk"]
            room = Disk(name, folders, self._db, note)
            log = HostLog(name, folder / "logs" / f"{name}.log", own)
            self._hosts[name] = Host(place, wall, own, kept, log, room, power)
            self._logs |= dict.fromkeys((name, *place.systems), log)
        names = {place.address: name for name, place in self._places.items()}
        network.guard(names, self._gate, self._door)
        self._unsubscribe = journal.subscribe(self._write_log)

    def __getitem__(self, name: str) -> Host:
        for host in self._hosts.values():
            if name in (host.name, host.address):
                return host
        raise NotFound(f"No host is called {name!r}.", f"There are {', '.join(self._hosts)}.")

    @property
    def by_name(self) -> Mapping[str, Host]:
        """Every host, by its name."""
        return self._hosts

    def table(self) -> Table:
        """Return every host with its place in the network."""
        rows = [
            (
                host.name,
                host.address,
                host.segment,
                host.vlan,
                ", ".join(self._places[host.name].systems),
                "on" if host.running else "off",
            )
            for host in self._hosts.values()
        ]
        return Table(("host", "address", "segment", "VLAN", "systems", "power"), rows, "Hosts")

    def addresses(self) -> dict[str, str]:
        """Return the IP address of each host, and of programs from outside."""
        places = [*self._places.values(), self._outside]
        return {place.host: place.address for place in places}

    def close(self) -> None:
        """Close the files and ports."""
        self._unsubscribe()
        for log in self._logs.values():
            log.close()
        self._hole.close()
        self._db.close()

    def _write_log(self, event: Event) -> None:
        if not event.hidden and event.source in self._logs:
            self._logs[event.source].write(event)

    def _door(self, called: Address) -> Action:
        """Return what becomes of a program from outside that has come to a host."""
        host = self._hosts.get(called.host)
        return host.firewall.verdict(self._outside, called.port) if host is not None else "allow"

    def _gate(self, caller: str, called: Address) -> Address | None:
        """Return where a connection leads instead of the called host; None for straight there."""
        host = self._hosts.get(called.host)
        if host is None:
            return None
        verdict = host.firewall.verdict(self._places.get(caller), called.port)
        if verdict == "reject":
            raise Unreachable(
                f"Connection to {called} refused: the firewall of {called.host} rejects it.",
                f'hospital.host("{called.host}").firewall.table() shows its rules.',
            )
        return self._hole.address if verdict == "drop" else None
