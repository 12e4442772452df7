"""From stored values to P-values: the lookup tables of a presentation state (PS3.4 N.2.1).

The tables of the state take the place of those of the image. What the state
does not have is the identity, whatever the image says (PS3.4 N.2.1.1, N.2.1.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.utils import pixel_array

from labsim.errors import LabError
from labsim.imaging.presentation_references import first_of

Values = NDArray[np.float64]
_Range = tuple[float, float]


def grey(state: Dataset, image: Dataset, frame: int) -> Values:
    """Send a frame through Modality LUT, VOI LUT and Presentation LUT.

    Parameters
    ----------
    state, image : Dataset
        Presentation state, and an image with one sample per pixel.
    frame : int
        Counted from 1.

    Returns
    -------
    ndarray of float64, (rows, columns)
        P-values, 0 black to 1 white.

    Raises
    ------
    LabError
        If the state subtracts a mask, has a table that cannot be read, or the
        image has no pixels.
    """
    if state.get("MaskSubtractionSequence"):
        raise LabError(
            "The presentation state subtracts a mask (PS3.3 C.7.6.10), which is not done here.",
            "Use one without a Mask Subtraction Sequence (0028,6100).",
        )
    values, limits = _modality(state, image, stored(image, frame))
    item = first_of(state.get("SoftcopyVOILUTSequence"), image, frame)
    return _presentation(state, _of_interest(item, values, limits))


def stored(image: Dataset, frame: int) -> NDArray[Any]:
    """Return the stored values of a frame, colours as RGB.

    Raises
    ------
    LabError
        If there is no such frame, or it cannot be decoded.
    """
    count = int(image.get("NumberOfFrames") or 1)
    if not 1 <= frame <= count:
        raise LabError(f"The image has no frame {frame}.", f"Its frames are 1 to {count}.")
    try:
        return np.asarray(pixel_array(image, index=frame - 1))
    except (AttributeError, KeyError, ValueError, RuntimeError, NotImplementedError) as error:
        raise LabError(f"The pixels of the image cannot be read: {error}.") from error


def window(values: NDArray[Any], center: float, width: float, function: str = "LINEAR") -> Values:
    """Map values to grey by a window (PS3.3 C.11.2.1.2, C.11.2.1.3).

    Parameters
    ----------
    values : ndarray
        Output of the Modality LUT.
    center, width : float
        Window Center (0028,1050) and Window Width (0028,1051).
    function : str
        VOI LUT Function (0028,1056): ``"LINEAR"``, ``"LINEAR_EXACT"`` or ``"SIGMOID"``.

    Returns
    -------
    ndarray of float64
        0 black to 1 white.

    Raises
    ------
    LabError
        If there is no such function, or the window is too narrow for it.
    """
    if function not in _FUNCTIONS:
        raise LabError(
            f"There is no VOI LUT Function {function!r}.", f"Use {', '.join(_FUNCTIONS)}."
        )
    if width < 1 if function == "LINEAR" else width <= 0:
        raise LabError(
            f"A window of width {width:g} shows nothing.",
            "The width is at least 1, and for other functions than LINEAR above 0.",
        )
    return _FUNCTIONS[function](np.asarray(values, dtype=np.float64), center, width)


def _linear(values: Values, center: float, width: float) -> Values:
    if width == 1:
        return np.asarray(values > center - 0.5, dtype=np.float64)
    return np.asarray(np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1))


def _linear_exact(values: Values, center: float, width: float) -> Values:
    return np.asarray(np.clip((values - center) / width + 0.5, 0, 1))


def _sigmoid(values: Values, center: float, width: float) -> Values:
    # Beyond ±500 it is 0 or 1 to the last bit, and the exponential would overflow.
    return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -500, 500))))


_FUNCTIONS: dict[str, Callable[[Values, float, float], Values]] = {
    "LINEAR": _linear,
    "LINEAR_EXACT": _linear_exact,
    "SIGMOID": _sigmoid,
}


@dataclass(frozen=True)
class _Lookup:
    """A lookup table: what comes out for each value from the first on (PS3.3 C.11.1.1)."""

    first: int
    entries: NDArray[Any]
    bits: int

    @classmethod
    def of(cls, item: Dataset, signed: bool) -> _Lookup:
        try:
            count, first, bits = (int(n) for n in item.LUTDescriptor)
            count = count or 65536  # written as 0 (PS3.3 C.11.1.1.1)
            data = item.LUTData
            if isinstance(data, bytes):
                entries = np.frombuffer(data, np.uint8 if len(data) < 2 * count else "<u2")
            else:
                entries = np.atleast_1d(np.asarray(data, dtype=np.int64))
        except (AttributeError, TypeError, ValueError) as error:
            raise LabError(f"A lookup table cannot be read: {error}.") from error
        if len(entries) < count:
            raise LabError(f"A lookup table has {len(entries)} of {count} entries.")
        # Of signed input the first value is signed too, whatever its VR says.
        return cls(first - 65536 if signed and first > 32767 else first, entries[:count], bits)

    @property
    def highest(self) -> int:
        return int(2**self.bits - 1)

    def __call__(self, values: NDArray[Any]) -> Values:
        index = np.rint(values).astype(np.int64) - self.first
        return np.asarray(self.entries[np.clip(index, 0, len(self.entries) - 1)], dtype=np.float64)


def _modality(state: Dataset, image: Dataset, pixels: NDArray[Any]) -> tuple[Values, _Range]:
    """Return the output of the Modality LUT, and between what it can be (PS3.3 C.11.1)."""
    bits, signed = int(image.BitsStored), int(image.PixelRepresentation) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if tables := state.get("ModalityLUTSequence"):
        lookup = _Lookup.of(tables[0], signed)
        return lookup(pixels), (0, lookup.highest)
    slope = float(state.get("RescaleSlope") or 1)
    intercept = float(state.get("RescaleIntercept") or 0)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return pixels * slope + intercept, (ends[0], ends[1])


def _of_interest(item: Dataset | None, values: Values, limits: _Range) -> Values:
    """Return the output of the VOI LUT, 0 to 1 (PS3.3 C.11.8)."""
    low, high = limits
    if item is None:  # the identity
        return np.asarray((values - low) / (high - low))
    if tables := item.get("VOILUTSequence"):
        lookup = _Lookup.of(tables[0], low < 0)
        return lookup(values) / lookup.highest
    center, width = _first(item.get("WindowCenter")), _first(item.get("WindowWidth"))
    if center is None or width is None:
        raise LabError("An item of the Softcopy VOI LUT Sequence has neither window nor table.")
    return window(values, center, width, str(item.get("VOILUTFunction") or "LINEAR"))


def _presentation(state: Dataset, values: Values) -> Values:
    """Return P-values, 0 to 1 (PS3.3 C.11.6)."""
    if tables := state.get("PresentationLUTSequence"):
        lookup = _Lookup.of(tables[0], signed=False)
        return lookup(lookup.first + values * (len(lookup.entries) - 1)) / lookup.highest
    shape = state.get("PresentationLUTShape") or "IDENTITY"
    if shape not in ("IDENTITY", "INVERSE"):
        raise LabError(
            f"A presentation state has no Presentation LUT Shape {shape!r}.",
            "It is IDENTITY or INVERSE (PS3.3 C.11.6).",
        )
    return 1 - values if shape == "INVERSE" else values


def _first(value: object) -> float | None:
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return None if value in (None, "") else float(str(value))
