"""Images as presentation states show them."""

from __future__ import annotations

from matplotlib.figure import Figure
from pydicom.dataset import Dataset

from labsim.imaging.presentation_applying import apply
from labsim.widgets.picture import Picture
from labsim.widgets.slices import where

_INCHES = 5.0  # of the longer side


def show_presentation(
    state: Dataset, image: Dataset, frame: int = 1, *, width: int = 560
) -> Picture:
    """Show an image as a presentation state wants it to be seen.

    Parameters
    ----------
    state : Dataset
        A Grayscale or Color Softcopy Presentation State.
    image : Dataset
        An image that it refers to, with pixels.
    frame : int
        Counted from 1.
    width : int
        Of the screen, and of the picture on the page, in CSS pixels.

    Raises
    ------
    LabError
        If the state does not refer to the image, or cannot be applied.
    """
    # Drawn for a screen of twice as many pixels, so that lines are thin and letters sharp.
    shown = apply(state, image, frame, screen=(2 * width, 2 * width))
    rows, columns = shown.values.shape[:2]
    figure = Figure(figsize=(_INCHES, _INCHES * rows / columns))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(shown.values, cmap="gray", vmin=0, vmax=255, aspect="auto")
    axes.set_axis_off()
    label = str(state.get("ContentLabel") or "presentation state")
    place = f"{where(image)}, frame {frame}" if image.get("NumberOfFrames") else where(image)
    name = state.get("ContentDescription") or label
    alt = f"{image.get('StudyDescription', 'Image')}, {place}, as {label} shows it: "
    alt += "; ".join(" ".join(words.split()) for words in shown.texts) or "nothing is written in it"
    return Picture.of(figure, f"{alt}.", f"{name} ({place})", width=width)
