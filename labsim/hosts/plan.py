"""Where each host of a site stands: its segment and its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import islice

from labsim.errors import ConfigurationError
from labsim.site import SegmentSite, Site

OUTSIDE = "outside"  # this machine, where programs run that are no part of the hospital
_FIRST = 10  # the addresses below are for routers and the like
_FLAT = SegmentSite.model_validate({"name": "lan", "vlan": 1, "network": "10.20.0.0/24"})


@dataclass(frozen=True)
class Place:
    """One host's place in the network.

    Parameters
    ----------
    host : str
        Its name.
    address : str
        Its IP address, of the segment's network.
    segment : str
        Name of the segment.
    vlan : int
        The segment's number (IEEE 802.1Q).
    systems : tuple of str
        What runs on it, by name.
    also : tuple of str
        Other names of it.
    """

    host: str
    address: str
    segment: str
    vlan: int
    systems: tuple[str, ...]
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What a firewall's rule may call it."""
        return self.host, *self.also, self.segment


def plan(site: Site) -> dict[str, Place]:
    """Return the place of each host, by its name.

    A host belongs to the segment that names it, else to the first one. The
    addresses of a segment are given in the order of the site, so that the
    same site has the same ones each time.

    Raises
    ------
    ConfigurationError
        If a segment's network is too small for its hosts.
    """
    systems: dict[str, list[str]] = {}
    for name, part in site.parts().items():
        systems.setdefault(part.host, []).append(name)  # type: ignore[attr-defined]
    segments = site.segments or [_FLAT]
    places: dict[str, Place] = {}
    for segment in segments:
        own = [host for host in systems if _segment_of(host, segments) is segment]
        addresses = list(islice(segment.network.hosts(), _FIRST - 1, _FIRST - 1 + len(own)))
        if len(addresses) < len(own):
            raise ConfigurationError(
                f"The network {segment.network} of the segment {segment.name} is too small "
                f"for {len(own)} hosts.",
                "Give it a shorter prefix, such as /24.",
            )
        for host, address in zip(own, addresses, strict=True):
            running = tuple(systems[host])
            places[host] = Place(host, str(address), segment.name, segment.vlan, running)
    return places


def outside(places: Mapping[str, Place], desk: str) -> Place:
    """Return where programs from outside stand: on the machine of the administrator's desk."""
    return replace(places[desk], host=OUTSIDE, systems=(), also=(desk,))


def _segment_of(host: str, segments: list[SegmentSite]) -> SegmentSite:
    for segment in segments:
        if any(fnmatchcase(host, pattern) for pattern in segment.hosts):
            return segment
    return segments[0]
