"""Shapes in space, painted where a plane cuts them.

Coordinates are the patient's (PS3.3 C.7.6.2.1.1) in mm: x to the left, y to
the back, z to the head. What is painted later covers what was painted earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Vector = tuple[float, float, float]
Box = tuple[slice, slice]  # rows and columns
FAR = 20.0  # mm
# How a row and a column run, as viewers expect them: the axis, and whether up or down it.
VIEWS = {
    "AXIAL": ((0, 1), (1, 1)),
    "SAGITTAL": ((1, 1), (2, -1)),
    "CORONAL": ((0, 1), (2, -1)),
}


@dataclass(frozen=True)
class Plane:
    """Where an image lies.

    Parameters
    ----------
    centre : tuple of float
        x, y, z of the middle of the image in mm.
    view : str
        A key of `VIEWS`.
    rows, columns : int
        Size in pixels.
    spacing : float
        Distance of pixel centres in mm.
    thickness : float
        Thickness of the slice in mm.
    """

    centre: Vector
    view: str
    rows: int
    columns: int
    spacing: float
    thickness: float = 0.0

    @property
    def directions(self) -> tuple[Vector, Vector]:
        """Directions of a row and of a column, as Image Orientation (0020,0037) gives them."""
        (right, to_right), (down, to_down) = VIEWS[self.view]
        row = [to_right if axis == right else 0 for axis in range(3)]
        column = [to_down if axis == down else 0 for axis in range(3)]
        return (row[0], row[1], row[2]), (column[0], column[1], column[2])

    @property
    def normal(self) -> int:
        """The axis that stands on the plane."""
        (right, _), (down, _) = VIEWS[self.view]
        return 3 - right - down

    @property
    def first(self) -> Vector:
        """Position of the centre of the first pixel, in mm."""
        (right, to_right), (down, to_down) = VIEWS[self.view]
        place = list(self.centre)
        place[right] -= to_right * self.spacing * (self.columns - 1) / 2
        place[down] -= to_down * self.spacing * (self.rows - 1) / 2
        return place[0], place[1], place[2]

    def part(self, rows: slice, columns: slice) -> Plane:
        """Return the plane of some of its rows and columns."""
        (right, to_right), (down, to_down) = VIEWS[self.view]
        place = list(self.first)
        place[right] += to_right * self.spacing * (columns.start + columns.stop - 1) / 2
        place[down] += to_down * self.spacing * (rows.start + rows.stop - 1) / 2
        return replace(
            self,
            centre=(place[0], place[1], place[2]),
            rows=rows.stop - rows.start,
            columns=columns.stop - columns.start,
        )

    def along(self, direction: Sequence[float]) -> tuple[Image, Image]:
        """Return what columns (as a row) and rows add to the position along a direction, in mm."""
        (right, to_right), (down, to_down) = VIEWS[self.view]
        start = np.float32(np.dot(direction, self.first))
        across = self.spacing * np.arange(self.columns) * (direction[right] * to_right)
        below = self.spacing * np.arange(self.rows) * (direction[down] * to_down)
        return (
            across.astype(np.float32)[np.newaxis, :] + start,
            below.astype(np.float32)[:, np.newaxis],
        )


@dataclass(frozen=True)
class Waves:
    """A smooth random pattern in space: a sum of plane waves of one length.

    Parameters
    ----------
    directions : ndarray, (n, 3)
        Wave vectors in radians per mm.
    phases : ndarray, (n,)
        In radians.
    """

    directions: NDArray[np.float64]
    phases: NDArray[np.float64]

    @classmethod
    def random(cls, rng: np.random.Generator, length: float, count: int = 8) -> Waves:
        """Choose waves of a length in mm that run in all directions."""
        directions = rng.standard_normal((count, 3))
        directions *= 2 * np.pi / length / np.linalg.norm(directions, axis=1, keepdims=True)
        return cls(directions, rng.uniform(0, 2 * np.pi, count))

    def on(self, plane: Plane) -> Image:
        """Return the pattern where a plane cuts it; its standard deviation in space is 1."""
        places = [plane.along(direction) for direction in self.directions]
        across = np.concatenate([columns for columns, _ in places])
        down = np.concatenate([rows for _, rows in places], axis=1)
        down += self.phases.astype(np.float32)
        # sin(a + b) = sin a cos b + cos a sin b: all waves are one product of matrices. The
        # threads of "@" would wait for each other longer than so small a product takes.
        rows = np.concatenate((np.cos(down), np.sin(down)), axis=1)
        columns = np.concatenate((np.sin(across), np.cos(across)))
        total = np.einsum("ik,kj->ij", rows, columns)
        return np.asarray(total * np.float32(np.sqrt(2 / len(places))))


class Section:
    """A plane that is being painted.

    Parameters
    ----------
    plane : Plane
        Where it lies.
    background : float
        Value of air.
    bend : sequence of three Waves
        Makes shapes irregular: displacement along x, y and z.
    amount : float
        Standard deviation of the displacement in mm.
    """

    def __init__(
        self, plane: Plane, background: float, bend: Sequence[Waves] = (), amount: float = 0.0
    ) -> None:
        self.plane = plane
        self.image: Image = np.full((plane.rows, plane.columns), background, dtype=np.float32)
        self._reach = 3 * amount + plane.spacing
        self._first = plane.first
        axes = []
        for index in range(3):
            across, down = plane.along(np.eye(3)[index])
            axis = across + down
            if bend:
                axis = axis + amount * bend[index].on(plane)
            axes.append(axis)
        self.x, self.y, self.z = axes

    def part(self, box: Box) -> Section:
        """Return some of the rows and columns; what is painted there is painted here."""
        part = copy(self)
        part.image, part.x, part.y, part.z = (
            values[box] for values in (self.image, self.x, self.y, self.z)
        )
        part.plane = self.plane.part(*box)
        part._first = part.plane.first
        return part

    def cover(self, distance: NDArray[np.floating[Any]]) -> Image:
        """Return how much of each pixel lies inside a surface, from the distance to it in mm."""
        spacing = np.float32(self.plane.spacing)
        return np.asarray(np.clip(np.float32(0.5) - distance / spacing, 0, 1), dtype=np.float32)

    def mix(self, cover: Image, value: float | Image) -> None:
        """Paint `value` where `cover` is 1, and in proportion where it is less."""
        self.image += cover * (value - self.image)

    def ellipsoid(
        self,
        centre: Vector,
        axes: Vector,
        value: float | Image,
        *,
        turn: Vector = (0, 0, 0),
        square: bool = False,
    ) -> None:
        """Paint an ellipsoid.

        Parameters
        ----------
        centre, axes : tuple of float
            Middle and half axes in mm.
        value : float, or ndarray of the size of the plane
            What to paint.
        turn : tuple of float
            Turns around x, y and z in radians, in this order.
        square : bool
            Whether it is rather a block with rounded edges.
        """
        normal = self.plane.normal
        if abs(centre[normal] - self._first[normal]) > max(axes) + self._reach or min(axes) <= 0:
            return
        matrix, reach = self._reaching(axes, turn)
        box = self._box(
            [place - half for place, half in zip(centre, reach, strict=True)],
            [place + half for place, half in zip(centre, reach, strict=True)],
        )
        if box is None:
            return
        distance = self._ellipsoid(box, centre, axes, matrix, square)
        patch = self.image[box]
        new = value[box] if isinstance(value, np.ndarray) else value
        patch += self.cover(distance) * (new - patch)

    def depth(self, centre: Vector, axes: Vector, turn: Vector = (0, 0, 0)) -> Image:
        """Return how deep each pixel lies in an ellipsoid, about, in mm.

        It is negative outside, and not computed where it is less than ``-FAR``.
        """
        depth = np.full_like(self.image, -2 * FAR)
        matrix, reach = self._reaching(axes, turn)
        box = self._box(
            [place - half - FAR for place, half in zip(centre, reach, strict=True)],
            [place + half + FAR for place, half in zip(centre, reach, strict=True)],
        )
        if box is not None:
            depth[box] = -self._ellipsoid(box, centre, axes, matrix, False)
        return depth

    def tube(
        self,
        points: Sequence[Vector],
        radii: Sequence[float] | float,
        value: float,
        *,
        wide: float = 0.0,
    ) -> None:
        """Paint a tube.

        Parameters
        ----------
        points : sequence of (x, y, z)
            The line in its middle, in mm.
        radii : float, or sequence of float
            Radius at each point in mm.
        value : float
            What to paint.
        wide : float
            How far the tube is drawn out along x, each way, into a band; in mm.
        """
        sizes = [radii] * len(points) if isinstance(radii, int | float) else list(radii)
        normal = self.plane.normal
        heights = [point[normal] - self._first[normal] for point in points]
        more = wide + self._reach
        for index, (a, b) in enumerate(pairwise(points)):
            r, s = sizes[index], sizes[index + 1]
            far = max(r, s) + more
            if min(heights[index : index + 2]) > far or max(heights[index : index + 2]) < -far:
                continue
            reach = (max(r, s) + wide, max(r, s), max(r, s))
            box = self._box(
                [min(one, other) - size for one, other, size in zip(a, b, reach, strict=True)],
                [max(one, other) + size for one, other, size in zip(a, b, reach, strict=True)],
            )
            if box is None:
                continue
            distance = self._capsule(box, a, b, r, s, wide)
            patch = self.image[box]
            patch += self.cover(distance) * (value - patch)

    @staticmethod
    def _reaching(axes: Vector, turn: Vector) -> tuple[NDArray[np.float32] | None, Vector]:
        """Return the matrix of a turn, if there is one, and how far an ellipsoid reaches then."""
        if not any(turn):
            return None, axes
        matrix = _turned(turn)
        a, b, c = np.abs(matrix) @ np.array(axes)
        return matrix, (float(a), float(b), float(c))

    def _at(self, box: Box, centre: Sequence[float]) -> tuple[Image, Image, Image]:
        x, y, z = (np.float32(value) for value in centre)
        return self.x[box] - x, self.y[box] - y, self.z[box] - z

    def _ellipsoid(
        self,
        box: Box,
        centre: Vector,
        axes: Vector,
        matrix: NDArray[np.float32] | None,
        square: bool,
    ) -> Image:
        x, y, z = self._at(box, centre)
        if matrix is not None:
            m = matrix
            x, y, z = (m[0, i] * x + m[1, i] * y + m[2, i] * z for i in range(3))
        a, b, c = (np.float32(axis) for axis in axes)
        x, y, z = x / a, y / b, z / c  # new arrays, so that they can be worked on in place
        near = np.float32(1e-6)  # in the middle of the ellipsoid, where the slope is nothing
        x *= x
        y *= y
        z *= z
        if square:
            radius = np.sqrt(np.sqrt(x * x + y * y + z * z))
            slope = np.sqrt(x * x * x / (a * a) + y * y * y / (b * b) + z * z * z / (c * c))
            slope /= radius * radius * radius + near
        else:
            radius = np.sqrt(x + y + z)
            slope = np.sqrt(x / (a * a) + y / (b * b) + z / (c * c)) / (radius + near)
        # The slope of the radius turns it into a distance that is right near the surface.
        return np.asarray((radius - 1) / (slope + near), dtype=np.float32)

    def _capsule(self, box: Box, a: Vector, b: Vector, r: float, s: float, wide: float) -> Image:
        x, y, z = self._at(box, a)
        if wide:
            x = np.sign(x) * np.maximum(np.abs(x) - np.float32(wide), 0)
        ex, ey, ez = (np.float32(end - start) for start, end in zip(a, b, strict=True))
        length = max(ex * ex + ey * ey + ez * ez, np.float32(1e-6))
        part = np.clip((x * ex + y * ey + z * ez) / length, 0, 1)
        away = np.sqrt((x - part * ex) ** 2 + (y - part * ey) ** 2 + (z - part * ez) ** 2)
        return np.asarray(away - (r + part * np.float32(s - r)), dtype=np.float32)

    def _box(self, low: Sequence[float], high: Sequence[float]) -> Box | None:
        """Return the rows and columns that a shape can touch; None if it is elsewhere."""
        plane, more = self.plane, self._reach
        normal, (columns, rows) = plane.normal, VIEWS[plane.view]
        if not low[normal] - more < self._first[normal] < high[normal] + more:
            return None
        ends = []
        for (axis, sign), count in ((rows, plane.rows), (columns, plane.columns)):
            near, far = (low[axis], high[axis]) if sign > 0 else (high[axis], low[axis])
            start = self._first[axis]
            first = max(0, int((sign * (near - start) - more) / plane.spacing))
            last = min(count, int((sign * (far - start) + more) / plane.spacing) + 2)
            if first >= last:
                return None
            ends.append(slice(first, last))
        return ends[0], ends[1]


def around(inside: NDArray[np.bool_]) -> Box | None:
    """Return the rows and columns that hold every pixel that is inside; None if none is."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not rows.size:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _turned(turn: Vector) -> NDArray[np.float32]:
    """Return the matrix of turns around x, then y, then z."""
    matrix = np.eye(3)
    for index, angle in enumerate(turn):
        if angle:
            cos, sin = np.cos(angle), np.sin(angle)
            one = np.eye(3)
            i, j = [k for k in range(3) if k != index]
            if index == 1:
                i, j = j, i
            one[i, i] = one[j, j] = cos
            one[i, j], one[j, i] = -sin, sin
            matrix = one @ matrix
    return matrix.astype(np.float32)
