"""Slices of a series, windowed as a viewer would show them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from labsim.errors import LabError
from labsim.widgets.picture import Picture


def hounsfield(image: Dataset) -> NDArray[np.float32]:
    """Return the modality values of an image: stored value × slope + intercept.

    PS3.3 C.11.1; Hounsfield units for a CT.

    Parameters
    ----------
    image : Dataset
        One frame with pixels.

    Returns
    -------
    ndarray of float32, (rows, columns)
    """
    slope, intercept = image.get("RescaleSlope", 1), image.get("RescaleIntercept", 0)
    values = image.pixel_array * float(slope) + float(intercept)
    return np.asarray(values, dtype=np.float32)


def windows(image: Dataset) -> dict[str, tuple[float, float]]:
    """Return the windows that an image suggests: name to centre and width."""
    centers, widths = _many(image.get("WindowCenter")), _many(image.get("WindowWidth"))
    names = _many(image.get("WindowCenterWidthExplanation"))
    pairs = zip(centers, widths, strict=False)
    return {
        names[n] if n < len(names) else f"window {n + 1}": (float(c), float(w))
        for n, (c, w) in enumerate(pairs)
    }


def apply_window(values: NDArray[np.float32], center: float, width: float) -> NDArray[np.float32]:
    """Map values to grey, 0 black to 1 white, by the linear VOI function (PS3.3 C.11.2.1.2.1)."""
    grey = (values - (center - 0.5)) / max(width - 1, 1e-6) + 0.5
    return np.asarray(np.clip(grey, 0, 1), dtype=np.float32)


def in_order(images: Sequence[Dataset]) -> list[Dataset]:
    """Sort axial slices from the feet to the head, by Image Position (Patient)."""
    return sorted(images, key=lambda image: float(image.ImagePositionPatient[2]))


def show_slices(images: Sequence[Dataset], window: str = "", count: int = 4) -> Picture:
    """Show some slices of a series beside each other.

    Parameters
    ----------
    images : sequence of Dataset
        A series.
    window : str
        Name of one of the windows that the images suggest; the first if left out.
    count : int
        How many slices.

    Raises
    ------
    LabError
        If there is no image, or it suggests no window of that name.
    """
    if not images:
        raise LabError("There is no image to show.", "Did the exam reach the PACS?")
    ordered = in_order(images)
    known = windows(ordered[0])
    name = window or next(iter(known), "")
    if name not in known:
        raise LabError(f"The images suggest no window {name!r}.", f"Use {', '.join(known)}.")
    chosen = [ordered[round(n)] for n in np.linspace(0, len(ordered) - 1, count + 2)[1:-1]]
    figure = Figure(figsize=(3 * count, 3.3), layout="constrained")
    for axes, image in zip(figure.subplots(1, count, squeeze=False)[0], chosen, strict=True):
        axes.imshow(apply_window(hounsfield(image), *known[name]), cmap="gray", vmin=0, vmax=1)
        axes.set_title(f"z = {float(image.ImagePositionPatient[2]):g} mm", fontsize=11)
        axes.set_axis_off()
    center, width = known[name]
    what = f"{ordered[0].get('StudyDescription', 'Images')}, {name.lower()} window"
    alt = (
        f"{what}: {count} of {len(ordered)} axial slices, centre {center:g} and width {width:g} HU."
    )
    return Picture.of(
        figure, alt, f"{what} ({center:g} / {width:g} HU)", width=min(960, 240 * count)
    )


def _many(value: object) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, (MultiValue, list)) else [str(value)]
