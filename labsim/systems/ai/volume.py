"""A series of slices as one volume, or the honest reason why it is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from labsim.errors import LabError
from labsim.systems.facility import text_of

_LEAST_SLICES = 8
_UNEVEN = 0.1  # how much of the usual distance two slices may differ from it
_SAME = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID")


# Why a step ends without a result (PS3.16 CID 9300)
Reason = tuple[str, str, str]
FORMAT: Reason = ("110521", "DCM", "Objects incorrectly formatted")
KIND: Reason = ("110522", "DCM", "Object Types not supported")
INCOMPLETE: Reason = ("110523", "DCM", "Object Set incomplete")


class Unsuitable(LabError):
    """A series that the algorithm cannot work with; the message says why.

    Parameters
    ----------
    what : str
        In words.
    reason : tuple of str
        As a code: value, scheme and meaning.
    """

    def __init__(self, what: str, reason: Reason = FORMAT) -> None:
        super().__init__(what)
        self.reason = reason


@dataclass(frozen=True)
class Volume:
    """Axial slices from feet to head.

    Parameters
    ----------
    values : numpy.ndarray
        Hounsfield units; slice, row, column.
    origin : tuple of float
        Patient coordinates of the middle of the first voxel, in mm.
    spacing : tuple of float
        Distance of slices, rows and columns in mm.
    images : tuple of Dataset
        The image of each slice.
    """

    values: NDArray[np.float32]
    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]
    images: tuple[Dataset, ...]

    def position(self, slice_: float, row: float, column: float) -> tuple[float, float, float]:
        """Return where a voxel lies in the patient, in mm (PS3.3 C.7.6.2.1.1)."""
        x, y, z = self.origin
        distance, down, across = self.spacing
        return x + column * across, y + row * down, z + slice_ * distance


def volume_of(images: Sequence[Dataset]) -> Volume:
    """Return the volume that the images of one series make up.

    Parameters
    ----------
    images : sequence of Dataset
        All images of the series, in any order.

    Raises
    ------
    Unsuitable
        If they are of several patients or series, no CT of the thorax, not
        axial, too few, or not evenly spaced.
    """
    _require_one_series(images)
    _require_ct_thorax(images[0])
    ordered = sorted(images, key=_height)
    if len(ordered) < _LEAST_SLICES:
        what = f"{len(ordered)} slices are too few: at least {_LEAST_SLICES} are needed."
        raise Unsuitable(what, INCOMPLETE)
    distance = _distance([_height(image) for image in ordered])
    first = ordered[0]
    for image in ordered:
        if (image.get("Rows"), image.get("Columns")) != (first.get("Rows"), first.get("Columns")):
            raise Unsuitable("The slices differ in rows and columns.")
        if list(image.get("ImageOrientationPatient") or ()) != [1, 0, 0, 0, 1, 0]:
            raise Unsuitable("The slices are not axial (Image Orientation (Patient)).", KIND)
    try:
        values = np.stack([_hounsfield(image) for image in ordered])
        x, y, z = (float(value) for value in first.ImagePositionPatient)
        down, across = (float(value) for value in first.PixelSpacing)
    except (AttributeError, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise Unsuitable(f"An image cannot be read: {error}.") from error
    return Volume(values, (x, y, z), (distance, down, across), tuple(ordered))


def _require_one_series(images: Sequence[Dataset]) -> None:
    if not images:
        raise Unsuitable("There is no image.", INCOMPLETE)
    for keyword in _SAME:
        found = {text_of(image.get(keyword)) for image in images}
        if len(found) > 1:
            raise Unsuitable(f"The images differ in {keyword}: they are not of one series.")


def _require_ct_thorax(image: Dataset) -> None:
    if image.get("SOPClassUID") != CTImageStorage:
        what = f"Not a CT: the series is {text_of(image.get('Modality')) or 'unknown'}."
        raise Unsuitable(what, KIND)
    part = text_of(image.get("BodyPartExamined"))
    if part != "CHEST":
        what = f"Not a thorax: Body Part Examined (0018,0015) is {part or 'empty'}."
        raise Unsuitable(what, KIND)
    if "AXIAL" not in (image.get("ImageType") or ()):
        raise Unsuitable("Not axial slices: Image Type (0008,0008) says so.", KIND)


def _height(image: Dataset) -> float:
    position = image.get("ImagePositionPatient")
    if position is None or len(position) != 3:
        raise Unsuitable("An image does not say where it lies: no Image Position (Patient).")
    return float(position[2])


def _distance(heights: Sequence[float]) -> float:
    """Return the distance of the slices."""
    steps = np.diff(heights)
    usual = float(np.median(steps))
    if usual <= 0:
        raise Unsuitable("Several slices lie at the same place.")
    for height, step in zip(heights, steps, strict=False):
        whole = round(float(step) / usual)
        if abs(step - usual) <= _UNEVEN * usual:
            continue
        if whole > 1 and abs(step - whole * usual) <= _UNEVEN * usual:
            what = f"Missing slices: {whole - 1} above z = {height:g} mm."
            raise Unsuitable(what, INCOMPLETE)
        raise Unsuitable(
            f"Uneven spacing: {step:g} mm above z = {height:g} mm, elsewhere {usual:g} mm."
        )
    return usual


def _hounsfield(image: Dataset) -> NDArray[np.float32]:
    slope, intercept = float(image.RescaleSlope), float(image.RescaleIntercept)
    return np.asarray(image.pixel_array * slope + intercept, dtype=np.float32)
