"""Pictures for a browser, as the query parameters of PS3.18 8.3.5 want them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from labsim.imaging.presentation_parts import Window
from labsim.imaging.viewing import FUNCTIONS, shown
from labsim.wire.http import HttpError

if TYPE_CHECKING:
    from PIL import Image

JPEG, PNG, GIF = "image/jpeg", "image/png", "image/gif"
KINDS = (JPEG, PNG, GIF)  # the default first (PS3.18 table 8.7.4-1)
_LARGEST = 8192  # pixels of a side
_GIF_MS = 100  # of each frame, if the image does not say


@dataclass(frozen=True)
class Viewport:
    """Where a picture is to fit in, and which part of the image it shows (8.3.5.1.3).

    Parameters
    ----------
    width, height : int
        Pixels of the picture, at most.
    region : sequence of float
        Left and upper edge, width and height of the part, in pixels of the image. A
        negative width or height turns it round; one that is missing means all.
    """

    width: int
    height: int
    region: Sequence[float | None] = (None, None, None, None)


@dataclass(frozen=True)
class Look:
    """How to render.

    Parameters
    ----------
    window : Window, optional
        Instead of the one that the image suggests.
    viewport : Viewport, optional
        Its own size if left out.
    quality : int
        Of a JPEG, 1 to 100.
    """

    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = 90


def look_of(parameters: Mapping[str, str]) -> Look:
    """Return what query parameters ask for; 400 if it makes no sense."""
    window, viewport = parameters.get("window", ""), parameters.get("viewport", "")
    quality = parameters.get("quality", "") or "90"
    if not quality.isdecimal() or not 1 <= int(quality[:4]) <= 100:
        raise HttpError(400, f"The quality is 1 to 100, not {quality[:20]!r}.")
    return Look(
        _window(window) if window else None,
        _viewport(viewport) if viewport else None,
        int(quality),
    )


def picture(image: Dataset, number: int, look: Look) -> Image.Image:
    """Return one frame as a picture.

    Parameters
    ----------
    image : Dataset
        Uncompressed.
    number : int
        Of the frame, from 1.
    look : Look
        How.
    """
    return framed(shown(image, pixel_array(image, index=number - 1), look.window), look)


def framed(pixels: NDArray[np.uint8], look: Look) -> Image.Image:
    """Return what a screen shows as a picture, in its viewport."""
    from PIL import Image  # loaded when needed: importing the lab must not load what draws

    made = Image.fromarray(pixels)
    return made if look.viewport is None else _fitted(made, look.viewport)


def encoded(pictures: Sequence[Image.Image], kind: str, quality: int, *, delay: int = 0) -> bytes:
    """Return pictures as a file of a media type; more than one as a GIF that moves."""
    buffer = BytesIO()
    first, *rest = pictures
    if kind == GIF and rest:
        delay = delay or _GIF_MS
        first.save(buffer, "GIF", save_all=True, append_images=rest, duration=delay, loop=0)
    elif kind == JPEG:
        first.save(buffer, "JPEG", quality=quality)
    else:
        first.save(buffer, kind.partition("/")[2].upper())
    return buffer.getvalue()


def delay_of(image: Dataset) -> int:
    """Return how long a frame is shown, ms; 0 if the image does not say."""
    try:
        return round(float(image.get("FrameTime") or 0))
    except (ValueError, TypeError):
        return 0


def _window(written: str) -> Window:
    parts = written.split(",")
    function = parts[2].strip().upper().replace("-", "_") if len(parts) == 3 else ""
    values = _numbers(parts[:2])
    if function not in FUNCTIONS or values is None or values[0] is None or values[1] is None:
        raise HttpError(
            400,
            f"{written[:64]!r} is no window.",
            "Write window=center,width,function with linear, linear-exact or sigmoid.",
        )
    if values[1] < (1 if function == "LINEAR" else 1e-6):
        raise HttpError(400, f"No window has a width of {values[1]:g}.")
    return Window(values[0], values[1], function)


def _viewport(written: str) -> Viewport:
    parts = written.split(",")
    size, region = _numbers(parts[:2]), _numbers(parts[2:])
    if len(parts) not in (2, 6) or size is None or region is None or None in size:
        raise HttpError(
            400, f"{written[:64]!r} is no viewport.", "Write viewport=width,height[,x,y,w,h]."
        )
    sides = [int(side) for side in size if side is not None]
    if not all(1 <= side <= _LARGEST for side in sides) or 0 in region[2:]:
        raise HttpError(400, f"A viewport has 1 to {_LARGEST} pixels a side, and shows something.")
    return Viewport(sides[0], sides[1], region or (None, None, None, None))


def _numbers(parts: Sequence[str]) -> list[float | None] | None:
    """Return numbers, None in place of one that is empty; None if something is no number."""
    try:
        found = [float(part) if part.strip() else None for part in parts]
    except ValueError:
        return None
    return found if all(one is None or math.isfinite(one) for one in found) else None


def _fitted(made: Image.Image, viewport: Viewport) -> Image.Image:
    """Show a part of a picture as large as fits in, without changing its proportions."""
    from PIL import Image

    x, y, w, h = viewport.region
    left, top = x or 0.0, y or 0.0
    width = made.width - left if w is None else w
    height = made.height - top if h is None else h
    box = (left, top, min(left + abs(width), made.width), min(top + abs(height), made.height))
    if left < 0 or top < 0 or box[2] - left < 1 or box[3] - top < 1:
        raise HttpError(400, f"The image has {made.width} by {made.height} pixels, and none there.")
    scale = min(viewport.width / (box[2] - left), viewport.height / (box[3] - top))
    sides = (max(round((box[2] - left) * scale), 1), max(round((box[3] - top) * scale), 1))
    fitted = made.resize(sides, Image.Resampling.BILINEAR, box=box, reducing_gap=None)
    turned = np.asarray(fitted)[:: -1 if height < 0 else 1, :: -1 if width < 0 else 1]
    return Image.fromarray(np.ascontiguousarray(turned))
