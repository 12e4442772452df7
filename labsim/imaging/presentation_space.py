"""Where a presentation state puts each point of an image on the screen (PS3.4 N.2.3).

The image is turned clockwise, then flipped from left to right (PS3.3 C.10.6);
of what comes out the displayed area is chosen and sized (PS3.3 C.10.4).
Points are (column, row), from 0 at the upper left corner of the first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from labsim.errors import LabError
from labsim.imaging.presentation_references import first_of

Points = NDArray[np.float64]
_LARGEST = 8192  # pixels a side; a wrong factor must not take all memory


@dataclass(frozen=True)
class Placement:
    """From image to screen.

    Parameters
    ----------
    columns, rows : int
        Size of the image.
    turn : int
        Image Rotation (0070,0042): 0, 90, 180 or 270 degrees, clockwise.
    flip : bool
        Image Horizontal Flip (0070,0041), after the turn.
    corner : tuple of int
        Column and row, in the turned image, where the displayed area begins.
    area : tuple of int
        How many columns and rows of the turned image are displayed.
    scale : tuple of float
        Pixels of the screen for one of the image, across and down.
    """

    columns: int
    rows: int
    turn: int = 0
    flip: bool = False
    corner: tuple[int, int] = (0, 0)
    area: tuple[int, int] = (1, 1)
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns on the screen."""
        across, down = (
            max(1, round(n * factor)) for n, factor in zip(self.area, self.scale, strict=True)
        )
        return down, across

    def turned(self, points: Points) -> Points:
        """Return where points of the image are after rotation and flip."""
        x, y = points[..., 0], points[..., 1]
        x, y = {
            0: (x, y),
            90: (self.rows - y, x),
            180: (self.columns - x, self.rows - y),
            270: (y, self.columns - x),
        }[self.turn]
        if self.flip:
            x = (self.rows if self.turn in (90, 270) else self.columns) - x
        return np.stack([x, y], axis=-1)

    def on_screen(self, points: Points, units: str) -> Points:
        """Return where points are on the screen.

        Parameters
        ----------
        points : ndarray, (n, 2)
            Columns and rows.
        units : str
            ``"PIXEL"`` of the image, or ``"DISPLAY"``: part of the displayed
            area, 0 to 1 (PS3.3 C.10.5).

        Raises
        ------
        LabError
            If they are in other units.
        """
        down, across = self.size
        if units == "DISPLAY":
            return points * (across, down)
        if units != "PIXEL":
            raise LabError(
                f"Annotations in units of {units or 'nothing'} cannot be placed.",
                "Use PIXEL or DISPLAY (PS3.3 C.10.5).",
            )
        return (self.turned(points) - self.corner) * (across / self.area[0], down / self.area[1])

    def picture(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Return pixels of the image as they are on the screen; beyond the image it is black."""
        turned = np.rot90(np.asarray(pixels, dtype=np.float64), -self.turn // 90)
        if self.flip:
            turned = turned[:, ::-1]
        (left, top), (across, down) = self.corner, self.area
        cut = np.zeros((down, across, *turned.shape[2:]))
        rows = slice(max(top, 0), min(top + down, turned.shape[0]))
        columns = slice(max(left, 0), min(left + across, turned.shape[1]))
        if rows.start < rows.stop and columns.start < columns.stop:
            cut[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = (
                turned[rows, columns]
            )
        return _stretched(_stretched(cut, 0, self.size[0]), 1, self.size[1])


def place(
    state: Dataset,
    image: Dataset,
    frame: int,
    screen: tuple[int, int] | None = None,
    pitch: float | None = None,
) -> Placement:
    """Return where a state puts an image.

    Parameters
    ----------
    state, image : Dataset
        Presentation state and image.
    frame : int
        Counted from 1.
    screen : tuple of int, optional
        Rows and columns there are, for ``SCALE TO FIT``. Without it a pixel of
        the image is one of the screen.
    pitch : float, optional
        Distance of the screen's pixels in mm, for ``TRUE SIZE``; likewise.

    Raises
    ------
    LabError
        If the state asks for something that cannot be done.
    """
    columns, rows = int(image.Columns), int(image.Rows)
    turn = int(state.get("ImageRotation") or 0) % 360
    if turn % 90:
        raise LabError(f"An image cannot be turned by {turn} degrees.", "Use 0, 90, 180 or 270.")
    whole = Placement(columns, rows, turn, state.get("ImageHorizontalFlip") == "Y")
    item = first_of(state.get("DisplayedAreaSelectionSequence"), image, frame) or Dataset()
    ends = _corners(item, columns, rows)
    # The middles of the two corner pixels. They are meant to be the upper left and the lower
    # right one after the turn; states that name them before it are understood too.
    middles = whole.turned(ends - 0.5)
    first, last = np.floor(middles.min(axis=0)), np.floor(middles.max(axis=0))
    area = (int(last[0] - first[0]) + 1, int(last[1] - first[1]) + 1)
    placed = Placement(
        *(columns, rows, turn, whole.flip),
        corner=(int(first[0]), int(first[1])),
        area=area,
        scale=_scale(item, area, turn, screen, pitch),
    )
    if max(*placed.size, *area) > _LARGEST:
        raise LabError(
            f"The displayed area would have {placed.size[0]} × {placed.size[1]} pixels.",
            f"Choose a smaller area or factor: {_LARGEST} a side are shown at most.",
        )
    return placed


def _corners(item: Dataset, columns: int, rows: int) -> Points:
    corners = (
        item.get("DisplayedAreaTopLeftHandCorner") or (1, 1),
        item.get("DisplayedAreaBottomRightHandCorner") or (columns, rows),
    )
    return np.array([[float(n) for n in corner] for corner in corners])


def _scale(
    item: Dataset,
    area: tuple[int, int],
    turn: int,
    screen: tuple[int, int] | None,
    pitch: float | None,
) -> tuple[float, float]:
    """Return how large a pixel is on the screen, across and down."""
    spacing = item.get("PresentationPixelSpacing")  # of rows, of columns
    ratio = item.get("PresentationPixelAspectRatio")
    tall, wide = (float(n) for n in spacing or ratio or (1, 1))
    if min(tall, wide) <= 0:
        raise LabError("The displayed area has pixels without a size.")
    if turn in (90, 270):
        tall, wide = wide, tall
    mode = item.get("PresentationSizeMode") or "SCALE TO FIT"
    if mode == "MAGNIFY":
        factor = float(item.get("PresentationPixelMagnificationRatio") or 1)
        return factor, factor * tall / wide
    if mode == "TRUE SIZE":
        if not spacing:
            raise LabError(
                "TRUE SIZE needs the size of a pixel.",
                "Presentation Pixel Spacing (0070,0101) is missing.",
            )
        return (wide / pitch, tall / pitch) if pitch else (1.0, tall / wide)
    if mode != "SCALE TO FIT":
        raise LabError(
            f"There is no Presentation Size Mode {mode!r}.",
            "Use SCALE TO FIT, TRUE SIZE or MAGNIFY (PS3.3 C.10.4).",
        )
    if screen is None:
        return 1.0, tall / wide
    factor = min(screen[1] / area[0], screen[0] / (area[1] * tall / wide))
    return factor, factor * tall / wide


def _stretched(values: NDArray[np.float64], axis: int, count: int) -> NDArray[np.float64]:
    """Return values with another number of them along an axis, interpolated linearly."""
    have = values.shape[axis]
    if count == have:
        return values
    at = np.clip((np.arange(count) + 0.5) * have / count - 0.5, 0, have - 1)
    before = np.floor(at).astype(int)
    after = np.minimum(before + 1, have - 1)
    shape = [1] * values.ndim
    shape[axis] = count
    part = (at - before).reshape(shape)
    return np.asarray(values.take(before, axis) * (1 - part) + values.take(after, axis) * part)
