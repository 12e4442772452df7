"""python-hl7's clients and bare sockets talk with RIS, engine and PACS of a community hospital."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hl7
import pytest
from hl7.client import MLLPClient
from hl7.mllp import open_hl7_connection

from labsim import Hospital
from labsim.wire.network import Address

START, END = b"\x0b", b"\x1c\r"
SYSTEMS = ("ris", "engine", "pacs")
Send = Callable[[Hospital, str, list[hl7.Message]], list[str]]


@pytest.fixture(scope="module")
def community() -> Iterator[Hospital]:
    with Hospital(seed=7, site="community") as running:
        yield running


def at(hospital: Hospital, system: str) -> tuple[str, int]:
    place = next(e for e in hospital.endpoints() if (e.system, e.protocol) == (system, "mllp"))
    return place.local.host, place.local.port


def messages(system: str, number: str) -> list[hl7.Message]:
    """A patient and an order, as a HIS says them to a RIS, and a RIS to an archive."""
    parties, patient = ("RIS|H|PACS|H", "A08") if system == "pacs" else ("HIS|H|RIS|H", "A04")
    header = f"MSH|^~\\&|{parties}|20260302103000||%s|{number}-%d|P|2.3.1||||||UNICODE UTF-8\r"
    who = f"PID|1||X{number}^^^HILLSIDE||Müller^Jörg||19700102|M\rPV1|1|O|OUT\r"
    what = (
        f"ORC|NW|O{number}^HIS|F{number}^RIS||SC||1^^^20260302103000^^R\r"
        f"OBR|1|O{number}^HIS|F{number}^RIS|CTHEAD^CT head^99LABSIM||||||||||||||A{number}|R1|S1\r"
        f"ZDS|1.2.826.0.1.{number}^100^Application^DICOM\r"
    )
    adt = header % (f"ADT^{patient}", 1) + f"EVN|{patient}|20260302103000\r" + who
    return [hl7.parse(adt), hl7.parse(header % ("ORM^O01", 2) + who + what)]


def acknowledged(answer: bytes | str) -> tuple[str, str]:
    """Return MSA-1 and MSA-2, as python-hl7 reads them."""
    text = answer.decode() if isinstance(answer, bytes) else answer
    msa = hl7.parse(text.strip("\x0b\x1c\r") + "\r").segment("MSA")
    return str(msa[1]), str(msa[2])


def by_client(hospital: Hospital, system: str, said: list[hl7.Message]) -> list[str]:
    with MLLPClient(*at(hospital, system)) as client:
        return [client.send_message(message).decode() for message in said]


def by_asyncio(hospital: Hospital, system: str, said: list[hl7.Message]) -> list[str]:
    async def talk() -> list[str]:
        host, port = at(hospital, system)
        reader, writer = await open_hl7_connection(host, port, encoding="utf-8")
        answers = []
        for message in said:
            writer.writemessage(message)
            await writer.drain()
            answers.append(str(await asyncio.wait_for(reader.readmessage(), 10)))
        writer.close()
        await writer.wait_closed()
        return answers

    return asyncio.run(talk())


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("send", [by_client, by_asyncio])
def test_patient_and_order_of_a_client_are_acknowledged_and_kept(
    community: Hospital, system: str, send: Send
) -> None:
    number = f"{1 + SYSTEMS.index(system)}{1 if send is by_client else 2}"
    answers = send(community, system, messages(system, number))
    assert [acknowledged(answer) for answer in answers] == [
        ("AA", f"{number}-1"),
        ("AA", f"{number}-2"),
    ]
    assert community.wait_until(lambda: are_kept(community, system, number), 10)


def test_mllp_send_sends_a_file_of_messages(community: Hospital, tmp_path: Path) -> None:
    said = messages("ris", "91")
    file = tmp_path / "messages.hl7"
    file.write_bytes(b"".join(framed(message) for message in said))
    host, port = at(community, "ris")
    command = [sys.executable, "-m", "hl7.client", "--file", str(file), "--port", str(port), host]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    answers = [block for block in done.stdout.split(b"\x0b") if block]
    assert [acknowledged(answer.rstrip()) for answer in answers] == [("AA", "91-1"), ("AA", "91-2")]
    assert are_kept(community, "ris", "91")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_message_of_one_byte_a_segment_is_acknowledged(community: Hospital, system: str) -> None:
    number = f"5{SYSTEMS.index(system)}"
    with dialled(community, system) as caller:
        for byte in b"".join(framed(message) for message in messages(system, number)):
            caller.sendall(bytes([byte]))
        assert answers(caller, 2) == [("AA", f"{number}-1"), ("AA", f"{number}-2")]
    assert community.wait_until(lambda: are_kept(community, system, number), 10)


@pytest.mark.parametrize("system", SYSTEMS)
def test_many_messages_in_one_segment_are_acknowledged_in_their_order(
    community: Hospital, system: str
) -> None:
    numbers = [f"6{SYSTEMS.index(system)}{each}" for each in range(5)]
    said = [message for number in numbers for message in messages(system, number)]
    with dialled(community, system) as caller:
        caller.sendall(b"".join(framed(message) for message in said))
        assert answers(caller, 10) == [("AA", f"{n}-{each}") for n in numbers for each in (1, 2)]
    for number in numbers:
        assert community.wait_until(lambda: are_kept(community, system, number), 10)  # noqa: B023


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_frame_with_bytes_after_it_is_taken_once_and_the_rest_is_told(
    community: Hospital, system: str
) -> None:
    number, before = f"7{SYSTEMS.index(system)}", community.journal.all()[-1].seq
    with dialled(community, system) as caller:
        patient, order = messages(system, number)
        caller.sendall(framed(patient))
        assert answers(caller, 1) == [("AA", f"{number}-1")]
        caller.sendall(framed(order) + b"\n")
        assert answers(caller, 1) == [("AA", f"{number}-2")]
        caller.shutdown(socket.SHUT_WR)
        assert caller.recv(1) == b""
    told = community.journal.wait_for(
        lambda event: event.source == system and event.kind == "error", 10, after=before
    )
    assert told is not None
    assert "middle of a message" in told.summary
    assert community.wait_until(lambda: are_kept(community, system, number), 10)


@pytest.mark.usefixtures("small_scans")
def test_an_acknowledgment_of_python_hl7_in_pieces_is_read(hospital: Hospital) -> None:
    heard: list[hl7.Message] = []
    with listener(heard) as port:
        hospital.network.publish(Address("pacs", 2575), port)
        exam = hospital.exam()
        assert exam.problem == ""
        assert hospital.settle()
    told = [message for message in heard if str(message.segment("MSH")[9][0][0]) == "ORM"]
    assert [str(message.segment("ZDS")[1]).partition("^")[0] for message in told] == [
        exam.procedure.study_uid  # type: ignore[union-attr]
    ]
    states = {row[3] for row in hospital.ris.outbox.table()}
    assert states == {"delivered"}


# Peers


def are_kept(hospital: Hospital, system: str, number: str) -> bool:
    """Whether who was told has the patient by his own name, and his order or study."""
    if system == "pacs":
        patient = hospital.pacs.patient(f"X{number}", "HILLSIDE")
        rows = hospital.pacs.db.rows("SELECT study_uid FROM expected_studies")
        known = f"1.2.826.0.1.{number}" in {row["study_uid"] for row in rows}
        return patient is not None and patient.name == "Müller^Jörg" and known
    names = {patient.patient_id: patient.name for patient in hospital.ris.patients()}
    orders = {order.placer_order for order in hospital.ris.orders()}
    return names.get(f"X{number}") == "Müller^Jörg" and f"O{number}" in orders


def framed(message: hl7.Message) -> bytes:
    return START + str(message).encode() + END


@contextmanager
def dialled(hospital: Hospital, system: str) -> Iterator[socket.socket]:
    with socket.create_connection(at(hospital, system), 10) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield caller


def answers(caller: socket.socket, count: int) -> list[tuple[str, str]]:
    received = b""
    while received.count(END) < count:
        piece = caller.recv(65536)
        assert piece, f"the connection ended after {received!r}"
        received += piece
    assert received.endswith(END)
    return [acknowledged(block) for block in received.split(END)[:-1]]


@contextmanager
def listener(heard: list[hl7.Message]) -> Iterator[int]:
    """Run a receiver whose acknowledgments python-hl7 writes; they go out in two segments."""

    def serve() -> None:
        while not ended.is_set():
            with server.accept()[0] as caller:
                caller.settimeout(10)
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                received = b""
                while piece := caller.recv(65536):
                    received += piece
                    if received.endswith(END):
                        heard.append(hl7.parse(received.strip(START + END).decode() + "\r"))
                        ack, received = framed(heard[-1].create_ack()), b""
                        caller.sendall(ack[:30])
                        caller.sendall(ack[30:])

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            socket.create_connection(server.getsockname(), 5).close()
            thread.join(10)
