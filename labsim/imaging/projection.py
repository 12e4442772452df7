"""What radiographs share: a beam, what it passes through, and a film that is developed.

Shapes are given in mm on the film: x to the right, y down, the middle is
(0, 0). Each adds what it stops of the beam, so things that lie behind each
other add up as they do in a radiograph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labsim.imaging.font import glyphs

Image = NDArray[np.float32]
Point = tuple[float, float]
Box = tuple[slice, slice]

SPONGY = 0.3  # what the inside of a bone stops, against its wall
TILE = 256  # pixels after which a texture repeats


@dataclass(frozen=True)
class Beam:
    """How much of the beam a millimetre stops.

    Parameters
    ----------
    kvp : float
        Tube voltage in kV; the higher, the less difference between the tissues.
    """

    kvp: float

    @property
    def tissue(self) -> float:
        """Soft tissue, per mm."""
        return 0.0205 * float((60 / self.kvp) ** 0.33)

    @property
    def bone(self) -> float:
        """Compact bone, over the soft tissue in its place, per mm."""
        return 0.075 * float((60 / self.kvp) ** 1.15)

    @property
    def lead(self) -> float:
        """A lead letter."""
        return 3.2


def curve(knots: ArrayLike, values: ArrayLike) -> Callable[[ArrayLike], Image]:
    """Return a smooth curve through points, without overshoot, level outside of them.

    Parameters
    ----------
    knots : array-like of float
        Where; ascending.
    values : array-like of float
        How much.
    """
    x, y = np.asarray(knots, np.float64), np.asarray(values, np.float64)
    slope = np.diff(y) / np.diff(x)
    tangent = np.zeros_like(y)
    same = slope[:-1] * slope[1:] > 0
    # The harmonic mean keeps each piece between its ends (Fritsch and Carlson, 1980).
    tangent[1:-1][same] = 2 / (1 / slope[:-1][same] + 1 / slope[1:][same])
    tangent[0], tangent[-1] = slope[0], slope[-1]

    def at(where: ArrayLike) -> Image:
        place = np.clip(np.asarray(where, np.float64), x[0], x[-1])
        k = np.clip(np.searchsorted(x, place, "right") - 1, 0, len(slope) - 1)
        width = x[k + 1] - x[k]
        t = (place - x[k]) / width
        low = y[k] * (1 + 2 * t) + tangent[k] * width * t
        high = y[k + 1] * (3 - 2 * t) - tangent[k + 1] * width * (1 - t)
        return np.asarray(low * (1 - t) ** 2 + high * t**2, np.float32)

    return at


class Film:
    """A film on which shadows fall.

    Parameters
    ----------
    rows, columns : int
        Size in pixels.
    spacing : float
        Distance of pixel centres in mm.
    beam : Beam
        What shines on it.
    shift : tuple of float
        Where in mm the middle of the body part comes to lie; not in the middle
        when it was badly placed.
    """

    def __init__(
        self, rows: int, columns: int, spacing: float, beam: Beam, shift: Point = (0.0, 0.0)
    ) -> None:
        self.spacing, self.beam = spacing, beam
        self.x = _axis(columns, spacing, shift[0])[np.newaxis, :]
        self.y = _axis(rows, spacing, shift[1])[:, np.newaxis]
        self._first = float(self.x[0, 0]), float(self.y[0, 0])
        self.depth: Image = np.zeros((rows, columns), np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.depth.shape[0], self.depth.shape[1]

    def box(self, left: float, right: float, top: float, bottom: float) -> Box:
        """Return the rows and columns of a rectangle in mm, as far as it lies on the film."""
        rows, columns = self.shape
        return (
            self._range(self._first[1], rows, top, bottom),
            self._range(self._first[0], columns, left, right),
        )

    def _range(self, first: float, count: int, low: float, high: float) -> slice:
        start = int((low - first) / self.spacing) - 1
        stop = int((high - first) / self.spacing) + 2
        return slice(min(max(start, 0), count), min(max(stop, 0), count))

    def ellipsoid(
        self,
        center: Point,
        half: tuple[float, float, float],
        mu: float,
        *,
        tilt: float = 0.0,
        power: int = 2,
        wall: float = 0.0,
        texture: Image | None = None,
        union: Union | None = None,
    ) -> None:
        """Add an ellipsoid.

        Parameters
        ----------
        center : tuple of float
            x, y.
        half : tuple of float
            Half axes along x, along y, and along the beam.
        mu : float
            What a millimetre of it stops.
        tilt : float
            Turn in radians, clockwise on the film.
        power : int
            2 for an ellipse, 4 or 6 for a squarer outline.
        wall : float
            Thickness of a compact wall around a spongy inside. Solid if 0.
        texture : ndarray of the film's size
            What to multiply the inside with.
        union : Union
            Where to add it instead of the film.
        """
        a, b, c = half
        reach = max(a, b) if tilt else 0.0
        rows, columns = self.box(
            center[0] - max(a, reach),
            center[0] + max(a, reach),
            center[1] - max(b, reach),
            center[1] + max(b, reach),
        )
        dx, dy = self.x[:, columns] - np.float32(center[0]), self.y[rows] - np.float32(center[1])
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        u, v = dx * cos + dy * sin, dy * cos - dx * sin

        def path(shrink: float) -> Image:
            small = [np.float32(max(axis - shrink, 0.1)) for axis in (a, b, c)]
            return _dome(u / small[0], v / small[1], power) * (2 * small[2])

        if union is not None:
            union.add((rows, columns), path(0.0), path(wall))
        elif wall:
            self._bone((rows, columns), path(0.0), path(wall), mu, texture)
        else:
            self.depth[rows, columns] += path(0.0) * mu

    def column(
        self,
        rows_at: ArrayLike,
        left: ArrayLike,
        right: ArrayLike,
        half_depth: ArrayLike,
        mu: float,
        *,
        power: int = 2,
    ) -> None:
        """Add a body that is an ellipse in each cross section.

        Parameters
        ----------
        rows_at : array-like of float
            Heights y at which it is described, ascending; in between it is smooth.
        left, right : array-like of float
            x of its borders there.
        half_depth : array-like of float
            Half its depth along the beam there.
        mu : float
            What a millimetre of it stops.
        power : int
            2 for an ellipse, 4 or 6 for a squarer cross section.
        """
        box, path = self.section(rows_at, left, right, half_depth, power=power)
        self.depth[box] += path * np.float32(mu)

    def section(
        self,
        rows_at: ArrayLike,
        left: ArrayLike,
        right: ArrayLike,
        half_depth: ArrayLike,
        *,
        power: int = 2,
    ) -> tuple[Box, Image]:
        """Return where such a body is, and the length of the way through it in mm."""
        reach = float(np.min(left)), float(np.max(right))
        box = self.box(*reach, float(np.min(rows_at)), float(np.max(rows_at)))
        y, x = self.y[box[0]], self.x[:, box[1]]
        low, high = curve(rows_at, left)(y), curve(rows_at, right)(y)
        middle, half = (low + high) / 2, np.maximum((high - low) / 2, np.float32(1e-3))
        rim = 1 - _power((x - middle) / half, power)
        return box, np.sqrt(np.maximum(rim, 0)) * (2 * curve(rows_at, half_depth)(y))

    def bone(
        self,
        start: Point,
        end: Point,
        outline: Sequence[tuple[float, float, float, float]],
        *,
        flat: float = 0.9,
        texture: Image | None = None,
        union: Union | None = None,
    ) -> None:
        """Add a long bone: a compact wall around a spongy inside.

        Parameters
        ----------
        start, end : tuple of float
            x, y of the ends of its axis.
        outline : sequence of (along, left, right, wall)
            At a fraction of the length: how far the bone reaches to either side
            of the axis (left when looking from start to end), and the thickness
            of its wall, in mm.
        flat : float
            Depth over width.
        texture : ndarray of the film's size
            What to multiply the inside with.
        union : Union
            Where to add it instead of the film.
        """
        along, left, right, wall = zip(*outline, strict=True)
        vector = np.subtract(end, start)
        length = float(np.hypot(*vector))
        ux, uy = (float(part) / length for part in vector)
        reach = max(*left, *right) + 1
        rows, columns = self.box(
            min(start[0], end[0]) - reach,
            max(start[0], end[0]) + reach,
            min(start[1], end[1]) - reach,
            max(start[1], end[1]) + reach,
        )
        dx, dy = self.x[:, columns] - start[0], self.y[rows] - start[1]
        t = (dx * ux + dy * uy) / length
        side = dy * ux - dx * uy  # positive to the right when looking along
        table = np.linspace(-0.01, 1.01, 205)

        def at(values: Sequence[float]) -> Image:
            return np.interp(t, table, curve(along, values)(table)).astype(np.float32)

        low, high = -at(left), at(right)
        shell = at(wall)
        middle, half = (low + high) / 2, (high - low) / 2
        offset = side - middle
        # The ends are rounded off over a short way, so that no edge is sharper than bone has it.
        from_end = np.minimum(t, 1 - t) * length
        squared = offset * offset

        def path(shrink: Image | float) -> Image:
            cap = np.sqrt(np.clip((from_end - shrink) / 2 + 0.3, 0, 1))
            inner = np.maximum(half - shrink, 0) * cap
            return np.asarray(2 * flat * np.sqrt(np.maximum(inner * inner - squared, 0)))

        outer, inner = path(0.0), path(shell)
        if union is None:
            self._bone((rows, columns), outer, inner, self.beam.bone, texture)
        else:
            union.add((rows, columns), outer, inner)

    def cast(self, union: Union, mu: float, texture: Image | None = None) -> None:
        """Add bones that have grown together.

        Parameters
        ----------
        union : Union
            What they are.
        mu : float
            What a millimetre of their walls stops.
        texture : ndarray of the film's size
            What to multiply the inside with.
        """
        everywhere = slice(None), slice(None)
        self._bone(everywhere, union.outer, union.inner, mu, texture)

    def _bone(self, box: Box, outer: Image, inner: Image, mu: float, texture: Image | None) -> None:
        """Add what has a compact wall and a spongy inside."""
        spongy = inner if texture is None else inner * texture[box]
        self.depth[box] += (outer - inner) * mu + spongy * (mu * SPONGY)

    def letter(self, text: str, corner: Point, height: float) -> None:
        """Add a lead letter, its upper left corner at a place that no shift of the body moves.

        Parameters
        ----------
        text : str
            What it says.
        corner : tuple of float
            Fraction of columns and rows.
        height : float
            In mm.
        """
        shape = lead_letter(text, height / self.spacing)
        row, column = round(corner[1] * self.shape[0]), round(corner[0] * self.shape[1])
        place = self.depth[row : row + shape.shape[0], column : column + shape.shape[1]]
        place += shape[: place.shape[0], : place.shape[1]] * np.float32(self.beam.lead)


class Union:
    """Bones that have grown together: where they overlap, the thicker one counts.

    Parameters
    ----------
    film : Film
        On which they lie.
    """

    def __init__(self, film: Film) -> None:
        self.outer: Image = np.zeros(film.shape, np.float32)
        self.inner: Image = np.zeros(film.shape, np.float32)

    def add(self, box: Box, outer: Image, inner: Image) -> None:
        """Add one, given the ways through all of it and through what is within its wall, in mm."""
        np.maximum(self.outer[box], outer, out=self.outer[box])
        np.maximum(self.inner[box], inner, out=self.inner[box])


class Strokes:
    """Round strands along lines: ribs, vessels, fingers. Where they cross, the thicker one counts.

    Parameters
    ----------
    film : Film
        On which they lie.
    """

    def __init__(self, film: Film) -> None:
        self.film = film
        # Unlike zeros_like, this takes no time for what is never touched.
        self._squares: Image = np.zeros(film.shape, np.float32)
        self._extent = (np.inf, -np.inf, np.inf, -np.inf)

    def add(self, points: Sequence[Point], radii: Sequence[float]) -> None:
        """Add one strand.

        Parameters
        ----------
        points : sequence of tuple of float
            x, y along its axis.
        radii : sequence of float
            Its radius at each point.
        """
        squares, x, y = self._squares, self.film.x[0], self.film.y[:, 0]
        ends = zip(points, points[1:], radii, radii[1:], strict=False)
        for (px, py), (qx, qy), r, s in ends:
            reach = max(r, s)
            rows, columns = self.film.box(
                min(px, qx) - reach, max(px, qx) + reach, min(py, qy) - reach, max(py, qy) + reach
            )
            dx, dy = x[columns] - np.float32(px), (y[rows] - np.float32(py))[:, np.newaxis]
            ux, uy = qx - px, qy - py
            length = max(ux * ux + uy * uy, 1e-6)
            along = dx * ux + dy * uy
            t = np.minimum(np.maximum(along * (1 / length), 0), 1)
            # Squared radius less squared distance is the square of half the way through.
            square = t * (s - r) + r
            square *= square
            square -= dx * dx + dy * dy
            square += t * (2 * along - t * length)
            patch = squares[rows, columns]
            np.maximum(patch, square, out=patch)
        self._reach(points, max(radii))

    def _reach(self, points: Sequence[Point], radius: float) -> None:
        left, right, top, bottom = self._extent
        for x, y in points:
            left, right = min(left, x - radius), max(right, x + radius)
            top, bottom = min(top, y - radius), max(bottom, y + radius)
        self._extent = left, right, top, bottom

    @property
    def box(self) -> Box:
        """The rows and columns in which they lie."""
        return self.film.box(*self._extent)

    def cast(
        self, mu: ArrayLike, *, wall: float = 0.0, radius: float = 0.0, spongy: float = SPONGY
    ) -> None:
        """Add them to the film.

        Parameters
        ----------
        mu : float, or array-like that fits `box`
            What a millimetre stops.
        wall : float
            Thickness of their wall; solid if 0.
        radius : float
            Their radius, if they have a wall.
        spongy : float
            What the inside stops, against the wall.
        """
        path = self.path()
        if wall:
            path -= self.path(wall, radius) * np.float32(1 - spongy)
        self.film.depth[self.box] += path * np.asarray(mu, np.float32)

    def path(self, wall: float = 0.0, radius: float = 0.0) -> Image:
        """Return the length of the way through them in mm, in `box`.

        Parameters
        ----------
        wall, radius : float
            Leave out a wall of this thickness; right for strands of that radius.
        """
        squares = self._squares[self.box]
        less = wall * (2 * radius - wall)
        return np.asarray(2 * np.sqrt(np.maximum(squares - np.float32(less), 0)), np.float32)


def lead_letter(text: str, height: float) -> Image:
    """Return a letter as cast in lead, with rounded corners: 1 where lead is.

    Parameters
    ----------
    text : str
        What it says.
    height : float
        In pixels.
    """
    bitmap = np.pad(glyphs(text).astype(np.float32), 2)
    scale = max(1.0, height / (bitmap.shape[0] - 4))
    rows = _axis(round(bitmap.shape[0] * scale), 1 / scale, (bitmap.shape[0] - 1) / -2)
    columns = _axis(round(bitmap.shape[1] * scale), 1 / scale, (bitmap.shape[1] - 1) / -2)
    # Each dot of the font spreads over its neighbours; what is over a level is lead.
    cover = np.einsum(
        "ri,ij,cj->rc", _bells(rows, bitmap.shape[0]), bitmap, _bells(columns, bitmap.shape[1])
    )
    return np.asarray(np.clip((cover - 0.4) * (scale * 1.2) + 0.5, 0, 1), np.float32)


def _bells(places: Image, count: int) -> Image:
    """Return how much each of `count` dots counts at each place; width as a dot."""
    away = places[:, np.newaxis] - np.arange(count, dtype=np.float32)[np.newaxis, :]
    weight = np.exp(-(away**2) / (2 * 0.6**2))
    return np.asarray(weight / (0.6 * np.sqrt(2 * np.pi)), np.float32)


@dataclass(frozen=True)
class Development:
    """How a film becomes a picture.

    Parameters
    ----------
    photons : float
        How many quanta reach a pixel without a body; less gives more noise.
    scatter : float
        How much of what reaches the surroundings of a pixel is scattered into it.
    detail : float
        How much finer structures are raised over coarse ones.
    low, high : float
        Optical depths that become black and white.
    gamma : float
        Shape of the curve in between; 1 is straight.
    """

    photons: float
    scatter: float
    detail: float
    low: float
    high: float
    gamma: float = 1.0


def develop(
    film: Film, how: Development, rng: np.random.Generator, bits: int
) -> NDArray[np.uint16]:
    """Return what the film shows, white where most was stopped.

    Parameters
    ----------
    film : Film
        With the shadows on it.
    how : Development
        Exposure and processing.
    rng : numpy.random.Generator
        For the noise.
    bits : int
        The values go from 0 to ``2**bits - 1``.
    """
    beam = np.exp(-film.depth)
    beam += np.float32(how.scatter) * (coarse(beam, 40) + np.float32(0.002))
    grain = rng.standard_normal(film.shape, dtype=np.float32)
    beam += grain * np.sqrt(beam * np.float32(1 / how.photons))
    soft = blur(beam)
    np.maximum(soft, np.float32(1e-4), out=soft)
    seen = -np.log(soft)
    seen += np.float32(how.detail) * (seen - coarse(seen, 24))
    scaled = np.clip((seen - np.float32(how.low)) * np.float32(1 / (how.high - how.low)), 0, 1)
    if how.gamma != 1:
        scaled **= np.float32(how.gamma)
    return np.asarray(np.rint(scaled * np.float32(2**bits - 1)), np.uint16)


def blur(image: Image) -> Image:
    """Average with the neighbours, weights 1-2-1 each way."""
    padded = np.pad(image, 1, mode="edge")
    rows = padded[:-2] + padded[2:]
    rows += 2 * padded[1:-1]
    smooth = rows[:, :-2] + rows[:, 2:]
    smooth += 2 * rows[:, 1:-1]
    smooth *= np.float32(1 / 16)
    return smooth


def coarse(image: Image, step: int) -> Image:
    """Return an image without its details: means of squares, joined smoothly.

    Parameters
    ----------
    image : ndarray
        Of any size.
    step : int
        Side of the squares in pixels.
    """
    return enlarge(shrink(image, step), image.shape)


def shrink(image: Image, step: int) -> Image:
    """Return the means of squares of `step` pixels."""
    rows, columns = image.shape
    starts = np.arange(0, rows, step), np.arange(0, columns, step)
    sums = np.add.reduceat(np.add.reduceat(image, starts[0], axis=0), starts[1], axis=1)
    counts = np.diff(np.append(starts[0], rows))[:, None] * np.diff(np.append(starts[1], columns))
    return np.asarray(sums / counts, np.float32)


def enlarge(small: Image, shape: tuple[int, ...]) -> Image:
    """Return an image of another shape, linear between the pixels."""
    wide = _between(np.ascontiguousarray(small.T), shape[1])
    return _between(np.ascontiguousarray(wide.T), shape[0])


def _between(rows: Image, count: int) -> Image:
    """Return another number of rows."""
    last = rows.shape[0] - 1
    place = np.clip((np.arange(count) + 0.5) * rows.shape[0] / count - 0.5, 0, last)
    first = place.astype(np.intp)
    share = (place - first).astype(np.float32)[:, np.newaxis]
    low = rows[first]
    return np.asarray(low + share * (rows[np.minimum(first + 1, last)] - low), np.float32)


def speckles(rng: np.random.Generator, coarsest: float, finest: float) -> Image:
    """Return a tile of noise that repeats without a seam, mean 0 and standard deviation 1.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides it.
    coarsest, finest : float
        Sizes of its structures in pixels.
    """
    noise = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    f = np.hypot(np.fft.fftfreq(TILE)[:, np.newaxis], np.fft.rfftfreq(TILE)[np.newaxis, :])
    band = np.exp(-((f * finest) ** 2)) - np.exp(-((f * coarsest) ** 2))
    tile = np.fft.irfft2(noise * band, (TILE, TILE))
    return np.asarray((tile - tile.mean()) / tile.std(), np.float32)


def repeated(tile: Image, shape: tuple[int, int]) -> Image:
    """Return a tile, repeated over an image."""
    times = [-(-size // TILE) for size in shape]
    return np.tile(tile, times)[: shape[0], : shape[1]]


def _axis(count: int, spacing: float, shift: float) -> Image:
    return (spacing * (np.arange(count) - (count - 1) / 2) - shift).astype(np.float32)


def _dome(u: NDArray[Any], v: NDArray[Any], power: int) -> Image:
    """Return the height of a dome over (u, v); its rim is where the radius is 1."""
    return np.asarray(np.sqrt(np.maximum(1 - _power(u, power) - _power(v, power), 0)))


def _power(u: NDArray[Any], power: int) -> NDArray[Any]:
    """Raise to an even power; multiplying is ten times quicker than ``**``."""
    square = u * u
    raised = square
    for _ in range(power // 2 - 1):
        raised = raised * square
    return np.asarray(raised)
