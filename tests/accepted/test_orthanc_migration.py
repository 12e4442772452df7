"""Studies migrate from Orthanc to the archive, and from the PACS into Orthanc."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from orthanc import Orthanc
from pydicom import dcmread
from pydicom.dataset import FileDataset

from labsim import Hospital

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
