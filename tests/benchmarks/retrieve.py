"""Getting 200 CT images back by C-GET, C-MOVE and WADO-RS."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import orthanc
from images import write_series
from ingest import send, storescp
from pydicom import dcmread
from row import Row

from labsim import Hospital

COUNT, RUNS = 200, 3


def run(folder: Path) -> list[Row]:
    """Return the best of three retrievals of each kind."""
    files = write_series(folder / "series", COUNT)
    study = str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    with storescp(folder / "received") as sink, Hospital(path=folder / "hospital") as hospital:
        pacs = hospital.pacs
        ports = {e.protocol: e.local.port for e in pacs.endpoints}
        pacs.register_ae("SINK", host="127.0.0.1", port=sink)
        known = {"sink": ("SINK", sink), "tools": ("TOOLS", 4242)}
        with orthanc.running(folder / "orthanc", known, DicomAlwaysAllowGet=True) as peer:
            send(files, ports["dicom"], "PACS")
            send(files, peer.dicom_port, "ORTHANC")
            places = [(ports["dicom"], "PACS"), (peer.dicom_port, "ORTHANC")]
            token = pacs.web.tokens.issue("benchmark")
            base = f"/dicom-web/studies/{study}"
            ways: dict[str, list[Callable[[], None]]] = {
                "C-GET": [lambda p=place: _get(folder, *p, study) for place in places],  # type: ignore[misc]
                "C-MOVE": [lambda p=place: _move(folder, *p, study) for place in places],  # type: ignore[misc]
                "WADO-RS": [
                    lambda: _wado(f"http://127.0.0.1:{ports['dicomweb']}{base}", token),
                    lambda: _wado(f"http://127.0.0.1:{peer.http_port}{base}", ""),
                ],
            }
            return [
                Row(f"{COUNT} CT images by {way}", _best(ours), "s", _best(theirs), "Orthanc")
                for way, (ours, theirs) in ways.items()
            ]


def _best(retrieve: Callable[[], None]) -> float:
    taken = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        retrieve()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def _get(folder: Path, port: int, title: str, study: str) -> None:
    into = folder / f"got-{title}"
    into.mkdir(exist_ok=True)
    _run("getscu", port, title, study, "-od", str(into))
    assert len(list(into.iterdir())) == COUNT


def _move(folder: Path, port: int, title: str, study: str) -> None:
    for old in (folder / "received").iterdir():
        old.unlink()
    _run("movescu", port, title, study, "-aem", "SINK")
    assert len(list((folder / "received").iterdir())) == COUNT


def _run(program: str, port: int, title: str, study: str, *more: str) -> None:
    called = [f"/usr/bin/{program}", "-S", "-aet", "TOOLS", "-aec", title, *more]
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    subprocess.run(
        [*called, "127.0.0.1", str(port), *keys],
        check=True,
        env={**os.environ, "TCP_NODELAY": "1"},
    )


def _wado(url: str, token: str) -> None:
    headers = {"Accept": 'multipart/related; type="application/dicom"'}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    answer = httpx.get(url, headers=headers, timeout=60)
    answer.raise_for_status()
    assert answer.content.count(b"DICM") >= COUNT
