"""The views of radiography: how they are taken, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.imaging.codes import Code
from labsim.imaging.common import number
from labsim.imaging.phantom import planted
from labsim.imaging.projection import Beam, Development, Film, Point, develop
from labsim.imaging.shadows import thorax
from labsim.imaging.shadows.limbs import hand, knee

BITS = 12
WHITE = 2**BITS - 1
WRONG_MARKER = "wrong marker"
CLIPPED = "clipped"
UNDEREXPOSED = "underexposed"
ARTEFACTS = {
    WRONG_MARKER: "the lead letter is that of the other side, against the header",
    CLIPPED: "the body part was badly placed: a piece of it lies outside of the picture",
    UNDEREXPOSED: "a tenth of the exposure: a grainy picture, and a Deviation Index of -10",
}
TARGET_INDEX = 250.0  # Exposure Index (IEC 62494-1) that exposures aim at


@dataclass(frozen=True)
class Exposure:
    """How a picture is exposed.

    Parameters
    ----------
    kvp, current, time : float
        Tube voltage in kV, tube current in mA, and time in ms.
    distance : float
        From the source to the detector, in mm.
    entrance_dose : float
        Where the beam enters the body, in mGy.
    area_dose : float
        Dose times area, in dGy·cm².
    grid : bool
        Whether a grid keeps scattered quanta away.
    """

    kvp: float
    current: float
    time: float
    distance: float
    entrance_dose: float
    area_dose: float
    grid: bool = False


@dataclass(frozen=True)
class View:
    """One view of a body part.

    Parameters
    ----------
    position : str
        View Position (0018,5101).
    code, region : Code
        Of the view (PS3.16 CID 4010) and of what is seen (CID 4009).
    laterality : str
        ``"L"``, ``"R"``, or ``"U"`` for what there is one of.
    orientation : tuple of str
        Patient Orientation (0020,0020) of rows and columns.
    cast : callable of film, seed and sex
        Casts the shadow of the body part, of a left one if there are two.
    size : tuple of int
        Rows and columns.
    spacing : float
        Imager Pixel Spacing (0018,1164) in mm.
    place, misplaced : tuple of float
        Where in mm the body part lies, and where it lies when it is badly placed.
    marker : str
        Lead letter.
    corner : tuple of float
        Where the letter lies, as fraction of columns and rows.
    exposure : Exposure
        How it is exposed.
    development : Development
        How it becomes a picture.
    """

    position: str
    code: Code
    region: Code
    laterality: str
    orientation: tuple[str, str]
    cast: Callable[[Film, int, str], None]
    size: tuple[int, int]
    spacing: float
    place: Point
    misplaced: Point
    marker: str
    corner: Point
    exposure: Exposure
    development: Development


CHEST, HAND, KNEE = Code("816094009", "Chest"), Code("85562004", "Hand"), Code("72696002", "Knee")
PA = Code("272479007", "Postero-anterior")
AP = Code("399348003", "Antero-posterior")
LEFT_LATERAL = Code("399173006", "Left lateral")


def _upright(film: Film, seed: int, sex: str) -> None:
    thorax.from_the_front(film, thorax.Chest(seed, sex == "F", planted("CHEST", seed)))


def _in_bed(film: Film, seed: int, sex: str) -> None:
    lying = thorax.Chest(seed, sex == "F", planted("CHEST", seed), lying=True)
    thorax.from_the_front(film, lying)


def _from_the_left(film: Film, seed: int, sex: str) -> None:
    thorax.from_the_left(film, thorax.Chest(seed, sex == "F", planted("CHEST", seed)))


def _hand(film: Film, seed: int, sex: str) -> None:
    hand(film, seed)


def _knee(film: Film, seed: int, sex: str) -> None:
    knee(film, seed)


_THORAX = Development(photons=9000, scatter=0.05, detail=0.5, low=0.4, high=4.2, gamma=1.12)
_CHEST_PA = View(
    position="PA",
    code=PA,
    region=CHEST,
    laterality="U",
    orientation=("L", "F"),
    cast=_upright,
    size=(760, 700),
    spacing=0.5,
    place=(0, 16),
    misplaced=(0, 88),
    marker="L",
    corner=(0.87, 0.05),
    exposure=Exposure(117, 320, 6, 1800, 0.12, 1.1, grid=True),
    development=_THORAX,
)
_HAND_LEFT = View(
    position="PA",
    code=PA,
    region=HAND,
    laterality="L",
    orientation=("L", "H"),  # fingers are up, and the foot end of a hand that hangs down
    cast=_hand,
    size=(800, 600),
    spacing=0.3,
    place=(0, 4),
    misplaced=(0, -44),
    marker="L",
    corner=(0.86, 0.05),
    exposure=Exposure(52, 200, 12.5, 1100, 0.06, 0.2),
    development=Development(photons=9000, scatter=0.02, detail=0.5, low=0.05, high=1.95, gamma=0.8),
)
_KNEE_LEFT = View(
    position="AP",
    code=AP,
    region=KNEE,
    laterality="L",
    orientation=("L", "F"),
    cast=_knee,
    size=(800, 600),
    spacing=0.3,
    place=(0, 0),
    misplaced=(52, 0),
    marker="L",
    corner=(0.86, 0.05),
    exposure=Exposure(66, 250, 20, 1150, 0.25, 0.9),
    development=Development(photons=9000, scatter=0.02, detail=0.5, low=0.25, high=4.6),
)


def _right(left: View) -> View:
    """Return the view of the other side; the letter lies on the other side too."""
    return replace(left, laterality="R", marker="R", corner=(1 - left.corner[0] - 0.05, 0.05))


VIEWS = {
    "CHEST_PA": _CHEST_PA,
    "CHEST_LATERAL": replace(
        _CHEST_PA,
        position="LL",
        code=LEFT_LATERAL,
        orientation=("P", "F"),
        cast=_from_the_left,
        exposure=Exposure(120, 320, 20, 1800, 0.5, 3.1, grid=True),
    ),
    "CHEST_BED": replace(
        _CHEST_PA,
        position="AP",
        code=AP,
        cast=_in_bed,
        misplaced=(70, 16),
        corner=(0.9, 0.06),
        exposure=Exposure(90, 160, 12.5, 1100, 0.14, 1.2),
        development=replace(_THORAX, scatter=0.09, photons=6000),
    ),
    "HAND_LEFT": _HAND_LEFT,
    "HAND_RIGHT": _right(_HAND_LEFT),
    "KNEE_LEFT": _KNEE_LEFT,
    "KNEE_RIGHT": _right(_KNEE_LEFT),
}


def shown_marker(view: View, artefact: str) -> str:
    """Return the letter that lies on the detector."""
    return {"L": "R", "R": "L"}[view.marker] if artefact == WRONG_MARKER else view.marker


def expose(
    view: View, seed: int, sex: str, artefact: str, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Take a picture.

    Parameters
    ----------
    view : View
        What is taken.
    seed : int
        Decides the body.
    sex : str
        Patient's Sex (0010,0040).
    artefact : str
        One of `ARTEFACTS`, or nothing.
    rng : numpy.random.Generator
        For the noise.

    Returns
    -------
    ndarray of uint16
        Values of `BITS` bits, white where most of the beam was stopped.
    """
    place = view.misplaced if artefact == CLIPPED else view.place
    film = Film(*view.size, view.spacing, Beam(view.exposure.kvp), place)
    view.cast(film, seed, sex)
    if view.laterality == "R":
        film.depth = np.ascontiguousarray(film.depth[:, ::-1])
    film.letter(shown_marker(view, artefact), view.corner, 13.0)
    how = view.development
    if artefact == UNDEREXPOSED:
        how = replace(how, photons=how.photons / 10)
    return develop(film, how, rng, BITS)


def add_view(image: Dataset, view: View) -> None:
    """Add what is seen, and from where."""
    image.PatientOrientation = list(view.orientation)
    image.ViewPosition = view.position
    image.AnatomicRegionSequence = Sequence([view.region.item()])
    image.ImagerPixelSpacing = [number(view.spacing)] * 2


def add_exposure(image: Dataset, exposure: Exposure, share: float = 1.0) -> None:
    """Add how a picture was exposed, as CR (PS3.3 C.8.1.2) and DX (C.8.7.9) both say it.

    Parameters
    ----------
    image : Dataset
        Where to.
    exposure : Exposure
        As it was meant.
    share : float
        How much of it there was.
    """
    time = exposure.time * share
    image.KVP = number(exposure.kvp)
    image.XRayTubeCurrent = round(exposure.current)
    image.ExposureTime = round(time)
    image.Exposure = round(exposure.current * time / 1000)
    image.ExposureInuAs = round(exposure.current * time)
    image.DistanceSourceToDetector = number(exposure.distance)
    image.FocalSpots = "1.2"


def add_dose(image: Dataset, exposure: Exposure, share: float = 1.0) -> None:
    """Add the dose of a picture (PS3.3 C.8.7.8, X-Ray Acquisition Dose)."""
    image.EntranceDoseInmGy = number(exposure.entrance_dose * share)
    image.ImageAndFluoroscopyAreaDoseProduct = number(exposure.area_dose * share)


def add_exposure_index(image: Dataset, seed: int, share: float = 1.0) -> None:
    """Add how much reached the detector, against what was aimed at (IEC 62494-1)."""
    luck = float(np.random.default_rng([seed, 0x4549]).normal(0, 0.06))
    index = TARGET_INDEX * share * 10**luck
    image.ExposureIndex = number(round(index, 1))
    image.TargetExposureIndex = number(TARGET_INDEX)
    image.DeviationIndex = number(round(10 * float(np.log10(index / TARGET_INDEX)), 1))


def share_of(artefact: str) -> float:
    """Return how much of the meant exposure there was."""
    return 0.1 if artefact == UNDEREXPOSED else 1.0
