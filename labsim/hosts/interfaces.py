"""Loopback addresses of one's own for hosts, so that each has all of its ports for itself."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from labsim.errors import ConfigurationError
from labsim.hosts.plan import Place


def own_interfaces(places: Mapping[str, Place]) -> dict[str, str]:
    """Return a loopback address for each host: its IP address with 127 in front.

    Parameters
    ----------
    places : mapping of str to Place
        The hosts by name; ``10.20.20.12`` becomes ``127.20.20.12``.

    Raises
    ------
    ConfigurationError
        If this machine does not have them, or two hosts would get the same.
    """
    found = {name: f"127.{place.address.partition('.')[2]}" for name, place in places.items()}
    if len(set(found.values())) < len(found):
        raise ConfigurationError(
            "Two hosts would have the same loopback address.",
            "Give the segments networks that differ after their first number.",
        )
    for name, address in found.items():
        _require(name, address)
    return found


def _require(host: str, address: str) -> None:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise ConfigurationError(
                f"This machine has no address {address} for {host}.",
                "Linux and Windows have all of 127.0.0.0/8; on macOS add each one: "
                f"sudo ifconfig lo0 alias {address}. Or let all hosts share 127.0.0.1.",
            ) from error
