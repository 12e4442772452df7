"""Orthanc, an independent archive, run as a peer of tests and benchmarks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from pydicom import dcmread
from pydicom.dataset import FileDataset

PROGRAM = Path("/usr/sbin/Orthanc")
_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_UP_WITHIN = 30.0  # seconds


@dataclass(frozen=True)
class Orthanc:
    """One that runs.

    Parameters
    ----------
    dicom_port, http_port : int
        Where it listens, on the loopback interface.
    http : httpx.Client
        To talk with its REST interface.
    process : subprocess.Popen
        It.
    """

    dicom_port: int
    http_port: int
    http: httpx.Client
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        """Return what its REST interface answers."""
        answer = self.http.get(path)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, content: Any) -> Any:
        """Let its REST interface do something, and return what it answers."""
        answer = self.http.post(path, json=content)
        answer.raise_for_status()
        return answer.json()

    def put(self, path: str, content: Any) -> None:
        """Let its REST interface keep something."""
        self.http.put(path, json=content).raise_for_status()

    def find(self, level: str, **keys: str) -> list[str]:
        """Return its own identifiers of what it has at a level, such as ``"Instance"``."""
        found = self.post("/tools/find", {"Level": level, "Query": keys})
        return [str(each) for each in found]

    def instances(self, study_uid: str) -> dict[str, FileDataset]:
        """Return what it has of a study, by SOP Instance UID."""
        answers = [
            self.http.get(f"/instances/{each}/file").raise_for_status()
            for each in self.find("Instance", StudyInstanceUID=study_uid)
        ]
        images = [dcmread(BytesIO(answer.content)) for answer in answers]
        return {str(image.SOPInstanceUID): image for image in images}

    def take(self, image: FileDataset) -> None:
        """Let it store an instance, as its REST interface uploads a file."""
        file = BytesIO()
        image.save_as(file, enforce_file_format=True)
        self.http.post("/instances", content=file.getvalue()).raise_for_status()


@contextmanager
def running(
    folder: Path, modalities: Mapping[str, tuple[str, int]], **settings: Any
) -> Iterator[Orthanc]:
    """Run one.

    Parameters
    ----------
    folder : Path
        For its files and its index.
    modalities : mapping of str to (str, int)
        Whom it knows: AE title and loopback port, by a name of choice.
    **settings
        Of its configuration file.
    """
    dicom_port, http_port = _free_port(), _free_port()
    configuration = {
        "Name": "Orthanc",
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomAet": "ORTHANC",
        "DicomPort": dicom_port,
        "DicomServerEnabled": True,
        "HttpPort": http_port,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomModalities": {
            name: [title, "127.0.0.1", port] for name, (title, port) in modalities.items()
        },
        "Plugins": [str(_DICOMWEB)] if _DICOMWEB.exists() else [],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **settings,
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration))
    with (
        (folder / "orthanc.log").open("wb") as log,
        httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=60) as http,
        subprocess.Popen(
            [str(PROGRAM), str(file)],
            stdout=log,
            stderr=log,
            env={**os.environ, "TCP_NODELAY": "1"},
        ) as process,
    ):
        try:
            _wait_until_up(http, process, folder / "orthanc.log")
            yield Orthanc(dicom_port, http_port, http, process)
        finally:
            process.terminate()


def _wait_until_up(http: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _UP_WITHIN
    while time.monotonic() < end and process.poll() is None:
        try:
            http.get("/system")
        except httpx.TransportError:  # it says to nobody when it is up, so it is asked
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"Orthanc did not start: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
