"""A hand and a knee as a radiograph shows them.

Coordinates are those of the film, in mm: x to the right, y down. Everything is
a left one; a right one is its mirror image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labsim.imaging.projection import (
    Film,
    Image,
    Point,
    Strokes,
    Union,
    coarse,
    repeated,
    speckles,
)

Outline = tuple[tuple[float, float, float, float], ...]

# Axes of the bones of each ray, thumb first: metacarpal and phalanges, near end to far end.
RAYS: tuple[tuple[tuple[Point, Point], ...], ...] = (
    (((27, 46), (49, 16)), ((51, 13), (66, -13)), ((67.5, -16), (77, -35))),
    (((12, 37), (24, -23)), ((25, -27), (34, -64)),
     ((34.7, -67), (40, -88)), ((40.5, -90.5), (44, -106))),
    (((2, 37), (4, -27)), ((4.3, -31), (7, -73)),
     ((7.2, -76), (9, -102)), ((9.2, -105), (10, -121))),
    (((-8, 38), (-14, -19)), ((-15, -23), (-21, -62)),
     ((-21.4, -65), (-25, -89)), ((-25.4, -92), (-27.5, -107))),
    (((-17, 41), (-31, -9)), ((-32, -13), (-42, -43)),
     ((-43, -46), (-48, -64)), ((-48.6, -66.5), (-52, -80))),
)  # fmt: skip
_METACARPAL = (
    (0, 5.6, 0.8), (0.07, 6.3, 0.8), (0.24, 4.6, 1.5), (0.5, 3.9, 2.1), (0.72, 4.4, 1.6),
    (0.9, 6.9, 0.8), (0.97, 6.6, 0.8), (1, 4.8, 0.8),
)  # fmt: skip
_PHALANX = (
    (0, 6.0, 0.8), (0.06, 7.0, 0.8), (0.25, 4.8, 1.5), (0.6, 4.0, 1.6), (0.8, 4.3, 1.2),
    (0.93, 5.4, 0.8), (1, 4.6, 0.8),
)  # fmt: skip
_TIP = (
    (0, 4.6, 0.7), (0.1, 5.2, 0.7), (0.45, 2.6, 1.0), (0.75, 2.5, 0.9), (0.9, 3.8, 0.7),
    (1, 3.0, 0.7),
)  # fmt: skip
# Width of the bones of each ray against the middle finger's.
STOUT = (1.08, 1.0, 1.0, 0.93, 0.84)
CARPALS = (
    # x, y, half axes, tilt, squareness: trapezium, trapezoid, capitate, hamate, scaphoid,
    # lunate, triquetrum, pisiform
    (24.5, 53, 7.2, 6.6, 0.5, 4), (13.5, 46.5, 5.2, 6.4, 0.2, 4), (3, 51, 6.4, 10.6, -0.1, 4),
    (-9, 51, 7.0, 9.6, 0.3, 4), (16.5, 65, 6.6, 11, 0.75, 2), (2, 69.5, 8.6, 7.4, -0.25, 2),
    (-11.5, 65.5, 8.4, 6.4, -0.6, 2), (-14, 68.5, 4.4, 5, 0.2, 2),
)  # fmt: skip


def hand(film: Film, seed: int) -> None:
    """Cast the shadow of a left hand lying on its palm, fingers up: the thumb is to the right.

    Parameters
    ----------
    film : Film
        On which it falls.
    seed : int
        Decides size, bones and how the fingers are spread.
    """
    rng = np.random.default_rng([seed, 10])
    size, stout = float(rng.uniform(0.86, 0.94)), float(rng.uniform(0.9, 1.1))
    rays = [_spread(ray, float(rng.normal(0, 0.035)), size) for ray in RAYS]
    spongy = 1 + 0.2 * repeated(speckles(rng, 8, 2.8), film.shape)
    _flesh_of_a_hand(film, rays, size)
    _forearm(film, size, stout, spongy)
    for x, y, a, b, tilt, power in CARPALS:
        half = (a * size, b * size, b * 0.62 * size)
        middle = (x * size, y * size + 6)
        film.ellipsoid(
            middle, half, film.beam.bone, tilt=tilt, power=power, wall=0.9, texture=spongy
        )
    for number, ray in enumerate(rays):
        _ray(film, ray, STOUT[number] * stout * size, spongy)


def _spread(
    ray: Sequence[tuple[Point, Point]], angle: float, size: float
) -> list[tuple[Point, Point]]:
    """Turn the fingers of a ray about the end of its metacarpal, and scale it."""
    pivot = np.asarray(ray[0][1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def moved(point: Point) -> Point:
        x, y = (turn @ (np.asarray(point) - pivot) + pivot) * size
        return float(x), float(y) + 6

    still = (
        (ray[0][0][0] * size, ray[0][0][1] * size + 6),
        (ray[0][1][0] * size, ray[0][1][1] * size + 6),
    )
    return [still, *((moved(start), moved(end)) for start, end in ray[1:])]


def _ray(film: Film, ray: Sequence[tuple[Point, Point]], stout: float, spongy: Image) -> None:
    film.bone(*ray[0], _even(_METACARPAL, stout), texture=spongy)
    for number, piece in enumerate(ray[1:], start=1):
        shape = _TIP if number == len(ray) - 1 else _PHALANX
        film.bone(*piece, _even(shape, stout * 0.88 ** (number - 1)), texture=spongy)


def _even(shape: Sequence[tuple[float, float, float]], stout: float) -> Outline:
    """Return the outline of a bone that is alike on both sides, from (along, half width, wall)."""
    return tuple((along, half * stout, half * stout, wall) for along, half, wall in shape)


def _flesh_of_a_hand(
    film: Film, rays: Sequence[Sequence[tuple[Point, Point]]], size: float
) -> None:
    flesh = Strokes(film)
    for number, ray in enumerate(rays):
        ends = [ray[0][1], *(end for _, end in ray[1:])]
        (x, y), (u, v) = ray[-1]
        length = float(np.hypot(u - x, v - y))
        ends.append((u + (u - x) / length * 2.5, v + (v - y) / length * 2.5))
        radii = np.linspace(10.6, 7.6, len(ends)) * STOUT[number] * size
        flesh.add(ends, [float(r) for r in radii])
        palm = [ray[0][0], ray[0][1]]
        flesh.add(palm, [15 * size, (14 if number else 12) * size])
    for number in (1, 2, 3):  # skin between the fingers
        a, b = rays[number], rays[number + 1]
        flesh.add([a[0][1], b[0][1]], [13 * size, 13 * size])
        flesh.add([a[0][0], b[0][1]], [14 * size, 13 * size])
    flesh.add([rays[0][0][1], rays[1][0][1]], [9 * size, 12 * size])
    flesh.add([rays[0][0][0], rays[1][0][1]], [15 * size, 12 * size])
    flesh.add([(0, 62 * size), (-1, 90 * size), (-3, 210)], [25 * size, 25 * size, 28 * size])
    flesh.add([(10, 60 * size), (5, 210)], [22 * size, 26 * size])
    thick = np.zeros(film.shape, np.float32)
    # A hand is flat: nothing of it is thicker than about 30 mm.
    thick[flesh.box] = 30 * np.tanh(flesh.path() / 30)
    film.depth += (0.35 * thick + 0.65 * coarse(thick, 10) * (thick > 0)) * np.float32(
        film.beam.tissue
    )


def _forearm(film: Film, size: float, stout: float, spongy: Image) -> None:
    s = size * stout
    radius = (
        (0, 10, 12, 0.9), (0.03, 12.5, 14.5, 0.9), (0.15, 12.5, 14, 1.0), (0.45, 8, 8.5, 2.0),
        (1, 6.5, 6.5, 3.0),
    )  # fmt: skip
    ulna = ((0, 5, 5, 0.9), (0.04, 7, 7, 0.9), (0.2, 6.4, 6.4, 1.2), (1, 5.6, 5.6, 2.4))
    for shape, start, end, styloid, (a, b), tilt in (
        (radius, (11, 80), (5, 240), (22, 81), (3.4, 7.0), -0.35),
        (ulna, (-17, 84), (-12, 240), (-21, 86), (2.2, 6.0), 0.2),
    ):
        near, far = ((x * size, y * size + 4) for x, y in (start, end))
        tip = (styloid[0] * size, styloid[1] * size + 4)
        grown = Union(film)
        film.bone(near, far, _scaled(shape, s), union=grown)
        film.ellipsoid(tip, (a * s, b * s, 5), 1, tilt=tilt, wall=0.9, union=grown)
        film.cast(grown, film.beam.bone, spongy)


def _scaled(shape: Sequence[tuple[float, float, float, float]], s: float) -> Outline:
    """Return an outline of another width; walls stay as thick as they are."""
    return tuple((along, left * s, right * s, wall) for along, left, right, wall in shape)


def knee(film: Film, seed: int) -> None:
    """Cast the shadow of a left knee seen from the front: the fibula is to the right.

    Parameters
    ----------
    film : Film
        On which it falls.
    seed : int
        Decides size, bones and the width of the joint.
    """
    rng = np.random.default_rng([seed, 11])
    s = float(rng.uniform(0.92, 1.04))
    gap = float(rng.uniform(3.2, 5.5))
    spongy = 1 + 0.13 * repeated(speckles(rng, 14, 3.2), film.shape)
    _flesh_of_a_knee(film, s)
    _femur(film, s, spongy)
    _tibia(film, s, gap, spongy)
    film.bone((36 * s, 19 + gap), (33 * s, 210), _scaled(_FIBULA, s), texture=spongy)
    film.ellipsoid((2, -37), (22 * s, 22 * s, 9), film.beam.bone * 0.4, wall=1.0)  # the kneecap


# Looking down a leg, the left of an outline is to the right of the picture.
_FEMUR = (
    (0, 15, 15, 6.0), (0.45, 16, 16, 5.0), (0.67, 20, 21, 2.4), (0.82, 31, 33, 1.3),
    (0.89, 38, 40, 1.0), (0.93, 39, 41, 1.0), (0.975, 37, 38, 0.7), (1, 33, 33, 0.5),
)  # fmt: skip
_TIBIA = (
    (0, 34, 35, 0.8), (0.02, 37, 37.5, 0.8), (0.085, 36, 36, 1.0), (0.2, 25, 27, 1.8),
    (0.35, 16, 18, 4.0), (0.7, 13, 15, 6.0), (1, 13, 15, 6.0),
)  # fmt: skip
_FIBULA = (
    (0, 6, 7, 0.9), (0.055, 9, 9.5, 0.9), (0.15, 6, 6, 1.4), (0.34, 5.5, 5.5, 2.2), (1, 6, 6, 2.8),
)  # fmt: skip


def _flesh_of_a_knee(film: Film, s: float) -> None:
    tissue = film.beam.tissue
    y = (-210, -90, -50, -15, 20, 60, 210)
    left = np.array((-64, -60, -57, -57, -53, -54, -56)) * s
    right = np.array((62, 58, 55, 55, 54, 57, 58)) * s
    film.column(y, left, right, (62, 58, 54, 52, 48, 50, 54), tissue)
    for line in (((-30, -210), (-34, -70), (-40, -20)), ((44, 30), (46, 80), (44, 210))):
        muscle = Strokes(film)  # around it lies fat
        muscle.add([(x * s, y) for x, y in line], (16, 14, 6))
        muscle.cast(tissue * 0.12)


def _femur(film: Film, s: float, spongy: Image) -> None:
    grown = Union(film)
    film.bone((4, -210), (0, -12), _scaled(_FEMUR, s), flat=0.8, union=grown)
    for side in (-1, 1):  # the condyles
        at, half = (side * 21.2 * s, -15.5), (18.6 * s, 17, 26)
        film.ellipsoid(at, half, 1, tilt=side * 0.12, power=4, wall=1.2, union=grown)
    film.cast(grown, film.beam.bone, spongy)
    film.ellipsoid((0, -4), (7 * s, 14, 24), -film.beam.bone * 0.12)  # the notch between them


def _tibia(film: Film, s: float, gap: float, spongy: Image) -> None:
    grown = Union(film)
    film.bone((0, 4 + gap), (-4, 210), _scaled(_TIBIA, s), flat=0.8, union=grown)
    for x, tilt in ((-6, 0.3), (5.5, -0.3)):  # the spines between the condyles
        film.ellipsoid((x * s, 6 + gap), (4.4, 7.5, 18), 1, tilt=tilt, wall=1.2, union=grown)
    film.cast(grown, film.beam.bone, spongy)
