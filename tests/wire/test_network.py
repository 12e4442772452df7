"""Addresses in the hospital and the loopback ports behind them."""

from __future__ import annotations

import errno
import socket

import pytest

from labsim.errors import Unreachable
from labsim.wire.network import Address, Network, free_port, port_taken

PACS = Address("pacs", 104)


def test_an_address_leads_to_the_port_it_was_published_with(network: Network) -> None:
    network.publish(PACS, 40104)
    assert network.resolve(PACS) == Address("127.0.0.1", 40104)


def test_publishing_again_replaces_the_port(network: Network) -> None:
    network.publish(PACS, 40104)
    network.publish(PACS, 40105)
    assert network.resolve(PACS).port == 40105


def test_a_withdrawn_address_leads_nowhere(network: Network) -> None:
    network.publish(PACS, 40104)
    network.withdraw(PACS)
    network.withdraw(PACS)
    with pytest.raises(Unreachable):
        network.resolve(PACS)


def test_an_unknown_host_is_told_apart_from_a_closed_port(network: Network) -> None:
    network.publish(PACS, 40104)
    network.publish(Address("pacs", 2575), 42575)
    with pytest.raises(Unreachable, match="No host is called 'pacz'") as no_host:
        network.resolve(Address("pacz", 104))
    assert "pacs" in no_host.value.next_step
    with pytest.raises(Unreachable, match="pacs:105 refused") as no_port:
        network.resolve(Address("pacs", 105))
    assert "104, 2575" in no_port.value.next_step


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2"])
def test_a_loopback_address_leads_to_itself(network: Network, host: str) -> None:
    assert network.resolve(Address(host, 104)) == Address(host, 104)


def test_the_table_that_is_handed_out_is_a_copy(network: Network) -> None:
    table = network.published()
    network.publish(PACS, 40104)
    assert PACS not in table
    assert PACS in network.published()


@pytest.mark.parametrize("ends", [("caller", "called"), ("called", "caller")])
def test_both_ends_of_a_connection_have_the_same_name_for_it(
    network: Network, ends: tuple[str, str]
) -> None:
    first, second = (network.connected(40000, 104, end) for end in ends)
    assert first == second
    assert network.connected(40000, 104, ends[0]) != first  # the next with the same ports


def test_a_connection_from_outside_is_not_taken_for_the_next(network: Network) -> None:
    names = {network.connected(40000, 104, "called") for _ in range(2)}
    assert len(names) == 2
    for name in names:
        network.disconnected(name)
    inside = network.connected(40000, 104, "caller")
    assert inside not in names
    assert network.connected(40000, 104, "called") == inside


def test_an_address_is_written_as_people_write_it() -> None:
    assert str(PACS) == "pacs:104"


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass


def test_a_taken_port_is_named_with_whom_it_was_for(silent_port: int) -> None:
    with pytest.raises(OSError, match="in use") as caught:
        socket.create_server(("127.0.0.1", silent_port))
    error = port_taken(silent_port, "DICOM of pacs", caught.value)
    assert error.what == f"Port {silent_port} for DICOM of pacs is taken by another program."
    assert error.next_step


def test_a_port_that_only_the_administrator_may_use_is_not_called_taken() -> None:
    error = port_taken(104, "DICOM of pacs", PermissionError(errno.EACCES, "Permission denied"))
    assert error.what.startswith("Port 104 for DICOM of pacs may be used by")


def test_a_system_is_known_by_where_it_listens_and_from_where_it_calls() -> None:
    network = Network()
    network.publish(Address("ris-host", 2575), 4000, "ris")
    assert network.system_at(Address("ris-host", 2575)) == "ris"
    network.withdraw(Address("ris-host", 2575))
    assert network.system_at(Address("ris-host", 2575)) == "ris"  # it is down, not another one
    assert network.system_at(Address("elsewhere", 2575)) == "elsewhere"
    assert network.system_at(Address("127.0.0.1", 4000)) == ""
    network.calls(5000, "his")
    assert network.caller(5000) == "his"
    network.hung_up(5000)
    assert network.caller(5000) == ""
