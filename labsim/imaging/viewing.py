"""From stored samples to what a screen shows: modality, VOI, colour (PS3.4 N.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi

LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"
FUNCTIONS = (LINEAR, LINEAR_EXACT, SIGMOID)


@dataclass(frozen=True)
class Window:
    """Which values are shown between black and white (PS3.3 C.11.2.1.2).

    Parameters
    ----------
    center, width : float
        In the unit of the values, such as HU.
    function : str
        VOI LUT Function (0028,1056): one of `FUNCTIONS`.
    """

    center: float
    width: float
    function: str = LINEAR

    def applied(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return values as grey, 0 black to 1 white."""
        if self.function == SIGMOID:
            steep = np.clip(-4 * (values - self.center) / self.width, -700, 700)
            return np.asarray(1 / (1 + np.exp(steep)))
        if self.function == LINEAR_EXACT:
            return np.clip((values - self.center) / self.width + 0.5, 0, 1)
        if self.width <= 1:  # a threshold
            return np.asarray(values > self.center - 0.5, dtype=np.float64)
        return np.clip((values - (self.center - 0.5)) / (self.width - 1) + 0.5, 0, 1)


def shown(image: Dataset, pixels: NDArray[Any], window: Window | None = None) -> NDArray[np.uint8]:
    """Return one frame as a screen shows it.

    Parameters
    ----------
    image : Dataset
        What says how.
    pixels : ndarray
        The samples as stored, rows and columns, colours as RGB.
    window : Window, optional
        Instead of what the image suggests first.

    Returns
    -------
    ndarray
        Grey of 8 bits, or RGB.
    """
    if image.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(pixels, image)
        return np.asarray(coloured // (257 if coloured.dtype == np.uint16 else 1), np.uint8)
    if pixels.ndim == 3:
        return np.asarray(pixels >> max(image.BitsStored - 8, 0), np.uint8)
    grey = _grey(image, pixels, window)
    if image.PhotometricInterpretation == "MONOCHROME1":  # the lowest value is white
        grey = 1 - grey
    return np.asarray(np.round(255 * grey), np.uint8)


def _grey(image: Dataset, pixels: NDArray[Any], window: Window | None) -> NDArray[np.float64]:
    values = apply_modality_lut(pixels, image)
    if window is None and image.get("VOILUTSequence"):
        bits = int(image.VOILUTSequence[0].LUTDescriptor[2])
        return np.asarray(apply_voi(values, image) / (2**bits - 1), float)
    window = window or suggested(image)
    if window is not None:
        return window.applied(values.astype(float))
    real = values[pixels != image.PixelPaddingValue] if "PixelPaddingValue" in image else values
    low, high = (float(real.min()), float(real.max())) if real.size else (0.0, 0.0)
    return np.clip((values.astype(float) - low) / max(high - low, 1e-9), 0, 1)


def suggested(image: Dataset) -> Window | None:
    """Return the first window that an image suggests, None if it suggests none."""
    center, width = (_first(image.get(key)) for key in ("WindowCenter", "WindowWidth"))
    if center is None or width is None:
        return None
    function = str(image.get("VOILUTFunction") or LINEAR)
    return Window(center, max(width, 1e-9), function if function in FUNCTIONS else LINEAR)


def _first(value: Any) -> float | None:
    first = next(iter(value), None) if isinstance(value, MultiValue) else value
    return None if first in (None, "") else float(first)
