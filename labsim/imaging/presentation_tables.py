"""The lookup tables that a new presentation state gets, in the classes of highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from labsim.errors import ConfigurationError
from labsim.imaging.common import number
from labsim.imaging.presentation_parts import Window

_RESCALE = ("RescaleSlope", "RescaleIntercept", "RescaleType")


def tables(
    images: Sequence[Dataset], window: Window | tuple[float, float] | None, inverse: bool
) -> dict[str, Any]:
    """Return Modality, VOI and Presentation LUT as they are to be."""
    import highdicom as hd  # lazy: it takes half a second
    from highdicom.content import ReferencedImageSequence
    from highdicom.pr import SoftcopyVOILUTTransformation

    voi: list[tuple[Window | Dataset, list[Dataset]]]
    if window is None:
        voi = _suggested(images)
    else:
        voi = [(window if isinstance(window, Window) else Window(*window), list(images))]
    every = len(images)
    if len({image.get("PhotometricInterpretation") == "MONOCHROME1" for image in images}) > 1:
        raise ConfigurationError(
            "The images differ in their Photometric Interpretation.", "Make a state for each kind."
        )
    negative = images[0].get("PhotometricInterpretation") == "MONOCHROME1"
    return {
        "modality_lut_transformation": _modality(images),
        "voi_lut_transformations": [
            SoftcopyVOILUTTransformation(
                **_voi(one),
                referenced_images=None if len(those) == every else ReferencedImageSequence(those),
            )
            for one, those in voi
        ],
        "presentation_lut_transformation": hd.PresentationLUTTransformation(
            presentation_lut_shape="INVERSE" if negative != inverse else "IDENTITY"
        ),
    }


def _suggested(images: Sequence[Dataset]) -> list[tuple[Window | Dataset, list[Dataset]]]:
    """Return the first windows, or tables, that images suggest, each with those it is of."""
    found: dict[str, tuple[Window | Dataset, list[Dataset]]] = {}
    for image in images:
        wanted = _first(image)
        key = wanted.to_json() if isinstance(wanted, Dataset) else repr(wanted)
        found.setdefault(key, (wanted, []))[1].append(image)
    return list(found.values())


def _first(image: Dataset) -> Window | Dataset:
    """Return the first window of an image, else its first table, else a window for all values."""
    centers, widths = _many(image.get("WindowCenter")), _many(image.get("WindowWidth"))
    if centers and widths:
        names = _many(image.get("WindowCenterWidthExplanation")) or [""]
        function = str(image.get("VOILUTFunction") or "LINEAR")
        return Window(float(centers[0]), float(widths[0]), function, names[0])
    if suggested := image.get("VOILUTSequence"):
        return cast(Dataset, suggested[0])
    bits = int(image.BitsStored)
    low = -(2 ** (bits - 1)) if int(image.PixelRepresentation) else 0
    slope, intercept = _rescale(image)
    ends = sorted((low * slope + intercept, (low + 2**bits - 1) * slope + intercept))
    # From end to end the linear function is the identity (PS3.3 C.11.2.1.2.1).
    return Window(sum(ends) / 2 + 0.5, ends[1] - ends[0] + 1)


def _rescale(image: Dataset) -> tuple[float, float]:
    return float(image.get("RescaleSlope") or 1), float(image.get("RescaleIntercept") or 0)


def _voi(wanted: Window | Dataset) -> dict[str, Any]:
    import highdicom as hd  # lazy: it takes half a second

    if isinstance(wanted, Window):
        return {
            "window_center": float(number(wanted.center)),
            "window_width": float(number(wanted.width)),
            "window_explanation": wanted.name or None,
            "voi_lut_function": wanted.function,
        }
    return {"voi_luts": [hd.VOILUT.from_dataset(wanted)]}


def _modality(images: Sequence[Dataset]) -> Any:
    """Return the Modality LUT; a state has one for all its images (PS3.3 C.11.1)."""
    import highdicom as hd  # lazy: it takes half a second

    if any("ModalityLUTSequence" in image for image in images):
        raise ConfigurationError(
            "The images have a Modality LUT as a table.", "Use images with a rescale slope."
        )
    kinds = {tuple(str(image.get(keyword)) for keyword in _RESCALE) for image in images}
    if len(kinds) > 1:
        raise ConfigurationError(
            "The images differ in rescale slope or intercept.",
            "Make a presentation state for each: it has one Modality LUT.",
        )
    slope, intercept = _rescale(images[0])
    return hd.ModalityLUTTransformation(
        rescale_intercept=intercept,
        rescale_slope=slope,
        rescale_type=str(images[0].get("RescaleType") or "US"),
    )


def _many(value: object) -> list[str]:
    if value in (None, ""):
        return []
    return [str(one) for one in value] if isinstance(value, (MultiValue, list)) else [str(value)]
