"""Mammograms: four views, each with its side, its codes and its dose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.sr.codedict import codes
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation

from labsim.imaging import mg
from labsim.imaging.projection import lead_letter
from labsim.imaging.shadows.breast import Breast

Take = Callable[..., list[FileDataset]]
ORDER = [("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO")]


def test_screening_takes_the_four_standard_views(take: Take) -> None:
    images = take(mg, "SCREENING")
    assert [(image.ImageLaterality, image.ViewPosition) for image in images] == ORDER
    assert {image.SOPClassUID for image in images} == {
        DigitalMammographyXRayImageStorageForPresentation
    }
    assert {image.Modality for image in images} == {"MG"}


def test_views_are_coded_and_standard_ones_have_no_modifier(take: Take) -> None:
    known = {
        "CC": codes.CID4014.CranioCaudal.value,
        "MLO": codes.CID4014.MedioLateralObliqueProjection.value,
    }
    for image in take(mg, "SCREENING"):
        (code,) = image.ViewCodeSequence
        assert code.CodeValue == known[image.ViewPosition]
        assert len(code.ViewModifierCodeSequence) == 0
        assert image.AnatomicRegionSequence[0].CodeValue == codes.CID4013.Breast.value


@pytest.mark.parametrize(
    ("place", "orientation"), [(0, ["P", "L"]), (1, ["A", "R"]), (2, ["P", "FL"]), (3, ["A", "FR"])]
)
def test_rows_and_columns_run_as_they_do_in_a_reading_room(
    place: int, orientation: list[str], take: Take
) -> None:
    assert list(take(mg, "SCREENING")[place].PatientOrientation) == orientation


@pytest.mark.parametrize("place", range(4))
def test_the_chest_wall_is_where_the_orientation_says_posterior_is(place: int, take: Take) -> None:
    image = take(mg, "SCREENING")[place]
    towards = image.PatientOrientation[0]
    left, right = image.pixel_array[:, 0], image.pixel_array[:, -1]
    wall, air = (right, left) if towards == "P" else (left, right)
    assert np.mean(wall > 500) > 0.5
    assert air.max() < 100


@pytest.mark.parametrize("place", range(4))
def test_letters_name_the_view_on_the_side_of_the_armpit(place: int, take: Take) -> None:
    image = take(mg, "SCREENING")[place]
    lead = lead_letter(f"{image.ImageLaterality}{image.ViewPosition}", 8 / 0.3) > 0.5
    column = round((0.78 if image.ImageLaterality == "L" else 0.04) * image.Columns)
    patch = image.pixel_array[40 : 40 + lead.shape[0], column : column + lead.shape[1]]
    assert np.corrcoef(patch.ravel(), lead.ravel())[0, 1] > 0.9


def test_wrong_letters_name_the_other_side(take: Take) -> None:
    good, wrong = (take(mg, "LEFT", artefact=artefact)[0] for artefact in ("", "wrong marker"))
    assert good.ImageLaterality == wrong.ImageLaterality == "L"
    changed = np.argwhere(good.pixel_array != wrong.pixel_array)
    assert changed[:, 0].max() < 150
    assert changed[:, 1].min() > 400


def test_a_tube_stands_over_the_middle_of_the_body_in_oblique_views(take: Take) -> None:
    angles = [float(image.PositionerPrimaryAngle) for image in take(mg, "SCREENING")]
    assert angles == [0, 0, 50, -50]  # towards the patient's left is positive
    assert all(image.PositionerPrimaryAngleDirection == "CC" for image in take(mg, "SCREENING"))


def test_a_breast_has_no_implant_and_is_seen_whole(take: Take) -> None:
    for image in take(mg, "SCREENING"):
        assert (image.BreastImplantPresent, image.PartialView) == ("NO", "NO")
        assert image.OrganExposed == "BREAST"


def test_compression_and_dose_fit_the_breast(take: Take) -> None:
    for image in take(mg, "SCREENING"):
        breast = Breast(7001, image.ImageLaterality)
        assert float(image.BodyPartThickness) == round(breast.thickness)
        assert 60 <= float(image.CompressionForce) <= 200
        assert 0.005 < float(image.OrganDose) < 0.03  # dGy: 0.5 to 3 mGy
        assert 24 <= float(image.KVP) <= 32


def test_a_thicker_breast_needs_more_dose(
    acquisition: Callable[..., mg.Acquisition[mg.MgProtocol]],
) -> None:
    breasts = {seed: Breast(seed, "L") for seed in range(1, 12)}
    thin, thick = (pick(breasts, key=lambda s: breasts[s].thickness) for pick in (min, max))
    doses = [
        float(next(mg.acquire(acquisition(mg, "LEFT", seed=seed), ["1.2.3"])).OrganDose)
        for seed in (thin, thick)
    ]
    assert doses[0] < doses[1]


def test_motion_smears_what_is_small(take: Take) -> None:
    sharp, smeared = (
        take(mg, "LEFT", artefact=artefact)[0].pixel_array[200:600, 5:200].astype(float)
        for artefact in ("", "motion")
    )
    edges = [np.diff(picture, axis=0).std() for picture in (sharp, smeared)]
    assert edges[1] < 0.8 * edges[0]


def test_deodorant_is_in_the_armpit_only(take: Take) -> None:
    clean, specked = (take(mg, "LEFT", artefact=artefact) for artefact in ("", "deodorant"))
    assert specked[0].PixelData == clean[0].PixelData  # no armpit in a CC view
    rows = np.flatnonzero((specked[1].pixel_array != clean[1].pixel_array).any(axis=1))
    assert len(rows) > 0
    assert rows.max() < 300
