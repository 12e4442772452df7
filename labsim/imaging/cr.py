"""Computed Radiography Image IOD (PS3.3 A.2): storage plates in cassettes, read as MONOCHROME1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ComputedRadiographyImageStorage

from labsim.imaging import radiograph
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
from labsim.imaging.radiograph import (
    BITS,
    VIEWS,
    WHITE,
    View,
    add_exposure,
    add_exposure_index,
    add_view,
    expose,
    share_of,
)

__all__ = ["ARTEFACTS", "PROTOCOLS", "Acquisition", "CrProtocol", "acquire"]
PLATE_LINES = "plate lines"
ARTEFACTS = radiograph.ARTEFACTS | {
    PLATE_LINES: "dust in the reader: fine straight lines along the way of the plate, never curved",
}


@dataclass(frozen=True)
class CrProtocol:
    """What is taken of a body part, on which cassette.

    Parameters
    ----------
    name : str
        Protocol Name (0018,1030).
    body_part : str
        Body Part Examined (0018,0015), defined term of PS3.16 annex L.
    series_description : str
        Series Description (0008,103E).
    view : View
        What is taken.
    cassette : str
        Cassette Size (0018,1403).
    upright : bool
        Whether the cassette stands on its short side.
    plate : str
        Plate ID (0018,1004).
    windows : tuple of (name, centre, width)
        Suggested windows; the first is shown first.
    """

    name: str
    body_part: str
    series_description: str
    view: View
    cassette: str
    upright: bool
    plate: str
    windows: Windows = (("NORMAL", 2048, 4096), ("HARDER", 2048, 3000))

    @property
    def images(self) -> int:
        """How many images it makes; one plate holds one."""
        return 1


def _on_plate(view: View) -> View:
    """Return a view as a storage plate takes it: with more grain than a flat panel."""
    how = view.development
    return replace(view, development=replace(how, photons=how.photons * 0.45))


PROTOCOLS = {
    "CHEST": CrProtocol(
        name="Chest PA",
        body_part="CHEST",
        series_description="Chest PA",
        view=_on_plate(VIEWS["CHEST_PA"]),
        cassette="35CMX43CM",
        upright=True,
        plate="P3543-0017",
    ),
    "CHEST_BED": CrProtocol(
        name="Chest AP in bed",
        body_part="CHEST",
        series_description="Chest AP, mobile",
        view=_on_plate(VIEWS["CHEST_BED"]),
        cassette="35CMX43CM",
        upright=True,
        plate="P3543-0023",
    ),
    "HAND_LEFT": CrProtocol(
        name="Hand PA left",
        body_part="HAND",
        series_description="Left hand PA",
        view=_on_plate(VIEWS["HAND_LEFT"]),
        cassette="18CMX24CM",
        upright=True,
        plate="P1824-0004",
    ),
    "HAND_RIGHT": CrProtocol(
        name="Hand PA right",
        body_part="HAND",
        series_description="Right hand PA",
        view=_on_plate(VIEWS["HAND_RIGHT"]),
        cassette="18CMX24CM",
        upright=True,
        plate="P1824-0009",
    ),
}


def acquire(acquisition: Acquisition[CrProtocol], sop_uids: list[str]) -> Iterator[FileDataset]:
    """Take the image of one series.

    Parameters
    ----------
    acquisition : Acquisition
        What it is of.
    sop_uids : list of str
        Its SOP Instance UID.

    Yields
    ------
    FileDataset
        A CR image with its file meta information, Explicit VR Little Endian.
        It is MONOCHROME1: its lowest value is to be shown white.

    Raises
    ------
    NotFound
        If the artefact is not one of `ARTEFACTS`.
    """
    check_artefact(acquisition, ARTEFACTS)
    protocol, seed, artefact = acquisition.protocol, acquisition.seed, acquisition.artefact
    view, sex = protocol.view, str(acquisition.study.get("PatientSex") or "")
    laterality = view.laterality if view.laterality in ("L", "R") else ""
    for index, sop_uid in enumerate(sop_uids[: protocol.images]):
        image = new_image(acquisition, ComputedRadiographyImageStorage, sop_uid)
        add_series(image, acquisition, "CR", laterality=laterality)
        add_equipment(image, acquisition, "Simulated CR reader")
        add_image(image, acquisition, index, ("ORIGINAL", "PRIMARY"))
        add_view(image, view)
        _add_cr(image, acquisition)
        noise = np.random.default_rng([seed, acquisition.series_number, 0x4352])
        seen = expose(view, seed, sex, artefact, noise)
        if artefact == PLATE_LINES:
            seen = _dusty(seen, noise)
        add_pixels(image, WHITE - seen, BITS)
        image.PhotometricInterpretation = "MONOCHROME1"
        image.PresentationLUTShape = "INVERSE"
        add_windows(image, protocol.windows)
        yield image


def _add_cr(image: Dataset, acquisition: Acquisition[CrProtocol]) -> None:
    """Add the CR Series and CR Image Modules (PS3.3 C.8.1)."""
    protocol, share = acquisition.protocol, share_of(acquisition.artefact)
    add_exposure(image, protocol.view.exposure, share)
    add_exposure_index(image, acquisition.seed, share)
    image.PlateID = protocol.plate
    image.PlateType = "STANDARD"
    image.PhosphorType = "BaFBr:Eu"
    image.CassetteOrientation = "PORTRAIT" if protocol.upright else "LANDSCAPE"
    image.CassetteSize = protocol.cassette
    image.AcquisitionDeviceProcessingDescription = protocol.series_description
    # The number of old: how strongly the reader had to amplify; twice the dose is half of it.
    image.Sensitivity = number(round(200 * 250 / float(image.ExposureIndex)))


def _dusty(seen: NDArray[np.uint16], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return a picture that was read through dust, which keeps light from the same columns."""
    columns = rng.choice(np.arange(40, seen.shape[1] - 40), size=4, replace=False)
    shade = np.zeros(seen.shape[1], np.float32)
    for column, strength in zip(columns, (900, 650, 420, 300), strict=True):
        shade[column] += strength
        shade[column + 1] += strength / 2
    return np.asarray(np.minimum(seen + shade, WHITE), np.uint16)
