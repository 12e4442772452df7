"""How an ultrasound scanner sees: beams that fan out, echoes with speckle, and a screen.

Coordinates are in mm: x to the right of the screen, y down from the skin in
the middle of the probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from labsim.imaging.projection import Box, Image, Point, repeated, speckles

RANGE = 58.0  # dB from the faintest echo that is shown to the strongest


@dataclass(frozen=True)
class Probe:
    """A probe, and how far it is made to see.

    Parameters
    ----------
    radius : float
        Of its curved face in mm; small for one that swings its beam.
    half_angle : float
        From the middle to the outermost beam, in degrees.
    depth : float
        How far it sees, in mm.
    beams, samples : int
        How many beams there are, and how many echoes of each are told apart.
    """

    radius: float
    half_angle: float
    depth: float
    beams: int = 150
    samples: int = 380

    def grid(self) -> tuple[Image, Image]:
        """Return x and y of every echo, (samples, beams)."""
        angle = np.deg2rad(np.linspace(-self.half_angle, self.half_angle, self.beams))
        reach = self.radius + np.linspace(0, self.depth, self.samples)[:, np.newaxis]
        x, y = reach * np.sin(angle), reach * np.cos(angle) - self.radius
        return x.astype(np.float32), y.astype(np.float32)


class Scene:
    """A plane through a body: how strongly it scatters, reflects, and stops sound.

    Parameters
    ----------
    width, depth : float
        Size in mm; x = 0 is in the middle.
    level : float
        How strongly what is everywhere scatters.
    top : float
        y of its upper edge; the face of a curved probe is above 0 at its sides.
    rng : numpy.random.Generator
        Decides how borders waver: no organ is an ellipse.
    spacing : float
        Distance of its points in mm.
    """

    def __init__(
        self,
        width: float,
        depth: float,
        level: float,
        rng: np.random.Generator,
        *,
        top: float = -12.0,
        spacing: float = 0.5,
    ) -> None:
        self.spacing = spacing
        rows, columns = round((depth - top) / spacing), round(width / spacing)
        self.x = ((np.arange(columns) - (columns - 1) / 2) * spacing).astype(np.float32)
        self.y = (top + np.arange(rows) * spacing).astype(np.float32)[:, np.newaxis]
        self.scatter: Image = np.full((rows, columns), level, np.float32)
        self.reflect: Image = np.zeros((rows, columns), np.float32)
        self.loss: Image = np.zeros((rows, columns), np.float32)  # dB per mm, over the usual
        waver = repeated(speckles(rng, 140, 40), (rows, columns))
        self._u, self._v = self.x + 0.75 * waver, self.y + 0.75 * np.roll(waver, 101, 0)

    def ellipse(
        self,
        center: Point,
        half: Point,
        level: float,
        *,
        tilt: float = 0.0,
        soft: float = 0.6,
        wall: float = 0.0,
        loss: float | None = None,
    ) -> None:
        """Paint an ellipse.

        Parameters
        ----------
        center, half : tuple of float
            Middle and half axes in mm.
        level : float
            How strongly it scatters.
        tilt : float
            Turn in radians, clockwise.
        soft : float
            Width of its edge in mm.
        wall : float
            How strongly its border reflects.
        loss : float
            What it stops, in dB per mm over the usual; negative for fluid. As
            what it lies in if left out.
        """
        reach = max(half) + 3
        box = self.near([center], reach)
        dx, dy = self._u[box] - np.float32(center[0]), self._v[box] - np.float32(center[1])
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        u = (dx * cos + dy * sin) * np.float32(1 / half[0])
        v = (dy * cos - dx * sin) * np.float32(1 / half[1])
        away = (np.hypot(u, v) - 1) * min(half)  # from the border, in mm, nearly
        cover = np.asarray(np.clip(0.5 - away * (1 / soft), 0, 1), np.float32)
        self._fill(box, cover, level)
        if wall:
            self.reflect[box] += wall * np.exp(-((away / 0.7) ** 2))
        if loss is not None:
            patch = self.loss[box]
            patch += cover * (loss - patch)

    def _fill(self, box: Box, cover: Image, level: float) -> None:
        patch = self.scatter[box]
        patch += cover * (level - patch)
        self.reflect[box] *= 1 - cover

    def near(self, points: Sequence[Point], reach: float) -> Box:
        """Return the rows and columns that are within reach of points."""
        x, y = zip(*points, strict=True)
        rows = np.searchsorted(self.y[:, 0], (min(y) - reach, max(y) + reach))
        columns = np.searchsorted(self.x, (min(x) - reach, max(x) + reach))
        return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))

    def line(self, points: Sequence[Point], strength: float, width: float = 0.8) -> None:
        """Paint something that reflects along a line."""
        for p, q in pairwise(points):
            box = self.near((p, q), 3 * width)
            away = distance(self._u[box], self._v[box], p, q)
            patch = self.reflect[box]
            np.maximum(patch, strength * np.exp(-((away / width) ** 2)), out=patch)

    def strand(
        self, points: Sequence[Point], radii: Sequence[float], level: float, wall: float = 0.0
    ) -> None:
        """Paint a vessel along a line, with walls that reflect."""
        box = self.near(points, max(radii) + 3)
        u, v = self._u[box], self._v[box]
        away = np.full(u.shape, 99, np.float32)
        for (p, q), radius in zip(pairwise(points), radii, strict=False):
            np.minimum(away, distance(u, v, p, q) - np.float32(radius), out=away)
        self._fill(box, np.clip(0.5 - away / 0.7, 0, 1), level)
        if wall:
            self.reflect[box] += wall * np.exp(-(((away - 0.5) / 0.6) ** 2))

    def index(self, x: Image, y: Image) -> NDArray[np.intp]:
        """Return which point of the scene is at places, as index of the flattened arrays."""
        rows, columns = self.scatter.shape
        column = np.clip((x - self.x[0]) * (1 / self.spacing) + 0.5, 0, columns - 1)
        row = np.clip((y - self.y[0, 0]) * (1 / self.spacing) + 0.5, 0, rows - 1)
        return np.asarray(row.astype(np.intp) * columns + column.astype(np.intp))


def distance(x: Image, y: Image, p: Point, q: Point) -> Image:
    """Return how far places are from the line between two points, in mm."""
    ux, uy = q[0] - p[0], q[1] - p[1]
    dx, dy = x - np.float32(p[0]), y - np.float32(p[1])
    t = np.clip((dx * ux + dy * uy) / max(ux * ux + uy * uy, 1e-6), 0, 1)
    return np.asarray(np.hypot(dx - t * ux, dy - t * uy), np.float32)


class Scanner:
    """Turns scenes into grey levels along beams.

    Parameters
    ----------
    probe : Probe
        What it has.
    scene : Scene
        What is before it.
    rng : numpy.random.Generator
        Decides the speckle.
    gain : float
        How bright the picture is, in dB.
    """

    def __init__(
        self, probe: Probe, scene: Scene, rng: np.random.Generator, gain: float = 0.0
    ) -> None:
        self.probe, self.scene, self.gain = probe, scene, gain
        self.x, self.y = probe.grid()
        # Scatterers lie in the tissue and move with it, so the speckle does too.
        self._scatterers = rng.standard_normal((2, scene.scatter.size), dtype=np.float32)
        rows, columns = scene.scatter.shape
        patches = 1 + 0.16 * repeated(speckles(rng, 30, 7), (rows, columns))
        self._patches = np.clip(patches, 0.4, 1.6).astype(np.float32)
        self._rng = rng
        self.step = probe.depth / (probe.samples - 1)  # mm
        side = np.linspace(-1, 1, probe.beams, dtype=np.float32) ** 2
        down = np.linspace(0, 1, probe.samples, dtype=np.float32)[:, np.newaxis]
        self._fall = (1 - 0.35 * side) * (1.15 - 0.45 * down)

    def echoes(self, x: Image, y: Image, extra: Image | float = 0.0) -> Image:
        """Return the picture along the beams, 0 to 1, (samples, beams).

        Parameters
        ----------
        x, y : ndarray, (samples, beams)
            Which place of the scene is now where each echo comes from.
        extra : ndarray, (samples, beams)
            What else reflects there.
        """
        index = self.scene.index(x, y)
        scatter = self.scene.scatter.take(index) * self._patches.take(index)
        level = self.scene.reflect.take(index) + extra
        real = spread(scatter * self._scatterers[0].take(index) + level)
        other = spread(scatter * self._scatterers[1].take(index) + 0.4 * level)
        loss = np.cumsum(self.scene.loss.take(index), axis=0) * np.float32(self.step)
        strength = np.hypot(real, other) * np.exp(loss * np.float32(-0.1151))
        # What the amplifier adds grows with the depth, as its gain does.
        floor = np.linspace(0.1, 1, self.probe.samples, dtype=np.float32)[:, np.newaxis] ** 3
        strength += np.float32(0.004) * floor * self._rng.random(strength.shape, dtype=np.float32)
        # Beams at the sides, and what is deep, come out weaker than the gain makes up for.
        strength *= self._fall
        decibel = 20 * np.log10(np.maximum(strength, np.float32(1e-5))) + np.float32(self.gain)
        shown = (decibel + np.float32(RANGE - 8)) * np.float32(1 / RANGE)
        return np.asarray(np.clip(shown, 0, 1), np.float32)


def spread(echoes: Image) -> Image:
    """Return echoes as wide as the pulse is long and the beam is wide."""
    out = echoes.copy()
    out[1:] += echoes[:-1]
    for weight in (0.9, 0.9):
        wide = out.copy()
        wide[:, 1:] += np.float32(weight) * out[:, :-1]
        wide[:, :-1] += np.float32(weight) * out[:, 1:]
        out = wide
    out *= np.float32(0.24)
    return out


class Screen:
    """Where beams are drawn as the fan that they are.

    Parameters
    ----------
    probe : Probe
        Whose beams.
    shape : tuple of int
        Rows and columns of the picture.
    top : float
        Row of the skin in the middle of the probe.
    scale : float
        Pixels per mm.
    """

    def __init__(self, probe: Probe, shape: tuple[int, int], top: float, scale: float) -> None:
        self.probe, self.shape, self.top, self.scale = probe, shape, top, scale
        rows, columns = shape
        self.middle = (columns - 1) / 2
        x = ((np.arange(columns) - self.middle) / scale)[np.newaxis, :]
        y = ((np.arange(rows) - top) / scale)[:, np.newaxis]
        reach = np.hypot(x, y + probe.radius) - probe.radius
        angle = np.rad2deg(np.arctan2(x, y + probe.radius))
        beam = (angle / probe.half_angle + 1) * (probe.beams - 1) / 2
        sample = reach / probe.depth * (probe.samples - 1)
        seen = (beam >= 0) & (beam <= probe.beams - 1)
        seen &= (sample >= 0) & (sample <= probe.samples - 1)
        self._seen = np.flatnonzero(seen)
        self.box = _bounds(seen)
        beam, sample = beam.ravel()[self._seen], sample.ravel()[self._seen]
        first_beam = np.minimum(beam.astype(np.intp), probe.beams - 2)
        first_sample = np.minimum(sample.astype(np.intp), probe.samples - 2)
        self._first = first_sample * probe.beams + first_beam
        self._across = (beam - first_beam).astype(np.float32)
        self._down = (sample - first_sample).astype(np.float32)

    def draw(self, echoes: Image, picture: NDArray[np.uint8], white: float = 255.0) -> None:
        """Draw values along beams, 0 to 1, into a picture."""
        flat, step = echoes.ravel(), self.probe.beams
        upper = flat.take(self._first)
        upper += self._across * (flat.take(self._first + 1) - upper)
        lower = flat.take(self._first + step)
        lower += self._across * (flat.take(self._first + step + 1) - lower)
        upper += self._down * (lower - upper)
        picture.reshape(-1)[self._seen] = (upper * np.float32(white) + np.float32(0.5)).astype(
            np.uint8
        )

    def place(self, x: float, y: float) -> tuple[int, int]:
        """Return row and column of a place in mm."""
        return round(self.top + y * self.scale), round(self.middle + x * self.scale)


def _bounds(seen: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return first and last row, first and last column of what is true."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
