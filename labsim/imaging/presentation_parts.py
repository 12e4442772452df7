"""What a presentation state can be made of: window, area, shutter, marks and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A window (PS3.3 C.11.2).

    Parameters
    ----------
    center, width : float
        In what the image measures, such as HU.
    function : str
        VOI LUT Function (0028,1056): ``"LINEAR"``, ``"LINEAR_EXACT"`` or ``"SIGMOID"``.
    name : str
        Window Center & Width Explanation (0028,1055).
    """

    center: float
    width: float
    function: str = "LINEAR"
    name: str = ""


@dataclass(frozen=True)
class Area:
    """What is displayed of an image, and how large (PS3.3 C.10.4).

    Parameters
    ----------
    left, top, right, bottom : int
        First and last column and row, from 1, in the image as it is stored;
        0 stands for the edge of the image.
    mode : str
        Presentation Size Mode (0070,0100): ``"SCALE TO FIT"``, ``"TRUE SIZE"`` or ``"MAGNIFY"``.
    magnification : float
        Pixels of the screen for one of the image, for ``MAGNIFY``.
    """

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0
    mode: str = "SCALE TO FIT"
    magnification: float = 1.0


@dataclass(frozen=True)
class Shutter:
    """What is hidden of an image; several shapes hide what any of them hides (PS3.3 C.7.6.11).

    Parameters
    ----------
    rectangle : tuple of int
        First and last column, first and last row that are seen, from 1.
    circle : tuple of int
        Column and row of its middle, and its radius, in pixels.
    polygon : sequence of (column, row)
        Its corners.
    value : int
        P-value of what is hidden, 0 black to 65535 white.
    """

    rectangle: tuple[int, int, int, int] | None = None
    circle: tuple[int, int, int] | None = None
    polygon: Sequence[tuple[int, int]] = ()
    value: int = 0


@dataclass(frozen=True)
class Mark:
    """A graphic (PS3.3 C.10.5).

    Parameters
    ----------
    kind : str
        ``"POINT"``, ``"POLYLINE"``, ``"INTERPOLATED"``, ``"CIRCLE"`` (middle and a
        point on it) or ``"ELLIPSE"`` (ends of the long axis, then of the short one).
    points : sequence of (column, row)
        In pixels, from 0 at the upper left corner of the first pixel.
    layer : str
        The graphic layer; layers lie in the order in which they are first named.
    filled : bool
        Whether the inside is painted too.
    images : sequence of str
        SOP Instance UIDs of the images it is drawn on; all if left out.
    frames : sequence of int
        The frames it is drawn on, from 1, of an image with several; all if left out.
    units : str
        ``"PIXEL"`` of the image, or ``"DISPLAY"``: part of the displayed area, 0 to 1.
    """

    kind: str
    points: Sequence[tuple[float, float]]
    layer: str = "MARKS"
    filled: bool = False
    images: Sequence[str] = ()
    frames: Sequence[int] = ()
    units: str = "PIXEL"


@dataclass(frozen=True)
class Text:
    """Words beside a point, or in a box (PS3.3 C.10.5).

    Parameters
    ----------
    words : str
        What is written; may have several lines.
    at : tuple of float
        Column and row of the point they belong to.
    box : tuple of float
        Left, top, right and bottom of the box they are written into.
    layer, images, frames, units
        As of a `Mark`.
    pointing : bool
        Whether a line joins words and point.
    """

    words: str
    at: tuple[float, float] | None = None
    box: tuple[float, float, float, float] | None = None
    layer: str = "MARKS"
    images: Sequence[str] = ()
    frames: Sequence[int] = ()
    units: str = "PIXEL"
    pointing: bool = False


Annotation = Mark | Text
