"""An abdomen as CT sees it 70 s after contrast medium; z = 0 is at the hila of the kidneys."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from labsim.imaging.solids import Image, Section, Vector, Waves

# Hounsfield units in the portal venous phase.
AIR, LUNG, STOOL, FAT, BILE, URINE, BOWEL, WALL = -1000, -860, -60, -102, 8, 12, 28, 78
MUSCLE, PANCREAS, LIVER, SPLEEN, KIDNEY, MEDULLA = 62, 96, 112, 124, 196, 168
AORTA, VEIN, PORTAL, SPONGIOSA, CORTEX, SKIN, DULL = 152, 146, 170, 190, 720, 20, 66
CAVITY: tuple[Vector, Vector] = ((0, -8, 0), (140, 92, 700))  # centre and half axes
VERTEBRA = 34.0  # from one to the next, mm


class Metastasis(NamedTuple):
    """A lesion of the liver, so that there is something to find."""

    centre: Vector
    radius: float


def metastasis(seed: int) -> Metastasis | None:
    """Return the lesion of a patient; half of them have one."""
    if seed % 2:
        return None
    rng = np.random.default_rng([seed, 0x3E7A])
    x, y, z = rng.uniform((-115, -35, 30), (-70, 35, 80))
    return Metastasis((float(x), float(y), float(z)), float(rng.uniform(8, 16)))


def abdomen(seed: int) -> Callable[[Section], None]:
    """Return what paints an abdomen.

    Parameters
    ----------
    seed : int
        Decides shapes, loops of the bowel, and whether the liver has a metastasis.
    """
    rng = np.random.default_rng([seed, 0xABD0])
    mottle = Waves.random(rng, 9, 10)
    loops = [_loop(rng) for _ in range(20)]
    branches = [branch for _ in range(9) for branch in _branch(rng)]
    fat = float(rng.uniform(14, 30))
    lesion = metastasis(seed)

    def paint(section: Section) -> None:
        section.mix(np.ones_like(section.image), FAT)
        _lungs(section)
        _liver(section, branches, lesion)
        _spleen_and_stomach(section)
        _kidneys(section)
        _pancreas(section)
        for loop in loops:
            section.tube(loop, 12.5, WALL)
            section.tube(loop, 9.5, BOWEL)
        _colon(section, mottle.on(section.plane))
        _psoas(section)
        _vessels(section)
        _wall(section, fat)
        _ribs(section)
        _spine(section)
        _outside(section, fat)

    return paint


def bend(seed: int) -> list[Waves]:
    """Return the irregularities of a patient's organs."""
    rng = np.random.default_rng([seed, 0xBE4D])
    return [Waves.random(rng, length, 5) for length in (75, 80, 85)]


def _loop(rng: np.random.Generator) -> list[Vector]:
    """Return a stretch of small bowel."""
    point = np.array([rng.uniform(-65, 65), rng.uniform(-62, -8), rng.uniform(-115, -25)])
    direction = rng.standard_normal(3)
    points: list[Vector] = []
    for _ in range(9):
        x, y, z = point
        points.append((float(x), float(y), float(z)))
        direction = direction / np.linalg.norm(direction) + rng.normal(0, 0.55, 3)
        direction -= (point - np.array((8, -30, -75))) / 220
        point = point + 15 * direction / np.linalg.norm(direction)
    return points


def _branch(rng: np.random.Generator) -> list[tuple[list[Vector], list[float]]]:
    """Return a branch of the portal vein and one of the hepatic veins."""
    found = []
    for start in ((-38.0, -8.0, 48.0), (-26.0, 24.0, 96.0)):
        point = np.array(start)
        goal = np.array((rng.uniform(-135, 10), rng.uniform(-75, 55), rng.uniform(5, 110)))
        direction = (goal - point) / 7
        points: list[Vector] = []
        for _ in range(7):
            x, y, z = point
            points.append((float(x), float(y), float(z)))
            point = point + direction + rng.normal(0, 3, 3)
        found.append((points, list(np.linspace(4.5, 1.2, 7))))
    return found


def _lungs(section: Section) -> None:
    for side in (-1, 1):
        section.ellipsoid((side * 78, 6, 190), (64, 92, 110), LUNG)


def _liver(
    section: Section,
    branches: list[tuple[list[Vector], list[float]]],
    lesion: Metastasis | None,
) -> None:
    section.ellipsoid((-74, -4, 52), (78, 92, 82), LIVER)
    section.ellipsoid((-8, -48, 74), (72, 34, 42), LIVER, turn=(0, 0.2, -0.15))
    section.ellipsoid((-88, 10, -12), (46, 56, 62), LIVER)
    for points, radii in branches:
        section.tube(points, radii, PORTAL)
    section.ellipsoid((-20, -38, 45), (2.2, 36, 34), FAT, turn=(0, 0, -0.35))  # falciform
    section.ellipsoid((-28, -2, 30), (26, 20, 16), FAT)  # hilum
    section.tube([(-4, 2, 10), (-14, -2, 26), (-38, -8, 48)], 7, PORTAL)
    section.ellipsoid((-52, -46, 8), (17, 24, 28), WALL - 15, turn=(0, 0, 0.4))
    section.ellipsoid((-52, -46, 8), (15.5, 22.5, 26.5), BILE, turn=(0, 0, 0.4))
    if lesion:
        centre, radius = lesion
        section.ellipsoid(centre, (radius + 2,) * 3, LIVER + 14)
        section.ellipsoid(centre, (radius,) * 3, DULL)
        section.ellipsoid(centre, (radius * 0.5,) * 3, DULL - 22)


def _spleen_and_stomach(section: Section) -> None:
    section.ellipsoid((104, 42, 58), (28, 46, 58), SPLEEN, turn=(0.3, 0, -0.5))
    section.ellipsoid((80, 34, 52), (20, 30, 26), FAT, turn=(0, 0, -0.5))
    section.ellipsoid((58, -34, 66), (46, 46, 52), WALL, turn=(0, 0.3, 0.2))
    inside = -section.depth((58, -34, 66), (41, 41, 47), (0, 0.3, 0.2))
    # The patient is on the back: what is drunk lies behind, and air in front.
    level = np.where(section.y < -42, np.float32(AIR), np.float32(BOWEL))
    section.mix(section.cover(inside), level)


def _kidneys(section: Section) -> None:
    for side, z in ((-1, -12.0), (1, 2.0)):
        turn = (0.12, side * 0.22, side * -0.55)
        section.ellipsoid((side * 68, 46, z), (27, 32, 58), KIDNEY, turn=turn)
        for height in (-36, -18, 0, 18, 36):
            for way in (-1, 1):
                place = (side * 64 + way * 9, 47 + way * 8.0, z + height)
                section.ellipsoid(place, (6.5, 6.5, 6.5), MEDULLA)
        section.ellipsoid((side * 53, 39, z), (20, 12, 30), FAT, turn=(0, 0, side * 0.55))
        section.ellipsoid((side * 50, 37, z), (11, 6, 12), URINE, turn=(0, 0, side * 0.55))
        section.tube([(side * 44, 36, z - 8), (side * 36, 32, -60), (side * 40, 30, -130)], 3, 40)
        section.tube([(side * 52, 40, z), (side * 20, 26, 8), (4, 30, 8)], 3, AORTA)
        section.tube([(side * 52, 36, z), (side * 20, 16, 4), (-22, 24, 4)], 4.5, VEIN)
        section.tube([(side * 30, 34, 52), (side * 42, 46, 44)], (3, 2), WALL)  # adrenal


def _pancreas(section: Section) -> None:
    section.tube([(-34, 2, -22), (-36, -2, 6), (-30, -8, 22)], 15, WALL)  # duodenum
    section.tube([(-34, 2, -22), (-36, -2, 6), (-30, -8, 22)], 11, BOWEL)
    line: list[Vector] = [(-22, -6, 2), (-8, -14, 18), (20, -10, 28), (52, 10, 40), (84, 30, 50)]
    section.tube(line, (14, 10, 10, 10, 8), PANCREAS)
    line = [(-4, 2, 12), (14, 2, 26), (48, 20, 38), (88, 36, 50)]
    section.tube(line, 4.5, PORTAL)  # splenic vein


def _colon(section: Section, mottle: Image) -> None:
    filling = np.where(mottle > 0.75, np.float32(-650), STOOL + 40 * mottle)
    mark = 1e6  # no tissue has it
    parts: list[tuple[list[Vector], float]] = [
        ([(-112, 6, -160), (-112, 0, -90), (-104, -6, -20), (-92, -30, 8)], 23),
        ([(-92, -30, 8), (-58, -68, -18), (0, -76, -30), (54, -70, -10), (106, -14, 42)], 17),
        ([(106, -14, 42), (120, 26, 10), (122, 22, -80), (112, 10, -160)], 14),
    ]
    for line, radius in parts:
        section.tube(line, radius, WALL - 10)
        section.tube(line, radius - 3, mark)
        inside = section.image > mark / 2
        section.image[inside] = filling[inside]
        edge = section.image > CORTEX
        section.image[edge] = WALL - 10


def _psoas(section: Section) -> None:
    for side in (-1, 1):
        line: list[Vector] = [(side * 26, 58, 50), (side * 36, 52, -20), (side * 56, 36, -170)]
        section.tube(line, (7, 15, 26), MUSCLE)
        section.ellipsoid((side * 82, 68, -40), (26, 10, 90), MUSCLE, turn=(0, 0, side * 0.35))
        section.tube([(side * 12, 42, 130), (side * 17, 40, 40), (side * 8, 38, -20)], 6, MUSCLE)


def _vessels(section: Section) -> None:
    section.tube([(6, 34, 140), (6, 26, 0), (4, 22, -76)], (11.5, 9.5, 8.5), AORTA)
    section.tube([(5, 22, -74), (28, 26, -130)], 6, AORTA)
    section.tube([(3, 22, -74), (-24, 28, -130)], 6, AORTA)
    section.tube([(-26, 26, 140), (-24, 24, 20), (-18, 24, -80)], (13, 11, 10), VEIN, wide=2)
    section.tube([(6, 28, 42), (6, 6, 46), (-14, -2, 50)], 3.5, AORTA)  # coeliac trunk
    section.tube([(6, 26, 24), (6, 6, 10), (4, -6, -70)], 4, AORTA)  # superior mesenteric
    section.tube([(-4, 2, 12), (-8, -8, -70)], 5, PORTAL)


def _wall(section: Section, fat: float) -> None:
    """Paint muscle and fat over whatever reaches out of the cavity."""
    depth = section.depth(*CAVITY)
    section.mix(section.cover(depth), MUSCLE)
    section.mix(section.cover(depth + 13), FAT)
    for side in (-1, 1):
        section.ellipsoid((side * 36, -97, 0), (34, 8, 600), MUSCLE)  # rectus
        section.ellipsoid((side * 38, 84, 0), (36, 25, 600), MUSCLE)  # back
        for layer in (4.2, 8.6):
            seam = np.abs(depth + layer) - 0.5
            section.mix(0.6 * section.cover(seam) * (np.abs(section.x) > 85), FAT)


def _ribs(section: Section) -> None:
    for side in (-1, 1):
        for z, reach in ((128, 2.5), (104, 2.3), (80, 2.0), (56, 1.5), (30, 0.95)):
            angles = np.linspace(0.42, reach, 9)
            line: list[Vector] = [
                (float(side * 147 * np.sin(a)), float(-6 + 97 * np.cos(a)), float(z - 34 * a + 14))
                for a in angles
            ]
            section.tube(line, 5.5, CORTEX - 250)
            section.tube(line, 3.5, SPONGIOSA)


def _spine(section: Section) -> None:
    first = round(section.plane.centre[2] / VERTEBRA)
    section.ellipsoid((0, 58, 0), (22, 18, 900), 85)  # discs
    for number in (first - 1, first, first + 1):
        z = number * VERTEBRA
        section.ellipsoid((0, 57, z), (24, 19, 13.5), CORTEX - 200, square=True)
        section.ellipsoid((0, 57, z), (22, 17, 12), SPONGIOSA, square=True)
        section.ellipsoid((0, 86, z - 4), (18, 13, 13), CORTEX - 260)
        for side in (-1, 1):
            tip: Vector = (side * 42, 88, z - 2)
            section.tube([(side * 12, 84, z + 2), tip], (6, 3), CORTEX - 350)
            section.ellipsoid((side * 19, 88, z - 15), (8, 7, 11), CORTEX - 250)
        section.tube([(0, 92, z - 6), (0, 112, z - 12)], 4, CORTEX - 300)
    section.ellipsoid((0, 83, 0), (11, 9, 900), FAT + 60)
    section.ellipsoid((0, 83, 0), (9, 7.5, 900), 25)


def _outside(section: Section, fat: float) -> None:
    """Paint skin, air and the table."""
    depth = section.depth((0, -2, 0), (154 + fat, 108 + 0.5 * fat, 2000))
    section.mix(section.cover(np.abs(depth - 1) - 1), SKIN)
    section.mix(section.cover(depth), AIR)
    low = section.y > 122
    board = section.depth((0, 132, 0), (215, 26, 4000))
    shell = section.cover(np.abs(board - 1) - 1.2) * low
    section.mix(shell, -150)
