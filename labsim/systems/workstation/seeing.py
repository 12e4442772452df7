"""What an eye gets of an image: presentation state, window, monitor (PS3.4 annex N, PS3.14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from labsim.imaging.display import Monitor
from labsim.imaging.presentation_applying import apply, is_presentation_state, refers_to
from labsim.imaging.presentation_grey import grey, stored
from labsim.systems.facility import text_of

_LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue (PS3.3 C.7.6.3.1.2)


@dataclass(frozen=True)
class Seen:
    """One frame on the monitor.

    Parameters
    ----------
    image : Dataset
        What is shown.
    values : ndarray of uint8, (rows, columns) or (rows, columns, 3)
        P-values; of a colour image RGB.
    luminance : ndarray of float, (rows, columns)
        What an eye gets, cd/m².
    state : str
        Label of the presentation state that was applied; empty for none.
    """

    image: Dataset
    values: NDArray[np.uint8]
    luminance: NDArray[np.float64]
    state: str = ""


def see(image: Dataset, states: Sequence[Dataset], monitor: Monitor) -> Seen:
    """Show an image: by the newest state that refers to it, else by its own first window.

    Parameters
    ----------
    image : Dataset
        With pixels; of several frames the middle one is taken.
    states : sequence of Dataset
        Presentation states, the newest first.
    monitor : Monitor
        On which it is shown.

    Raises
    ------
    LabError
        If its pixels cannot be read, or the state cannot be applied.
    """
    frame = (int(image.get("NumberOfFrames") or 1) + 1) // 2
    state = next((each for each in states if refers_to(each, image, frame)), None)
    values = plain(image, frame) if state is None else apply(state, image, frame).values
    levels = values if values.ndim == 2 else np.rint(values @ _LUMA).astype(np.uint8)
    label = text_of(state.get("ContentLabel")) if state is not None else ""
    return Seen(image, values, monitor.shows(levels), label)


def newest_first(documents: Sequence[Dataset]) -> list[Dataset]:
    """Return the presentation states among documents, the last made first."""
    states = [each for each in documents if is_presentation_state(each)]
    return sorted(states, key=_made, reverse=True)


def plain(image: Dataset, frame: int) -> NDArray[np.uint8]:
    """Return P-values by what the image itself says (PS3.4 N.2 without a state)."""
    if int(image.get("SamplesPerPixel") or 1) == 3:
        values = stored(image, frame) / (2.0 ** int(image.BitsStored) - 1)
    else:
        values = grey(_own_state(image), image, frame)
    return np.asarray(np.rint(np.clip(values, 0, 1) * 255), dtype=np.uint8)


def _own_state(image: Dataset) -> Dataset:
    """Return the tables of an image in the places where a presentation state has them."""
    state = Dataset()
    for keyword in ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"):
        if keyword in image:
            state.add(image[keyword])
    item = Dataset()
    if image.get("VOILUTSequence"):
        item.VOILUTSequence = image.VOILUTSequence
    elif image.get("WindowCenter") is not None and image.get("WindowWidth") is not None:
        item.WindowCenter = _first(image.WindowCenter)
        item.WindowWidth = _first(image.WindowWidth)
        item.VOILUTFunction = image.get("VOILUTFunction") or "LINEAR"
    if item:
        state.SoftcopyVOILUTSequence = [item]
    inverse = image.get("PhotometricInterpretation") == "MONOCHROME1"  # low values are white
    state.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    return state


def _first(value: object) -> object:
    return value[0] if isinstance(value, (MultiValue, list)) else value


def _made(state: Dataset) -> tuple[str, str, str]:
    return (
        text_of(state.get("PresentationCreationDate")),
        text_of(state.get("PresentationCreationTime")),
        text_of(state.get("InstanceNumber")),
    )
