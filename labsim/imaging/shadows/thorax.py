"""A thorax as a radiograph shows it, from the front and from the side.

Coordinates are those of the film, in mm: x to the right, y down. y = -70 is
where the trachea divides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labsim.imaging.phantom import Nodule
from labsim.imaging.projection import Film, Image, Point, Strokes, curve, repeated, speckles

CARINA = -70.0
AERATED = 0.25  # what a lung stops, against soft tissue
RIBS = (
    # y at the spine, half width of the thorax, how far the front end lies lower
    (-157, 52, 40), (-139, 80, 55), (-119, 103, 66), (-97, 119, 75), (-73, 128, 82),
    (-49, 133, 88), (-24, 136, 93), (1, 138, 96), (26, 138, 92), (52, 136, 80), (80, 128, 60),
)  # fmt: skip


@dataclass(frozen=True)
class Chest:
    """What a thorax is like.

    Parameters
    ----------
    seed : int
        Decides vessels and build.
    female : bool
        Whether breasts cast a shadow.
    nodule : Nodule or None
        A lesion, in the coordinates of `labsim.imaging.phantom`.
    lying : bool
        Whether the patient lies on the back: the diaphragm stands higher, and
        the heart, far from the film, looks larger.
    """

    seed: int
    female: bool
    nodule: Nodule | None
    lying: bool = False

    @property
    def build(self) -> float:
        """Width against the average."""
        return float(np.random.default_rng([self.seed, 1]).uniform(0.94, 1.05))

    @property
    def heart(self) -> float:
        """Width of the heart against the average."""
        width = float(np.random.default_rng([self.seed, 2]).uniform(0.93, 1.16))
        return width * 1.13 if self.lying else width

    @property
    def diaphragm(self) -> float:
        """How much lower than the average it stands, in mm."""
        low = float(np.random.default_rng([self.seed, 3]).uniform(-14, 10))
        return low - 16 if self.lying else low


def from_the_front(film: Film, chest: Chest) -> None:
    """Cast the shadow of a thorax seen from the front: the patient's left is to the right.

    Parameters
    ----------
    film : Film
        On which it falls.
    chest : Chest
        What it is like.
    """
    _trunk(film, chest)
    lungs = _lungs(film, chest)
    _heart(film, chest, lungs)
    _vessels(film, chest, lungs)
    if chest.nodule is not None:
        x, _, z = chest.nodule.center
        r = chest.nodule.radius
        film.ellipsoid((x, CARINA - z), (r, r, r), film.beam.tissue)
    _airways(film)
    _spine(film)
    _ribs(film, chest)
    _shoulders(film, chest)
    if chest.female:
        _breasts(film, chest)


def _breasts(film: Film, chest: Chest) -> None:
    """Only their lower border is seen; above they merge into the chest."""
    y = np.array((-60, -20, 10, 35, 55, 70, 78, 82)) + chest.diaphragm * 0.8 - 4
    half = np.array((66, 66, 66, 63, 55, 40, 22, 1))
    depth = (0, 3, 7, 11, 13, 13, 11, 9)
    for side in (-1, 1):
        middle = side * 80 * chest.build
        film.column(y, middle - half, middle + half, depth, film.beam.tissue)


def _trunk(film: Film, chest: Chest) -> None:
    y = (-340, -196, -178, -160, -140, -115, -60, -30, 0, 60, 130, 260)
    half = np.array((52, 56, 76, 122, 176, 205, 205, 182, 166, 160, 156, 162)) * chest.build
    depth = (55, 55, 56, 60, 70, 86, 98, 102, 104, 106, 104, 104)
    film.column(y, -half, half, depth, film.beam.tissue * 0.92, power=4)


def _lungs(film: Film, chest: Chest) -> Image:
    """Take the lungs out of the trunk, and return how much lung is in each way, in mm."""
    w, low = chest.build, chest.diaphragm
    y = (-172, -167, -156, -138, -110, -70, -20, 40, 90, 140)
    outer = np.array((36, 48, 62, 79, 98, 114, 125, 131, 134, 134)) * w
    inner = np.array((34, 24, 17, 13, 12, 12, 12, 12, 12, 12))
    depth = (6, 18, 30, 46, 60, 72, 80, 84, 78, 62)
    domes = {
        -1: curve((0, 20, 55, 90, 114, 125, 131, 136), (86, 79, 70, 79, 98, 114, 128, 150)),
        1: curve((0, 20, 55, 90, 114, 125, 131, 136), (97, 91, 84, 91, 106, 119, 131, 150)),
    }
    lungs = np.zeros(film.shape, np.float32)
    for side, dome in domes.items():
        left, right = (inner, outer) if side > 0 else (-outer, -inner)
        box, lung = film.section(y, left, right, depth, power=4)
        floor = dome(side * film.x[:, box[1]] / w) + np.float32(low)
        over = floor - film.y[box[0]]
        # Behind the dome of the diaphragm the lung reaches lower still, but it is thin there.
        lungs[box] += lung * (
            np.clip(over / 3 + 0.5, 0, 1) * 0.92 + np.clip(over / 45 + 1, 0, 1) * 0.08
        )
    film.depth -= lungs * np.float32(film.beam.tissue * 0.92 * (1 - AERATED))
    # Air under the left half of the diaphragm is in the stomach.
    film.ellipsoid((62 * w, 122 + low), (30, 19, 15), -film.beam.tissue * 0.8)
    return lungs


def _heart(film: Film, chest: Chest, lungs: Image) -> None:
    """Put heart and great vessels in; where they are, no lung is."""
    h, low = chest.heart, chest.diaphragm
    y = (-175, -130, -104, -94, -82, -70, -60, -46, -30, -10, 20, 50, 76, 100 + low, 125 + low)
    left = (-19, -21, -24, -26, -27, -28, -29, -31, -35, -42, -48, -50, -47, -41, -30)
    right = np.array((19, 20, 24, 34, 40, 39, 33, 34, 41, 54, 72, 86, 91, 84, 55), float)
    right[8:] *= h
    depth = (18, 22, 26, 30, 32, 32, 34, 40, 48, 58, 64, 66, 62, 56, 40)
    box, path = film.section(y, left, right, depth)
    pushed = np.minimum(path, lungs[box])
    film.depth[box] += pushed * np.float32(film.beam.tissue * (1 - AERATED) * 0.9)
    lungs[box] -= pushed


def _vessels(film: Film, chest: Chest, lungs: Image) -> None:
    """Draw the vessels, which branch from the hila outwards and become thinner."""
    rng = np.random.default_rng([chest.seed, 4])
    strands = Strokes(film)
    for side in (-1, 1):
        hilum = (side * 36.0, CARINA + (26 if side < 0 else 17))
        x, y = hilum
        strands.add(
            [(x - side * 14, y - 10), (x, y - 2), (x + side * 8, y + 18), (x + side * 12, y + 44)],
            [3, 8, 7, 3.5],
        )
        strands.add([(x - side * 2, y - 2), (x + side * 14, y - 26)], [6.5, 3.5])
        for angle in np.linspace(-1.4, 1.5, 14):
            _branch(strands, rng, hilum, (side, float(angle)), float(rng.uniform(2.6, 4.2)))
    _fill(film, strands, lungs, 2.7)
    texture = repeated(speckles(rng, 18, 4), film.shape)
    film.depth += lungs * texture * np.float32(0.05 * AERATED * film.beam.tissue)


def _fill(film: Film, strands: Strokes, lungs: Image, strength: float) -> None:
    """Put vessels where there is lung."""
    box = strands.box
    inside = np.minimum(strands.path(), lungs[box])
    film.depth[box] += inside * np.float32(film.beam.tissue * (1 - AERATED) * strength)


def _branch(
    strands: Strokes,
    rng: np.random.Generator,
    start: Point,
    heading: tuple[int, float],
    radius: float,
) -> None:
    side, angle = heading
    points, radii, length = [start], [radius], 0.0
    reach = 85 + 45 * float(np.sin(abs(angle)))
    while radii[-1] > 0.7 and length < reach:
        step = float(rng.uniform(11, 17))
        angle += float(rng.normal(0, 0.15))
        x, y = points[-1]
        points.append((x + side * step * float(np.cos(angle)), y + step * float(np.sin(angle))))
        radii.append(radii[-1] * 0.82)
        length += step
        if len(points) in (2, 4, 6) and radii[-1] > 1.2:
            turn = float(rng.choice((-1, 1)) * rng.uniform(0.4, 0.8))
            _branch(strands, rng, points[-1], (side, angle + turn), radii[-1] * 0.72)
    strands.add(points, radii)


def _airways(film: Film) -> None:
    air = -film.beam.tissue
    tubes = Strokes(film)
    tubes.add([(-1, -320), (-1, -150), (1, CARINA - 6)], [8.5, 8, 8.5])
    tubes.add([(1, CARINA - 5), (-14, CARINA + 18), (-27, CARINA + 34)], [7.5, 6.5, 4])
    tubes.add([(1, CARINA - 5), (20, CARINA + 14), (38, CARINA + 23)], [7, 5.5, 4])
    tubes.cast(air * 0.9)


def _spine(film: Film) -> None:
    bone, y, height = film.beam.bone, -322.0, 15.2
    while y < 240:
        wide = 14.5 + 0.014 * (y + 232)
        body = (wide, height / 2 - 1, 15.0)
        film.ellipsoid((0, y + height / 2), body, bone * 0.28, power=6, wall=1.2)
        film.ellipsoid((0, y + height * 0.85), (2.8, height * 0.36, 6), bone * 0.3, wall=1.0)
        for side in (-1, 1):
            at = (side * wide * 0.7, y + height * 0.38)
            film.ellipsoid(at, (3.0, height * 0.26, 6), bone * 0.3, wall=1.2)
            at = (side * (wide + 9), y + height * 0.42)
            film.ellipsoid(at, (12, 4, 4), bone * 0.3, tilt=-side * 0.2, wall=1.0)
        y += height + 3.4
        height *= 1.021


def _ribs(film: Film, chest: Chest) -> None:
    rng = np.random.default_rng([chest.seed, 5])
    for number, (y, half, drop) in enumerate(RIBS, start=1):
        wide = half * chest.build
        last = 2.62 if number < 8 else 2.5 - 0.22 * (number - 8)
        angles = np.linspace(0.14, last, 17)  # 0 is at the spine, pi in front
        shift = float(rng.normal(0, 1.5))
        x = wide * np.sin(angles) ** 0.92
        heights = y + shift + drop * (1 - np.cos(angles)) / 2 - 7 * np.sin(angles)
        radii = [float(r) for r in 5.4 + 0.7 * np.cos(angles) + 0.5 * np.sin(2.2 * angles)]
        for side in (-1, 1):
            rib = Strokes(film)
            points = [(float(side * a), float(b)) for a, b in zip(x, heights, strict=True)]
            rib.add(points, radii)
            # At the side of the chest the beam runs along the rib.
            across = 1 - np.clip(np.abs(film.x[:, rib.box[1]]) / (wide + 1), 0, 1) ** 2
            along = np.minimum(0.62 / np.sqrt(np.maximum(across, 0.03)), 1.5)
            rib.cast(along * (film.beam.bone * 0.62), wall=1.1, radius=5.5)


_CLAVICLE = ((15, -117), (24, -122), (44, -130), (70, -138), (98, -145), (126, -151), (150, -151))
_SCAPULA = (  # its borders, and their radii
    (((118, -128), (126, -90), (140, -40), (147, -18)), (2.0, 2.0, 2.4, 3.4)),
    (((147, -18), (153, -70), (160, -118)), (3.4, 3.0, 5.0)),
    (((116, -126), (140, -136), (165, -146)), (2.4, 4.0, 7.0)),
)


def _shoulders(film: Film, chest: Chest) -> None:
    w, bone = chest.build, film.beam.bone
    for side in (-1, 1):
        clavicle = Strokes(film)
        points = [(side * x * w, y) for x, y in _CLAVICLE]
        clavicle.add(points, (6, 7.5, 6, 5.4, 5.4, 6.4, 6.4))
        clavicle.cast(bone, wall=1.5, radius=6, spongy=0.38)
        for line, radii in _SCAPULA:
            border = Strokes(film)
            border.add([(side * x * w, y) for x, y in line], radii)
            border.cast(bone * 0.45)
        film.ellipsoid((side * 141 * w, -84), (17, 54, 3), bone * 0.6, tilt=side * -0.32)
        film.ellipsoid((side * 180 * w, -124), (24, 25, 22), bone * 0.5, wall=1.6)
        film.ellipsoid((side * 187 * w, -70), (13, 62, 13), bone * 0.8, wall=4.0, power=4)


def from_the_left(film: Film, chest: Chest) -> None:
    """Cast the shadow of a thorax seen from the side: the front is to the left.

    Parameters
    ----------
    film : Film
        On which it falls.
    chest : Chest
        What it is like.
    """
    tissue, low = film.beam.tissue, chest.diaphragm
    y = (-340, -205, -180, -140, -80, 0, 80, 150, 260)
    front = (-40, -46, -74, -104, -120, -126, -124, -120, -118)
    back = (70, 78, 104, 126, 134, 128, 118, 108, 106)
    depth = (75, 110, 150, 160, 156, 148, 144, 142, 142)
    film.column(y, front, back, depth, tissue * 0.66, power=4)
    if chest.female:
        film.ellipsoid((-118, 42), (36, 58, 26), tissue * 0.55, tilt=0.15)
    lungs = _lungs_from_the_left(film, low)
    _heart_from_the_left(film, chest, lungs)
    _vessels_from_the_left(film, chest, lungs)
    if chest.nodule is not None:
        _, depth_of, z = chest.nodule.center
        r = chest.nodule.radius
        film.ellipsoid((depth_of, CARINA - z), (r, r, r), tissue)
    trachea = (-300, -215, -150, CARINA + 8), (-26, -20, -8, 6), (-10, -4, 9, 22), (8, 8, 8, 7)
    film.column(*trachea, -tissue * 1.2)
    _spine_from_the_left(film)
    _ribs_from_the_left(film)


def _lungs_from_the_left(film: Film, low: float) -> Image:
    y = (-172, -166, -150, -125, -80, -20, 50, 110, 170)
    front = (4, -16, -44, -70, -94, -104, -106, -104, -100)
    back = (12, 34, 62, 86, 107, 110, 103, 94, 86)
    depth = (8, 24, 56, 84, 112, 124, 124, 112, 90)
    box, lung = film.section(y, front, back, depth, power=4)
    lungs = np.zeros(film.shape, np.float32)
    # The right half of the diaphragm stands higher; behind both, lung reaches far down.
    for lower, share in ((0, 0.52), (11, 0.48)):
        dome = curve((-106, -80, -45, -10, 40, 75, 96), (100, 86, 77, 80, 102, 134, 160))
        over = dome(film.x[:, box[1]]) + np.float32(low + lower) - film.y[box[0]]
        lungs[box] += lung * (np.clip(over / 2.5 + 0.5, 0, 1) * np.float32(share))
    film.depth -= lungs * np.float32(film.beam.tissue * 0.66 * (1 - AERATED))
    film.ellipsoid((0, 124 + low), (30, 17, 16), -film.beam.tissue * 0.7)
    return lungs


_AORTA = (
    (-34, -40), (-34, -70), (-22, -94), (0, -104), (26, -98), (44, -78), (56, -44), (62, 0),
    (62, 60),
)  # fmt: skip


def _heart_from_the_left(film: Film, chest: Chest, lungs: Image) -> None:
    h, low = chest.heart, chest.diaphragm
    y = (-62, -56, -44, -24, 0, 30, 60, 90, 125 + low)
    front = (-26, -40, -51, -63, -74, -86, -94, -97, -92)
    back = np.array((-14, 0, 10, 19, 27, 33, 32, 24, 6)) * h
    box, heart = film.section(y, front, back, (4, 12, 24, 36, 46, 54, 56, 52, 36))
    heart = np.minimum(heart * 1.35, lungs[box] * 0.8)
    lungs[box] -= heart
    film.depth[box] += heart * np.float32(film.beam.tissue * (1 - AERATED) * 0.8)
    aorta = Strokes(film)
    aorta.add(_AORTA, (13, 14, 14, 13.5, 13, 12.5, 12, 11.5, 11))
    _fill(film, aorta, lungs, 0.55)
    # In front of the trachea lies what goes up to the neck.
    box, path = film.section((-172, -120, -80), (-34, -34, -40), (34, 36, 34), (22, 20, 8))
    film.depth[box] += np.minimum(path, lungs[box]) * np.float32(film.beam.tissue * 0.45)


def _vessels_from_the_left(film: Film, chest: Chest, lungs: Image) -> None:
    rng = np.random.default_rng([chest.seed, 6])
    strands = Strokes(film)
    x, y = 8.0, CARINA + 24
    strands.add([(x - 10, y - 2), (x + 4, y - 6), (x + 16, y + 4), (x + 24, y + 26)], [9, 10, 8, 4])
    strands.add([(x - 4, y), (x - 6, y + 22)], [8, 5])
    for angle in np.linspace(-2.8, 2.8, 26):
        heading = (1, float(angle)) if abs(angle) < 1.57 else (-1, float(np.pi - angle))
        _branch(strands, rng, (x, y), heading, float(rng.uniform(1.8, 3.2)))
    _fill(film, strands, lungs, 2.8)
    texture = repeated(speckles(rng, 18, 4), film.shape)
    film.depth += lungs * texture * np.float32(0.05 * AERATED * film.beam.tissue)


def _spine_from_the_left(film: Film) -> None:
    bone, y, height = film.beam.bone, -310.0, 12.5
    middle = curve((-230, -170, -90, -10, 70, 150, 240), (20, 40, 70, 80, 73, 53, 34))
    while y < 240:
        here, after = float(middle(y)), float(middle(y + height))
        tilt = float(np.arctan2(after - here, height))
        wide = 11 + 0.018 * (y + 225)
        x, center = (here + after) / 2, y + height / 2
        body = (wide, height / 2 - 0.4, 17)
        film.ellipsoid((x, center), body, bone * 0.34, power=6, tilt=-tilt, wall=1.1)
        film.ellipsoid((x + wide + 7, center - 2), (8, 3.5, 8), bone * 0.26, tilt=0.3, wall=1)
        film.ellipsoid((x + wide + 13, center + 7), (4, 8, 8), bone * 0.26, tilt=-0.3, wall=1)
        film.ellipsoid((x + wide + 26, center + 14), (13, 4, 3), bone * 0.4, tilt=0.6, wall=1)
        y += height + 3.0
        height *= 1.023


def _ribs_from_the_left(film: Film) -> None:
    middle = curve((-230, -170, -90, -10, 70, 150), (20, 40, 70, 80, 73, 53))
    for side in (0, 1):  # those far from the film are larger
        large = 1.0 + 0.05 * side
        for number, (y, _, drop) in enumerate(RIBS, start=1):
            depth = min(64 + 8 * number, 97) * large
            last = 2.45 if number < 8 else 2.3 - 0.25 * (number - 8)
            angles = np.linspace(0.0, last, 13)
            bulge = np.where(angles < 1.2, 30 * np.sin(angles * 2.6) ** 2 * (1 - angles / 1.3), 0)
            x = float(middle(y)) + 14 + bulge - depth * (1 - np.cos(angles))
            heights = y + drop * 1.25 * (1 - np.cos(angles)) / 2 + 5 * np.sin(angles)
            points = [
                (float(a), float(b * large + 4 * side)) for a, b in zip(x, heights, strict=True)
            ]
            rib = Strokes(film)
            rib.add(points, [4.8 * large] * len(points))
            rib.cast(film.beam.bone * 0.3, wall=1.1, radius=4.8 * large, spongy=0.14)
    film.ellipsoid((-113, -62), (4.5, 54, 8), film.beam.bone * 0.5, tilt=-0.16, wall=1.2)
