"""Draws what a presentation state adds to an image: graphics, texts and overlays, by layers.

They are drawn on the screen, after the image was turned and sized, so that
lines are thin and letters upright whatever happens to the image (PS3.4 N.2.3.4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from labsim.errors import LabError
from labsim.imaging.font import glyphs
from labsim.imaging.presentation_planes import Mask, Shade, inside, plane, shade
from labsim.imaging.presentation_references import applies
from labsim.imaging.presentation_space import Placement, Points

_LINE = 10  # dots from one line of text to the next
_ROUND = 96  # how many corners a circle has


class Sheet:
    """What is drawn over one frame.

    Parameters
    ----------
    state, image : Dataset
        Presentation state and image.
    frame : int
        Counted from 1.
    placement : Placement
        Where the image is on the screen.

    Attributes
    ----------
    texts : list of str
        The texts, in the order in which they were written.
    """

    def __init__(self, state: Dataset, image: Dataset, frame: int, placement: Placement) -> None:
        self._state, self._image, self._frame = state, image, frame
        self._placement = placement
        self.texts: list[str] = []

    def layers(self) -> Iterator[tuple[str, Shade, Mask, Mask]]:
        """Yield name, shade, drawing and rim of each layer that has one, the lowest first.

        The shade is what the layer recommends, white if it recommends none
        (PS3.3 C.10.7). The rim is around letters: in black, or in white if
        they are dark, it keeps them readable on whatever lies below.
        """
        known = {
            str(layer.get("GraphicLayer")): layer
            for layer in self._state.get("GraphicLayerSequence") or ()
        }

        def height(name: str) -> float:
            # One that is not described is drawn all the same: what was marked must not be missed.
            return int(known[name].get("GraphicLayerOrder") or 0) if name in known else math.inf

        for name in sorted(self._used(), key=height):
            mask, words = (np.zeros(self._placement.size, dtype=bool) for _ in range(2))
            self._draw(name, mask, words)
            wanted = self._shade(known.get(name, Dataset()))
            yield name, wanted, mask | words, _around(words) & ~mask

    def _shade(self, layer: Dataset) -> Shade:
        value = layer.get("GraphicLayerRecommendedDisplayGrayscaleValue")
        colour = layer.get("GraphicLayerRecommendedDisplayCIELabValue")
        return shade(self._state, 65535 if value is None else int(value), colour)

    def _used(self) -> dict[str, None]:
        names = dict.fromkeys(name for _, name in self._overlays())
        return names | dict.fromkeys(str(item.get("GraphicLayer")) for item in self._items())

    def _overlays(self) -> Iterator[tuple[int, str]]:
        """Yield group and layer of each overlay that is activated (PS3.3 C.11.7)."""
        for group in range(0x6000, 0x6020, 2):
            layer = self._state.get((group, 0x1001))
            if layer is not None and layer.value:
                yield group, str(layer.value)

    def _items(self) -> Iterator[Dataset]:
        for item in self._state.get("GraphicAnnotationSequence") or ():
            if applies(item, self._image, self._frame):
                yield item

    def _draw(self, name: str, mask: Mask, words: Mask) -> None:
        for group, layer in self._overlays():
            if layer == name:
                bits = plane(self._state, self._image, group, self._frame)
                mask |= self._placement.picture(bits) >= 0.5
        for item in self._items():
            if str(item.get("GraphicLayer")) == name:
                for graphic in item.get("GraphicObjectSequence") or ():
                    self._graphic(graphic, mask)
                for text in item.get("TextObjectSequence") or ():
                    self._text(text, mask, words)

    def _graphic(self, graphic: Dataset, mask: Mask) -> None:
        points = _points(graphic.get("GraphicData"))
        kind, units = graphic.get("GraphicType"), str(graphic.get("GraphicAnnotationUnits", ""))
        if kind == "POINT":
            x, y = self._placement.on_screen(points[:1], units)[0]
            for dx, dy in ((3, 0), (0, 3)):
                stroke(mask, np.array([(x - dx, y - dy), (x + dx, y + dy)]))
            return
        line = self._placement.on_screen(outline(str(kind), points), units)
        stroke(mask, line)
        if graphic.get("GraphicFilled") == "Y":
            mask |= inside(line, mask.shape)

    def _text(self, text: Dataset, mask: Mask, written: Mask) -> None:
        words = str(text.get("UnformattedTextValue") or "")
        lines = [glyphs(line) for line in words.splitlines()] or [glyphs("")]
        height = _LINE * (len(lines) - 1) + lines[-1].shape[0]
        width = max(line.shape[1] for line in lines)
        box = self._box(text)
        anchor = self._anchor(text)
        if box is None and anchor is None:
            raise LabError(
                f"The text {words!r} has no place.", "It needs a bounding box or an anchor point."
            )
        if box is not None:
            left, top = box.min(axis=0)
            room = box.max(axis=0) - (left, top)
            scale = max(1, int(min(room[0] / max(width, 1), room[1] / height)))
            side = str(text.get("BoundingBoxTextHorizontalJustification") or "LEFT")
            left += (room[0] - width * scale) * {"LEFT": 0, "CENTER": 0.5}.get(side, 1)
        else:
            assert anchor is not None
            scale = 1 + min(mask.shape) // 600
            left, top = anchor[0] + 6 * scale, anchor[1] - 12 * scale - (height - 7) * scale
            # What would be cut off by the edge of the screen is moved inwards.
            left = max(0, min(left, mask.shape[1] - width * scale))
            top = max(0, min(top, mask.shape[0] - height * scale))
        if anchor is not None and text.get("AnchorPointVisibility") == "Y":
            middle = (left, top + height * scale) if box is None else box.mean(axis=0)
            stroke(mask, np.array([anchor, middle]))
        for number, line in enumerate(lines):
            _stamp(written, line, scale, round(left), round(top) + number * _LINE * scale)
        self.texts.append(words)

    def _box(self, text: Dataset) -> Points | None:
        corners = (
            text.get("BoundingBoxTopLeftHandCorner"),
            text.get("BoundingBoxBottomRightHandCorner"),
        )
        if not all(corners):
            return None
        units = str(text.get("BoundingBoxAnnotationUnits", ""))
        return self._placement.on_screen(np.concatenate([_points(c) for c in corners]), units)

    def _anchor(self, text: Dataset) -> NDArray[np.float64] | None:
        if not text.get("AnchorPoint"):
            return None
        units = str(text.get("AnchorPointAnnotationUnits", ""))
        return np.asarray(self._placement.on_screen(_points(text.AnchorPoint), units)[0])


def outline(kind: str, points: Points) -> Points:
    """Return the corners of the line that a graphic consists of (PS3.3 C.10.5.1.2).

    Parameters
    ----------
    kind : str
        Graphic Type (0070,0023): ``"POLYLINE"``, ``"INTERPOLATED"``,
        ``"CIRCLE"`` or ``"ELLIPSE"``.
    points : ndarray, (n, 2)
        Graphic Data (0070,0022).

    Raises
    ------
    LabError
        If it is another type, or has not the points it needs.
    """
    need = {"POLYLINE": 2, "INTERPOLATED": 2, "CIRCLE": 2, "ELLIPSE": 4}.get(kind)
    if need is None or len(points) < need:
        raise LabError(
            f"A graphic of type {kind or 'nothing'} with {len(points)} points cannot be drawn.",
            "It is a POINT, POLYLINE, INTERPOLATED, CIRCLE (2 points) or ELLIPSE (4 points).",
        )
    angle = np.linspace(0, 2 * np.pi, _ROUND + 1)[:, np.newaxis]
    if kind == "CIRCLE":  # its middle, and a point on it
        radius = np.hypot(*(points[1] - points[0]))
        return np.asarray(
            points[0] + radius * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
        )
    if kind == "ELLIPSE":  # the ends of its axes, the longer one first
        middle = points[:2].mean(axis=0)
        long, short = (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
        return np.asarray(middle + np.cos(angle) * long + np.sin(angle) * short)
    return _curve(points) if kind == "INTERPOLATED" and len(points) > 2 else points


def stroke(mask: Mask, line: Points) -> None:
    """Draw a line of one pixel through points; what is beyond the edge is left out."""
    # A point far outside must not make millions of steps: they end where nobody sees them.
    reach = 4.0 * max(mask.shape)
    near = np.clip(line, -reach, reach)
    for start, end in pairwise(near):
        steps = math.ceil(float(np.abs(end - start).max())) + 1
        x, y = np.floor(np.linspace(start, end, steps + 1)).astype(int).T
        seen = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
        mask[y[seen], x[seen]] = True


def _curve(points: Points) -> Points:
    """Return a smooth line through all points (a spline of Catmull and Rom)."""
    closed = np.array_equal(points[0], points[-1])
    before = points[-2] if closed else 2 * points[0] - points[1]
    after = points[1] if closed else 2 * points[-1] - points[-2]
    knots = np.concatenate([[before], points, [after]])
    t = np.linspace(0, 1, 16, endpoint=False)[:, np.newaxis]
    pieces = [
        b
        + t * (c - a) / 2
        + t**2 * (a - 2.5 * b + 2 * c - d / 2)
        + t**3 * (1.5 * (b - c) + (d - a) / 2)
        for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:], strict=False)
    ]
    return np.concatenate([*pieces, points[-1:]])


def _around(words: Mask) -> Mask:
    """Return the pixels beside those of letters."""
    wide = np.pad(words, 1)
    rows, columns = words.shape
    near = [wide[y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    return np.asarray(np.any(near, axis=0) & ~words)


def _stamp(mask: Mask, dots: Mask, scale: int, left: int, top: int) -> None:
    large = np.kron(dots, np.ones((scale, scale), dtype=bool))
    cut = large[max(-top, 0) :, max(-left, 0) :]
    place = mask[max(top, 0) :, max(left, 0) :][: cut.shape[0], : cut.shape[1]]
    place |= cut[: place.shape[0], : place.shape[1]]


def _points(data: object) -> Points:
    try:
        return np.asarray(data, dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise LabError(f"An annotation has no points: {error}.") from error
