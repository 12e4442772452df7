"""Digital Mammography X-Ray Image IOD – For Presentation (PS3.3 A.27): the four standard views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation

from labsim.imaging.codes import Code
from labsim.imaging.common import (
    Acquisition,
    Windows,
    add_equipment,
    add_image,
    add_pixels,
    add_series,
    add_windows,
    check_artefact,
    new_image,
    number,
)
from labsim.imaging.dx import add_presentation
from labsim.imaging.projection import Beam, Development, Film, develop
from labsim.imaging.radiograph import BITS, WRONG_MARKER, Exposure, add_exposure
from labsim.imaging.shadows.breast import Breast, craniocaudal, deodorant, oblique

__all__ = ["ARTEFACTS", "PROTOCOLS", "Acquisition", "MgProtocol", "acquire"]
MOTION, DEODORANT = "motion", "deodorant"
ARTEFACTS = {
    WRONG_MARKER: "the lead letters name the other side, against the header",
    MOTION: "the compression was not firm: calcifications and lines are smeared",
    DEODORANT: "specks in the armpit, which look like calcifications",
}
BREAST = Code("76752008", "Breast")
VIEW_CODES = {
    "CC": Code("399162004", "cranio-caudal"),
    "MLO": Code("399368009", "medio-lateral oblique"),
}
# Directions of rows and columns. In an oblique view the columns run along the detector, from
# the armpit down and to the middle.
ORIENTATIONS = {
    ("L", "CC"): ("A", "R"),
    ("R", "CC"): ("P", "L"),
    ("L", "MLO"): ("A", "FR"),
    ("R", "MLO"): ("P", "FL"),
}
OBLIQUE = 50.0  # degrees between the beam and the vertical in an MLO view
_DEVELOPMENT = Development(photons=2500, scatter=0, detail=0.35, low=0.2, high=2.25)


@dataclass(frozen=True)
class MgProtocol:
    """Which views are taken.

    Parameters
    ----------
    name : str
        Protocol Name (0018,1030).
    series_description : str
        Series Description (0008,103E).
    views : tuple of (side, view)
        ``"L"`` or ``"R"``, and ``"CC"`` or ``"MLO"``, in their order.
    body_part : str
        Body Part Examined (0018,0015), defined term of PS3.16 annex L.
    size : tuple of int
        Rows and columns.
    spacing : float
        Imager Pixel Spacing (0018,1164) in mm.
    windows : tuple of (name, centre, width)
        Suggested windows; the first is shown first.
    """

    name: str
    series_description: str
    views: tuple[tuple[str, str], ...]
    body_part: str = "BREAST"
    size: tuple[int, int] = (800, 600)
    spacing: float = 0.3
    windows: Windows = (("NORMAL", 2048, 4096), ("HARDER", 2200, 3000))

    @property
    def images(self) -> int:
        """How many images it makes."""
        return len(self.views)


PROTOCOLS = {
    "SCREENING": MgProtocol(
        name="Screening, both breasts",
        series_description="Mammography, both sides",
        views=(("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO")),
    ),
    "LEFT": MgProtocol(
        name="Left breast",
        series_description="Mammography, left side",
        views=(("L", "CC"), ("L", "MLO")),
    ),
    "RIGHT": MgProtocol(
        name="Right breast",
        series_description="Mammography, right side",
        views=(("R", "CC"), ("R", "MLO")),
    ),
}


def acquire(acquisition: Acquisition[MgProtocol], sop_uids: list[str]) -> Iterator[FileDataset]:
    """Take the images of one series, view by view.

    Parameters
    ----------
    acquisition : Acquisition
        What they share.
    sop_uids : list of str
        One SOP Instance UID for each view of the protocol.

    Yields
    ------
    FileDataset
        A mammogram with its file meta information, Explicit VR Little Endian.

    Raises
    ------
    NotFound
        If the artefact is not one of `ARTEFACTS`.
    """
    check_artefact(acquisition, ARTEFACTS)
    protocol = acquisition.protocol
    for index, (sop_uid, (side, view)) in enumerate(zip(sop_uids, protocol.views, strict=False)):
        breast = Breast(acquisition.seed, side)
        image = new_image(acquisition, DigitalMammographyXRayImageStorageForPresentation, sop_uid)
        add_series(image, acquisition, "MG")
        add_equipment(image, acquisition, "Simulated mammography")
        add_image(image, acquisition, index, ("ORIGINAL", "PRIMARY", ""))
        _add_positioning(image, side, view)
        _add_detector(image, protocol)
        _add_exposure(image, breast)
        noise = np.random.default_rng([acquisition.seed, acquisition.series_number, index])
        pixels = _expose(protocol, breast, view, acquisition.artefact, noise)
        add_pixels(image, pixels, BITS)
        add_presentation(image)
        add_windows(image, protocol.windows)
        yield image


def _expose(
    protocol: MgProtocol, breast: Breast, view: str, artefact: str, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Take a picture, chest wall at the edge."""
    width = protocol.size[1] * protocol.spacing
    film = Film(*protocol.size, protocol.spacing, Beam(28), (-width / 2, 0))
    (craniocaudal if view == "CC" else oblique)(film, breast)
    if artefact == DEODORANT and view == "MLO":
        deodorant(film, breast)
    if artefact == MOTION:
        film.depth = _smeared(film.depth, round(2.4 / protocol.spacing))
    if breast.side == "R":
        film.depth = np.ascontiguousarray(film.depth[:, ::-1])
    shown = {"L": "R", "R": "L"}[breast.side] if artefact == WRONG_MARKER else breast.side
    # The letters lie on the side of the armpit, away from the chest wall.
    film.letter(f"{shown}{view}", (0.78 if breast.side == "L" else 0.04, 0.05), 8.0)
    return develop(film, _DEVELOPMENT, rng, BITS)


def _smeared(depth: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Return the mean of a picture that moved down by `reach` pixels."""
    padded = np.pad(depth, ((reach, 0), (0, 0)), mode="edge").astype(np.float64)
    sums = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0)
    return np.asarray((sums[reach + 1 :] - sums[: -reach - 1]) / (reach + 1), np.float32)


def _add_positioning(image: Dataset, side: str, view: str) -> None:
    """Add DX Anatomy, DX Positioning and Mammography Image (PS3.3 C.8.11.2, .5, .7)."""
    image.ImageLaterality = side
    image.PatientOrientation = list(ORIENTATIONS[side, view])
    image.AnatomicRegionSequence = Sequence([BREAST.item()])
    image.OrganExposed = "BREAST"
    image.ViewPosition = view
    code = VIEW_CODES[view].item()
    code.ViewModifierCodeSequence = Sequence()  # a standard view has none
    image.ViewCodeSequence = Sequence([code])
    image.PositionerType = "MAMMOGRAPHIC"
    # Counted towards the patient's left: the tube is above the middle of the body.
    angle = {"CC": 0.0, "MLO": OBLIQUE if side == "R" else -OBLIQUE}[view]
    image.PositionerPrimaryAngle = number(angle)
    image.PositionerPrimaryAngleDirection = "CC"
    image.BreastImplantPresent = "NO"
    image.PartialView = "NO"


def _add_detector(image: Dataset, protocol: MgProtocol) -> None:
    """Add the DX Detector Module (PS3.3 C.8.11.4)."""
    image.DetectorType = "DIRECT"
    image.DetectorConfiguration = "AREA"
    image.DetectorID = "MGDET0001"
    image.DetectorConditionsNominalFlag = "YES"
    image.FieldOfViewShape = "RECTANGLE"
    image.FieldOfViewDimensions = [round(pixels * protocol.spacing) for pixels in protocol.size]
    image.ImagerPixelSpacing = [number(protocol.spacing)] * 2


def _add_exposure(image: Dataset, breast: Breast) -> None:
    """Add compression, beam and dose; a thick or dense breast needs more."""
    thickness = breast.thickness
    need = thickness / 50 * (0.8 + 0.5 * breast.density)
    exposure = Exposure(
        kvp=round(25 + thickness / 15),
        current=100,
        time=round(820 * need),
        distance=660,
        entrance_dose=round(5.2 * need, 2),
        area_dose=0,
    )
    image.BodyPartThickness = number(round(thickness))
    image.CompressionForce = number(round(60 + thickness))
    image.PaddleDescription = "18x24 standard"
    image.EstimatedRadiographicMagnificationFactor = "1.05"
    add_exposure(image, exposure)
    image.FocalSpots = "0.3"
    image.ExposureControlMode = "AUTOMATIC"
    image.EntranceDoseInmGy = number(exposure.entrance_dose)
    image.OrganDose = number(round(0.0135 * need, 5))  # average glandular dose, in dGy
    image.HalfValueLayer = "0.54"
    image.AnodeTargetMaterial = "TUNGSTEN"
    image.FilterMaterial = "RHODIUM"
    image.FilterThicknessMinimum = image.FilterThicknessMaximum = "0.05"
    image.Grid = ["RECIPROCATING", "FOCUSED"]
