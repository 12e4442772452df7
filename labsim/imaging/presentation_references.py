"""Which images, and which of their frames, a presentation state and its parts are about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from labsim.errors import LabError


class NotReferenced(LabError):
    """A presentation state says nothing of an image."""


def referenced(state: Dataset) -> Iterator[tuple[str, Dataset]]:
    """Yield each image that a state refers to: its series and the reference (PS3.3 C.11.11)."""
    for series in state.get("ReferencedSeriesSequence") or ():
        for reference in series.get("ReferencedImageSequence") or ():
            yield str(series.get("SeriesInstanceUID", "")), reference


def refers_to(state: Dataset, image: Dataset, frame: int = 1) -> bool:
    """Tell whether a presentation state is about a frame of an image.

    Parameters
    ----------
    state, image : Dataset
        Presentation state and image; both of one study (PS3.3 A.33.1).
    frame : int
        Counted from 1.
    """
    if state.get("StudyInstanceUID") != image.get("StudyInstanceUID"):
        return False
    return any(
        series == image.get("SeriesInstanceUID") and _names(reference, image, frame)
        for series, reference in referenced(state)
    )


def require_reference(state: Dataset, image: Dataset, frame: int) -> None:
    """Refuse an image that a state is not about.

    Raises
    ------
    NotReferenced
        If it is not.
    """
    if not refers_to(state, image, frame):
        label = state.get("ContentLabel") or "without a label"
        what = f"frame {frame} of image" if frame > 1 else "image"
        raise NotReferenced(
            f"Presentation state {label} does not refer to {what} {image.get('SOPInstanceUID')}.",
            "Apply it to an image of its Referenced Series Sequence (0008,1115).",
        )


def applies(item: Dataset, image: Dataset, frame: int) -> bool:
    """Tell whether an item of a state applies; one that names no image applies to all."""
    references = item.get("ReferencedImageSequence")
    return not references or any(_names(one, image, frame) for one in references)


def first_of(items: Iterable[Dataset] | None, image: Dataset, frame: int) -> Dataset | None:
    """Return the first item of a state's sequence that applies to a frame."""
    return next((item for item in items or () if applies(item, image, frame)), None)


def _names(reference: Dataset, image: Dataset, frame: int) -> bool:
    if reference.get("ReferencedSOPInstanceUID") != image.get("SOPInstanceUID"):
        return False
    frames = reference.get("ReferencedFrameNumber")
    if frames is None:
        return True
    return frame in ([int(n) for n in frames] if isinstance(frames, MultiValue) else [int(frames)])
