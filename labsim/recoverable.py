"""Systems that go down and come back: maintenance, restore, failover, disaster."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from labsim.building import Maker, makers
from labsim.clock import HospitalClock
from labsim.department import Department
from labsim.errors import LabError
from labsim.journal import Journal
from labsim.recovery import Down, Recovery, recover_pacs
from labsim.systems import metrics
from labsim.systems.facility import Facility, System
from labsim.systems.pacs import Pacs, backup
from labsim.systems.standby import Standby
from labsim.wire.certificates import SiteCa
from labsim.wire.network import Network


class Recoverable(Department):
    """A hospital whose systems can be taken down, lost and brought back.

    Attributes
    ----------
    path : Path
        The state folder.
    clock : HospitalClock
        Hospital time.
    journal : Journal
        What happened.
    network : Network
        Who listens where.
    ca : SiteCa
        Issues certificates to its hosts.
    """

    path: Path
    clock: HospitalClock
    journal: Journal
    network: Network
    ca: SiteCa
    _facility: Facility
    _ports: dict[str, int]
    _makers: dict[str, Maker]
    _counts: metrics.MessageCounts
    _opened: ExitStack

    def restore_pacs(
        self, folder: Path | str, snapshot: int | None = None, *, only: backup.Part = "all"
    ) -> Pacs:
        """Take the PACS down, put a backup in its place, and start it again.

        Parameters
        ----------
        folder : Path or str
            Where `Pacs.backup` wrote.
        snapshot : int, optional
            Which one; the last if left out.
        only : str
            ``"all"``, or half of it: ``"index"`` or ``"files"``.

        Returns
        -------
        Pacs
            As it runs now, on the same ports. What was stored after the
            backup is gone; `Pacs.consistency` shows what does not agree.

        Raises
        ------
        AccessDenied
            If whoever is at the PACS may not repair.
        ConfigurationError
            If the backup is damaged or another hospital's; the PACS runs on then.
        NotFound
            If there is none.
        """
        old = self.pacs
        old.access.require("repair", "restore")
        folder = Path(folder).absolute()
        number = backup.sound(folder, snapshot, self.site.issuer)
        old.access.end_all()
        taken: list[str] = []
        self.rebuild("pacs", lambda: taken.append(backup.restore(folder, number, old.folder, only)))
        self.pacs.note(f"restored from the backup of {taken[0]} ({only})")
        return self.pacs

    def rebuild(self, name: str, meanwhile: Callable[[], object] = lambda: None) -> System:
        """Take a system down and start it again from its folder, on the same loopback ports.

        Parameters
        ----------
        name : str
            Which system.
        meanwhile : callable
            What is done to its folder while it is down.

        Returns
        -------
        System
            As it runs now.

        Raises
        ------
        LabError
            If the hospital has no such system.
        """
        self.take_down(name)
        meanwhile()
        return self.bring_up(name)

    def take_down(self, name: str) -> System:
        """Stop one system; the others run on, and who calls it hears that nobody is there.

        Parameters
        ----------
        name : str
            Which system.

        Returns
        -------
        System
            As it was; its folder stays.

        Raises
        ------
        LabError
            If the hospital has no such system, or it is down already.
        """
        old = self._system(name, System)  # type: ignore[type-abstract]
        self._down[name] = Down.of(old)
        self.systems = {each: system for each, system in self.systems.items() if each != name}
        old.stop()
        self.journal.record(name, "state", f"{name} is down")
        return old

    def bring_up(self, name: str, *, host: str = "") -> System:
        """Start a system that was taken down, from its folder and on its loopback ports.

        Parameters
        ----------
        name : str
            Which system.
        host : str
            Another host to run on; then its old host's name leads there, as
            when an alias in the name service is changed. It holds until the
            hospital stops.

        Returns
        -------
        System
            As it runs now.

        Raises
        ------
        LabError
            If it is not down, cannot be moved, or cannot start; it stays down then.
        """
        self._require_running()
        if name not in self._down:
            raise LabError(f"{name} is not down.", "hospital.hosts() shows what runs.")
        facility = replace(self._facility, ports={**self._ports, **self._down[name].ports})
        new = self._maker(name, host)(facility)
        try:
            new.start()
        except BaseException:  # Ctrl-C too: half a start leaves ports open; raised again
            new.stop()
            raise
        self._opened.callback(new.stop)
        del self._down[name]
        # In the order of the site, whatever was down.
        running = {**self.systems, name: new}
        self.systems = {each: running[each] for each in self._makers if each in running}
        self._monitor(new)
        new.resume()
        self.journal.record(name, "state", f"{name} is up" + (f" on {host}" if host else ""))
        return new

    def fail_over(self) -> Recovery:
        """Let the standby take the place of the PACS, which is taken down if it runs.

        Returns
        -------
        Recovery
            What that cost: what was stored after the last replica is lost.

        Raises
        ------
        LabError
            If there is no standby, or it runs there already.
        NotFound
            If no replica has arrived yet.
        """
        standby = self._system("standby", Standby)
        part = self.site.standby
        assert part is not None, "its system is there"
        if "pacs" in self.systems:
            if {e.address.host for e in self.pacs.endpoints} == {part.host}:
                raise LabError("The PACS runs on the standby already.")
            backup.sound(standby.replica, None, self.site.issuer)  # before anything is stopped
            self.take_down("pacs")
        return self.recover_pacs(standby.replica, host=part.host)

    def lose(self, name: str) -> None:
        """Lose a system with its disk, as to fire or to ransomware: nothing of it is left.

        Raises
        ------
        LabError
            If the hospital has no such system, or it is down already.
        """
        shutil.rmtree(self.take_down(name).folder)

    def recover_pacs(
        self, folder: Path | str, snapshot: int | None = None, *, host: str = ""
    ) -> Recovery:
        """Bring a PACS that is down back from a backup, and measure what that took.

        Parameters
        ----------
        folder : Path or str
            Where `Pacs.backup` wrote.
        snapshot : int, optional
            Which one; the last if left out.
        host : str
            A new host for it; the old one if left out.

        Returns
        -------
        Recovery
            How much was lost (against the recovery point objective) and how
            long the archive was away (against the recovery time objective).

        Raises
        ------
        ConfigurationError
            If the backup is damaged or another hospital's.
        LabError
            If the PACS runs.
        NotFound
            If there is no backup.
        """
        self._require_running()
        down = self._down.get("pacs")
        if down is None:
            raise LabError("The PACS runs.", "hospital.restore_pacs(…) restores one that runs.")
        return recover_pacs(self, down, Path(folder).absolute(), snapshot, host)

    def _maker(self, name: str, host: str) -> Maker:
        """Return what makes a system, on another host if one is named."""
        part: Any = self.site.parts()[name]
        if not host:
            self.network.alias(part.host, part.host)  # back home
            return self._makers[name]
        if name not in type(self.site).model_fields:  # one of several scanners
            raise LabError(f"{name} cannot run on another host.", "A server can, a scanner not.")
        self.network.alias(part.host, host)
        if self.site.tls is not None:
            # It shows the certificate of the new host, and is called by the name of the old one.
            self.ca.issue(host, also=[part.host])
        moved = self.site.model_copy(update={name: part.model_copy(update={"host": host})})
        return makers(moved, self._hosts.by_name)[name]

    def _monitor(self, system: System) -> None:
        metrics.offer(system, system.facility.network.host, self._counts)
