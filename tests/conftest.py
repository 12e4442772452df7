"""What all tests share: a running hospital, real peers, and proof that nothing is left running."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt

from labsim import Hospital
from labsim.imaging.ct import PROTOCOLS

_PEERS = {
    # A virtual environment with pynetdicom has commands of the same names; these are DCMTK's.
    "echoscu": "dcmtk",
    "storescu": "dcmtk",
    "findscu": "dcmtk",
    "getscu": "dcmtk",
    "movescu": "dcmtk",
    "dcmp2pgm": "dcmtk",
    "dcmpschk": "dcmtk",
    "dcmconv": "dcmtk",
    "dsrdump": "dcmtk",
    "dciodvfy": "dicom3tools",
    "dcentvfy": "dicom3tools",
    "DicomSRValidator": "pixelmed-apps",
    "chromium": "chromium",
    "tshark": "tshark",
    "openssl": "openssl",
    "curl": "curl",
    "Orthanc": "orthanc",
    "libOrthancDicomWeb.so": "orthanc-dicomweb",
}
_PLACES = [Path(place) for place in ("/usr/bin", "/usr/sbin", "/usr/share/orthanc/plugins")]

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
        for place in _PLACES:
            if (place / name).is_file():
                return place / name
        hint = f"{name} is not there; on Debian: apt-get install {_PEERS[name]}"
        if os.environ.get("CI") == "true":
            pytest.fail(hint)
        pytest.skip(hint)

    return find


class Station:
    """A workstation outside of the hospital, which keeps what it is sent."""

    def __init__(self) -> None:
        self.images: list[Dataset] = []
        self.associations = 0
        self.answer = 0x0000

    def store(self, event: evt.Event) -> int:
        self.images.append(event.dataset)
        return self.answer

    def accepted(self, event: evt.Event) -> None:
        self.associations += 1

    @property
    def uids(self) -> list[str]:
        return [str(image.SOPInstanceUID) for image in self.images]


@pytest.fixture(scope="session")
def station() -> Callable[..., AbstractContextManager[Station]]:
    """Run a workstation, and register it at the archive; at a port of choice if it was down."""

    @contextmanager
    def run(hospital: Hospital, title: str, port: int = 0) -> Iterator[Station]:
        kept, entity = Station(), AE(ae_title=title)
        entity.supported_contexts = AllStoragePresentationContexts
        handlers = [(evt.EVT_C_STORE, kept.store), (evt.EVT_ACCEPTED, kept.accepted)]
        server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        assert server is not None
        try:
            hospital.pacs.register_ae(title, host="127.0.0.1", port=server.server_address[1])
            yield kept
        finally:
            server.shutdown()

    return run


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
