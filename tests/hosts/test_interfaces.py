"""Hosts with loopback addresses of their own, as Linux lets them have."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.__main__ import describe
from labsim.errors import ConfigurationError
from labsim.hosts.interfaces import own_interfaces
from labsim.hosts.plan import plan
from labsim.site import Site
from labsim.wire.network import Address


@pytest.fixture
def has_addresses() -> None:
    """Skip on a machine that has 127.0.0.1 only, as macOS does at first."""
    try:
        own_interfaces(plan(Site.load("clinic")))
    except ConfigurationError as error:
        pytest.skip(str(error))


@pytest.fixture
def spread(has_addresses: None) -> Iterator[Hospital]:
    with Hospital(seed=7, loopback="per-host") as running:
        yield running


def test_every_host_listens_at_its_own_address(spread: Hospital, small_scans: None) -> None:
    hosts = {e.system: e.local.host for e in spread.endpoints()}
    assert len(set(hosts.values())) == len(hosts) >= 4
    assert hosts["pacs"] == "127." + spread.host("pacs").address.partition(".")[2]
    told = {(s["name"], s["protocol"]): s for s in describe(spread)["systems"]}
    assert told["pacs", "dicomweb"]["host"] == hosts["pacs"]
    assert told["pacs", "dicomweb"]["url"].startswith(f"http://{hosts['pacs']}:")
    assert spread.exam().problem == ""


def test_a_host_has_its_true_ports_where_it_may(spread: Hospital) -> None:
    for endpoint in spread.endpoints():
        local, true = endpoint.local, endpoint.address.port
        if may_listen(local.host, true) is None:
            assert local.port != true
    same = {e.system for e in spread.endpoints() if e.local.port == e.address.port == 2575}
    assert same == {"his", "ris", "pacs"}  # one number, three hosts


def may_listen(host: str, port: int) -> bool | None:
    """Tell whether a port of a host is open to us: None if only the administrator may."""
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except PermissionError:
            return None
        except OSError:
            return False
    return True


def test_dcmtk_calls_an_address(spread: Hospital, peer: Callable[[str], Path]) -> None:
    place = next(e for e in spread.endpoints() if (e.system, e.protocol) == ("pacs", "dicom"))
    command = [str(peer("echoscu")), "-aec", "PACS", place.local.host, str(place.local.port)]
    env = {**os.environ, "TCP_NODELAY": "1"}
    assert subprocess.run(command, timeout=20, env=env).returncode == 0
    spread.host("pacs").firewall.add("reject", "outside", 104)
    assert subprocess.run(command, timeout=20, env=env, capture_output=True).returncode != 0
    assert spread.tools.echoscu("pacs") == "0x0000 Success"


def test_images_are_moved_to_the_desk_at_its_address(spread: Hospital, small_scans: None) -> None:
    exam = spread.exam()
    assert exam.procedure is not None
    desk = spread.network.resolve(Address("desk", 11112))
    assert desk.host.startswith("127.20.")
    assert len(spread.tools.movescu(exam.procedure.study_uid)) > 0


def test_a_system_comes_back_where_it_was(spread: Hospital) -> None:
    before = {e.local for e in spread.pacs.endpoints}
    spread.rebuild("pacs")
    assert {e.local for e in spread.pacs.endpoints} == before


def test_a_fixed_port_is_kept(has_addresses: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Hospital(seed=7, loopback="per-host", ports={"ris.mllp": port}) as hospital:
        local = next(e.local for e in hospital.ris.endpoints if e.protocol == "mllp")
    assert local.port == port


def test_two_hosts_with_one_loopback_address_are_refused() -> None:
    place = plan(Site.load("clinic"))["pacs"]
    taken = {"pacs": place, "ris": replace(place, address=f"11.{place.address[3:]}")}
    with pytest.raises(ConfigurationError, match="the same loopback address"):
        own_interfaces(taken)


def test_a_machine_without_an_address_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr("labsim.hosts.interfaces.socket.socket.bind", refuse)
    with pytest.raises(ConfigurationError, match=r"no address 127\.20.*lo0 alias 127\.20"):
        own_interfaces(plan(Site.load("clinic")))


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no way to listen"):
        Hospital(loopback="own")  # type: ignore[arg-type]
