"""The hospital: builds the systems of a site, starts and stops them."""

from __future__ import annotations

import atexit
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from pydicom.dataset import Dataset

from labsim.alerts import Alerts
from labsim.building import Maker, makers
from labsim.capture import Capture
from labsim.clock import Clock, HospitalClock, WallClock
from labsim.day import Day, run_day
from labsim.errors import ConfigurationError, LabError
from labsim.exam import Exam
from labsim.hosts import Host, Hosts
from labsim.hosts.interfaces import own_interfaces
from labsim.hosts.plan import plan
from labsim.journal import Event, Journal
from labsim.recovery import Down, Recovery, recover_pacs
from labsim.site import PORTS, Site
from labsim.state_folder import make_folder, take, temporary_folder
from labsim.systems import metrics
from labsim.systems.ai import AiNode
from labsim.systems.archive import Archive
from labsim.systems.audit import AuditRepository
from labsim.systems.engine import Engine
from labsim.systems.facility import Endpoint, Facility, System
from labsim.systems.his import His
from labsim.systems.importer import Importer
from labsim.systems.logs import Logs
from labsim.systems.modality import Modality
from labsim.systems.pacs import Pacs, backup
from labsim.systems.ris import Ris
from labsim.systems.standby import Standby
from labsim.systems.workstation import Workstation
from labsim.table import Table
from labsim.tools import Tools
from labsim.wire.association_log import dataset_of
from labsim.wire.background import BackgroundLoop
from labsim.wire.certificates import SiteCa
from labsim.wire.hl7 import Message
from labsim.wire.mllp import TIMEOUT
from labsim.wire.network import Address, Network, free_port
from labsim.wire.tls import Security

_S = TypeVar("_S", bound=System)


class Fault(Protocol):
    """Something that goes wrong on purpose; `labsim.faults` has them."""

    @property
    def title(self) -> str:
        """What goes wrong, in a few words."""
        ...

    def apply(self, hospital: Hospital) -> Callable[[], None]:
        """Make it go wrong, and return what takes it back."""
        ...


class Hospital:
    """A simulated hospital whose systems talk over loopback sockets.

    Parameters
    ----------
    seed : int, optional
        Decides everything invented; 1 if left out. A hospital that is kept on
        disk keeps its seed.
    site : str or Path
        Name of a site that comes with the lab, or a TOML file.
    path : Path or str, optional
        Folder that keeps the state; without one it is gone after `stop`.
    ports : mapping of str to int, optional
        Fixed loopback ports, by ``"pacs.dicom"``, ``"ris.mllp"`` and the
        like; free ones are chosen for the others.
    clock : Clock, optional
        Hospital time; the machine's if left out.
    loopback : str
        ``"shared"``: all hosts listen at 127.0.0.1. ``"per-host"``: each at an address of its
        own, its IP address with 127 in front, and at its true ports as far as this machine
        lets it (`labsim.hosts.interfaces`).

    Examples
    --------
    >>> from labsim import Hospital
    >>> with Hospital(seed=7) as hospital:
    ...     exam = hospital.exam()
    >>> exam.problem
    ''
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        site: str | Path = "clinic",
        path: Path | str | None = None,
        ports: Mapping[str, int] | None = None,
        clock: Clock | None = None,
        loopback: Literal["shared", "per-host"] = "shared",
    ) -> None:
        if loopback not in ("shared", "per-host"):
            raise ConfigurationError(
                f"{loopback!r} is no way to listen.", 'Use "shared" or "per-host".'
            )
        self._loopback = loopback
        self.site = Site.load(site)
        self.running = False
        self.faults: list[Fault] = []
        self.days: list[Day] = []
        self._wanted_seed = seed
        self._path = Path(path).absolute() if path is not None else None
        self._ports = dict(ports or {})
        self.clock = HospitalClock(clock or WallClock())
        self._undo: list[Callable[[], None]] = []
        self._check_ports()

    # Life

    def start(self) -> Self:
        """Start every system.

        Returns
        -------
        Hospital
            Itself.

        Raises
        ------
        HospitalInUse
            If another running hospital holds the state folder.
        PortTaken
            If a fixed port is not free.
        ConfigurationError
            If the state folder cannot be used.
        """
        if self.running:
            return self
        with ExitStack() as opened:  # closes what is open if something below fails
            self.path = self._path or temporary_folder(opened)
            make_folder(self.path)
            lock, self.seed = take(self.path, self.site.name, self._wanted_seed)
            opened.callback(lock.close)
            self.journal = Journal(self.path / "journal", self.clock)
            opened.callback(self.journal.close)
            self._logs = Logs(self.path / "logs", self.journal)
            opened.callback(self._logs.close)
            self._go_on()
            self._loop = BackgroundLoop()
            opened.callback(self._loop.close)
            self.network = Network()
            if self._loopback == "per-host":
                self.network.spread(own_interfaces(plan(self.site)))
            self.ca = SiteCa(self.path / "tls", self.site.institution)
            secured = self.site.security
            self.network.certify(
                self.ca.of, Security(secured.mllp, secured.http, mutual=secured.mutual)
            )
            self.systems: dict[str, System] = {}
            self._down: dict[str, Down] = {}
            self._build(opened)
            self.alerts = Alerts(self, self._loop)
            opened.callback(self.alerts.close)
            self._opened = opened.pop_all()
        self.running = True
        atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """Stop every system; no thread, port or temporary file is left.

        What a fault did to the state of a hospital that is kept on disk stays
        done, as damage does; call `heal` before to take it back.
        """
        if not self.running:
            return
        self.running = False
        atexit.unregister(self.stop)
        self._undo.clear()
        self.faults.clear()
        self._opened.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # Systems

    @property
    def his(self) -> His:
        """The hospital information system."""
        return self._system("his", His)

    @property
    def ris(self) -> Ris:
        """The radiology information system."""
        return self._system("ris", Ris)

    @property
    def pacs(self) -> Pacs:
        """The picture archive."""
        return self._system("pacs", Pacs)

    @property
    def archive(self) -> Archive:
        """The vendor neutral archive, at a site that has one."""
        return self._system("archive", Archive)

    @property
    def ai(self) -> AiNode:
        """The computer that looks at images by itself, at a site that has one."""
        return self._system("ai", AiNode)

    @property
    def workstation(self) -> Workstation:
        """The first workstation; `workstations` has all of them."""
        for station in self.workstations().values():
            return station
        raise self._not_there("workstation")

    def workstations(self) -> dict[str, Workstation]:
        """Return every workstation that runs, by its name, in the order of the site."""
        self._require_running()
        return {n: system for n, system in self.systems.items() if isinstance(system, Workstation)}

    @property
    def importer(self) -> Importer:
        """Where discs from other hospitals are read."""
        return self._system("importer", Importer)

    @property
    def audit(self) -> AuditRepository:
        """The audit repository, at a site that has one."""
        return self._system("audit", AuditRepository)

    @property
    def standby(self) -> Standby:
        """Where a replica of the PACS is kept, at a site that has one."""
        return self._system("standby", Standby)

    @property
    def engine(self) -> Engine:
        """The integration engine, at a site that has one."""
        if self.running and self.site.engine is None:
            raise LabError(
                "This hospital has no integration engine: its systems send to each other.",
                'Hospital(site="community") has one.',
            )
        return self._system("engine", Engine)

    @property
    def ct(self) -> Modality:
        """The first CT scanner."""
        for modality in self.modalities():
            if modality.modality == "CT":
                return modality
        raise self._not_there("CT scanner")

    def modality(self, name: str) -> Modality:
        """Return one scanner by its name, such as ``"ct1"``.

        Raises
        ------
        LabError
            If the hospital has none of that name.
        """
        return self._system(name, Modality)

    def scanner(self, ae_title: str) -> Modality:
        """Return one scanner by its AE title, such as ``"CT1"``.

        Raises
        ------
        LabError
            If the hospital has none of that title.
        """
        for modality in self.modalities():
            if modality.ae_title == ae_title:
                return modality
        raise self._not_there(f"scanner {ae_title}")

    def modalities(self) -> list[Modality]:
        """Return every scanner, in the order of the site."""
        self._require_running()
        return [system for system in self.systems.values() if isinstance(system, Modality)]

    def host(self, name: str) -> Host:
        """Return one host, by its name or IP address.

        Parameters
        ----------
        name : str
            Such as ``"pacs"`` or ``"10.20.0.12"``.

        Raises
        ------
        NotFound
            If there is none.
        """
        self._require_running()
        return self._hosts[name]

    def hosts(self) -> Table:
        """Return every host with its address, its segment and what runs on it."""
        self._require_running()
        return self._hosts.table()

    @property
    def down(self) -> list[str]:
        """The names of the systems that are down."""
        return list(self._down)

    def endpoints(self) -> list[Endpoint]:
        """Return where every system listens."""
        return [endpoint for system in self.systems.values() for endpoint in system.endpoints]

    def table(self) -> Table:
        """Return every system with its title and addresses.

        Where they are monitored is left out, being the same for all:
        `endpoints` has it.
        """
        rows = [
            (e.system, e.protocol, e.title, str(e.address), str(e.local))
            for e in self.endpoints()
            if e.protocol != "metrics"
        ]
        columns = (
            "system",
            "protocol",
            "AE title or application",
            "in the hospital",
            "on this machine",
        )
        return Table(columns, rows, f"{self.site.institution}, seed {self.seed}")

    # What happens in it

    def exam(
        self, code: str = "CTTHORAX", *, name: str = "", reason: str = "Cough for three weeks"
    ) -> Exam:
        """Run one exam from registration to report.

        Parameters
        ----------
        code : str
            An examination of `labsim.systems.catalogue`.
        name : str
            The patient's name, ``"Family^Given"``; invented if left out.
        reason : str
            Reason for the study.

        Returns
        -------
        Exam
            Which says how far it came, and in ``problem`` why not further.
        """
        self._require_running()
        return Exam(self).run(code, name, reason)

    def day(
        self,
        exams: int = 40,
        *,
        start: datetime | None = None,
        seed: int | None = None,
        emergencies: float = 0.1,
        images: str = "quick",
        progress: bool = True,
    ) -> Day:
        """Run a day of the department, every transaction on the wire.

        Outpatients, inpatients, people who walk in and emergencies come by the
        hour, wait for a scanner, are examined, and read by whoever is on duty.
        The hospital's clock jumps from one event to the next, and goes on from
        midnight afterwards. The same seed gives the same day, at a hospital of
        the same seed and state.

        Parameters
        ----------
        exams : int
            How many are ordered.
        start : datetime, optional
            When it begins, not before the hospital's time; the next midnight
            if left out. It ends at the midnight after that, or when the last
            patient has left the scanner.
        seed : int, optional
            Decides who comes; the hospital's own and the count of its days if
            left out.
        emergencies : float
            Which part of the exams, 0 to 1, are emergencies.
        images : str
            ``"quick"`` for the scanners' quick protocols, ``"full"`` for the
            usual ones, which take several times as long to make.
        progress : bool
            Whether to show how far it is, in a notebook or a terminal.

        Returns
        -------
        Day
            What happened, as tables.

        Raises
        ------
        ConfigurationError
            If a value makes no sense.
        """
        self._require_running()
        return run_day(
            self,
            exams,
            start=start,
            seed=seed,
            emergencies=emergencies,
            images=images,
            progress=progress,
        )

    def settle(self, timeout: float = TIMEOUT) -> bool:
        """Wait until no system has anything to send or to work at any more.

        What is sent through an engine arrives later than it is acknowledged.

        Parameters
        ----------
        timeout : float
            Seconds.

        Returns
        -------
        bool
            Whether it came to that; not if a queue waits for its receiver.
        """
        self._require_running()
        end = time.monotonic() + timeout
        seen = -1
        while (events := self._events_so_far()) != seen:  # something happened meanwhile
            seen = events
            for system in self.systems.values():
                if not system.wait_until_idle(max(0.0, end - time.monotonic())):
                    return False
        return True

    def wait_until(self, test: Callable[[], bool], timeout: float = TIMEOUT) -> bool:
        """Wait until something is true, asked anew after each event of the journal.

        Parameters
        ----------
        test : callable
            What is to become true.
        timeout : float
            Seconds.

        Returns
        -------
        bool
            Whether it did.
        """
        self._require_running()
        end = time.monotonic() + timeout
        while True:
            seen = len(self.journal.all())
            if test():
                return True
            left = end - time.monotonic()
            # The test is not made within the journal, to which those it asks may have to write.
            if left <= 0 or self.journal.wait_for(lambda _: True, left, after=seen) is None:
                return test()

    def message(self, event: Event) -> Message | Dataset:
        """Return what an event of the journal carried: an HL7 message or a DICOM data set.

        Raises
        ------
        NotFound
            If it carried nothing.
        """
        self._require_running()
        payload = self.journal.payload(event)
        return Message(payload["hl7"]) if "hl7" in payload else dataset_of(payload)

    def inject(self, fault: Fault) -> None:
        """Make something go wrong, while everything runs."""
        self._require_running()
        with self.journal.hidden():
            self._undo.append(fault.apply(self))
            self.faults.append(fault)
            self.journal.record("trainer", "state", f"fault injected: {fault.title}")

    def heal(self) -> None:
        """Take every fault back, the last one first."""
        with self.journal.hidden():
            while self._undo:
                self._undo[-1]()  # if this fails, the fault is still there
                self._undo.pop()
                fault = self.faults.pop()
                self.journal.record("trainer", "state", f"fault taken back: {fault.title}")

    def logs(self, system: str, *, level: str = "info", contains: str = "") -> Table:
        """Return one system's log, narrowed down as in `labsim.systems.logs.Logs.table`."""
        self._require_running()
        return self._logs.table(system, level, contains)

    def capture(self, path: Path | str, link: Collection[str] | None = None) -> Capture:
        """Begin to write what passes on the wire into a pcapng file, for Wireshark.

        Parameters
        ----------
        path : Path or str
            The file.
        link : pair of str, optional
            The two systems to listen to, such as ``("ct1", "pacs")``; all if left out.

        Returns
        -------
        Capture
            To be used in a ``with`` block, or ended with its `stop`.

        Raises
        ------
        LabError
            If a capture is on, there is no such system, or the file cannot be written.
        """
        self._require_running()
        hosts = {name: str(vars(part)["host"]) for name, part in self.site.parts().items()}
        addresses = self._hosts.addresses()
        capture = Capture(path, self.network, self._loop, self.clock, hosts, link, addresses)
        self._opened.callback(capture.stop)
        return capture

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

    def __repr__(self) -> str:
        if not self.running:
            return f"Hospital {self.site.name}, not running"
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_() if self.running else f"<p>{self!r}</p>"

    def _events_so_far(self) -> int:
        last = self.journal.last()
        return last.seq if last is not None else 0

    def _go_on(self) -> None:
        """Let the hospital's time go on from where it stopped, which a day may have moved on."""
        last = self.journal.last()
        if last is not None:
            self.clock.not_before(datetime.fromisoformat(last.hospital_time))

    def _build(self, opened: ExitStack) -> None:
        self._facility = Facility(
            institution=self.site.institution,
            issuer=self.site.issuer,
            seed=self.seed,
            folder=self.path,
            clock=self.clock,
            journal=self.journal,
            network=self.network,
            loop=self._loop,
            ports=self._ports,
        )
        self._hosts = Hosts(self.site, self.path, self.clock, self.journal, self.network, self)
        opened.callback(self._hosts.close)
        desk = self.site.desk
        move_port = self._ports.get("desk.dicom") or free_port()
        seen = self.network.seen_from(desk.host)
        seen.publish(Address(desk.host, desk.dicom_port), move_port)
        self.tools = Tools(desk.ae_title, move_port, self.journal, seen, self.endpoints)
        for name, part in self.site.parts().items():
            for alias in (getattr(part, "application", ""), getattr(part, "ae_title", "")):
                if alias:
                    self.journal.name(alias, name)
        self._counts = metrics.MessageCounts(self.journal)
        self._makers: dict[str, Maker] = makers(self.site, self._hosts.by_name)
        for name, make in self._makers.items():
            system = make(self._facility)
            opened.callback(system.stop)
            self.systems[name] = system
            system.start()
            self._monitor(system)
        for system in self.systems.values():
            system.resume()

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

    def _system(self, name: str, kind: type[_S]) -> _S:
        found = self.systems.get(name) if self.running else None
        if not isinstance(found, kind):
            raise self._not_there(name)
        return found

    def _not_there(self, name: str) -> LabError:
        if not self.running:
            return LabError("The hospital is not running.", "Start it with hospital.start().")
        if name in self._down:
            return LabError(f"{name} is down.", f'hospital.bring_up("{name}") starts it.')
        return LabError(f"This hospital has no {name}.", "print(hospital) lists its systems.")

    def _require_running(self) -> None:
        if not self.running:
            raise self._not_there("")

    def _check_ports(self) -> None:
        known = {
            f"{name}.{place}"
            for name, part in self.site.parts().items()
            for port, place in PORTS.items()
            if hasattr(part, port)
        }
        known |= {f"{name}.metrics" for name in makers(self.site, {})}
        for place, port in self._ports.items():
            if place not in known:
                raise ConfigurationError(
                    f"There is no place {place!r} to listen.", f"Use {', '.join(sorted(known))}."
                )
            if not 0 <= port <= 65535:
                raise ConfigurationError(
                    f"{port} is no port for {place}.", "Use 1 to 65535, or 0 for a free one."
                )
