"""TLS on DICOM, MLLP and HTTP: who trusts whom is really checked, on real sockets."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pynetdicom import build_context, evt

from labsim.errors import AssociationFailed, ConfigurationError
from labsim.journal import Journal
from labsim.sop_classes import VERIFICATION
from labsim.wire.certificates import SiteCa
from labsim.wire.dimse import DicomNode, Peer
from labsim.wire.network import Network

ECHO = [build_context(VERIFICATION)]
ECHOES = [(evt.EVT_C_ECHO, lambda event: 0x0000)]
PACS = Peer("PACS", "pacs", 2762, tls=True)


class World:
    """An archive that listens by TLS, and a scanner that calls it."""

    def __init__(self, ca: SiteCa, journal: Journal, network: Network) -> None:
        network.certify(ca.of)
        self.ca, self.journal, self.network = ca, journal, network
        self.pacs = DicomNode("pacs", "PACS", journal, network.seen_from("pacs"))
        self.ct = DicomNode("ct1", "CT1", journal, network.seen_from("ct1"))
        self.port = 0

    def listen(self, *, tls: bool = True, mutual: bool = True) -> None:
        credentials = self.ca.of("pacs") if tls else None
        self.port = self.pacs.listen(ECHO, ECHOES, tls=credentials, mutual=mutual)
        self.network.publish(PACS.address, self.port, "pacs")

    def echo(self, peer: Peer = PACS) -> int:
        with self.ct.associate(peer, ECHO) as association:
            return int(association.send_c_echo().Status)

    def failure(self, peer: Peer = PACS) -> AssociationFailed:
        with pytest.raises(AssociationFailed) as raised:
            self.echo(peer)
        return raised.value

    def heard(self, words: str) -> None:
        """Require that the archive's own journal says why."""
        found = self.journal.wait_for(
            lambda e: e.source == "pacs" and e.kind == "error" and words in e.summary, 5
        )
        assert found is not None, [e.summary for e in self.journal.all()]


@pytest.fixture
def world(ca: SiteCa, journal: Journal, network: Network) -> Iterator[World]:
    made = World(ca, journal, network)
    yield made
    made.ct.close()
    made.pacs.close()


def secured(world: World, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Call the archive with nothing of labsim but the certificates."""
    plain = socket.create_connection(("127.0.0.1", world.port), 5)
    return context.wrap_socket(plain, server_hostname="pacs")


# Certificates


def test_a_host_gets_a_certificate_when_it_first_needs_one(ca: SiteCa) -> None:
    assert len(ca.certificates()) == 0
    ca.of("pacs").server()
    hosts = [row[0] for row in ca.certificates()]
    assert hosts == ["ca", "pacs"]


def test_only_the_owner_reads_a_key(ca: SiteCa) -> None:
    host = ca.issue("pacs")
    assert "BEGIN PRIVATE KEY" in host.key.read_text()
    if os.name == "posix":
        modes = {path.stat().st_mode & 0o777 for path in (host.key, ca.root.with_suffix(".key"))}
        assert modes == {0o600}


def test_the_root_is_kept(ca: SiteCa, tmp_path: Path) -> None:
    before = ca.root.read_bytes()
    again = SiteCa(tmp_path / "tls", "Riverside Clinic")
    again.issue("pacs")
    assert again.root.read_bytes() == before


def test_the_table_shows_what_is_wrong_with_a_certificate(ca: SiteCa) -> None:
    ca.issue("pacs", days=30)
    ca.issue("ris", days=-2)
    ca.issue("his", name="elsewhere", stranger=True)
    rows = {host: rest for host, *rest in ca.certificates()}
    name, issuer, *_, left = rows["pacs"]
    assert (name, left, rows["ris"][-1]) == ("pacs", 29, -3)
    assert rows["his"][0] == "elsewhere"
    assert issuer != rows["his"][1]


@pytest.mark.parametrize("host", ["", "ca", "../pacs"])
def test_a_certificate_is_of_a_host(ca: SiteCa, host: str) -> None:
    with pytest.raises(ConfigurationError):
        ca.issue(host)


# DICOM


def test_an_association_by_tls(world: World) -> None:
    world.listen()
    assert world.echo() == 0x0000


def test_the_newest_tls_is_agreed_on(world: World) -> None:
    world.listen()
    with secured(world, world.ca.of("ct1").client()) as tls:
        assert tls.version() == "TLSv1.3"


def test_tls_1_2_is_agreed_on_with_forward_secrecy(world: World) -> None:
    world.listen()
    context = world.ca.of("ct1").client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with secured(world, context) as tls:
        name, version, bits = tls.cipher() or ("", "", 0)
    assert (version, bits >= 128, name.startswith("ECDHE-")) == ("TLSv1.2", True, True)


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ({"days": -1}, "the certificate of pacs has expired"),
        ({"stranger": True}, "signed by an authority that is not trusted"),
        ({"name": "ris"}, "the certificate is not of the name pacs"),
    ],
)
def test_a_server_that_cannot_prove_itself_is_not_talked_to(
    world: World, wrong: dict[str, object], cause: str
) -> None:
    world.ca.issue("pacs", **wrong)  # type: ignore[arg-type]
    world.listen()
    failure = world.failure()
    assert cause in failure.what
    assert ("renew" in failure.next_step, failure.reason) == (True, "TLS")
    world.heard("a connection ended before TLS was agreed on")


@pytest.mark.parametrize(
    ("wrong", "said", "heard"),
    [
        ({"days": -1}, "our certificate has expired", "the certificate of the caller has expired"),
        ({"stranger": True}, "does not trust the authority", "authority that is not trusted"),
    ],
)
def test_a_caller_that_cannot_prove_itself_is_refused(
    world: World, wrong: dict[str, object], said: str, heard: str
) -> None:
    world.ca.issue("ct1", **wrong)  # type: ignore[arg-type]
    world.listen()
    assert said in world.failure().what
    world.heard(heard)


def test_a_server_that_is_not_mutual_takes_any_caller(world: World) -> None:
    world.ca.issue("ct1", stranger=True)
    world.listen(mutual=False)
    assert world.echo() == 0x0000


def test_a_caller_without_certificate_is_refused(world: World) -> None:
    world.listen()
    context = world.ca.of("ct1").client(anonymous=True)
    with (
        secured(world, context) as tls,
        pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"),
    ):
        tls.recv(1)
    world.heard("the caller showed no certificate")


def test_a_renewed_certificate_mends_it(world: World) -> None:
    world.ca.issue("ct1", days=-1)
    world.listen()
    world.failure()
    world.ca.renew("ct1")
    assert world.echo() == 0x0000


def test_plain_dicom_against_tls(world: World) -> None:
    world.listen()
    failure = world.failure(Peer("PACS", "pacs", 2762))
    assert "TLS" in failure.next_step
    world.heard("does not speak TLS")


def test_tls_against_plain_dicom(world: World) -> None:
    world.listen(tls=False)
    assert "does not speak TLS" in world.failure().what


def test_tls_where_nothing_listens(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    world.network.publish(PACS.address, port, "pacs")
    assert "refused the TCP connection" in world.failure().what


def test_a_silent_caller_holds_up_no_other(world: World) -> None:
    world.listen()
    with socket.create_connection(("127.0.0.1", world.port), 5):
        assert world.echo() == 0x0000


def test_a_node_closes_while_a_caller_is_silent(world: World) -> None:
    world.listen()
    with socket.create_connection(("127.0.0.1", world.port), 5) as connection:
        world.echo()  # so the silent one was accepted before it
        world.pacs.close()
        connection.settimeout(2)
        assert connection.recv(10) == b""


@pytest.mark.parametrize(("trusts", "status"), [(True, 0), (False, 1)])
def test_dcmtk_calls_by_tls(
    world: World, peer: Callable[[str], Path], trusts: bool, status: int, tmp_path: Path
) -> None:
    world.listen()
    desk = world.ca.issue("desk", stranger=not trusts)
    files = ["+tls", str(desk.key), str(desk.certificate), "+cf", str(world.ca.root)]
    called = ["-aec", "PACS", "127.0.0.1", str(world.port)]
    done = subprocess.run(
        [str(peer("echoscu")), *files, *called],
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    assert (done.returncode != 0) == bool(status), done.stderr
