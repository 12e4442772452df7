"""Orthanc and the PACS of a university call each other by TLS, each with a certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orthanc
import pytest
from orthanc import Orthanc
from pydicom import dcmread
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.errors import DimseFailed

DATASETS = Path(__file__).parents[2] / "datasets"

Study = Callable[[str], dict[str, FileDataset]]


@pytest.fixture(scope="module")
def university() -> Iterator[Hospital]:
    with Hospital(seed=7, site="university") as running:
        yield running


def by_tls(hospital: Hospital, folder: Path, *, stranger: bool = False) -> dict[str, Any]:
    """Return what an Orthanc needs to speak TLS, with a certificate of the hospital or not."""
    # A program outside is called by the name of this machine, which its certificate has to name.
    shown = hospital.ca.issue("localhost", stranger=stranger)
    return {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(shown.certificate),
        "DicomTlsPrivateKey": str(shown.key),
        "DicomTlsTrustedCertificates": str(shown.root),
    }


def introduce(hospital: Hospital, other: Orthanc) -> None:
    """Let the two know each other."""
    place = next(e for e in hospital.pacs.endpoints if e.protocol == "dicom-tls")
    known = {"AET": "PACS", "Host": "127.0.0.1", "Port": place.local.port, "UseDicomTls": True}
    other.put("/modalities/pacs", known)
    hospital.pacs.register_ae("ORTHANC", host="localhost", port=other.dicom_port, tls=True)


def test_studies_go_both_ways_by_tls(
    university: Hospital, peer: Callable[[str], Path], samples: Study, tmp_path: Path
) -> None:
    peer("Orthanc")
    sent = samples("thorax-?")
    study = str(next(iter(sent.values())).StudyInstanceUID)
    with orthanc.running(tmp_path, {}, **by_tls(university, tmp_path)) as other:
        introduce(university, other)
        assert other.post("/modalities/pacs/echo", {}) == {}
        for image in sent.values():
            other.take(image)
        resources = other.find("Study", StudyInstanceUID=study)
        other.post("/modalities/pacs/store", {"Resources": resources, "Synchronous": True})
        came = {str(i.SOPInstanceUID): i for i in map(dcmread, university.pacs.paths(study))}
        assert came == sent

        other.http.delete(f"/studies/{resources[0]}").raise_for_status()
        university.tools.movescu(study, destination="ORTHANC")
        assert other.instances(study) == sent
    calls = university.journal.events(source="pacs", kind="association")
    assert {event.detail.get("tls") for event in calls if event.peer == "ORTHANC"} == {True}


def test_an_orthanc_with_a_certificate_of_somebody_else_is_refused(
    university: Hospital, peer: Callable[[str], Path], samples: Study, tmp_path: Path
) -> None:
    peer("Orthanc")
    with orthanc.running(tmp_path, {}, **by_tls(university, tmp_path, stranger=True)) as other:
        introduce(university, other)
        assert other.http.post("/modalities/pacs/echo", json={}).status_code == 500
        university.tools.storescu([DATASETS / "head-implicit.dcm"])
        (image,) = samples("head-implicit").values()
        with pytest.raises(DimseFailed, match="0xA702"):
            university.tools.movescu(str(image.StudyInstanceUID), destination="ORTHANC")
        assert other.get("/instances") == []
