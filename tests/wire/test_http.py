"""HTTP between systems, over real sockets."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from labsim.clock import WallClock
from labsim.errors import NotFound, PortTaken, Unreachable
from labsim.journal import Journal
from labsim.wire.background import BackgroundLoop
from labsim.wire.http import Handler, HttpError, HttpNode
from labsim.wire.http_client import HttpClient
from labsim.wire.network import Address, Network

PLACE = Address("pacs", 8080)


class Answers(Handler):
    """Tells what it was asked, and fails as it is told."""

    async def get(self, what: str) -> None:
        self.transaction, self.keys = "RAD-107", {"study_uid": "1.2.3"}
        if what == "gone":
            raise HttpError(410, "It is gone.", "Ask for another.", headers={"X-Why": "age"})
        if what == "unknown":
            await self.in_thread(self.fail)
        if what == "broken":
            raise RuntimeError("boom")
        self.write(f"{what} for {self.caller}")

    def fail(self) -> None:
        raise NotFound("No such thing.")

    async def post(self, what: str) -> None:
        self.write(f"{len(self.request.body)} octets")


class World:
    """A network with one server on it."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder, WallClock())
        self.network = Network()
        self.loop = BackgroundLoop()
        self.node = HttpNode("pacs", self.journal, self.network, self.loop)
        self.port = self.node.listen([(r"/(\w+)", Answers, {})], largest=1000)
        self.network.publish(PLACE, self.port, "pacs")
        self.client = HttpClient("ai", self.journal, self.network)

    def close(self) -> None:
        self.node.close()
        self.loop.close()
        self.journal.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_a_request_is_answered_and_the_caller_known(world: World) -> None:
    answer = world.client.request("GET", PLACE, "/study")
    assert (answer.status_code, answer.text) == (200, "study for ai")
    assert answer.headers["Server"] == "labsim"


def test_both_ends_journal_a_request_under_one_name(world: World) -> None:
    world.client.request("GET", PLACE, "/study", transaction="RAD-107")
    # The answer is out before its server has written it down.
    received = world.journal.wait_for(lambda event: event.source == "pacs", 5)
    sent = world.journal.wait_for(lambda event: event.source == "ai", 5)
    assert received is not None
    assert sent is not None
    assert (received.source, received.peer, received.kind) == ("pacs", "ai", "http")
    assert (sent.source, sent.peer) == ("ai", "pacs")
    assert received.keys["message"] == sent.keys["message"]
    assert received.keys["study_uid"] == "1.2.3"
    assert received.transaction == sent.transaction == "RAD-107"
    assert received.summary == "GET /study → 200 OK"
    assert len(world.journal.events().once()) == 1


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/gone", 410, "It is gone. Ask for another.\n"),
        ("/unknown", 500, "No such thing.\n"),
        ("/broken", 500, "Internal error: RuntimeError('boom')\n"),
        ("/no/where", 404, "There is nothing at /no/where.\n"),
    ],
)
def test_an_error_is_one_sentence_and_in_the_journal(
    world: World, path: str, status: int, text: str
) -> None:
    answer = world.client.request("GET", PLACE, path)
    assert (answer.status_code, answer.text) == (status, text)
    assert text.strip() in world.journal.all()[0].summary


def test_an_error_has_its_headers(world: World) -> None:
    assert world.client.request("GET", PLACE, "/gone").headers["X-Why"] == "age"


def test_a_body_that_is_too_large_is_refused(world: World) -> None:
    assert world.client.request("POST", PLACE, "/x", content=b"1" * 1000).text == "1000 octets"
    # Tornado reads no further and closes, as RFC 9110 15.5.14 allows.
    refused = http.client.HTTPConnection("127.0.0.1", world.port, timeout=5)
    refused.request("POST", "/x", body=b"1" * 1001)
    assert refused.getresponse().status in (400, 413)
    refused.close()


def test_who_does_not_listen_is_unreachable_and_it_is_journaled(world: World) -> None:
    world.node.close()
    with pytest.raises(Unreachable, match="refused"):
        world.client.request("GET", PLACE, "/study")
    with pytest.raises(Unreachable, match="No host"):
        world.client.request("GET", Address("nobody", 80), "/study")
    assert [e.detail["answer"] for e in world.journal.all()] == ["no answer", "no answer"]


def test_a_silent_server_is_given_up(world: World, silent_port: int) -> None:
    world.network.publish(Address("mute", 80), silent_port)
    with pytest.raises(Unreachable, match="timed out"):
        world.client.request("GET", Address("mute", 80), "/", timeout=0.2)


def test_a_port_that_is_taken_is_named(world: World) -> None:
    other = HttpNode("archive", world.journal, world.network, world.loop)
    with pytest.raises(PortTaken, match=str(world.port)):
        other.listen([], world.port)


def test_closing_ends_a_conversation_that_is_open(world: World) -> None:
    with socket.create_connection(("127.0.0.1", world.port), 5) as connection:
        connection.sendall(b"GET /study HTTP/1.1\r\nHost: pacs\r\n\r\n")
        assert connection.recv(4096).endswith(
            b"study for 127.0.0.1:%d" % connection.getsockname()[1]
        )
        world.node.close()
        assert connection.recv(100) == b""


def test_a_request_with_an_unknown_method_is_in_the_journal(world: World) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=5)
    connection.request("BREW", "/study")
    assert connection.getresponse().status == 405
    connection.close()
    assert world.journal.wait_for(lambda e: e.summary.startswith("BREW /study → 405"), 5)
