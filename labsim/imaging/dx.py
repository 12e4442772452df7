"""Digital X-Ray Image IOD – For Presentation (PS3.3 A.26): chest, hands and knees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import DigitalXRayImageStorageForPresentation

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
    ARTEFACTS,
    BITS,
    VIEWS,
    View,
    add_dose,
    add_exposure,
    add_exposure_index,
    add_view,
    expose,
    share_of,
)

__all__ = ["ARTEFACTS", "PROTOCOLS", "Acquisition", "DxProtocol", "acquire"]
WINDOWS: Windows = (("NORMAL", 2048, 4096), ("HARDER", 2048, 3000), ("SOFTER", 2048, 5500))


@dataclass(frozen=True)
class DxProtocol:
    """What is taken of a body part.

    Parameters
    ----------
    name : str
        Protocol Name (0018,1030).
    body_part : str
        Body Part Examined (0018,0015), defined term of PS3.16 annex L.
    series_description : str
        Series Description (0008,103E).
    views : tuple of View
        The images, in their order.
    windows : tuple of (name, centre, width)
        Suggested windows; the first is shown first.
    """

    name: str
    body_part: str
    series_description: str
    views: tuple[View, ...]
    windows: Windows = WINDOWS

    @property
    def images(self) -> int:
        """How many images it makes."""
        return len(self.views)


PROTOCOLS = {
    "CHEST": DxProtocol(
        name="Chest PA and lateral",
        body_part="CHEST",
        series_description="Chest PA and lateral",
        views=(VIEWS["CHEST_PA"], VIEWS["CHEST_LATERAL"]),
    ),
    "HAND_LEFT": DxProtocol(
        name="Hand PA left",
        body_part="HAND",
        series_description="Left hand PA",
        views=(VIEWS["HAND_LEFT"],),
    ),
    "HAND_RIGHT": DxProtocol(
        name="Hand PA right",
        body_part="HAND",
        series_description="Right hand PA",
        views=(VIEWS["HAND_RIGHT"],),
    ),
    "KNEE_LEFT": DxProtocol(
        name="Knee AP left",
        body_part="KNEE",
        series_description="Left knee AP",
        views=(VIEWS["KNEE_LEFT"],),
    ),
    "KNEE_RIGHT": DxProtocol(
        name="Knee AP right",
        body_part="KNEE",
        series_description="Right knee AP",
        views=(VIEWS["KNEE_RIGHT"],),
    ),
}


def acquire(acquisition: Acquisition[DxProtocol], sop_uids: list[str]) -> Iterator[FileDataset]:
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
        A digital X-ray image with its file meta information, Explicit VR Little Endian.

    Raises
    ------
    NotFound
        If the artefact is not one of `ARTEFACTS`.
    """
    check_artefact(acquisition, ARTEFACTS)
    protocol, artefact = acquisition.protocol, acquisition.artefact
    sex = str(acquisition.study.get("PatientSex") or "")
    for index, (sop_uid, view) in enumerate(zip(sop_uids, protocol.views, strict=False)):
        image = new_image(acquisition, DigitalXRayImageStorageForPresentation, sop_uid)
        add_series(image, acquisition, "DX")
        add_equipment(image, acquisition, "Simulated DR")
        add_image(image, acquisition, index, ("ORIGINAL", "PRIMARY", ""))
        add_view(image, view)
        _add_dx(image, acquisition.seed, view, share_of(artefact))
        noise = np.random.default_rng([acquisition.seed, acquisition.series_number, index])
        add_pixels(image, expose(view, acquisition.seed, sex, artefact, noise), BITS)
        add_presentation(image)
        add_windows(image, protocol.windows)
        yield image


def _add_dx(image: Dataset, seed: int, view: View, share: float) -> None:
    """Add DX Anatomy, Detector, Positioning, Dose and Generation (PS3.3 C.8.11, C.8.7)."""
    image.ImageLaterality = view.laterality
    image.PositionerType = "COLUMN"
    image.DetectorType = "SCINTILLATOR"
    image.DetectorConfiguration = "AREA"
    image.DetectorID = "DET0001"
    image.DetectorConditionsNominalFlag = "YES"
    image.FieldOfViewShape = "RECTANGLE"
    image.FieldOfViewDimensions = [round(pixels * view.spacing) for pixels in view.size]
    image.ViewCodeSequence = Sequence([view.code.item()])
    image.Grid = ["FIXED", "FOCUSED"] if view.exposure.grid else "NONE"
    add_exposure(image, view.exposure, share)
    image.XRayTubeCurrentInuA = number(view.exposure.current * 1000)
    image.ExposureTimeInuS = number(view.exposure.time * share * 1000)
    add_dose(image, view.exposure, share)
    add_exposure_index(image, seed, share)


def add_presentation(image: Dataset) -> None:
    """Add what makes a digital X-ray image one for presentation (PS3.3 C.8.11.1, C.8.11.3)."""
    image.PresentationIntentType = "FOR PRESENTATION"
    image.PixelIntensityRelationship = "LOG"
    image.PixelIntensityRelationshipSign = -1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = "0", "1", "US"
    image.PresentationLUTShape = "IDENTITY"
    image.LossyImageCompression = "00"
    image.AcquisitionContextSequence = Sequence()
