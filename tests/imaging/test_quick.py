"""Quick protocols: valid images of the same field of view, at a fraction of the size."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from labsim import Hospital
from labsim.imaging.quick import quick
from labsim.imaging.scanners import SCANNERS
from labsim.systems.catalogue import examination


@pytest.fixture(scope="module")
def community() -> Iterator[Hospital]:
    """A hospital whose scanners are tried out."""
    with Hospital(seed=7, site="community") as running:
        for scanner in running.modalities():
            scanner.quick_scans = True
        yield running


@pytest.mark.parametrize(
    "code", ["CTLUNG", "MRKNEEL", "DXCHEST", "CRBED", "MGSCREEN", "USHEART", "USABDOMEN"]
)
def test_quick_images_are_valid_and_small(
    community: Hospital, code: str, peer: Callable[[str], Path]
) -> None:
    exam = community.exam(code)
    assert exam.problem == ""
    assert exam.procedure is not None
    images = 0
    for path in community.pacs.paths(exam.procedure.study_uid):
        image = dcmread(path)
        if image.Modality == "SR":
            continue
        images += 1
        assert len(image.PixelData) < 600_000
        judged = subprocess.run([peer("dciodvfy"), path], capture_output=True, text=True)
        assert [line for line in judged.stderr.splitlines() if line.startswith("Error")] == []
    assert len(examination(code).series) <= images <= 12


@pytest.mark.parametrize("modality", SCANNERS)
def test_a_quick_protocol_sees_as_much(modality: str) -> None:
    for protocol in SCANNERS[modality].protocols.values():
        small = quick(protocol)
        assert 1 <= small.images <= protocol.images
        assert (small.name, small.body_part) == (protocol.name, protocol.body_part)
        if modality == "CT":
            assert small.field_of_view == protocol.field_of_view  # type: ignore[attr-defined]
        if modality == "MG":
            rows, spacing = small.size[0], small.spacing  # type: ignore[attr-defined]
            full = protocol.size[0] * protocol.spacing  # type: ignore[attr-defined]
            assert rows * spacing == pytest.approx(full)


def test_what_is_no_protocol_has_no_quick_form() -> None:
    with pytest.raises(TypeError, match="no quick form of str"):
        quick("CHEST")  # type: ignore[arg-type]
