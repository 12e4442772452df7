"""HL7 and HTTP by TLS: the same proofs, and the same words for what is wrong."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from labsim.clock import ManualClock
from labsim.errors import DeliveryFailed, Unreachable
from labsim.journal import Journal
from labsim.wire.background import BackgroundLoop
from labsim.wire.certificates import SiteCa
from labsim.wire.hl7 import Message
from labsim.wire.http import Handler, HttpNode
from labsim.wire.http_client import HttpClient
from labsim.wire.mllp import MllpEndpoint, Taken
from labsim.wire.network import Address, Network

HL7, HTTP = Address("ris", 2575), Address("ris", 443)
ADT = "MSH|^~\\&|HIS|H|RIS|H|20260301080000||ADT^A08^ADT_A01|C1|P|2.5.1\rPID|1||P1^^^H"
Wrong = dict[str, object]


class Hello(Handler):
    """Says whose request it is."""

    def get(self) -> None:
        self.write(f"hello {self.caller}")


class World:
    """A RIS that listens by TLS, and a HIS that calls it."""

    def __init__(
        self,
        ca: SiteCa,
        journal: Journal,
        clock: ManualClock,
        network: Network,
        loop: BackgroundLoop,
    ) -> None:
        network.certify(ca.of)
        ris, his = network.seen_from("ris"), network.seen_from("his")
        self.ca, self.journal, self.network, self.taken = ca, journal, network, list[str]()
        self.ris = MllpEndpoint("ris", journal, clock, ris, loop)
        self.his = MllpEndpoint("his", journal, clock, his, loop, tls=True)
        self.node = HttpNode("ris", journal, ris, loop)
        self.client = HttpClient("his", journal, his)
        self.port = 0

    def listen(self, *, tls: bool = True) -> None:
        takes = {"ADT^A08": Taken("RAD-12", lambda m: self.taken.append(m["PID-3.1"]))}
        credentials = self.ca.of("ris")
        self.port = self.ris.listen(takes, tls=credentials if tls else None)
        self.network.publish(HL7, self.port, "ris")
        context = credentials.server() if tls else None
        self.network.publish(HTTP, self.node.listen([("/", Hello, {})], tls=context), "ris")

    def send(self, timeout: float = 5) -> str:
        return self.his.send(Message(ADT), HL7, "RAD-12", {}, timeout=timeout)["MSA-1"]

    def ask(self, timeout: float = 5) -> httpx.Response:
        context = self.ca.of("his").client()
        return self.client.request("GET", HTTP, "/", tls=context, timeout=timeout)

    def heard(self, words: str) -> None:
        found = self.journal.wait_for(
            lambda e: e.source == "ris" and e.kind == "error" and words in e.summary, 5
        )
        assert found is not None, [e.summary for e in self.journal.all()]


@pytest.fixture
def world(
    ca: SiteCa, journal: Journal, clock: ManualClock, network: Network, loop: BackgroundLoop
) -> Iterator[World]:
    made = World(ca, journal, clock, network, loop)
    yield made
    made.node.close()
    made.ris.close()


SERVERS: list[tuple[Wrong, str]] = [
    ({"days": -1}, "the certificate of ris has expired"),
    ({"stranger": True}, "signed by an authority that is not trusted"),
    ({"name": "pacs"}, "the certificate is not of the name ris"),
]
CALLERS: list[tuple[Wrong, str]] = [
    ({"days": -1}, "the certificate of the caller has expired"),
    ({"stranger": True}, "signed by an authority that is not trusted"),
]


def test_a_message_by_tls(world: World) -> None:
    world.listen()
    assert (world.send(), world.taken) == ("AA", ["P1"])


@pytest.mark.parametrize(("wrong", "cause"), SERVERS)
def test_hl7_is_not_sent_to_who_cannot_prove_itself(world: World, wrong: Wrong, cause: str) -> None:
    world.ca.issue("ris", **wrong)  # type: ignore[arg-type]
    world.listen()
    with pytest.raises(DeliveryFailed, match=cause):
        world.send()
    assert world.taken == []


def test_a_caller_that_does_not_trust_the_ris_says_so(world: World) -> None:
    world.ca.issue("ris", stranger=True)
    world.listen()
    with (
        socket.create_connection(("127.0.0.1", world.port), 5) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        world.ca.of("his").client().wrap_socket(connection, server_hostname="ris")
    world.heard("HL7: a connection ended before TLS was agreed on: the other side does not trust")


@pytest.mark.parametrize(("wrong", "heard"), CALLERS)
def test_hl7_is_not_taken_from_who_cannot_prove_itself(
    world: World, wrong: Wrong, heard: str
) -> None:
    world.ca.issue("his", **wrong)  # type: ignore[arg-type]
    world.listen()
    with pytest.raises(DeliveryFailed):
        world.send()
    assert world.taken == []
    world.heard(heard)


def test_plain_hl7_against_tls(world: World) -> None:
    world.listen()
    world.his.tls = False
    with pytest.raises(DeliveryFailed):
        world.send()
    world.heard("does not speak TLS")


def test_tls_against_plain_hl7(world: World) -> None:
    world.listen(tls=False)
    with pytest.raises(DeliveryFailed, match="no TLS handshake within"):
        world.send(timeout=0.3)
    world.heard("HL7: The connection ended in the middle of a message")


def test_an_endpoint_closes_while_a_caller_is_silent(world: World) -> None:
    world.listen()
    with socket.create_connection(("127.0.0.1", world.port), 5):
        assert world.send() == "AA"  # so the silent one was accepted before it
        world.ris.close()


def test_a_request_by_tls(world: World) -> None:
    world.listen()
    assert world.ask().text == "hello his"


@pytest.mark.parametrize(("wrong", "cause"), SERVERS)
def test_nothing_is_asked_of_who_cannot_prove_itself(
    world: World, wrong: Wrong, cause: str
) -> None:
    world.ca.issue("ris", **wrong)  # type: ignore[arg-type]
    world.listen()
    with pytest.raises(Unreachable, match=cause) as raised:
        world.ask()
    assert "renew" in raised.value.next_step
    world.heard("HTTP: a connection ended before TLS was agreed on")


@pytest.mark.parametrize(("wrong", "heard"), CALLERS)
def test_nothing_is_answered_to_who_cannot_prove_itself(
    world: World, wrong: Wrong, heard: str
) -> None:
    world.ca.issue("his", **wrong)  # type: ignore[arg-type]
    world.listen()
    with pytest.raises(Unreachable, match="TLS"):
        world.ask()
    world.heard(heard)


def test_plain_http_against_tls(world: World) -> None:
    world.listen()
    with pytest.raises(Unreachable):
        world.client.request("GET", HTTP, "/")
    world.heard("does not speak TLS")


def test_https_against_plain_http(world: World) -> None:
    world.listen(tls=False)
    with pytest.raises(Unreachable, match="did not finish the TLS handshake in time"):
        world.ask(timeout=0.3)


def test_openssl_agrees(world: World, peer: Callable[[str], Path]) -> None:
    world.listen()
    his = world.ca.issue("his")
    files = ["-CAfile", str(world.ca.root), "-cert", str(his.certificate), "-key", str(his.key)]
    checks = ["-verify_return_error", "-verify_hostname", "ris", "-servername", "ris", "-brief"]
    done = subprocess.run(
        [str(peer("openssl")), "s_client", "-connect", f"127.0.0.1:{world.port}", *checks, *files],
        input="",
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, "Verification: OK" in done.stderr) == (0, True), done.stderr
