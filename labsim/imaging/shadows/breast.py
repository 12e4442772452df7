"""A breast under compression as a mammogram shows it.

Coordinates are those of the film, in mm: x from the chest wall to the nipple,
y down. Everything is a left breast; a right one is its mirror image. What is
cast is what is shown: the outer parts, where the breast is thin, are already
brought up to the inner ones, as all mammography systems do it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from labsim.imaging.projection import Film, Image, Strokes, curve, enlarge

HALF = 2  # tissue is computed on a grid that is this much coarser
FAT, GLAND, MUSCLE = 0.85, 1.1, 1.5  # shown depth; gland comes on top of fat


@dataclass(frozen=True)
class Breast:
    """What a breast is like.

    Parameters
    ----------
    seed : int
        Decides it.
    side : str
        ``"L"`` or ``"R"``: the two are alike, and not the same.
    """

    seed: int
    side: str

    def _draw(self, topic: int, low: float, high: float, own: float = 0.0) -> float:
        """Return what both breasts share, varied by the part that is the own of each."""
        shared = float(np.random.default_rng([self.seed, topic]).uniform(low, high))
        side = np.random.default_rng([self.seed, topic, ord(self.side)])
        return shared + own * (high - low) * float(side.uniform(-1, 1))

    @property
    def reach(self) -> float:
        """From chest wall to nipple, in mm."""
        return self._draw(1, 78, 112, 0.08)

    @property
    def half_height(self) -> float:
        """Half the height at the chest wall in a CC view, in mm."""
        return self._draw(2, 78, 100, 0.05)

    @property
    def density(self) -> float:
        """Glandular part, 0 to 1: from almost only fat to extremely dense."""
        return self._draw(3, 0.08, 0.92, 0.04)

    @property
    def thickness(self) -> float:
        """Under compression, in mm."""
        return self._draw(4, 38, 68, 0.05)

    @property
    def mass(self) -> tuple[float, float, float, float] | None:
        """A lesion that half of the patients have in one breast.

        Depth from the chest wall, places across the CC and the MLO view, and
        radius, in mm.
        """
        rng = np.random.default_rng([self.seed, 5])
        side, place = rng.choice(("L", "R")), rng.uniform(-1, 1, 2)
        radius = float(rng.uniform(5, 9))
        if self.seed % 2 or side != self.side:
            return None
        depth = self.reach * float(rng.uniform(0.4, 0.6))
        return depth, float(place[0] * 26), float(place[1] * 24), radius


def craniocaudal(film: Film, breast: Breast) -> None:
    """Cast the shadow of a breast seen from above: the armpit is to the top.

    Parameters
    ----------
    film : Film
        On which it falls.
    breast : Breast
        What it is like.
    """
    p, h = breast.reach, breast.half_height
    steps = np.linspace(-1, 1, 41)
    border = p * np.maximum(1 - np.abs(steps) ** 2.3, 0) ** 0.62
    _tissue(film, breast, 1.08 * h * steps, border, nipple=0.0, muscle=None, view=0)


def oblique(film: Film, breast: Breast) -> None:
    """Cast the shadow of a breast seen obliquely from inside: the armpit is to the top.

    Parameters
    ----------
    film : Film
        On which it falls.
    breast : Breast
        What it is like.
    """
    p, h = breast.reach, breast.half_height
    heights = np.array((-118, -90, -55, -20, 12, 40, 62, 78, 90, 98, 110)) * (h / 90)
    heights = np.concatenate(([-150.0], heights, [150.0]))
    border = np.array((0.66, 0.65, 0.69, 0.80, 0.93, 1.0, 0.95, 0.79, 0.56, 0.35, 0.22, 0.13, 0.04))
    rng = np.random.default_rng([breast.seed, 6, ord(breast.side)])
    top, foot = float(rng.uniform(40, 58)), float(rng.uniform(20, 60))
    muscle = curve((-140, -70, 0, foot, foot + 1), (top + 10, top * 0.76, top * 0.32, 0, -9))
    _tissue(film, breast, heights, p * border, nipple=12 * h / 90, muscle=muscle(film.y), view=1)


def _tissue(
    film: Film,
    breast: Breast,
    heights: ArrayLike,
    border: ArrayLike,
    *,
    nipple: float,
    muscle: Image | None,
    view: int,
) -> None:
    rng = np.random.default_rng([breast.seed, 7, view, ord(breast.side)])
    skin = curve(heights, border)(film.y)
    bump = 5 * np.exp(-(((film.y - np.float32(nipple)) / 4.2) ** 4))
    depth = np.maximum(_below(film, skin), np.minimum(_below(film, skin + bump), 3))
    inside = (film.y > np.min(heights)) & (film.y < np.max(heights))
    depth = np.where(inside, depth, np.float32(-1))
    round_edge = np.sqrt(1 - (1 - np.clip(depth / 16, 0, 1)) ** 2) ** np.float32(0.4)
    clouds = _noise(rng, (-(-film.shape[0] // HALF), -(-film.shape[1] // HALF)), 1.6)
    gland = enlarge(_gland(film, breast, rng, nipple, clouds), film.shape)
    lines = enlarge(_ligaments(rng, clouds), film.shape)
    # Under the skin lies a layer of fat.
    deep = np.clip((depth - 4) / 10, 0, 1)
    shown = FAT + GLAND * gland * deep + 0.13 * lines * np.clip(depth / 5, 0, 1)
    if muscle is not None:
        cover = np.clip((muscle - film.x) / 2.5 + 0.5, 0, 1)
        fibres = 0.06 * enlarge(clouds, film.shape)
        shown += cover * (MUSCLE + fibres - FAT - 0.85 * (shown - FAT))
    shown *= round_edge
    shown += np.float32(0.32) * np.exp(-(((depth - 0.9) / 0.8) ** 2))  # the skin itself
    film.depth += shown * np.clip(depth / 0.5, 0, 1)
    _details(film, breast, rng, nipple, view)


def _below(film: Film, skin: Image) -> Image:
    """Return how deep each place is below a skin, given where that is in each row, in mm."""
    slope = np.gradient(skin, film.spacing, axis=0)
    return np.asarray((skin - film.x) / np.sqrt(1 + slope * slope), np.float32)


def _gland(
    film: Film, breast: Breast, rng: np.random.Generator, nipple: float, clouds: Image
) -> Image:
    """Return how much of the tissue is gland, 0 to 1, on a coarse grid."""
    x, y = film.x[:, ::HALF], film.y[::HALF]
    p, h = breast.reach, breast.half_height
    dense = breast.density
    away = np.hypot(p - x, y - nipple)
    turn = np.arctan2(y - nipple, p - x + 0.01)
    strands = _noise(rng, (256, 256), 1.1)
    streaks = strands[(away * 0.55).astype(int) % 256, ((turn + np.pi) * 58).astype(int) % 256]
    u, v = (x - 0.56 * p) / (0.5 * p), (y - nipple * 0.6 + 6) / (0.66 * h)
    cone = 1 - np.sqrt(u * u + v * v)
    level = cone * 1.5 + (dense - 0.62) * 1.7 + clouds * 0.42 + streaks * 0.2
    body = 1 / (1 + np.exp(-level * 5.0))
    grain = 0.72 + 0.18 * clouds + 0.16 * streaks
    return np.asarray(body * np.clip(grain, 0.1, 1.3) * (0.45 + 0.5 * dense), np.float32)


def _ligaments(rng: np.random.Generator, clouds: Image) -> Image:
    """Return thin curved lines, as the strands that hold the fat have them, on a coarse grid."""
    waves = _noise(rng, (clouds.shape[0], clouds.shape[1]), 2.2)
    # Where a smooth random field crosses certain heights there is a line.
    lines = sum(
        np.exp(-(((waves + 0.1 * clouds - level) / 0.05) ** 2)) for level in (-0.6, 0.0, 0.6)
    )
    return np.asarray(lines * np.clip(0.5 + clouds, 0, 1), np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, int], slope: float) -> Image:
    """Return noise whose amplitude falls with frequency, as that of breast tissue does.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides it.
    shape : tuple of int
        Rows and columns.
    slope : float
        Power of the frequency.
    """
    f = np.hypot(np.fft.fftfreq(shape[0])[:, np.newaxis], np.fft.rfftfreq(shape[1])[np.newaxis, :])
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) / np.maximum(f, 0.008) ** slope
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, shape)
    return np.asarray(field / field.std(), np.float32)


def _details(
    film: Film, breast: Breast, rng: np.random.Generator, nipple: float, view: int
) -> None:
    """Add vessels, the lesion, and calcifications."""
    p, h = breast.reach, breast.half_height
    vessels = Strokes(film)
    for _ in range(3):
        x, y = 0.0, float(rng.uniform(-0.6, 0.6) * h)
        heading = float(rng.uniform(-0.3, 0.3))
        points = [(x, y)]
        while x < 0.7 * p:
            heading += float(rng.normal(0, 0.16))
            x, y = x + 7 * float(np.cos(heading)), y + 7 * float(np.sin(heading))
            points.append((x, y))
        radii = np.linspace(1.25, 0.6, len(points))
        vessels.add(points, [float(r) for r in radii])
    vessels.cast(0.05)
    mass = breast.mass
    if mass is not None:
        x, y, r = mass[0], mass[1 + view] + nipple * 0.6, mass[3]
        film.ellipsoid((x, y), (r, r * 0.86, r), 0.22 / r, tilt=0.5)
        film.ellipsoid((x, y), (r * 0.75, r * 0.7, r), 0.14 / r, tilt=0.5)
        for angle in rng.uniform(0, 2 * np.pi, 14):  # drawn into its surroundings
            spicules = Strokes(film)
            far = float(rng.uniform(1.3, 2.1)) * r
            end = (x + far * float(np.cos(angle)), y + far * float(np.sin(angle)))
            spicules.add([(x, y), end], [0.7, 0.25])
            spicules.cast(0.1)
    _calcifications(film, breast, view)


def _calcifications(film: Film, breast: Breast, view: int) -> None:
    """Add a few large round ones, and in a third of the patients a cluster of small ones."""
    rng = np.random.default_rng([breast.seed, 8, ord(breast.side)])
    p, h = breast.reach, breast.half_height
    for _ in range(int(rng.integers(2, 6))):
        x, places = p * float(rng.uniform(0.2, 0.8)), rng.uniform(-0.5, 0.5, 2)
        r = float(rng.uniform(0.5, 1.1))
        film.ellipsoid((x, float(places[view]) * h), (r, r, r), 0.55 / r)
    if breast.seed % 3 == 0 and (breast.side == "L") == (breast.seed % 2 == 0):
        x, places = p * float(rng.uniform(0.4, 0.7)), rng.uniform(-0.35, 0.35, 2)
        for _ in range(16):
            dx, *across = rng.normal(0, 3.2, 3)
            r = float(rng.uniform(0.22, 0.42))
            at = (x + float(dx), float(places[view]) * h + float(across[view]))
            film.ellipsoid(at, (r, r * float(rng.uniform(1, 1.8)), r), 0.5 / r, tilt=float(dx))


def deodorant(film: Film, breast: Breast) -> None:
    """Add specks of what was not washed off in the armpit; they look like calcifications."""
    rng = np.random.default_rng([breast.seed, 9])
    for _ in range(90):
        x = min(float(rng.normal(0.42 * breast.reach, 13)), 0.63 * breast.reach)
        y = float(rng.normal(-98, 11))
        r = float(rng.uniform(0.25, 0.6))
        film.ellipsoid((x, y), (r, r, r), 0.6 / r)
