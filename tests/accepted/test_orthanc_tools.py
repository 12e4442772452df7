"""The tools of the desk, and a workstation, ask Orthanc for studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from orthanc import Orthanc
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset

from labsim import Hospital
from labsim.systems.workstation import Workstation
from labsim.tools import Tools

Study = Callable[[str], dict[str, FileDataset]]

DATASETS = Path(__file__).parents[2] / "datasets"
FILES = sorted(DATASETS.glob("*.dcm"))
SAMPLES = ["thorax-?", "head-implicit", "thorax-rle", "name-utf8"]


@pytest.fixture
def tools(town: Hospital, beside: Orthanc) -> Tools:
    """The desk, which has stored the samples in Orthanc."""
    town.tools.know(
        "orthanc",
        ae_title="ORTHANC",
        dicom_port=beside.dicom_port,
        http_port=beside.http_port,
    )
    answers = town.tools.storescu(FILES, system="orthanc")
    assert [answer for _, answer in answers] == ["0x0000 Success"] * len(FILES)
    return town.tools


@pytest.fixture
def station(town: Hospital, beside: Orthanc) -> Iterator[Workstation]:
    """The workstation, with Orthanc for its archive and nothing in its cache."""
    town.workstation.configure("archive", "ORTHANC")
    yield town.workstation
    town.workstation.configure("archive", "PACS")


def study_of(images: dict[str, FileDataset]) -> str:
    return str(next(iter(images.values())).StudyInstanceUID)


def without_pixels(image: Dataset) -> dict[int, DataElement]:
    """Return all but the pixel data, which may come uncompressed."""
    return {element.tag: element for element in image if element.keyword != "PixelData"}


def test_the_desk_verifies_and_finds_at_each_level(tools: Tools, samples: Study) -> None:
    assert tools.echoscu("orthanc") == "0x0000 Success"
    sent = samples("thorax-?")
    study = study_of(sent)
    (found,) = tools.findscu(
        "orthanc", StudyInstanceUID=study, PatientName="", NumberOfStudyRelatedInstances=""
    )
    assert (found.PatientName, found.NumberOfStudyRelatedInstances) == ("Vega^Carlos", len(sent))
    (series,) = tools.findscu("orthanc", level="SERIES", StudyInstanceUID=study, Modality="CT")
    images = tools.findscu(
        "orthanc",
        level="IMAGE",
        StudyInstanceUID=study,
        SeriesInstanceUID=str(series.SeriesInstanceUID),
    )
    assert {str(image.SOPInstanceUID) for image in images} == set(sent)


def test_the_desk_finds_a_name_in_japanese(tools: Tools, samples: Study) -> None:
    (image,) = samples("name-utf8").values()
    (found,) = tools.findscu("orthanc", PatientName="*博*")
    assert found.PatientName == image.PatientName


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_desk_fetches_a_study_by_c_get_and_by_c_move(
    tools: Tools, samples: Study, sample: str
) -> None:
    sent = samples(sample)
    study = study_of(sent)
    for fetch in (tools.getscu, tools.movescu):
        came = {str(image.SOPInstanceUID): image for image in fetch(study, system="orthanc")}
        assert came.keys() == sent.keys()
        for uid, image in came.items():
            assert np.array_equal(image.pixel_array, sent[uid].pixel_array)
            assert without_pixels(image) == without_pixels(sent[uid])


def test_the_desk_has_orthanc_send_a_study_to_the_pacs(
    town: Hospital, tools: Tools, samples: Study
) -> None:
    sent = samples("thorax-?")
    tools.movescu(study_of(sent), system="orthanc", destination="PACS")
    assert town.pacs.count(study_of(sent)) == len(sent)


@pytest.mark.parametrize("method", ["C-MOVE", "C-GET"])
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_workstation_fetches_and_shows_a_study(
    tools: Tools, station: Workstation, samples: Study, sample: str, method: str
) -> None:
    sent = samples(sample)
    study = study_of(sent)
    station.cache.clear()
    retrieved = station.retrieve(study, method=method)
    assert retrieved.complete
    assert (retrieved.method, retrieved.completed, retrieved.failed) == (method, len(sent), 0)
    assert station.cache.uids(study) == set(sent)
    assert len(station.open(study).study.headers) == len(sent)


def test_a_workstation_finds_by_the_beginning_of_a_name(
    tools: Tools, station: Workstation, samples: Study
) -> None:
    assert [row[0] for row in station.find(name="Vega", modality="CT")] == ["Vega^Carlos"]
