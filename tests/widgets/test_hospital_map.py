"""The map of a large hospital: every system has its box, and no way goes through another's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from labsim import Hospital
from labsim.widgets import hospital_map
from labsim.widgets.hospital_map import (
    _HEIGHT,
    _PLACES_WITH_ENGINE,
    _RIGHT,
    _WIDTH,
    _is_blocked,
    _more,
    configured_steps,
)


@pytest.fixture(scope="module")
def university() -> Iterator[Hospital]:
    with Hospital(seed=7, site="university") as running:
        yield running


def places(hospital: Hospital) -> dict[str, tuple[float, float]]:
    box = {part.name: "workstations" for part in hospital.site.workstations}
    more = _more(hospital, configured_steps(hospital), box, True)
    return {**_PLACES_WITH_ENGINE, "scanners": (0.0, 0.0), **more}


def test_every_system_that_stands_around_has_a_box(university: Hospital) -> None:
    around = {"archive", "ai", "importer", "standby", "audit", "workstations"}
    assert around <= set(places(university))
    picture = hospital_map(university)
    for way in (
        "archive to pacs migration by DICOM",
        "ai to pacs results by DICOM",
        "importer to pacs images by DICOM",
        "pacs to standby replicas by HTTP",
        "ws1 to pacs query, retrieve by DICOM",
        "engine to archive ris-to-pacs by HL7",
    ):
        assert way in picture.alt
    assert picture.width > hospital_map_width()


def hospital_map_width() -> int:
    """Return the width of the map of a clinic, whose words are as large."""
    with Hospital(seed=7) as clinic:
        return hospital_map(clinic).width


def test_no_two_boxes_overlap(university: Hospital) -> None:
    for (x, y), (u, v) in itertools.combinations(places(university).values(), 2):
        assert abs(x - u) > _WIDTH + 0.5 or abs(y - v) > _HEIGHT + 0.5


def test_a_way_through_a_third_box_is_left_to_the_words(university: Hospital) -> None:
    there = places(university)
    assert _is_blocked("pacs", "standby", there)  # the desk is between
    assert _is_blocked("engine", "archive", there)  # the PACS is
    assert not _is_blocked("archive", "pacs", there)
    assert not _is_blocked("workstations", "pacs", there)


def test_of_an_exam_only_those_are_drawn_that_took_part(university: Hospital) -> None:
    steps = [step for step in configured_steps(university) if step.sender == "importer"]
    assert set(_more(university, steps, {}, False)) == {"importer"}
    assert set(_RIGHT) == {"standby", "audit"}
