"""Digital radiographs: for presentation, bone white, with their dose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from labsim.imaging import dx

Take = Callable[..., list[FileDataset]]
PARTS = sorted(dx.PROTOCOLS)


@pytest.mark.parametrize("part", PARTS)
def test_images_are_for_presentation(part: str, take: Take) -> None:
    for image in take(dx, part):
        assert image.SOPClassUID == DigitalXRayImageStorageForPresentation
        assert image.Modality == "DX"
        assert image.PresentationIntentType == "FOR PRESENTATION"
        assert image.PhotometricInterpretation == "MONOCHROME2"
        assert image.PresentationLUTShape == "IDENTITY"
        assert image.ImageType[:2] == ["ORIGINAL", "PRIMARY"]
        assert image.BurnedInAnnotation == "NO"  # a letter does not say who it is


def test_a_chest_is_taken_from_the_back_and_from_the_left(take: Take) -> None:
    frontal, lateral = take(dx, "CHEST")
    assert (frontal.ViewPosition, lateral.ViewPosition) == ("PA", "LL")
    assert list(frontal.PatientOrientation) == ["L", "F"]
    assert list(lateral.PatientOrientation) == ["P", "F"]
    assert frontal.ImageLaterality == lateral.ImageLaterality == "U"
    assert frontal.ViewCodeSequence[0].CodeMeaning == "Postero-anterior"
    assert lateral.ViewCodeSequence[0].CodeMeaning == "Left lateral"
    assert float(lateral.EntranceDoseInmGy) > float(frontal.EntranceDoseInmGy)


def test_the_heart_lies_where_the_orientation_says_left_is(take: Take) -> None:
    frontal = take(dx, "CHEST")[0].pixel_array.astype(float)
    rows = slice(440, 520)
    right, left = frontal[rows, 190:280].mean(), frontal[rows, 420:510].mean()
    assert left > 1.2 * right


@pytest.mark.parametrize(("part", "side"), [("LEFT", "L"), ("RIGHT", "R")])
def test_the_thumb_is_to_the_left_of_a_left_hand(part: str, side: str, take: Take) -> None:
    (image,) = take(dx, f"HAND_{part}")
    assert image.ImageLaterality == side
    # In the anatomic position the thumb of a left hand is to the left, and fingers are down.
    assert list(image.PatientOrientation) == ["L", "H"]
    body = image.pixel_array > 400
    body[:150] = False  # the letter
    columns = np.flatnonzero(body[260:420].any(axis=0))
    middle = np.flatnonzero(body[420:470].any(axis=0)).mean()
    reach = columns.max() - middle, middle - columns.min()
    assert (reach[0] > reach[1]) == (side == "L")


@pytest.mark.parametrize(("part", "side"), [("LEFT", "L"), ("RIGHT", "R")])
def test_the_fibula_is_on_the_outer_side_of_a_knee(part: str, side: str, take: Take) -> None:
    (image,) = take(dx, f"KNEE_{part}")
    assert (image.ImageLaterality, list(image.PatientOrientation)) == (side, ["L", "F"])
    row = image.pixel_array[690:710].mean(axis=0)
    x = (np.arange(600) - 299.5) * 0.3
    to_the_right, to_the_left = row[(x > 24) & (x < 45)].max(), row[(x < -24) & (x > -45)].max()
    assert (to_the_right > to_the_left) == (side == "L")


@pytest.mark.parametrize("part", PARTS)
def test_the_detector_is_as_large_as_its_pixels(part: str, take: Take) -> None:
    for image in take(dx, part):
        rows, columns = image.FieldOfViewDimensions
        assert rows == pytest.approx(image.Rows * image.ImagerPixelSpacing[0], abs=1)
        assert columns == pytest.approx(image.Columns * image.ImagerPixelSpacing[1], abs=1)


@pytest.mark.parametrize("part", PARTS)
def test_dose_and_exposure_are_those_of_such_an_examination(part: str, take: Take) -> None:
    for image in take(dx, part):
        assert 0.01 < float(image.EntranceDoseInmGy) < 1
        assert 0.05 < float(image.ImageAndFluoroscopyAreaDoseProduct) < 10
        assert image.ExposureInuAs == pytest.approx(
            float(image.XRayTubeCurrentInuA) * float(image.ExposureTimeInuS) / 1e6, rel=0.01
        )
        assert 45 < float(image.KVP) < 130
        assert abs(float(image.DeviationIndex)) < 3


@pytest.mark.parametrize("part", PARTS)
def test_the_first_window_shows_all_values(part: str, take: Take) -> None:
    image = take(dx, part)[0]
    assert image.WindowCenter[0] - image.WindowWidth[0] / 2 == 0
    assert image.WindowWidth[0] == 2**image.BitsStored
    assert len(image.WindowCenter) == len(image.WindowCenterWidthExplanation)


def test_breasts_are_seen_in_women_only(take: Take) -> None:
    woman, man = (take(dx, "CHEST", PatientSex=sex)[0].pixel_array for sex in "FM")
    difference = woman.astype(int) - man
    assert difference[450:520, 130:230].mean() > 100
    assert abs(difference[:200]).mean() < 20


def test_fewer_images_than_the_protocol_has_are_the_first_ones(
    take: Take, acquisition: Callable[..., dx.Acquisition[dx.DxProtocol]]
) -> None:
    (only,) = dx.acquire(acquisition(dx, "CHEST"), [take(dx, "CHEST")[0].SOPInstanceUID])
    assert only == take(dx, "CHEST")[0]
