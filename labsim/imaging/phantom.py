"""Computed anatomy in Hounsfield units: a thorax, a head and an abdomen.

Coordinates are the patient's (PS3.3 C.7.6.2.1.1) in mm: x to the left, y to
the back, z to the head. Shapes are painted slice by slice, later ones over
earlier ones, each with an edge as soft as a scanner's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labsim.imaging.bodies.abdomen import abdomen, bend
from labsim.imaging.solids import Plane, Section

Image = NDArray[np.float32]
# Hounsfield units as textbooks give them; water is 0 and air -1000 by definition.
AIR, LUNG, FAT, WATER, BLOOD, MUSCLE, LIVER, SPONGIOSA, CORTEX = (
    -1000, -860, -95, 4, 42, 52, 60, 220, 750,
)  # fmt: skip
SOFT = 0.4  # detail of a kernel for soft tissue
# Beyond these only localizers see: z in mm, above a thorax, below a head and above it.
SHOULDERS, FACE, CROWN = 53.0, -48.0, 95.0


@dataclass(frozen=True)
class Nodule:
    """A round lesion, so that there is something to find.

    Parameters
    ----------
    center : tuple of float
        x, y, z in mm.
    radius : float
        In mm.
    """

    center: tuple[float, float, float]
    radius: float


@dataclass(frozen=True)
class Grid:
    """One axial slice as the scanner samples it.

    Parameters
    ----------
    size : int
        Rows, and columns.
    spacing : float
        Distance of pixel centres in mm.
    z : float
        Position of the middle of the slice in mm.
    thickness : float
        Thickness of the slice in mm.
    """

    size: int
    spacing: float
    z: float
    thickness: float = 0.0

    @property
    def first(self) -> float:
        """X and y of the centre of the first pixel, in mm."""
        return -self.spacing * (self.size - 1) / 2

    def axes(self) -> tuple[Image, Image]:
        """Return x of each column as a row, and y of each row as a column, in mm."""
        line = (self.first + self.spacing * np.arange(self.size)).astype(np.float32)
        return line[np.newaxis, :], line[:, np.newaxis]


class Canvas:
    """A slice that is being painted, in Hounsfield units."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.x, self.y = grid.axes()
        self.image: Image = np.full((grid.size, grid.size), AIR, dtype=np.float32)

    def ellipse(
        self,
        x: float,
        y: float,
        a: float,
        b: float,
        hu: float | Callable[[Image], Image],
        *,
        tilt: float = 0.0,
        power: float = 2.0,
    ) -> None:
        """Paint an ellipse.

        Parameters
        ----------
        x, y : float
            Centre in mm.
        a, b : float
            Half axes in mm; nothing is painted when one is not positive.
        hu : float, or callable of y
            What to paint, in Hounsfield units.
        tilt : float
            Turn in radians.
        power : float
            2 for an ellipse, more for a squarer shape.
        """
        if a <= 0 or b <= 0:
            return
        rows, columns = self._box(x, y, max(a, b) if tilt else a, max(a, b) if tilt else b)
        dx, dy = self.x[:, columns] - x, self.y[rows] - y
        cos, sin = float(np.cos(tilt)), float(np.sin(tilt))
        u, v = (dx * cos + dy * sin) / a, (dy * cos - dx * sin) / b
        radius = (
            np.hypot(u, v)
            if power == 2
            else (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
        )
        cover = np.clip((1 - radius) * min(a, b) / self.grid.spacing + 0.5, 0, 1)
        patch = self.image[rows, columns]
        value = hu(self.y[rows]) if callable(hu) else hu
        patch += cover * (value - patch)

    def _box(self, x: float, y: float, a: float, b: float) -> tuple[slice, slice]:
        """Return the rows and columns that an ellipse can touch."""
        ends = []
        for middle, half in ((y, b), (x, a)):
            first = int((middle - half - self.grid.first) / self.grid.spacing) - 1
            last = int((middle + half - self.grid.first) / self.grid.spacing) + 3
            ends.append(slice(max(0, first), max(0, last)))
        return ends[0], ends[1]

    def ball(self, center: tuple[float, float, float], radius: float, hu: float) -> None:
        """Paint the part of a ball that lies in this slice; only its neighbourhood is touched."""
        away = max(0.0, abs(self.grid.z - center[2]) - self.grid.thickness / 2)
        height = radius**2 - away**2
        if height <= 0:
            return
        r, s = float(np.sqrt(height)), self.grid.spacing
        reach = int(r / s) + 2
        column = round((center[0] - self.grid.first) / s)
        row = round((center[1] - self.grid.first) / s)
        if not (reach <= row < self.grid.size - reach and reach <= column < self.grid.size - reach):
            return
        rows = slice(row - reach, row + reach + 1)
        columns = slice(column - reach, column + reach + 1)
        distance = np.hypot(self.x[:, columns] - center[0], self.y[rows] - center[1])
        cover = np.clip((r - distance) / s + 0.5, 0, 1)
        patch = self.image[rows, columns]
        patch += cover * (hu - patch)

    def mix(self, cover: Image, hu: float | Image) -> None:
        """Paint `hu` where `cover` is 1, and in proportion where it is less."""
        self.image += cover * (hu - self.image)


Painter = Callable[[Canvas, np.random.Generator], None]


def thorax(nodule: Nodule | None, seed: int) -> Callable[[Canvas], None]:
    """Return what paints a thorax; z = 0 is where the trachea divides.

    Parameters
    ----------
    nodule : Nodule or None
        A lesion to put in.
    seed : int
        Decides the vessels of the lung and the build of the patient.
    """
    rng = np.random.default_rng(seed)
    build = float(rng.uniform(0.92, 1.04))
    vessels = [tree for side in (-1, 1) for tree in _lung_vessels(side, rng)]

    def paint(canvas: Canvas) -> None:
        z = canvas.grid.z
        _table(canvas)
        if z > SHOULDERS:
            _shoulders(canvas, z, build)
            return
        canvas.ellipse(0, 0, 166 * build, 112 * build, FAT, power=2.4)
        canvas.ellipse(0, 2, 150 * build, 98 * build, MUSCLE, power=2.4)
        _ribs(canvas, z, build)
        _lungs(canvas, z)
        for center, radius in vessels:
            canvas.ball(center, radius, BLOOD)
        if nodule is not None:
            canvas.ball(nodule.center, nodule.radius, 35)
        _mediastinum(canvas, z)
        _upper_abdomen(canvas, z)
        _spine(canvas, z)

    return paint


def head(seed: int) -> Callable[[Canvas], None]:
    """Return what paints a head; z = 0 is at the level of the ventricles."""
    rng = np.random.default_rng(seed)
    wide = float(rng.uniform(0.95, 1.05))

    def paint(canvas: Canvas) -> None:
        z = canvas.grid.z
        if z > CROWN:
            return
        if z < FACE:
            _face(canvas, z, wide)
            return
        level = np.sqrt(max(0.0, 1 - (z / 92) ** 2)) if z > 0 else 1.0 - 0.0004 * z * z / 10
        a, b = 74 * wide * level, 94 * level
        canvas.ellipse(0, 0, a + 5, b + 5, FAT + 60)
        canvas.ellipse(0, 0, a, b, CORTEX + 350)
        canvas.ellipse(0, 0, a - 7, b - 7, WATER + 8)
        canvas.ellipse(0, 0, a - 10, b - 10, 39)
        canvas.ellipse(0, 0, a - 20, b - 22, 29)
        canvas.ellipse(0, 0, 1.2, b - 12, 48)
        for side in (-1, 1):
            canvas.ellipse(side * 22, 2, 10, 22, 38, tilt=-side * 0.2)
            reach = 1 - abs(z) / 34
            canvas.ellipse(side * 10, -22, 5 * reach, 15 * reach, WATER, tilt=-side * 0.3)
            canvas.ellipse(side * 13, 24, 5 * reach, 17 * reach, WATER, tilt=side * 0.35)
            if z < -38:
                canvas.ellipse(side * 33, -70, 17, 15, WATER + 10)
                canvas.ellipse(side * 33, -72, 13, 11, WATER)
                canvas.ellipse(side * 48, 30, 16, 12, CORTEX, tilt=-side * 0.7)
                canvas.ellipse(side * 54, 33, 8, 6, -700, tilt=-side * 0.7)
        canvas.ellipse(0, 2, 2.5, 9 * (1 - abs(z + 6) / 30), WATER)
        if z < -34:
            canvas.ellipse(0, -66, 13, 13, -950)
            canvas.ellipse(0, -66, 1.5, 14, SPONGIOSA)

    return paint


def belly(seed: int) -> Callable[[Canvas], None]:
    """Return what paints an abdomen; z = 0 is at the hila of the kidneys."""
    draw, shape = abdomen(seed), bend(seed)

    def paint(canvas: Canvas) -> None:
        grid = canvas.grid
        plane = Plane((0, 0, grid.z), "AXIAL", grid.size, grid.size, grid.spacing, grid.thickness)
        section = Section(plane, AIR, shape, 2.2)
        draw(section)
        canvas.image[:] = section.image

    return paint


def place_nodule(seed: int) -> Nodule:
    """Choose where a lung has its nodule, and how large it is: 4 to 9 mm in radius."""
    rng = np.random.default_rng([seed, 0x4E4F44])
    side = rng.choice((-1, 1))
    center = (side * rng.uniform(62, 92), rng.uniform(-38, 28), rng.uniform(-45, 35))
    return Nodule((float(center[0]), float(center[1]), float(center[2])), float(rng.uniform(4, 9)))


def scan(
    paint: Callable[[Canvas], None],
    grid: Grid,
    rng: np.random.Generator,
    noise: float,
    detail: float = SOFT,
) -> Image:
    """Return one slice as a scanner would: blurred by its detectors, and noisy.

    Parameters
    ----------
    paint : callable
        Paints the anatomy.
    grid : Grid
        Where the slice lies.
    rng : numpy.random.Generator
        For the noise.
    noise : float
        Standard deviation in water, in HU.
    detail : float
        How sharp the kernel is: `SOFT`, or more; edges overshoot when it is more than 1.

    Returns
    -------
    ndarray of float32, (size, size)
        Hounsfield units.
    """
    canvas = Canvas(grid)
    paint(canvas)
    raw = rng.standard_normal(canvas.image.shape).astype(np.float32)
    grain = blur(raw)
    # What makes edges sharp makes noise fine.
    grain += min(1.0, detail - SOFT) * (raw - grain)
    sharp = blur(canvas.image) * (1 - detail) + canvas.image * detail
    return np.asarray(sharp + grain * (noise / float(grain.std())), dtype=np.float32)


def project(
    paint: Callable[[Canvas], None], top: float, width: float, size: int, step: float
) -> tuple[Image, Image]:
    """Return what a scanner sees when it moves the table under a tube that stands still.

    Parameters
    ----------
    paint : callable
        Paints the anatomy.
    top : float
        z of the upper edge in mm.
    width : float
        Width and height of the images in mm.
    size : int
        Rows and columns.
    step : float
        Every how many mm along the table the beam is computed.

    Returns
    -------
    tuple of two ndarray of float32, (size, size)
        From the front and from the left; mm of water that would stop as much.
    """
    coarse = max(16, size // 2)  # the beams blur no less
    heights = np.arange(top - step / 2, top - width, -step)
    front, left = [], []
    for z in heights:
        canvas = Canvas(Grid(coarse, width / coarse, float(z), step))
        paint(canvas)
        # Bone stops more than its density says, for it is of heavier atoms.
        density = (canvas.image + 1000 + np.maximum(canvas.image - 150, 0)) / 1000
        front.append(density.sum(axis=0) * canvas.grid.spacing)
        left.append(density.sum(axis=1) * canvas.grid.spacing)
    fine = (np.arange(size) + 0.5) / size
    down = _between(top - fine * width, heights)
    across = _between(fine * coarse - 0.5, np.arange(coarse))
    images = [down @ np.array(rows) @ across.T for rows in (front, left)]
    return images[0].astype(np.float32), images[1].astype(np.float32)


def _between(places: NDArray[np.float64], known: NDArray[Any]) -> NDArray[np.float64]:
    """Return the matrix that interpolates at places between equally distant known ones."""
    at = np.clip((places - known[0]) / (known[1] - known[0]), 0, len(known) - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, np.newaxis] - np.arange(len(known)))))


def blur(image: Image) -> Image:
    """Average with the neighbours, weights 1-2-1 each way."""
    padded = np.pad(image, 1, mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    smooth = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4
    return np.asarray(smooth, dtype=np.float32)


def _table(canvas: Canvas) -> None:
    canvas.ellipse(0, 128, 205, 26, -150, power=3)
    canvas.ellipse(0, 126, 203, 24, -960, power=3)
    canvas.mix((canvas.y < 118).astype(np.float32) * np.ones_like(canvas.image), AIR)


def _shoulders(canvas: Canvas, z: float, build: float) -> None:
    """Paint shoulders, neck and raised arms."""
    neck = float(np.sin(np.clip((z - 72) / 62, 0, 1) * np.pi / 2)) ** 2
    a, b = (166 - 104 * neck) * build, (112 - 46 * neck) * build
    for side in (-1, 1):
        arm, x = float(np.sqrt(np.clip((z - 58) / 42, 0, 1))), side * (132 + 0.12 * (z - 60))
        canvas.ellipse(x, 14, 52 * arm, 56 * arm, FAT)
        canvas.ellipse(x, 14, 45 * arm, 49 * arm, MUSCLE)
    canvas.ellipse(0, 0, a, b, FAT, power=2.4)
    canvas.ellipse(0, 2, a - 14, b - 13, MUSCLE, power=2.4)
    if z < 86:
        _ribs(canvas, z, build)
    _lungs(canvas, z)
    for side in (-1, 1):
        x, bone = side * (128 + 0.12 * (z - 60)), 13 + 11 * max(0.0, 1 - ((z - 84) / 24) ** 2)
        if z > 64:
            canvas.ellipse(x, 14, bone, bone, CORTEX - 250)
            canvas.ellipse(x, 14, bone - 4, bone - 4, SPONGIOSA)
        if z < 95:
            canvas.ellipse(side * 104, 66, 40, 4.5, CORTEX - 250, tilt=-side * 0.75)
        x = 36 + (z - 56) * 2.2  # the collar bone rises outwards
        canvas.ellipse(side * x, -52, 17 if z < 92 else 0, 6, CORTEX - 250)
    canvas.ellipse(0, -8, 26, 46, FAT + 90)
    canvas.ellipse(0, 12, 9, 9.5, AIR + 8)
    _spine(canvas, z)


def _face(canvas: Canvas, z: float, wide: float) -> None:
    """Paint the face, the base of the skull and the neck."""
    below = FACE - z  # mm below the last slice of a head
    chin = float(np.clip((below - 62) / 30, 0, 1))
    a, front, back = (69 - 0.14 * below) * wide, -91 + 0.1 * below + 62 * chin, 90 - 0.3 * below
    middle, b = (front + back) / 2, (back - front) / 2
    canvas.ellipse(0, middle, a + 4, b + 2, FAT + 60)
    canvas.ellipse(0, middle, a - 3, b - 5, MUSCLE)
    skull = 1 - (below / 34) ** 2
    if skull > 0:
        size = float(np.sqrt(skull))
        canvas.ellipse(0, 26, 64 * size * wide, 62 * size, CORTEX + 350)
        canvas.ellipse(0, 26, 57 * size * wide, 55 * size, 36)
    for side in (-1, 1):
        hollow = 17 - abs(below - 14) * 0.7
        canvas.ellipse(side * 29, -56, hollow + 2.5, hollow + 2.5, CORTEX - 100)
        canvas.ellipse(side * 29, -56, hollow, hollow, AIR + 8)
        if 12 < below < 80:
            canvas.ellipse(side * 48, -14 - 0.2 * below, 5, 17, CORTEX + 200, tilt=-side * 0.25)
    if below < 26:
        canvas.ellipse(0, -60, 13, 28, AIR + 8)
        canvas.ellipse(0, -60, 1.5, 28, SPONGIOSA)
    jaw = 1 - ((below - 54) / 33) ** 2
    if jaw > 0:  # upper jaw, teeth, lower jaw
        size, teeth = jaw**0.3, 44 < below < 62
        canvas.ellipse(0, -46, 33 * size, 40 * size, CORTEX + (450 if teeth else -250))
        canvas.ellipse(0, -39, 33 * size - 7, 40 * size - 5, MUSCLE)
    if below >= 26:
        canvas.ellipse(0, 2, 9, 8, AIR + 8)
        disc = (below % 18) < 4
        canvas.ellipse(0, 27, 14, 11, 95 if disc else CORTEX - 150)
        canvas.ellipse(0, 27, 11, 8.5, 95 if disc else SPONGIOSA)
        canvas.ellipse(0, 48, 17, 9, CORTEX - 250 if not disc else MUSCLE)
        canvas.ellipse(0, 45, 10, 7, 25)
        if (below % 18) > 9:
            canvas.ellipse(0, 62, 4, 12, CORTEX - 300)


def _ribs(canvas: Canvas, z: float, build: float) -> None:
    # A rib runs forward and down, so a slice cuts it as a short oblique piece.
    angle = np.arctan2(np.abs(canvas.x) / 138, canvas.y / 88)  # 0 at the back, pi in front
    radius = np.hypot(canvas.x / (139 * build), canvas.y / (90 * build))
    wall = np.clip(1 - np.abs(radius - 1) / 0.052, 0, 1)
    phase = (z + 46 * angle) / 27
    within = np.clip((np.cos(2 * np.pi * phase) - 0.15) * 3, 0, 1)
    within = within * (angle > 0.28) * (angle < 2.72)
    canvas.mix(np.clip(wall * within * 2.2, 0, 1), CORTEX - 150)
    canvas.mix(np.clip((wall - 0.45) * within * 3, 0, 1), SPONGIOSA)
    canvas.ellipse(0, -87 * build, 19, 7, CORTEX - 350)
    canvas.ellipse(0, -87 * build, 16, 4.5, SPONGIOSA - 60)
    for side in (-1, 1):
        if z > 5:
            canvas.ellipse(side * 112, 62, min(36, z), 4.5, CORTEX - 250, tilt=-side * 0.75)


def _lungs(canvas: Canvas, z: float) -> None:
    size = np.sqrt(max(0.0, 1 - ((z + 35) / 150) ** 2))
    for side in (-1, 1):
        a, b = 56 * size, 80 * size
        # Lung is denser where it lies lowest: the patient is on the back.
        canvas.ellipse(side * 74, -4, a, b, lambda y: LUNG + 0.55 * (y + 30), power=2.25)


def _lung_vessels(
    side: int, rng: np.random.Generator
) -> list[tuple[tuple[float, float, float], float]]:
    """Return balls along branching lines from the hilum outwards."""
    balls: list[tuple[tuple[float, float, float], float]] = []
    for _ in range(34):
        point = np.array([side * 32.0, 6.0, rng.uniform(-22, 8)])
        direction = rng.normal((side * 0.9, 0, 0), (0.35, 0.75, 0.85))
        direction /= np.linalg.norm(direction)
        radius = rng.uniform(2.6, 4.4)
        while radius > 0.7 and abs(point[0]) < 118 and abs(point[1]) < 66:
            balls.append(((float(point[0]), float(point[1]), float(point[2])), float(radius)))
            direction += rng.normal(0, 0.11, 3)
            direction /= np.linalg.norm(direction)
            point = point + direction * 2.2
            radius *= 0.966
    return [ball for ball in balls if _inside_lung(ball[0], side)]


def _inside_lung(point: tuple[float, float, float], side: int) -> bool:
    size = np.sqrt(max(0.0, 1 - ((point[2] + 35) / 150) ** 2))
    if not size:
        return False
    return bool(np.hypot((point[0] - side * 74) / (56 * size), (point[1] + 4) / (80 * size)) < 0.93)


def _mediastinum(canvas: Canvas, z: float) -> None:
    canvas.ellipse(0, 0, 30, 70, FAT + 20, power=2.6)
    for side in (-1, 1):
        canvas.ellipse(side * 26, 4, 15 - abs(z + 6) / 4, 13 - abs(z + 6) / 4, BLOOD)
    heart = np.sqrt(max(0.0, 1 - ((z + 70) / 68) ** 2))
    canvas.ellipse(24, -30, 66 * heart, 47 * heart, FAT + 25, tilt=0.35)
    canvas.ellipse(24, -29, 62 * heart, 43 * heart, MUSCLE, tilt=0.35)
    canvas.ellipse(36, -25, 30 * heart, 21 * heart, BLOOD - 4, tilt=0.35)
    canvas.ellipse(-8, -38, 22 * heart, 20 * heart, BLOOD - 4, tilt=0.35)
    canvas.ellipse(24, 44, 13, 13, BLOOD)
    if -35 < z < 42:
        canvas.ellipse(-9, -22, 16, 16, BLOOD)
        canvas.ellipse(-33, -14, 9, 10, BLOOD)
    if 38 <= z < 56:
        canvas.ellipse(8, 12, 15, 42, BLOOD, tilt=-0.45)
    if z >= 0:
        canvas.ellipse(0, 12, 11, 11, MUSCLE - 20)
        canvas.ellipse(0, 12, 8.5, 9, AIR + 8)
    elif z > -38:
        for side in (-1, 1):
            canvas.ellipse(side * (7 - z * 0.75), 14 - z * 0.1, 7.5, 7, MUSCLE - 20)
            canvas.ellipse(side * (7 - z * 0.75), 14 - z * 0.1, 6, 5.5, AIR + 8)
    canvas.ellipse(5, 34, 7, 5, MUSCLE - 8)


def _upper_abdomen(canvas: Canvas, z: float) -> None:
    dome = np.sqrt(max(0.0, 1 - ((z + 175) / 95) ** 2))
    canvas.ellipse(-62, -6, 68 * dome, 76 * dome, LIVER, power=2.3)
    dome = np.sqrt(max(0.0, 1 - ((z + 175) / 78) ** 2))
    canvas.ellipse(80, 30, 42 * dome, 40 * dome, LIVER - 10)


def _spine(canvas: Canvas, z: float) -> None:
    disc = (z % 25) < 5
    canvas.ellipse(0, 64, 19, 15.5, 95 if disc else CORTEX - 200)
    canvas.ellipse(0, 64, 16.5, 13, 95 if disc else SPONGIOSA)
    canvas.ellipse(0, 88, 16, 10, CORTEX - 250)
    for side in (-1, 1):
        canvas.ellipse(side * 27, 87, 17, 5.5, CORTEX - 320, tilt=side * 0.35)
    canvas.ellipse(0, 102, 4.5, 13, CORTEX - 300)
    canvas.ellipse(0, 84, 9, 7.5, 25)


def planted(body_part: str, seed: int) -> Nodule | None:
    """Return the lesion that a seed puts into a body part: half of the thoraces have one."""
    return place_nodule(seed) if body_part == "CHEST" and seed % 2 == 0 else None


@functools.lru_cache(maxsize=32)  # the series of a study, and of the next ones, show the same
def anatomy(body_part: str, seed: int) -> Callable[[Canvas], None]:
    """Return what paints a body part for a seed.

    Raises
    ------
    KeyError
        If there is no phantom of that body part.
    """
    makers: Mapping[str, Callable[[], Callable[[Canvas], None]]] = {
        "CHEST": lambda: thorax(planted("CHEST", seed), seed),
        "HEAD": lambda: head(seed),
        "ABDOMEN": lambda: belly(seed),
    }
    return makers[body_part]()
