"""A knee in space; z = 0 is in the joint, and the middle of the body lies between both knees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from labsim.imaging.solids import Section, Vector, Waves

Signals = Mapping[str, float]
APART = 95.0  # from the middle of the body to the middle of a knee, mm


class Findings(NamedTuple):
    """What there is to find in a knee.

    Parameters
    ----------
    torn : bool
        Whether the medial meniscus is torn in its posterior horn.
    effusion : float
        Half thickness of the fluid above the patella in mm.
    """

    torn: bool
    effusion: float


def findings(seed: int) -> Findings:
    """Return what a seed puts into a knee: half of them have a torn meniscus."""
    rng = np.random.default_rng([seed, 0x17EE])
    torn = seed % 2 == 0
    return Findings(torn, float(rng.uniform(3.5, 6.5) if torn else rng.uniform(0.8, 1.6)))


class Leg:
    """Paints one side: what is given as lateral lies on the outside of the body."""

    def __init__(self, section: Section, signal: Signals, side: int) -> None:
        self.section, self.signal, self.side = section, signal, side

    def place(self, point: Vector) -> Vector:
        """Return where a point lies whose x counts from the middle of the knee outwards."""
        return (self.side * (APART + point[0]), point[1], point[2])

    def ball(
        self, centre: Vector, axes: Vector, tissue: str, *, less: float = 0.0, square: bool = False
    ) -> None:
        """Paint an ellipsoid, smaller by `less` mm each way."""
        a, b, c = (axis - less for axis in axes)
        place, value = self.place(centre), self.signal[tissue]
        self.section.ellipsoid(place, (a, b, c), value, square=square)

    def band(
        self, points: list[Vector], radii: list[float] | float, tissue: str, *, wide: float = 0.0
    ) -> None:
        """Paint a tube."""
        line = [self.place(point) for point in points]
        self.section.tube(line, radii, self.signal[tissue], wide=wide)


def knee(seed: int, side: int) -> Callable[[Section, Signals], None]:
    """Return what paints a knee.

    Parameters
    ----------
    seed : int
        Decides the texture of the marrow and what there is to find.
    side : int
        1 for the left knee, -1 for the right one.
    """
    rng = np.random.default_rng([seed, 0x63EE])
    texture = Waves.random(rng, 7, 8)
    found = findings(seed)

    def paint(section: Section, signal: Signals) -> None:
        leg = Leg(section, signal, side)
        _soft_tissue(leg)
        _muscles(leg)
        _femur(leg)
        _tibia(leg)
        _menisci(leg)
        _front(leg, found.effusion)
        _ligaments(leg)
        if found.torn:
            leg.band([(-24, 17, -4.6), (-24, 26, -1.2)], 0.9, "fluid", wide=5)
        grain = np.float32(0.018) * texture.on(section.plane)
        section.image *= 1 + grain

    return paint


def _soft_tissue(leg: Leg) -> None:
    line: list[Vector] = [(0, 2, 150), (0, 2, 50), (0, -2, 15), (0, 4, -40), (0, 8, -150)]
    radii = [70.0, 58.0, 50.0, 49.0, 53.0]
    leg.band(line, [radius + 1.5 for radius in radii], "skin")
    leg.band(line, radii, "fat")


def _muscles(leg: Leg) -> None:
    for points, radii in _MUSCLES:
        leg.band(points, radii, "muscle")
    leg.band([(2, 44, 150), (2, 38, 20), (0, 36, -60), (0, 30, -150)], 4, "flow")
    leg.band([(7, 49, 150), (6, 46, 20), (5, 43, -60), (6, 36, -150)], 4.5, "flow")
    leg.band([(12, 54, 150), (10, 52, 20), (9, 48, -40)], 3, "white")  # tibial nerve


_MUSCLES: list[tuple[list[Vector], list[float]]] = [
    ([(2, -26, 150), (0, -32, 100), (0, -38, 66)], [36, 23, 5]),
    ([(-28, -12, 150), (-32, -18, 70), (-31, -24, 24)], [30, 22, 6]),
    ([(30, -8, 150), (32, -14, 80), (31, -20, 40)], [30, 21, 5]),
    ([(-20, 32, 150), (-26, 32, 40), (-28, 28, 0)], [30, 17, 5]),
    ([(26, 32, 150), (32, 31, 40), (37, 25, -12)], [28, 15, 4]),
    ([(-20, 34, 30), (-21, 36, -20), (-19, 32, -150)], [7, 16, 32]),
    ([(18, 34, 30), (19, 36, -20), (18, 30, -150)], [7, 15, 30]),
    ([(24, 16, -2), (8, 27, -26), (-12, 24, -52)], [3, 7, 6]),
    ([(26, -8, -30), (27, -14, -70), (26, -12, -150)], [4, 13, 18]),
    ([(8, 26, -46), (4, 24, -150)], [7, 26]),
]


def _femur(leg: Leg) -> None:
    shaft: list[Vector] = [(0, -8, 150), (0, -9, 90), (0, -5, 52), (0, -2, 34)]
    sides = (
        ((-23, 6, 23), (18, 31, 24)),
        ((22, 5, 23), (18, 32, 24)),
        ((1, -14, 27), (26, 17, 20)),
    )
    for centre, axes in sides:
        leg.ball(centre, axes, "cartilage", less=-2.2)
    leg.band(shaft, [14, 15, 25, 32], "bone")
    for centre, axes in sides:
        leg.ball(centre, axes, "bone")
    leg.band(shaft, [9.5, 11.5, 23.4, 30.5], "marrow")
    for centre, axes in sides:
        leg.ball(centre, axes, "marrow", less=1.3)
    leg.ball((0, 20, 6), (8.5, 25, 20), "bone")
    leg.ball((0, 21, 5), (7.5, 25, 20), "fat")  # the notch
    leg.ball((0, -1, 34), (26, 18, 1.0), "ligament")  # where the growth plate was


def _tibia(leg: Leg) -> None:
    shaft: list[Vector] = [(0, 2, -28), (0, -2, -64), (-2, 0, -150)]
    for side in (-1, 1):
        leg.ball((side * 20, 5, -9), (18, 23, 4.2), "cartilage", square=True)
    leg.band(shaft, [27, 18, 14], "bone")
    leg.ball((0, 4, -22), (38, 26, 15), "bone", square=True)
    leg.ball((0, -22, -36), (9, 7, 12), "bone")
    leg.ball((0, 7, -6), (7, 8, 5), "bone")
    leg.band(shaft, [25.5, 14.5, 9], "marrow")
    leg.ball((0, 4, -22), (38, 26, 15), "marrow", less=1.4, square=True)
    leg.ball((0, -22, -36), (9, 7, 12), "marrow", less=1.4)
    leg.ball((0, 7, -7), (7, 8, 5), "marrow", less=1.2)
    leg.ball((0, 4, -34), (27, 19, 0.9), "ligament")
    fibula: list[Vector] = [(36, 20, -20), (35, 19, -42), (34, 17, -150)]
    leg.band(fibula, [9, 6.5, 6.5], "bone")
    leg.band(fibula, [7.6, 4.2, 3.2], "marrow")


def _menisci(leg: Leg) -> None:
    section = leg.section
    x = leg.side * section.x - APART
    for middle, back in ((-23.0, 23.0), (22.0, 20.0)):
        # A ring that is open to the notch and thin within: a wedge in each cut.
        radius = np.hypot((x - middle) / 18, (section.y - 4) / back)
        height = 3.6 * np.clip((radius - 0.42) / 0.6, 0, 1)
        wedge = np.maximum(np.abs(section.z + 2.9) - height, (radius - 1.04) * 18)
        wedge = np.maximum(wedge, 7 - np.abs(x)) + (height <= 0)
        section.mix(section.cover(wedge.astype(np.float32)), leg.signal["meniscus"])


def _front(leg: Leg, effusion: float) -> None:
    leg.band(
        [(2, -36, 50), (2, -30, 62), (2, -27, 84)], [effusion, effusion, 0.4], "fluid", wide=14
    )
    leg.ball((2, -44, 30), (22, 10, 21), "cartilage")
    leg.ball((2, -46, 30), (22, 10, 21), "bone")
    leg.ball((2, -46, 30), (22, 10, 21), "marrow", less=1.3)
    leg.band([(2, -52, 48), (2, -48, 70), (2, -42, 130)], [3.2, 3.6, 2], "tendon", wide=11)
    leg.band([(2, -53, 13), (1, -44, -12), (0, -30, -38)], 2.6, "tendon", wide=11)


def _ligaments(leg: Leg) -> None:
    leg.band([(7, 16, 18), (2, 2, 4), (-3, -9, -6)], [3, 3.4, 4], "ligament")
    leg.band([(-6, 4, 12), (-4, 14, 13), (-1, 22, 4), (0, 27, -12)], [4.5, 4, 3.8, 3.4], "tendon")
    leg.band([(-42, 2, 34), (-42, 2, 0), (-38, 0, -54)], 1.5, "tendon")
    leg.band([(41, 6, 26), (43, 12, 4), (40, 18, -18)], 1.8, "tendon")
    leg.band([(38, -2, 100), (43, -8, 30), (34, -16, -22)], 1.4, "tendon")  # iliotibial tract
