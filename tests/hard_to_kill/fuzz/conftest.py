"""A community hospital to throw broken input at, and what has to be true of it afterwards."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import psutil
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.imaging.ct import PROTOCOLS
from labsim.systems.facility import Endpoint
from labsim.wire.dimse import DicomNode

DICOM = {"dicom", "mwl"}
QUIET_WITHIN = 20.0  # seconds, more than any time-out of the systems
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def community(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """A hospital with all kinds of systems, half past ten, 2 March 2026."""
    clock = ManualClock(datetime(2026, 3, 2, 10, 30))
    pynetdicom = logging.getLogger("pynetdicom")
    before, pynetdicom.level = pynetdicom.level, logging.CRITICAL + 1  # a line for each PDU
    folder = tmp_path_factory.mktemp("community")
    with pytest.MonkeyPatch.context() as patch:
        for part, protocol in list(PROTOCOLS.items()):
            patch.setitem(PROTOCOLS, part, replace(protocol, slices=2, size=32))
        with Hospital(seed=7, site="community", clock=clock, path=folder) as running:
            yield running
    pynetdicom.level = before


class Watch:
    """What must not happen to a hospital, whatever comes in."""

    def __init__(self, hospital: Hospital) -> None:
        self.hospital = hospital
        self.died: list[str] = []
        self._threads: set[threading.Thread] = set()
        self._process = psutil.Process()

    def thread_died(self, args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "?"
        self.died.append(f"{name}: {args.exc_type.__name__}: {args.exc_value}")

    def task_died(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.died.append(f"loop: {context['message']}: {context.get('exception')!r}")

    def begin(self) -> None:
        """Remember what runs; to be called when all is warm."""
        self.quiet()
        self._threads = set(threading.enumerate())

    def quiet(self) -> None:
        """Wait until no association is open, and no thread of one runs."""
        for node in self.nodes():
            assert self.comes_true(lambda node=node: node.associations == 0), (
                f"{node.ae_title} has {node.associations} associations open"
            )

    def comes_true(self, test: Callable[[], bool], timeout: float = QUIET_WITHIN) -> bool:
        """Wait for something that no event tells of."""
        tick = threading.Event()
        for _ in range(int(timeout / 0.02)):
            if test():
                return True
            tick.wait(0.02)
        return test()

    def nodes(self) -> list[DicomNode]:
        """Return every system's DICOM interface."""
        systems = self.hospital.systems.values()
        return [n for s in systems for n in vars(s).values() if isinstance(n, DicomNode)]

    def check(self) -> None:
        """Nothing is left of what came in, and nothing has died of it."""
        self.quiet()
        pooled = ("-worker", "labsim-handler")
        left: list[threading.Thread] = []

        def none_left() -> bool:
            left[:] = [
                thread
                for thread in threading.enumerate()
                if thread not in self._threads and not any(p in thread.name for p in pooled)
            ]
            return not left

        assert self.comes_true(none_left), f"threads left: {[thread.name for thread in left]}"
        gone = [t.name for t in self._threads if not t.is_alive() and _is_lasting(t.name)]
        assert gone == [], "a system's own thread has ended"
        assert self.died == []

    def memory(self) -> float:
        """Return the resident memory of this process in MB, without garbage."""
        gc.collect()
        return float(self._process.memory_info().rss / MEGABYTE)

    def endpoint(self, system: str, *protocols: str) -> Endpoint:
        """Return where a system listens."""
        found = [e for e in self.hospital.endpoints() if e.system == system]
        return next(e for e in found if e.protocol in protocols)

    def echo(self, system: str) -> None:
        """C-ECHO works."""
        place = self.endpoint(system, *DICOM)
        entity = AE(ae_title="TOOLS")
        entity.acse_timeout = entity.dimse_timeout = QUIET_WITHIN
        entity.add_requested_context(Verification)
        association = entity.associate(
            place.local.host, place.local.port, ae_title=place.title, evt_handlers=[]
        )
        assert association.is_established, f"{system} answers no more"
        status: Dataset = association.send_c_echo()
        association.release()
        association.dul.join(5)
        assert status.Status == 0x0000


def _is_lasting(name: str) -> bool:
    return name.startswith("labsim-loop") or name.endswith("-dicom")


@pytest.fixture
def watch(community: Hospital, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """The hospital, under observation."""
    watching = Watch(community)
    monkeypatch.setattr(threading, "excepthook", watching.thread_died)
    loop = community._loop._loop
    loop.call_soon_threadsafe(loop.set_exception_handler, watching.task_died)
    return watching
