"""From stored samples to what a screen shows: modality, VOI, colour (PS3.4 N.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi

from labsim.imaging.presentation_grey import window as windowed
from labsim.imaging.presentation_parts import Window

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


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
        return windowed(values, window.center, window.width, window.function)
    real = values[pixels != image.PixelPaddingValue] if "PixelPaddingValue" in image else values
    low, high = (float(real.min()), float(real.max())) if real.size else (0.0, 0.0)
    return np.clip((values.astype(float) - low) / max(high - low, 1e-9), 0, 1)


def suggested(image: Dataset) -> Window | None:
    """Return the first window that an image suggests, None if it suggests none."""
    center, width = (_first(image.get(key)) for key in ("WindowCenter", "WindowWidth"))
    if center is None or width is None:
        return None
    function = str(image.get("VOILUTFunction") or "LINEAR")
    narrowest = 1 if function == "LINEAR" else 1e-9
    return Window(center, max(width, narrowest), function if function in FUNCTIONS else "LINEAR")


def _first(value: Any) -> float | None:
    first = next(iter(value), None) if isinstance(value, MultiValue) else value
    return None if first in (None, "") else float(first)
