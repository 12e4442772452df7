"""The hospital: builds the systems of a site, starts and stops them."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from pydicom.dataset import Dataset

from labsim.alerts import Alerts
from labsim.building import Maker, makers
from labsim.capture import Capture
from labsim.clock import Clock, HospitalClock, WallClock
from labsim.day import Day, run_day
from labsim.errors import ConfigurationError
from labsim.exam import Exam
from labsim.hosts import Hosts
from labsim.hosts.interfaces import own_interfaces
from labsim.hosts.plan import plan
from labsim.journal import Event, Journal
from labsim.recoverable import Recoverable
from labsim.recovery import Down
from labsim.site import PORTS, Site
from labsim.state_folder import make_folder, take, temporary_folder
from labsim.systems import metrics
from labsim.systems.facility import Facility, System
from labsim.systems.logs import Logs
from labsim.table import Table
from labsim.tools import Tools
from labsim.wire.association_log import dataset_of
from labsim.wire.background import BackgroundLoop
from labsim.wire.certificates import SiteCa
from labsim.wire.hl7 import Message
from labsim.wire.mllp import TIMEOUT
from labsim.wire.network import Address, Network, free_port
from labsim.wire.tls import Security


class Fault(Protocol):
    """Something that goes wrong on purpose; `labsim.faults` has them."""

    @property
    def title(self) -> str:
        """What goes wrong, in a few words."""
        ...

    def apply(self, hospital: Hospital) -> Callable[[], None]:
        """Make it go wrong, and return what takes it back."""
        ...


class Hospital(Recoverable):
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
