"""What all tests share: a running hospital, real peers, and proof that nothing is left running."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.imaging.ct import PROTOCOLS

_PEERS = {
    # A virtual environment with pynetdicom has commands of the same names; these are DCMTK's.
    "echoscu": "dcmtk",
    "storescu": "dcmtk",
    "findscu": "dcmtk",
    "getscu": "dcmtk",
    "movescu": "dcmtk",
    "dciodvfy": "dicom3tools",
    "dcentvfy": "dicom3tools",
    "chromium": "chromium",
}

_POOLED = re.compile(r".+-(worker|handler)_\d+")


@pytest.fixture
def hospital() -> Iterator[Hospital]:
    """A running clinic of its own."""
    with Hospital(seed=7) as running:
        yield running


@pytest.fixture
def small_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scanner take 4 small images instead of 24, for tests that are not about them."""
    for part, protocol in list(PROTOCOLS.items()):
        monkeypatch.setitem(PROTOCOLS, part, replace(protocol, slices=4, size=32))


@pytest.fixture(scope="session")
def peer() -> Callable[[str], Path]:
    """Find a real program to test against.

    Without it a test is skipped on a user's machine, and fails where CI must have it.
    """

    def find(name: str) -> Path:
        program = Path("/usr/bin") / name
        if program.is_file():
            return program
        hint = f"{name} is not there; on Debian: apt-get install {_PEERS[name]}"
        if os.environ.get("CI") == "true":
            pytest.fail(hint)
        pytest.skip(hint)

    return find


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail a test that leaves threads behind."""
    before = set(threading.enumerate())
    # A hospital that a module shares starts the threads of its pools when it first needs them.
    shared = any(thread.name == "labsim-loop" for thread in before)
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    if shared:
        left = [thread for thread in left if not _POOLED.fullmatch(thread.name)]
    for thread in left:
        thread.join(2)  # one that is just ending is not left behind
    assert [thread.name for thread in left if thread.is_alive()] == []


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A loopback port that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
