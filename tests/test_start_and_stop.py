"""Started and stopped, again and again: nothing is left."""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from labsim import Hospital


class Left:
    """What a process holds: threads, descriptors, sockets, children, and temporary files."""

    def __init__(self, temporary: Path) -> None:
        self._process = psutil.Process()
        self._temporary = temporary

    def now(self) -> dict[str, int]:
        gc.collect()
        listening = [c for c in self._process.net_connections() if c.status == psutil.CONN_LISTEN]
        return {
            "threads": threading.active_count(),
            "descriptors": self._process.num_fds() if hasattr(self._process, "num_fds") else 0,
            "ports": len(listening),
            "processes": len(self._process.children(recursive=True)),
            "temporary": len(list(self._temporary.iterdir())),
        }

    def is_back_at(self, before: dict[str, int]) -> bool:
        """Wait until it is as before: a thread that has just ended is counted for a moment."""
        end, waiting = time.monotonic() + 10, threading.Event()
        while (now := self.now()) != before and time.monotonic() < end:
            waiting.wait(0.02)
        assert now == before
        return True


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Left:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Hospital(seed=7) as hospital:  # what is opened once stays open: codecs, time zones
        hospital.exam()
    return Left(tmp_path)


@pytest.mark.usefixtures("small_scans")
def test_starts_and_stops_leave_no_thread_port_file_or_process(left: Left) -> None:
    before = left.now()
    for number in range(25):
        with Hospital(seed=7) as hospital:
            hospital.his.register_patient()
            if number % 10 == 0:
                assert hospital.exam().problem == ""
    assert left.is_back_at(before)
