"""The algorithm of the AI node, measured on phantoms whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from math import dist

import pytest
from pydicom.dataset import FileDataset

from labsim.imaging.phantom import planted
from labsim.systems.ai.nodules import find_nodules
from labsim.systems.ai.volume import Unsuitable, volume_of

Thorax = Callable[..., list[FileDataset]]


def test_it_finds_most_nodules_and_invents_hardly_any(thorax: Thorax) -> None:
    found = planted_ones = invented = 0
    for seed in range(8):
        truth = planted("CHEST", seed)
        findings = find_nodules(volume_of(thorax(seed)))
        hits = [f for f in findings if truth and dist(f.position, truth.center) < truth.radius]
        planted_ones += truth is not None
        found += bool(hits)
        invented += len(findings) - len(hits)
    assert planted_ones == 4
    assert found >= 3, "sensitivity"
    assert invented <= 1, "false positives"


def test_a_finding_says_where_it_lies_how_large_it_is_and_how_sure(thorax: Thorax) -> None:
    truth = planted("CHEST", 4)
    assert truth is not None
    (finding,) = find_nodules(volume_of(thorax(4)))
    assert dist(finding.position, truth.center) < 3
    assert finding.diameter == pytest.approx(2 * truth.radius, abs=2)
    assert 0.9 < finding.confidence <= 1
    assert finding.mask.sum() > 20


def test_the_order_of_the_images_does_not_matter(thorax: Thorax) -> None:
    images = thorax(4, slices=10)
    assert (volume_of(images).values == volume_of(images[::-1]).values).all()


def test_a_head_is_refused(thorax: Thorax) -> None:
    with pytest.raises(Unsuitable, match=r"Body Part Examined .* is HEAD"):
        volume_of(thorax(4, "HEAD", slices=8))


def test_a_localizer_is_refused(thorax: Thorax) -> None:
    with pytest.raises(Unsuitable, match="Not axial"):
        volume_of(thorax(4, "CHEST_LOCALIZER", slices=2))


def test_missing_slices_are_named(thorax: Thorax) -> None:
    images = thorax(4, slices=12)
    del images[5:7]
    with pytest.raises(Unsuitable, match="Missing slices: 2 above z = 15 mm"):
        volume_of(images)


def test_uneven_spacing_is_refused(thorax: Thorax) -> None:
    images = thorax(4, slices=10)
    images[3].ImagePositionPatient[2] = float(images[3].ImagePositionPatient[2]) + 2
    with pytest.raises(Unsuitable, match="Uneven spacing"):
        volume_of(images)


@pytest.mark.parametrize(
    "keyword", ["PixelSpacing", "PixelData", "RescaleSlope", "Rows", "ImageOrientationPatient"]
)
def test_images_that_say_too_little_are_refused(thorax: Thorax, keyword: str) -> None:
    images = thorax(4, slices=8)
    for image in images:
        delattr(image, keyword)
    with pytest.raises(Unsuitable):
        volume_of(images)


def test_too_few_slices_are_refused(thorax: Thorax) -> None:
    with pytest.raises(Unsuitable, match="4 slices are too few"):
        volume_of(thorax(4, slices=4))


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_images_of_two_patients_or_series_are_never_one_volume(
    thorax: Thorax, keyword: str
) -> None:
    images = thorax(4, slices=8)
    setattr(images[3], keyword, "1.2.3")
    with pytest.raises(Unsuitable, match=f"differ in {keyword}"):
        volume_of(images)
