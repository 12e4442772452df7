"""Which systems a site has, and how each is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from labsim.hosts import Host
from labsim.site import Site
from labsim.systems.ai import AiNode
from labsim.systems.archive import Archive
from labsim.systems.audit import AuditRepository
from labsim.systems.engine import Engine
from labsim.systems.facility import Facility, System
from labsim.systems.his import His
from labsim.systems.importer import Importer
from labsim.systems.modality import Modality
from labsim.systems.pacs import Pacs
from labsim.systems.ris import Ris
from labsim.systems.standby import Standby
from labsim.systems.workstation import Workstation

Maker = Callable[[Facility], System]


def makers(site: Site, hosts: Mapping[str, Host]) -> dict[str, Maker]:
    """Return what makes each system of a site, by its name, in the order of their start.

    Parameters
    ----------
    site : Site
        Which systems there are.
    hosts : mapping of str to Host
        What they run on, by name; on one that is not there, a system has the hospital's clock
        and as much disk as it wants.

    Returns
    -------
    dict of str to callable
        Each takes the hospital's facility and returns the system, which sees
        the network from its own host and goes by the host's clock and disk.
    """
    made: dict[str, Maker] = {}
    if site.audit is not None:
        # First, and so stopped last: the others report their own end to it.
        made["audit"] = partial(AuditRepository, site.audit)
    if site.engine is not None:
        made["engine"] = partial(Engine, site)
    made["his"] = partial(His, site)
    made["ris"] = partial(Ris, site)
    if site.standby is not None:
        made["standby"] = partial(Standby, site.standby)
    made["pacs"] = partial(Pacs, site)
    if site.archive is not None:
        made["archive"] = partial(Archive, site)
    for own in site.modalities:
        made[own.name] = partial(Modality, site, own)
    if site.importer is not None:
        made["importer"] = partial(Importer, site, site.importer)
    if site.ai is not None:
        made["ai"] = partial(AiNode, site, site.ai)
    for station in site.workstations:
        made[station.name] = partial(Workstation, site, station)
    parts = site.parts()
    return {
        name: partial(_on_its_host, parts[name].host, hosts, maker)  # type: ignore[attr-defined]
        for name, maker in made.items()
    }


def _on_its_host(name: str, hosts: Mapping[str, Host], maker: Maker, facility: Facility) -> System:
    seen = replace(facility, network=facility.network.seen_from(name))
    host = hosts.get(name)
    if host is None:
        return maker(seen)
    system = maker(replace(seen, clock=host.clock, room=host.disk.reserve))
    host.disk.fit(system)
    return system
