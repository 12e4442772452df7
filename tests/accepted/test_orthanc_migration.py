"""Studies migrate from Orthanc to the archive, and from the PACS into Orthanc."""

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
from labsim.ids import make_uid

DATASETS = Path(__file__).parents[2] / "datasets"
WAIT = 30.0

Study = Callable[[str], dict[str, FileDataset]]


@pytest.fixture
def images(beside: Orthanc, samples: Study) -> Iterator[dict[str, FileDataset]]:
    """All samples, which Orthanc has; in the end it has nothing."""
    sent = samples("*")
    for image in sent.values():
        beside.take(image)
    yield sent
    for each in beside.get("/patients"):
        beside.http.delete(f"/patients/{each}").raise_for_status()


def counts(town: Hospital) -> set[tuple[object, ...]]:
    """State, instances at the source, arrived, with the same pixels; by study."""
    return {tuple(row)[:1] + tuple(row)[3:7] for row in town.archive.migration.table()}


def by_study(images: dict[str, FileDataset]) -> dict[str, dict[str, FileDataset]]:
    studies: dict[str, dict[str, FileDataset]] = {}
    for uid, image in images.items():
        studies.setdefault(str(image.StudyInstanceUID), {})[uid] = image
    return studies


def test_every_study_of_orthanc_comes_is_counted_and_compared(
    town: Hospital, beside: Orthanc, images: dict[str, FileDataset]
) -> None:
    run = town.archive.migrate("ORTHANC")
    assert run.wait(WAIT)
    studies = by_study(images)
    assert counts(town) == {
        (study, "done", len(sent), len(sent), len(sent)) for study, sent in studies.items()
    }
    assert len(run.failed()) == 0
    for study, sent in studies.items():
        came = {str(i.SOPInstanceUID): i for i in map(dcmread, town.archive.paths(study))}
        assert came == sent


def test_the_studies_of_the_pacs_migrate_into_orthanc_and_are_compared_there(
    town: Hospital, beside: Orthanc, samples: Study, images: dict[str, FileDataset]
) -> None:
    for each in beside.get("/patients"):
        beside.http.delete(f"/patients/{each}").raise_for_status()
    town.tools.storescu(sorted(DATASETS.glob("*.dcm")))
    run = town.archive.migrate("PACS", into="ORTHANC")
    assert run.wait(WAIT)
    studies = by_study(images)
    assert counts(town) == {
        (study, "done", len(sent), len(sent), len(sent)) for study, sent in studies.items()
    }
    assert {study: beside.instances(study) for study in studies} == studies
    said = {e.summary for e in town.journal.events(source="archive", kind="state")}
    assert "migration from PACS into ORTHANC started: 4 studies" in said
    assert "study migrated: 5 of 5 instances in ORTHANC, 5 with the same pixel data" in said


@pytest.fixture
def another(samples: Study, tmp_path: Path) -> FileDataset:
    """An image in a study of its own, and in a file."""
    (image,) = samples("head-implicit").values()
    image.StudyInstanceUID = make_uid("another study", tmp_path)
    image.SeriesInstanceUID = make_uid("another series", tmp_path)
    image.SOPInstanceUID = make_uid("another image", tmp_path)
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    return image


def test_a_study_that_orthanc_has_otherwise_fails_and_is_tried_again(
    town: Hospital, beside: Orthanc, another: FileDataset, tmp_path: Path
) -> None:
    study = str(another.StudyInstanceUID)
    town.tools.storescu([tmp_path / "image.dcm"])
    another.PixelData = bytes(len(another.PixelData))
    beside.take(another)  # Orthanc keeps what it has under a SOP Instance UID
    run = town.archive.migrate("PACS", into="ORTHANC", StudyInstanceUID=study)
    assert run.wait(WAIT)
    row = next(row for row in run.failed() if row[0] == study)
    assert tuple(row)[3:7] == ("failed", 1, 1, 0)
    assert row[8] == "1 have other pixel data in ORTHANC"

    (other,) = beside.find("Study", StudyInstanceUID=study)
    beside.http.delete(f"/studies/{other}").raise_for_status()
    assert run.retry() == 1
    assert run.wait(WAIT)
    assert (study, "done", 1, 1, 1) in counts(town)


def test_what_the_pacs_cannot_send_to_orthanc_is_missing_in_the_report(
    town: Hospital, beside: Orthanc, another: FileDataset, tmp_path: Path
) -> None:
    study = str(another.StudyInstanceUID)
    town.tools.storescu([tmp_path / "image.dcm"])
    town.pacs.remove_ae("ORTHANC")
    try:
        run = town.archive.migrate("PACS", into="ORTHANC", StudyInstanceUID=study)
        assert run.wait(WAIT)
    finally:
        town.pacs.register_ae("ORTHANC", host="127.0.0.1", port=beside.dicom_port)
    row = next(row for row in run.failed() if row[0] == study)
    assert "0xA801" in row[8]
    assert "1 of 1 instances are missing in ORTHANC" in row[8]


def test_what_is_decompressed_on_its_way_has_the_same_pixels(
    town: Hospital, peer: Callable[[str], Path], samples: Study, tmp_path: Path
) -> None:
    peer("Orthanc")
    town.tools.storescu([DATASETS / "thorax-rle.dcm"])
    (image,) = samples("thorax-rle").values()
    study = str(image.StudyInstanceUID)
    place = next(e for e in town.archive.endpoints if e.protocol == "dicom")
    known = {"archive": ("ARCHIVE", place.local.port)}
    uncompressed = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]
    settings: dict[str, Any] = {"DicomAet": "PLAIN", "AcceptedTransferSyntaxes": uncompressed}
    with orthanc.running(tmp_path, known, **settings) as plain:
        for system in (town.pacs, town.archive):
            system.register_ae("PLAIN", host="127.0.0.1", port=plain.dicom_port)
        run = town.archive.migrate("PACS", into="PLAIN", StudyInstanceUID=study)
        assert run.wait(WAIT)
        (came,) = plain.instances(study).values()
    assert not came.file_meta.TransferSyntaxUID.is_compressed
    assert counts(town) == {(study, "done", 1, 1, 1)}
