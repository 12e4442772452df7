"""For tests against programs that other people wrote: an Orthanc beside a hospital."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import orthanc
import pytest
from orthanc import Orthanc
from pydicom import dcmread
from pydicom.dataset import FileDataset

from labsim import Hospital

_DATASETS = Path(__file__).parents[2] / "datasets"


@pytest.fixture(scope="session")
def samples() -> Callable[[str], dict[str, FileDataset]]:
    """Read sample images by the name of their files, with wild cards; by SOP Instance UID."""

    def read(name: str) -> dict[str, FileDataset]:
        images = [dcmread(file) for file in sorted(_DATASETS.glob(f"{name}.dcm"))]
        return {str(image.SOPInstanceUID): image for image in images}

    return read


@pytest.fixture(scope="module")
def town() -> Iterator[Hospital]:
    """A running community hospital, with an archive beside its PACS."""
    with Hospital(seed=7, site="community") as running:
        yield running


@pytest.fixture(scope="module")
def beside(
    town: Hospital, peer: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Orthanc]:
    """An Orthanc that knows the systems of `town`, and that PACS, archive and workstation know.

    Its DICOMweb client knows the PACS as ``pacs``, with a token that may read and write.
    """
    peer("Orthanc")
    peer("libOrthancDicomWeb.so")
    offered = [e for e in town.endpoints() if e.protocol in ("dicom", "mwl")]
    places = {e.system: (e.title, e.local.port) for e in offered}
    web = next(e for e in town.pacs.endpoints if e.protocol == "dicomweb")
    token = town.pacs.web.tokens.issue("orthanc", ("read", "write"))
    server = {
        "Url": f"http://{web.local}/dicom-web/",
        "HttpHeaders": {"Authorization": f"Bearer {token}"},
    }
    known = {**places, "desk": (town.tools.ae_title, town.tools.local_port)}
    web_settings = {"Enable": True, "Root": "/dicom-web/", "Servers": {"pacs": server}}
    folder = tmp_path_factory.mktemp("orthanc")
    with orthanc.running(folder, known, DicomWeb=web_settings, DefaultEncoding="Utf8") as running:
        for system in (town.pacs, town.archive, town.workstation):
            system.register_ae("ORTHANC", host="127.0.0.1", port=running.dicom_port)
        yield running
