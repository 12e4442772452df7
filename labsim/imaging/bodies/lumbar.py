"""A lumbar spine in space; z = 0 is in the middle of the third lumbar vertebra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from labsim.imaging.solids import Section, Vector, Waves

Signals = Mapping[str, float]


class Vertebra(NamedTuple):
    """Where the middle of a vertebral body lies, in mm, and half of its height."""

    name: str
    y: float
    z: float
    half: float


VERTEBRAE = (
    Vertebra("T10", 27, 172, 11.5),
    Vertebra("T11", 20, 141, 12),
    Vertebra("T12", 13, 108, 12.5),
    Vertebra("L1", 7, 73, 13),
    Vertebra("L2", 2, 37, 13.5),
    Vertebra("L3", 0, 0, 13.5),
    Vertebra("L4", 2, -37, 13.5),
    Vertebra("L5", 12, -72, 13),
    Vertebra("S1", 32, -102, 13),
    Vertebra("S2", 56, -124, 10.5),
    Vertebra("S3", 76, -144, 8.5),
)


class Disc(NamedTuple):
    """A disc that has lost its water and bulges into the canal.

    Parameters
    ----------
    above : int
        Index of the vertebra above it.
    bulge : float
        How far it reaches into the canal in mm.
    """

    above: int
    bulge: float


def findings(seed: int) -> list[Disc]:
    """Return the worn discs of a patient; in half of the patients the last one bulges far."""
    rng = np.random.default_rng([seed, 0xD15C])
    if seed % 2:
        return [Disc(6, 1.5)] if rng.random() < 0.5 else []
    worst = int(rng.integers(6, 8))
    return [Disc(worst, float(rng.uniform(7, 10))), Disc(worst - 1, 2.0)]


def lumbar(seed: int) -> Callable[[Section, Signals], None]:
    """Return what paints a lumbar spine.

    Parameters
    ----------
    seed : int
        Decides the worn discs, the course of the roots and the texture.
    """
    rng = np.random.default_rng([seed, 0x10B0])
    texture, streaks = Waves.random(rng, 8, 8), Waves.random(rng, 16, 6)
    roots = [_root(rng) for _ in range(10)]
    loops = [_loop(rng) for _ in range(9)]
    worn = {disc.above: disc.bulge for disc in findings(seed)}

    def paint(section: Section, signal: Signals) -> None:
        _soft_tissue(section, signal, streaks)
        for loop in loops:
            section.tube(loop, 13, signal["muscle"])
            section.tube(loop, 11, signal["bowel"])
        _vessels(section, signal)
        _arches(section, signal)
        _canal(section, signal, roots)
        _discs(section, signal, worn)
        for index, vertebra in enumerate(VERTEBRAE):
            _body(section, signal, vertebra, _tilt(index))
        section.image *= 1 + np.float32(0.025) * texture.on(section.plane)

    return paint


def _tilt(index: int) -> float:
    """Return by how much a vertebra leans, in radians."""
    near = VERTEBRAE[max(0, index - 1) : index + 2]
    return float(np.arctan2(near[0].y - near[-1].y, near[0].z - near[-1].z))


def _behind(distance: float) -> list[Vector]:
    """Return the line that runs behind the middle of the vertebral bodies."""
    line: list[Vector] = []
    for index, (_, y, z, _) in enumerate(VERTEBRAE):
        lean = _tilt(index)
        line.append((0, y + distance * float(np.cos(lean)), z - distance * float(np.sin(lean))))
    return line


def _root(rng: np.random.Generator) -> list[Vector]:
    """Return a nerve root that hangs from the end of the cord through the sac."""
    sac = _behind(27)
    x, back = rng.uniform(-7, 7), rng.uniform(-2, 5)
    line: list[Vector] = []
    for part, (_, y, z) in enumerate(sac[3:9]):
        spread = 0.3 + 0.14 * part
        line.append((float(x * spread * 1.6), float(y + back * spread + 1), z))
    return line


def _loop(rng: np.random.Generator) -> list[Vector]:
    x, y, z = rng.uniform((-70, -95, -130), (70, -55, 90))
    line: list[Vector] = []
    for _ in range(6):
        line.append((float(x), float(y), float(z)))
        x, y, z = np.array((x, y, z)) + rng.normal(0, (16, 8, 14))
        y = min(y, -52)
    return line


def _soft_tissue(section: Section, signal: Signals, streaks: Waves) -> None:
    depth = section.depth((0, -18, 0), (176, 132, 900))
    section.mix(section.cover(-depth), signal["skin"])
    section.mix(section.cover(2 - depth), signal["fat"])
    section.ellipsoid((0, -128, 0), (90, 9, 700), signal["muscle"])
    strands = np.clip(0.85 + 0.35 * streaks.on(section.plane), 0, 1)
    fibres = np.float32(signal["fat"]) + strands * np.float32(signal["muscle"] - signal["fat"])
    for side in (-1, 1):
        for x, y, a, b in (
            (30.0, 70.0, 24.0, 19.0),
            (14.0, 60.0, 11.0, 20.0),
            (62.0, 62.0, 18.0, 20.0),
        ):
            section.ellipsoid((side * x, y, -10), (a, b, 240), fibres)
        section.tube(
            [(side * 30, 8, 110), (side * 42, 2, 0), (side * 60, -20, -150)],
            (8, 21, 26),
            signal["muscle"],
        )
        section.ellipsoid((side * 62, 34, 92), (28, 30, 56), signal["mucosa"])  # kidneys
        section.ellipsoid((side * 50, 28, 90), (14, 12, 28), signal["fat"])


def _vessels(section: Section, signal: Signals) -> None:
    aorta: list[Vector] = [(10, 2, 172), (9, -12, 108), (8, -26, 37), (6, -28, -30)]
    section.tube(aorta, (11, 10, 9, 8.5), signal["flow"])
    cava: list[Vector] = [(-16, -6, 172), (-16, -14, 108), (-15, -25, 37), (-12, -27, -36)]
    section.tube(cava, 10, signal["flow"])
    for side in (-1, 1):
        section.tube(
            [(side * 4, -28, -32), (side * 26, -20, -80), (side * 44, 0, -140)], 6, signal["flow"]
        )
    section.tube([(6, -38, 80), (4, -48, 0), (0, -52, -80)], 4, signal["flow"])


def _arches(section: Section, signal: Signals) -> None:
    s = signal
    for index, (_, y, z, half) in enumerate(VERTEBRAE[:9]):
        lean = _tilt(index)

        def at(
            x: float, back: float, up: float, y: float = y, z: float = z, lean: float = lean
        ) -> Vector:
            cos, sin = float(np.cos(lean)), float(np.sin(lean))
            return (x, y + back * cos + up * sin, z - back * sin + up * cos)

        small = 0.6 if index == 8 else 1.0
        process = (3.8, 15 * small, 10 * small)
        turn = (-lean - 0.25, 0, 0)
        section.ellipsoid(at(0, 54, -12), process, s["bone"], turn=turn)
        section.ellipsoid(
            at(0, 54, -12), (2.9, 13.6 * small, 8.6 * small), s["red marrow"], turn=turn
        )
        for side in (-1, 1):
            joint = [at(side * 17, 34, 12), at(side * 19, 38, -16)]
            section.tube([at(side * 14, 12, 5), at(side * 15, 32, 4)], 7, s["bone"])
            section.tube(joint, 7.5, s["bone"])
            section.tube([at(side * 14, 12, 5), at(side * 15, 32, 4)], 5.6, s["red marrow"])
            section.tube(joint, 6.0, s["red marrow"])
            section.tube([at(side * 15, 35, -2), at(side * 3, 42, -8)], 3.2, s["bone"])
            section.ellipsoid(at(side * 15, 24, -14), (3.2, 3.2, 3.2), s["white"])  # root
        section.tube([at(0, 38, -4), at(0, 37, -14 - half)], 2.2, s["ligament"], wide=7)
    line = _behind(72)[:8]
    section.tube(line, 1.3, s["tendon"])


def _canal(section: Section, signal: Signals, roots: list[list[Vector]]) -> None:
    s = signal
    line = _behind(27)[:10]
    section.tube(_behind(30)[:10], (9, 9, 9, 9, 9, 9, 9, 9, 8, 5), s["fat"], wide=3)
    size = [8.0, 8.0, 8.3, 8.6, 8.6, 8.3, 8.0, 7.4, 5.5, 1.5]
    section.tube(line, [radius + 0.9 for radius in size], s["dura"], wide=3)
    section.tube(line, size, s["water"], wide=3)
    for root in roots:
        section.tube(root, 0.75, s["cord"])
    cord = [(x, y + 1.0, z) for x, y, z in line[:4]]
    section.tube([*cord[:3], (0, cord[3][1] + 1.5, 84)], (4.4, 4.4, 4.7, 1.4), s["cord"], wide=1.5)


def _discs(section: Section, signal: Signals, worn: Mapping[int, float]) -> None:
    for index, (upper, lower) in enumerate(pairwise(VERTEBRAE)):
        lean = (_tilt(index) + _tilt(index + 1)) / 2
        cos, sin = float(np.cos(lean)), float(np.sin(lean))
        share = upper.half / (upper.half + lower.half)
        y = upper.y + (lower.y - upper.y) * share
        z = upper.z + (lower.z - upper.z) * share
        thin = 4.0 if index > 7 else 8.0
        section.ellipsoid(
            (0, y, z), (25, 18.5, thin), signal["annulus"], turn=(-lean, 0, 0), square=True
        )
        if index > 7:
            continue
        inside = "dry disc" if index in worn else "disc"
        place = (0.0, y + 1.5 * cos, z - 1.5 * sin)
        section.ellipsoid(place, (20, 14, 5.2), signal[inside], turn=(-lean, 0, 0), square=True)
        if bulge := worn.get(index, 0.0):
            back = 17.0
            place = (2.0, y + back * cos, z - back * sin - 1)
            section.ellipsoid(place, (9, bulge, 4.5), signal["annulus"], turn=(-lean, 0, 0))


def _body(section: Section, signal: Signals, vertebra: Vertebra, lean: float) -> None:
    _, y, z, half = vertebra
    turn = (-lean, 0, 0)
    sacral = vertebra.name.startswith("S")
    axes = (24.0, 12.0 if sacral and vertebra.name != "S1" else 17.0, half)
    section.ellipsoid((0, y, z), axes, signal["bone"], turn=turn, square=True)
    inside = (axes[0] - 1.2, axes[1] - 1.2, half - 1.1)
    section.ellipsoid((0, y, z), inside, signal["red marrow"], turn=turn, square=True)
    # The vein in the middle of a vertebral body.
    cos, sin = float(np.cos(lean)), float(np.sin(lean))
    inner = (0.0, y + 6 * cos, z - 6 * sin)
    outer = (0.0, y + 15.5 * cos, z - 15.5 * sin)
    section.tube([inner, outer], (0.8, 1.8), signal["fat"], wide=2)
