"""Storing 200 CT images (100 MB) by C-STORE, sent by DCMTK's storescu to each archive."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orthanc
from images import write_series
from row import Row

from labsim import Hospital

COUNT, RUNS = 200, 3


def run(folder: Path) -> list[Row]:
    """Return the best of three runs, each with images of its own."""
    series = [write_series(folder / f"series{n}", COUNT) for n in range(RUNS)]
    with Hospital(path=folder / "hospital") as hospital:
        place = next(e for e in hospital.pacs.endpoints if e.protocol == "dicom")
        ours = min(send(files, place.local.port, "PACS") for files in series)
        assert hospital.pacs.table().rows, "nothing was stored"
    with orthanc.running(folder / "orthanc", {}) as peer:
        theirs = min(send(files, peer.dicom_port, "ORTHANC") for files in series)
        assert len(peer.get("/instances")) == COUNT * RUNS
    with storescp(folder / "storescp") as port:
        bare = min(send(files, port, "STORESCP") for files in series)
    what = f"{COUNT} CT images stored"
    return [
        Row(what, ours, "s", theirs, "Orthanc", aim="≥ 1.25"),
        Row(f"{what}, indexed and durable", ours, "s", bare, "storescp, neither"),
    ]


def send(files: Sequence[Path], port: int, title: str) -> float:
    """Send files on one association, and return the seconds it took."""
    called = ["/usr/bin/storescu", "-aet", "TOOLS", "-aec", title, "127.0.0.1", str(port)]
    begun = time.perf_counter()
    subprocess.run([*called, *map(str, files)], check=True, env={**os.environ, "TCP_NODELAY": "1"})
    return time.perf_counter() - begun


@contextmanager
def storescp(folder: Path) -> Iterator[int]:
    """Run DCMTK's storage server, and say at which port."""
    folder.mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    with subprocess.Popen(
        ["/usr/bin/storescp", "-od", str(folder), str(port)],
        env={**os.environ, "TCP_NODELAY": "1"},
    ) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("storescp did not start")
