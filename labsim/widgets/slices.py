"""Images of a series, windowed as a viewer would show them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from labsim.errors import LabError
from labsim.imaging.presentation_grey import window as window_of
from labsim.widgets.picture import Picture


def values_of(image: Dataset) -> NDArray[np.float32]:
    """Return what an image measured: stored value × slope + intercept (PS3.3 C.11.1).

    Hounsfield units for a CT. Of several frames the middle one is taken, of
    colours their mean.

    Parameters
    ----------
    image : Dataset
        With pixels.

    Returns
    -------
    ndarray of float32, (rows, columns)
    """
    pixels = image.pixel_array
    frames = int(image.get("NumberOfFrames") or 1)
    if frames > 1:
        pixels = pixels[frames // 2]
    if image.get("SamplesPerPixel") == 3:
        pixels = pixels.mean(axis=-1)
    slope, intercept = image.get("RescaleSlope") or 1, image.get("RescaleIntercept") or 0
    return np.asarray(pixels * float(slope) + float(intercept), dtype=np.float32)


def windows(image: Dataset) -> dict[str, tuple[float, float]]:
    """Return the windows that an image suggests: name to centre and width.

    One that suggests none gets one that shows all of its values.
    """
    centers, widths = _many(image.get("WindowCenter")), _many(image.get("WindowWidth"))
    names = _many(image.get("WindowCenterWidthExplanation"))
    pairs = zip(centers, widths, strict=False)
    if not centers:
        return {"ALL": _whole_range(image)}
    return {
        names[n] if n < len(names) else f"window {n + 1}": (float(c), float(w))
        for n, (c, w) in enumerate(pairs)
    }


def apply_window(values: NDArray[np.float32], center: float, width: float) -> NDArray[np.float32]:
    """Map values to grey, 0 black to 1 white, by the linear VOI function (PS3.3 C.11.2.1.2.1)."""
    return window_of(values, center, max(width, 1)).astype(np.float32)


def in_order(images: Sequence[Dataset]) -> list[Dataset]:
    """Sort images along the normal of their plane, those without a position by their number."""
    return sorted(images, key=_place)


def where(image: Dataset) -> str:
    """Say where in the patient, or in the series, an image is."""
    if "ImagePositionPatient" in image:
        return f"{_place(image):g} mm"
    return f"image {image.get('InstanceNumber', '?')}"


def show_slices(images: Sequence[Dataset], window: str = "", count: int = 4) -> Picture:
    """Show some images of a series beside each other.

    Parameters
    ----------
    images : sequence of Dataset
        A series.
    window : str
        Name of one of the windows that the images suggest; the first if left out.
    count : int
        How many images, at most.

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
    chosen = _spread(ordered, count)
    count = len(chosen)
    figure = Figure(figsize=(3 * count, 3.3), layout="constrained")
    for axes, image in zip(figure.subplots(1, count, squeeze=False)[0], chosen, strict=True):
        grey = apply_window(values_of(image), *known[name])
        if image.get("PhotometricInterpretation") == "MONOCHROME1":  # low values are white
            grey = 1 - grey
        axes.imshow(grey, cmap="gray", vmin=0, vmax=1)
        axes.set_title(where(image), fontsize=11)
        axes.set_axis_off()
    center, width = known[name]
    what = f"{ordered[0].get('StudyDescription', 'Images')}, {name.lower()} window"
    alt = f"{what}: {count} of {len(ordered)} images, centre {center:g} and width {width:g}."
    return Picture.of(figure, alt, f"{what} ({center:g} / {width:g})", width=min(960, 240 * count))


def _place(image: Dataset) -> float:
    if "ImagePositionPatient" not in image:
        return float(image.get("InstanceNumber") or 0)
    rows = np.array([float(part) for part in image.ImageOrientationPatient])
    normal = np.cross(rows[:3], rows[3:])
    return round(float(normal @ [float(part) for part in image.ImagePositionPatient]), 3)


def _spread(images: list[Dataset], count: int) -> list[Dataset]:
    """Choose `count` images evenly; all if there are not more."""
    if len(images) <= count:
        return images
    return [images[round(n)] for n in np.linspace(0, len(images) - 1, count + 2)[1:-1]]


def _whole_range(image: Dataset) -> tuple[float, float]:
    values = values_of(image)
    low, high = float(values.min()), float(values.max())
    return (low + high) / 2, max(high - low, 1.0)


def _many(value: object) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, (MultiValue, list)) else [str(value)]
