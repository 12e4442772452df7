"""The systems of a hospital that runs, each found by its name."""

from __future__ import annotations

from typing import TypeVar

from labsim.errors import LabError
from labsim.hosts import Host, Hosts
from labsim.recovery import Down
from labsim.site import Site
from labsim.systems.ai import AiNode
from labsim.systems.archive import Archive
from labsim.systems.audit import AuditRepository
from labsim.systems.engine import Engine
from labsim.systems.facility import Endpoint, System
from labsim.systems.his import His
from labsim.systems.importer import Importer
from labsim.systems.modality import Modality
from labsim.systems.pacs import Pacs
from labsim.systems.ris import Ris
from labsim.systems.standby import Standby
from labsim.systems.workstation import Workstation
from labsim.table import Table

_S = TypeVar("_S", bound=System)


class Department:
    """What is there, and where it listens.

    Attributes
    ----------
    site : Site
        As it was described.
    running : bool
        Whether it runs.
    systems : dict of str to System
        Those that are up, by their names, in the order of the site.
    seed : int
        Decides everything invented.
    """

    site: Site
    running: bool
    systems: dict[str, System]
    seed: int
    _down: dict[str, Down]
    _hosts: Hosts

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
