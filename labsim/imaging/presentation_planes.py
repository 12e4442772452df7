"""What covers pixels of an image: display shutters, and the bits of overlays.

Shutters are laid on before the image is turned (PS3.4 N.2.3.1), so they are
given in pixels of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from labsim.errors import LabError
from labsim.sop_classes import COLOR_STATE

Mask = NDArray[np.bool_]
Shade = NDArray[np.float64]
_SHAPES = ("RECTANGULAR", "CIRCULAR", "POLYGONAL", "BITMAP")


def shutter(state: Dataset, image: Dataset, frame: int) -> tuple[Mask, Shade] | None:
    """Return which pixels a state's shutters hide, and what they show instead (PS3.3 C.7.6.11).

    Parameters
    ----------
    state, image : Dataset
        Presentation state and image.
    frame : int
        Counted from 1.

    Returns
    -------
    tuple of mask and shade
        None if the state has no shutter; those of the image do not count.

    Raises
    ------
    LabError
        If a shutter is not described completely.
    """
    shapes = state.get("ShutterShape")
    if not shapes:
        return None
    rows, columns = int(image.Rows), int(image.Columns)
    row, column = np.mgrid[1 : rows + 1, 1 : columns + 1]
    hidden = np.zeros((rows, columns), dtype=bool)
    for shape in [shapes] if isinstance(shapes, str) else shapes:
        try:
            hidden |= _hidden(str(shape), state, image, frame, row, column)
        except (AttributeError, TypeError, ValueError) as error:
            raise LabError(f"The {shape} shutter cannot be read: {error}.") from error
    value, colour = "ShutterPresentationValue", "ShutterPresentationColorCIELabValue"
    return hidden, shade(state, state.get(value) or 0, state.get(colour))


def shade(state: Dataset, value: int, colour: Sequence[int] | None) -> Shade:
    """Return what a grey or coloured screen shows for a value that a state recommends.

    Parameters
    ----------
    state : Dataset
        Presentation state; in one of colour the colour counts, if there is one.
    value : int
        P-value, 0 black to 65535 white.
    colour : sequence of int
        CIELab as DICOM writes it (PS3.3 C.10.7.1.1).

    Returns
    -------
    ndarray of float64
        One P-value, or RGB, 0 to 1.
    """
    if colour is None or state.get("SOPClassUID") != COLOR_STATE:
        return np.array([value / 65535])
    from highdicom.color import CIELabColor  # lazy: it takes half a second

    try:
        return (
            np.array(CIELabColor.from_dicom_value([int(n) for n in colour]).to_rgb(clip=True)) / 255
        )
    except (TypeError, ValueError) as error:
        raise LabError(f"A colour of the presentation state cannot be read: {error}") from error


def _hidden(
    shape: str,
    state: Dataset,
    image: Dataset,
    frame: int,
    row: NDArray[np.int64],
    column: NDArray[np.int64],
) -> Mask:
    if shape == "RECTANGULAR":
        seen = (column >= int(state.ShutterLeftVerticalEdge)) & (
            column <= int(state.ShutterRightVerticalEdge)
        )
        seen &= (row >= int(state.ShutterUpperHorizontalEdge)) & (
            row <= int(state.ShutterLowerHorizontalEdge)
        )
        return np.asarray(~seen)
    if shape == "CIRCULAR":
        down, across = (int(n) for n in state.CenterOfCircularShutter)
        radius = int(state.RadiusOfCircularShutter)
        return np.asarray((row - down) ** 2 + (column - across) ** 2 > radius**2)
    if shape == "POLYGONAL":
        vertices = np.array([float(n) for n in state.VerticesOfThePolygonalShutter]).reshape(-1, 2)
        return ~inside(vertices[:, ::-1] - 0.5, row.shape)
    if shape == "BITMAP":
        return plane(state, image, int(state.ShutterOverlayGroup), frame)
    raise LabError(f"There is no Shutter Shape {shape!r}.", f"Use {', '.join(_SHAPES)}.")


def plane(state: Dataset, image: Dataset, group: int, frame: int) -> Mask:
    """Return where the bits of an overlay are set, of the size of the image (PS3.3 C.9.2).

    Parameters
    ----------
    state, image : Dataset
        The overlay is taken from the state, or else from the image (PS3.3 C.11.7).
    group : int
        Its group, 0x6000 to 0x601E.
    frame : int
        Counted from 1.

    Raises
    ------
    LabError
        If neither has it.
    """
    source = next((one for one in (state, image) if (group, 0x3000) in one), None)
    if source is None:
        raise LabError(
            f"There is no overlay in group {group:04X}.",
            "Neither the presentation state nor the image has its Overlay Data.",
        )
    try:
        bits = source.overlay_array(group) > 0
        top, left = (int(n) - 1 for n in source[group, 0x0050].value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LabError(f"The overlay in group {group:04X} cannot be read: {error}.") from error
    if bits.ndim == 3:
        bits = bits[min(frame, len(bits)) - 1]
    rows, columns = int(image.Rows), int(image.Columns)
    placed = np.zeros((rows, columns), dtype=bool)
    below, right = min(rows, top + bits.shape[0]), min(columns, left + bits.shape[1])
    if below > max(top, 0) and right > max(left, 0):
        placed[max(top, 0) : below, max(left, 0) : right] = bits[
            max(-top, 0) : below - top, max(-left, 0) : right - left
        ]
    return placed


def inside(corners: NDArray[np.float64], shape: tuple[int, ...]) -> Mask:
    """Return which pixels have their middle inside of a polygon.

    Parameters
    ----------
    corners : ndarray, (n, 2)
        Columns and rows, from 0 at the upper left corner of the first pixel.
        The last is joined to the first.
    shape : tuple of int
        Rows and columns.
    """
    x, y = np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5
    found = np.zeros((shape[0], shape[1]), dtype=bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 == y2:
            continue
        first, last = math.ceil(min(y1, y2) - 0.5), math.ceil(max(y1, y2) - 0.5)
        lines = slice(max(first, 0), max(min(last, shape[0]), 0))
        crossing = x1 + (y[lines] - y1) / (y2 - y1) * (x2 - x1)
        found[lines] ^= x[np.newaxis, :] > crossing[:, np.newaxis]  # even-odd
    return found
