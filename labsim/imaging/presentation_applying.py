"""Applies presentation states: an image as somebody else wanted it to be seen (PS3.4 annex N).

The display pipeline of an Image Display actor that supports IHE RAD
Consistent Presentation of Images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from labsim.errors import LabError
from labsim.imaging.presentation_drawing import Sheet
from labsim.imaging.presentation_grey import grey, stored
from labsim.imaging.presentation_planes import shutter
from labsim.imaging.presentation_references import refers_to, require_reference
from labsim.imaging.presentation_space import place
from labsim.sop_classes import COLOR_STATE, GRAYSCALE_STATE

__all__ = ["Shown", "apply", "is_presentation_state", "refers_to"]

_KINDS = (GRAYSCALE_STATE, COLOR_STATE)


@dataclass(frozen=True)
class Shown:
    """A frame as a presentation state shows it.

    Parameters
    ----------
    values : ndarray of uint8, (rows, columns) or (rows, columns, 3)
        P-values, 0 to 255, as `labsim.imaging.display.Monitor.shows` takes
        them; of a colour image RGB.
    plain : ndarray of uint8
        The same without what is drawn over it.
    texts : tuple of str
        The texts that are written into it.
    layers : tuple of str
        The graphic layers that have something in them, the lowest first.
    """

    values: NDArray[np.uint8]
    plain: NDArray[np.uint8]
    texts: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def is_presentation_state(dataset: Dataset) -> bool:
    """Tell whether a data set is a presentation state that `apply` can apply."""
    return dataset.get("SOPClassUID") in _KINDS


def apply(
    state: Dataset,
    image: Dataset,
    frame: int = 1,
    *,
    screen: tuple[int, int] | None = None,
    pitch: float | None = None,
) -> Shown:
    """Return a frame as a presentation state wants it to be seen (PS3.4 N.2).

    Modality LUT, VOI LUT and Presentation LUT of the state make P-values; the
    image's own are not used. Then come shutters, rotation, flip and displayed
    area, and what is drawn over it, layer by layer.

    Parameters
    ----------
    state : Dataset
        A Grayscale (PS3.3 A.33.1) or Color (A.33.2) Softcopy Presentation State.
    image : Dataset
        An image that it refers to, with pixels.
    frame : int
        Counted from 1.
    screen : tuple of int, optional
        Rows and columns there are, for an area that is to be scaled to fit.
        Without it a pixel of the image is one of the result.
    pitch : float, optional
        Distance of the screen's pixels in mm, for an area in true size.

    Returns
    -------
    Shown
        The pixels to be displayed, and what is written into them.

    Raises
    ------
    NotReferenced
        If the state does not refer to the frame.
    LabError
        If it is no presentation state, not for such an image, or cannot be
        applied.
    """
    if not is_presentation_state(state):
        raise LabError(
            f"This is no presentation state: its SOP class is {state.get('SOPClassUID')}.",
            "Give a Grayscale or Color Softcopy Presentation State.",
        )
    require_reference(state, image, frame)
    values = _values(state, image, frame)
    if (hidden := shutter(state, image, frame)) is not None:
        values[hidden[0]] = hidden[1]
    placement = place(state, image, frame, screen, pitch)
    plain = _p_values(placement.picture(values))
    drawn = plain.copy()
    sheet = Sheet(state, image, frame, placement)
    layers = []
    for name, shade, mask, rim in sheet.layers():
        drawn[rim] = 0 if shade.mean() > 0.5 else 255
        drawn[mask] = _p_values(shade)
        layers.append(name)
    return Shown(drawn, plain, tuple(sheet.texts), tuple(layers))


def _values(state: Dataset, image: Dataset, frame: int) -> NDArray[np.float64]:
    """Return P-values, 0 to 1."""
    coloured = int(image.get("SamplesPerPixel") or 1) == 3
    if coloured != (state.SOPClassUID == COLOR_STATE):
        raise LabError(
            "A grayscale presentation state is for grey images, one of colour for coloured ones.",
            f"The image is {image.get('PhotometricInterpretation')}.",
        )
    return (
        stored(image, frame) / (2.0 ** int(image.BitsStored) - 1)
        if coloured
        else grey(state, image, frame)
    )


def _p_values(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
