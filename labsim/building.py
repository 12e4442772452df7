"""Which systems a site has, and how each is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from labsim.hosts import Host, Hosts
from labsim.site import Site
from labsim.systems.audit import AuditRepository
from labsim.systems.engine import Engine
from labsim.systems.facility import Facility, System
from labsim.systems.his import His
from labsim.systems.importer import Importer
from labsim.systems.modality import Modality
from labsim.systems.pacs import Pacs
from labsim.systems.ris import Ris

Maker = Callable[[Facility], System]


def makers(site: Site, hosts: Hosts) -> dict[str, Maker]:
    """Return what makes each system of a site, by its name, in the order of their start.

    Parameters
    ----------
    site : Site
        Which systems there are.
    hosts : Hosts
        What they run on.

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
    made["pacs"] = partial(Pacs, site)
    for own in site.modalities:
        made[own.name] = partial(Modality, site, own)
    if site.importer is not None:
        made["importer"] = partial(Importer, site, site.importer)
    parts = site.parts()
    return {
        name: partial(_on_its_host, hosts[parts[name].host], maker)  # type: ignore[attr-defined]
        for name, maker in made.items()
    }


def _on_its_host(host: Host, maker: Maker, facility: Facility) -> System:
    seen = facility.network.seen_from(host.name)
    own = replace(facility, network=seen, clock=host.clock, room=host.disk.reserve)
    system = maker(own)
    host.disk.fit(system)
    return system
