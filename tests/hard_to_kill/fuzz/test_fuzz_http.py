"""Broken HTTP requests, to everything that listens for them."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count

import pytest
from conftest import Watch
from mutation import Mutator, rounds

from labsim import Hospital

BATCH = 60
MOST_GROWTH = 40.0  # MB, over all inputs
TOKENS = (
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b"%",
    b"%00",
    b"%2e%2e%2f",
    b"%ff%fe",
    b"%zz",
    b"?",
    b"&",
    b"=",
    b"../",
    b"GET",
    b"POST",
    b"PUT",
    b"HTTP/1.1",
    b"HTTP/9.9",
    b"Content-Length: 7\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"ffffffffffffffff\r\n",
    b"Content-Type: multipart/related\r\n",
    b"Accept: ;;;q=x,*/*;q=1e999\r\n",
    b"Host: \r\n",
    b"Expect: 100-continue\r\n",
    b"X-Y: " + b"y" * 70000 + b"\r\n",
    b"--boundary",
    b"--boundary--",
    b"[" * 2000,
    b"{",
    b"}",
    b'"Value":[null]',
    b"\xff\xfe",
    "ä".encode(),
    b"limit=-1",
    b"limit=99999999999999999999",
    b"offset=x",
    b"includefield=all",
    b"frames/0",
)


def requests(system: str, token: str, study: str) -> list[bytes]:
    """Return valid requests of every kind that a system answers."""
    asked: list[tuple[str, str, str, bytes]] = [("GET", "/metrics", "", b"")]
    if system == "pacs":
        related = 'Content-Type: multipart/related; type="application/dicom"; boundary=boundary'
        part = b"--boundary\r\nContent-Type: application/dicom\r\n\r\n" + bytes(128) + b"DICM"
        base = "/dicom-web/studies"
        asked += [
            ("GET", f"{base}?PatientName=A*&limit=2&StudyDate=20200101-20301231", "", b""),
            ("GET", f"{base}/{study}/series?includefield=all", "", b""),
            ("GET", f"{base}/{study}/instances?fuzzymatching=false", "", b""),
            ("GET", f"{base}/{study}/metadata", "Accept: application/dicom+json", b""),
            ("GET", f"{base}/{study}", "Accept: multipart/related; type=application/dicom", b""),
            ("GET", f"{base}/{study}/rendered?viewport=8,8&window=40,400,linear", "", b""),
            ("POST", base, related, part + b"\r\n--boundary--\r\n"),
            ("OPTIONS", base, "Origin: http://localhost:3000", b""),
        ]
    if system == "ai":
        step = {
            "00741000": {"vr": "CS", "Value": ["SCHEDULED"]},
            "00741204": {"vr": "LO", "Value": ["Look for nodules"]},
            "00404005": {"vr": "DT", "Value": ["20260302103000"]},
        }
        body = json.dumps([step]).encode()
        kind = "Content-Type: application/dicom+json"
        asked += [
            ("POST", "/dicom-web/workitems", kind, body),
            ("PUT", "/dicom-web/workitems/1.2.3/state", kind, body),
            ("GET", "/dicom-web/workitems?ProcedureStepState=SCHEDULED", "", b""),
            ("POST", "/dicom-web/workitems/1.2.3/subscribers/TOOLS", "", b""),
        ]
    made = []
    for method, path, header, body in asked:
        lines = [f"{method} {path} HTTP/1.1", "Host: pacs", f"Authorization: Bearer {token}"]
        lines += [header] if header else []
        lines += [f"Content-Length: {len(body)}"] if body else []
        made.append("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
    return made


def talk(port: int, data: bytes, patience: float = 0.3) -> tuple[int, bytes]:
    """Say it, and hear what is answered; hang up on one who seems to wait for more."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        own = int(line.getsockname()[1])
        line.settimeout(patience)
        with suppress(ConnectionError):  # it may hang up at once
            line.sendall(data)
            with suppress(TimeoutError):
                while piece := line.recv(65536):
                    heard += piece
                return own, heard
            line.settimeout(20)
            line.shutdown(socket.SHUT_WR)
            while piece := line.recv(65536):
                heard += piece
    return own, heard


@pytest.mark.parametrize(
    ("system", "protocol"), [("pacs", "dicomweb"), ("ai", "dicomweb"), ("ris", "metrics")]
)
def test_broken_requests_are_answered_with_an_error_of_theirs(
    community: Hospital, watch: Watch, system: str, protocol: str
) -> None:
    exam = community.exam()
    assert exam.procedure is not None
    token = ""
    if protocol == "dicomweb":
        holder = community.pacs if system == "pacs" else community.ai
        token = holder.tokens.issue("fuzz", rights=("read", "write"))
    valid = requests(system, token, exam.procedure.study_uid)
    port = watch.endpoint(system, protocol).local.port
    mutator, numbers = Mutator(f"HTTP {system}", TOKENS, valid), count()

    def batch(size: int) -> None:
        last = community.journal.last()
        after = last.seq if last else 0
        inputs = [mutator.mutate(valid[next(numbers) % len(valid)]) for _ in range(size)]
        with ThreadPoolExecutor(8) as callers:
            said = list(callers.map(lambda data: talk(port, data), inputs))
        told = {e.peer for e in community.journal.all() if e.seq > after and e.source == system}
        for data, (own, heard) in zip(inputs, said, strict=True):
            status = heard.split(b" ", 2)[1:2]
            assert status != [b"500"], f"{data!r}: {heard!r}"
            if heard and protocol == "dicomweb" and not heard.startswith(b"HTTP/1.1 100"):
                assert f"127.0.0.1:{own}" in told or b" 400 " in heard, f"untold: {data!r}"

    batch(BATCH)
    watch.begin()
    before = watch.memory()
    for _ in range(0, rounds(300), BATCH):
        batch(BATCH)
        _, heard = talk(port, valid[1 if system == "pacs" else -2 if token else 0], 20)
        assert heard.startswith(b"HTTP/1.1 2"), heard  # it goes on
    watch.check()
    assert watch.memory() - before < MOST_GROWTH
