"""DICOMweb between Orthanc and the hospital, each as client of the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from orthanc import Orthanc
from pydicom import dcmread
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.tools import Tools

Study = Callable[[str], dict[str, FileDataset]]

DATASETS = Path(__file__).parents[2] / "datasets"
SAMPLES = ["thorax-?", "head-implicit", "thorax-rle", "name-utf8"]
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.fixture
def tools(town: Hospital, beside: Orthanc) -> Tools:
    """The desk, which has stored the samples in Orthanc by STOW-RS."""
    town.tools.know("orthanc", ae_title="ORTHANC", http_port=beside.http_port)
    answers = town.tools.stow(sorted(DATASETS.glob("*.dcm")), system="orthanc")
    assert {row[2] for row in answers} == {"stored"}
    return town.tools


def study_of(images: dict[str, FileDataset]) -> str:
    return str(next(iter(images.values())).StudyInstanceUID)


def asked(beside: Orthanc, uri: str, **arguments: str) -> Any:
    """Return what the PACS answers to a GET of Orthanc's DICOMweb client."""
    wanted = {
        "Uri": uri,
        "Arguments": arguments,
        "HttpHeaders": {"Accept": "application/dicom+json"},
    }
    return beside.post("/dicom-web/servers/pacs/get", wanted)


def stowed(beside: Orthanc, images: dict[str, FileDataset]) -> str:
    """Let Orthanc store a study in the PACS by STOW-RS, and return its UID."""
    for image in images.values():
        beside.take(image)
    study = beside.find("Study", StudyInstanceUID=study_of(images))
    wanted = {"Resources": study, "Synchronous": True}
    beside.post("/dicom-web/servers/pacs/stow", wanted)
    return study_of(images)


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_desk_stores_searches_and_retrieves_at_orthanc(
    tools: Tools, beside: Orthanc, samples: Study, sample: str
) -> None:
    sent = samples(sample)
    study = study_of(sent)
    assert beside.instances(study) == sent

    (found,) = tools.qido(f"/studies?StudyInstanceUID={study}", system="orthanc").datasets
    first = next(iter(sent.values()))
    assert (found.PatientName, found.AccessionNumber) == (first.PatientName, first.AccessionNumber)
    images = tools.qido(f"/studies/{study}/instances", system="orthanc").datasets
    assert {str(image.SOPInstanceUID) for image in images} == set(sent)

    came = tools.wado(f"/studies/{study}", system="orthanc", accept=AS_STORED).datasets
    assert {str(image.SOPInstanceUID): image for image in came} == sent


def test_the_desk_reads_metadata_and_frames_of_orthanc(tools: Tools, samples: Study) -> None:
    (image,) = samples("head-implicit").values()
    below = f"/studies/{image.StudyInstanceUID}"
    (told,) = tools.wado(
        f"{below}/metadata", system="orthanc", accept="application/dicom+json"
    ).datasets
    assert told.SOPInstanceUID == image.SOPInstanceUID
    assert told.PixelSpacing == image.PixelSpacing
    frame = tools.wado(
        f"{below}/series/{image.SeriesInstanceUID}/instances/{image.SOPInstanceUID}/frames/1",
        system="orthanc",
        accept='multipart/related; type="application/octet-stream"',
    )
    pixels = np.frombuffer(frame.parts[0].content, image.pixel_array.dtype)
    assert np.array_equal(pixels.reshape(image.Rows, image.Columns), image.pixel_array)


@pytest.mark.parametrize("sample", SAMPLES)
def test_orthanc_stores_in_the_pacs_by_stow_rs(
    town: Hospital, beside: Orthanc, samples: Study, sample: str
) -> None:
    sent = samples(sample)
    study = stowed(beside, sent)
    came = {str(i.SOPInstanceUID): i for i in map(dcmread, town.pacs.paths(study))}
    assert came == sent


def test_orthanc_searches_the_pacs_by_qido_rs(
    town: Hospital, beside: Orthanc, samples: Study
) -> None:
    sent = samples("thorax-?")
    study = stowed(beside, sent)
    (found,) = asked(beside, "/studies", PatientName="Vega*", ModalitiesInStudy="CT")
    assert found["0020000D"]["Value"] == [study]
    assert found["00201208"]["Value"] == [len(sent)]
    images = asked(beside, f"/studies/{study}/instances")
    assert {image["00080018"]["Value"][0] for image in images} == set(sent)
    query = {"Uri": "/studies", "Arguments": {"StudyInstanceUID": study}}
    (shown,) = beside.post("/dicom-web/servers/pacs/qido", query)
    assert shown["00100010"]["Value"] == "Vega^Carlos"


@pytest.mark.parametrize("sample", SAMPLES)
def test_orthanc_retrieves_from_the_pacs_by_wado_rs(
    town: Hospital, beside: Orthanc, samples: Study, sample: str
) -> None:
    sent = samples(sample)
    study = stowed(beside, sent)
    for each in beside.find("Study", StudyInstanceUID=study):
        beside.http.delete(f"/studies/{each}").raise_for_status()
    wanted = {"Resources": [{"Study": study}], "Synchronous": True}
    answer = beside.post("/dicom-web/servers/pacs/retrieve", wanted)
    assert answer["ReceivedInstancesCount"] == str(len(sent))
    came = beside.instances(study)
    assert came.keys() == sent.keys()
    for uid, image in came.items():
        assert np.array_equal(image.pixel_array, sent[uid].pixel_array)
        assert image.PatientName == sent[uid].PatientName


def test_orthanc_hears_401_once_its_token_is_revoked(town: Hospital, beside: Orthanc) -> None:
    token = town.pacs.web.tokens.issue("short-lived")
    asking = {
        "Uri": "/studies",
        "HttpHeaders": {"Accept": "application/dicom+json", "Authorization": f"Bearer {token}"},
    }
    assert beside.http.post("/dicom-web/servers/pacs/get", json=asking).is_success
    town.pacs.web.tokens.revoke("short-lived")
    answer = beside.http.post("/dicom-web/servers/pacs/get", json=asking)
    assert answer.is_error
    assert town.journal.wait_for(
        lambda event: event.source == "pacs" and event.kind == "http" and "401" in event.summary,
        5.0,
    )
