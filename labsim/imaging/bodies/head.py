"""A head in space; z = 0 is at the level of the thalami."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from labsim.imaging.solids import Image, Section, Vector, Waves, around

Signals = Mapping[str, float]
PIA, RIBBON = 0.6, 2.9  # half width of a sulcus and thickness of the cortex, mm
CEREBRUM: tuple[Vector, Vector] = ((0, -2, 20), (63.5, 83, 61))  # middle and half axes
FOLDS = 25.0  # mm from one gyrus over the next to the one after it


class Plaque(NamedTuple):
    """A lesion of the white matter, so that there is something to find."""

    centre: Vector
    radius: float


def plaques(seed: int) -> list[Plaque]:
    """Return the lesions of a patient: half of them have some, around the ventricles."""
    rng = np.random.default_rng([seed, 0x91A0])
    found = []
    for _ in range(int(rng.integers(4, 9)) if seed % 2 == 0 else 0):
        side = rng.choice((-1, 1))
        x, y, z = rng.uniform((17, -38, 12), (34, 42, 32))
        found.append(Plaque((float(side * x), float(y), float(z)), float(rng.uniform(2, 5))))
    return found


def head(seed: int) -> Callable[[Section, Signals], None]:
    """Return what paints a head.

    Parameters
    ----------
    seed : int
        Decides the folds of the brain, the width of the ventricles, and the lesions.
    """
    rng = np.random.default_rng([seed, 0x4EAD])
    folds, deeper = Waves.random(rng, FOLDS, 12), Waves.random(rng, 50, 5)
    streaks = Waves.random(rng, 12, 9)
    ventricles = float(rng.uniform(0.8, 1.25))
    lesions = plaques(seed)

    def paint(section: Section, signal: Signals) -> None:
        cavity = _cavity(section)
        _soft_tissue(section, signal, cavity, streaks.on(section.plane))
        _neck(section, signal)
        _face(section, signal)
        _skull(section, signal, cavity)
        if box := around(cavity > -1):
            inner = section.part(box)
            _brain(inner, signal, folds.on(inner.plane), deeper.on(inner.plane))
            _cerebellum(inner, signal)
        _stem(section, signal)
        _middle(section, signal, ventricles)
        _base(section, signal)
        for lesion in lesions:
            section.ellipsoid(lesion.centre, (lesion.radius,) * 3, signal["plaque"])

    return paint


def _cavity(section: Section) -> Image:
    """Return how deep each pixel lies in the cavity of the skull, in mm."""
    x, y, z = np.abs(section.x), section.y, section.z
    depth = section.depth((0, -2, 20), (67, 86, 64))
    depth = np.minimum(depth, z - _floor(x, y))
    parts = [depth, section.depth((0, 4, -22), (22, 24, 24))]
    parts += [section.depth((side * 36, -9, -16), (25, 43, 24)) for side in (-1, 1)]
    parts.append(section.depth((0, 42, -34), (52, 37, 29)))
    return np.asarray(np.maximum.reduce(parts), dtype=np.float32)


def _floor(x: Image, y: Image) -> Image:
    """Return the height of the floor of the cavity in front: the roofs of the orbits."""
    roofs = 7 * np.exp(-(((x - 29) / 17) ** 2) - ((y + 56) / 24) ** 2)
    return np.asarray(-13 + roofs - 5 * np.exp(-((x / 7) ** 2)) - 2.4 * np.clip(y + 34, 0, None))


def _soft_tissue(section: Section, signal: Signals, cavity: Image, streaks: Image) -> None:
    for smaller, tissue in ((0.0, "skin"), (1.6, "fat")):
        section.tube(
            [(0, -84, -12), (0, -97, -44), (0, -90, -54)],
            (7 - smaller, 10.5 - smaller, 10 - smaller),
            signal[tissue],
        )
    face = section.depth((0, -38, -44), (66, 57, 64))
    chin = section.depth((0, -58, -96), (38, 36, 32))
    neck = section.depth((0, 26, -150), (56, 58, 140))
    depth = np.maximum.reduce([cavity + 13, face, chin, neck])
    section.mix(section.cover(-depth), signal["fat"])
    section.mix(section.cover(np.abs(depth - 1) - 1), signal["skin"])
    within = np.maximum.reduce([face, chin, neck])
    strands = np.clip(0.95 + 0.25 * streaks, 0.3, 1) * section.cover(6 - within)
    section.mix(strands.astype(np.float32), signal["muscle"])
    for side in (-1, 1):
        section.ellipsoid(
            (side * 74, 14, -30), (5, 15, 27), signal["skin"], turn=(0, 0, side * 0.3)
        )


def _neck(section: Section, signal: Signals) -> None:
    for side in (-1, 1):
        for x, y, a, b in ((16, 52, 13, 10), (20, 70, 15, 6), (34, 44, 9, 14), (44, 18, 9, 12)):
            section.ellipsoid((side * x, y, -130), (a + 1.4, b + 1.4, 80), signal["fat"])
            section.ellipsoid((side * x, y, -130), (a, b, 79), signal["muscle"])
        section.tube([(side * 26, -2, -60), (side * 28, 2, -180)], 4, signal["flow"])
        section.tube([(side * 33, 6, -60), (side * 36, 8, -180)], 5, signal["flow"])
    section.ellipsoid((0, 62, -130), (2, 20, 70), signal["fat"])
    line: list[Vector] = [(0, -40, -54), (0, -24, -70), (0, -18, -100), (0, -14, -200)]
    section.tube(line, (9, 7, 6, 8), signal["mucosa"], wide=7)
    section.tube(line, (7, 5, 4, 7), signal["air"], wide=6)
    section.tube([(0, 8, -92), (0, 16, -200)], 7, signal["disc"], wide=5)
    for z in np.arange(-92.0, -200.0, -17.0).tolist():
        y = 8 + 0.07 * (-92 - z)
        section.ellipsoid((0, y, z), (12, 9.5, 7.6), signal["bone"], square=True)
        section.ellipsoid((0, y, z), (11, 8.5, 6.6), signal["red marrow"], square=True)
        section.tube([(0, y + 28, z - 3), (0, y + 44, z - 10)], 4.5, signal["bone"])
        section.tube([(0, y + 28, z - 3), (0, y + 44, z - 10)], 3, signal["marrow"])
    section.tube([(0, 2, -66), (0, 7, -90)], 6.5, signal["bone"])
    section.tube([(0, 2, -67), (0, 7, -90)], 5, signal["red marrow"])
    section.ellipsoid((0, -8, -70), (8, 4, 5), signal["marrow"])  # atlas in front
    section.ellipsoid((0, 42, -72), (9, 4, 5), signal["marrow"])  # and behind
    section.tube([(0, 22, -56), (0, 25, -92), (0, 33, -200)], 9, signal["dura"])
    section.tube([(0, 22, -56), (0, 25, -92), (0, 33, -200)], 8, signal["water"])


def _face(section: Section, signal: Signals) -> None:
    s = signal
    jaw: list[Vector] = [(-45, -14, -64), (-43, -22, -92), (-28, -66, -106), (0, -82, -108)]
    other: list[Vector] = [(-x, y, z) for x, y, z in jaw]
    for radius, tissue in ((8.0, "bone"), (5.5, "marrow")):
        section.tube(jaw, radius, s[tissue])
        section.tube(other, radius, s[tissue])
    section.ellipsoid((0, -54, -84), (24, 30, 20), s["muscle"])
    section.ellipsoid((0, -50, -96), (1.5, 22, 12), s["fat"])
    section.tube([(0, -86, -70), (0, -44, -63)], 4.5, s["bone"], wide=14)
    section.tube([(0, -84, -70), (0, -46, -64)], 2.5, s["marrow"], wide=12)
    section.tube([(0, -44, -63), (0, -28, -74)], (4, 2.5), s["muscle"], wide=9)
    section.ellipsoid((0, -86, -80), (20, 5, 9), s["bone"])  # teeth
    section.ellipsoid((0, -66, -46), (14, 30, 17), s["mucosa"])
    for side in (-1, 1):
        for x, z, a, c in ((7, -34, 4.5, 7), (10.5, -46, 2, 5), (5, -56, 3.5, 3)):
            section.ellipsoid((side * x, -66, z), (a, 27, c), s["air"])
        section.ellipsoid((side * 29, -60, -50), (15, 17, 17), s["mucosa"])
        section.ellipsoid((side * 29, -60, -50), (13.5, 15.5, 15.5), s["air"])
        section.ellipsoid((side * 8, -52, -20), (7, 17, 9), s["mucosa"])
        for y in (-62, -54, -46):
            section.ellipsoid((side * 8, y, -20), (5.5, 3.3, 7), s["air"])
        section.ellipsoid((side * 14, -79, -3), (13, 6, 10), s["bone"])
        section.ellipsoid((side * 14, -79, -3), (11, 4.5, 8), s["air"])
        section.ellipsoid((side * 50, -24, -56), (9, 22, 24), s["muscle"])  # chewing
        section.ellipsoid((side * 66, -14, -4), (6, 26, 30), s["muscle"], turn=(0, side * 0.25, 0))
        _orbit(section, s, side)
    section.ellipsoid((0, -24, -31), (15, 14, 11), s["bone"])
    section.ellipsoid((0, -24, -31), (13.5, 12.5, 9.5), s["air"])


def _orbit(section: Section, signal: Signals, side: int) -> None:
    section.ellipsoid((side * 31, -58, -24), (20, 28, 18), signal["bone"], turn=(0, 0, side * 0.3))
    section.ellipsoid((side * 31, -60, -24), (18, 27, 16), signal["fat"], turn=(0, 0, side * 0.3))
    apex, eye = (side * 14.0, -36.0, -22.0), (side * 33.0, -72.0, -24.0)
    for x, z in ((12.5, 0.0), (-11.0, 0.0), (0.0, 10.5), (0.0, -11.0)):
        belly: Vector = (side * 25.0 + side * x, -60.0, -24 + z)
        section.tube(
            [apex, belly, (eye[0] + side * x, eye[1], eye[2] + z)], (1, 2.4, 1), signal["muscle"]
        )
    section.tube([apex, (side * 25, -58, -24), (eye[0], eye[1] + 10, eye[2])], 2.2, signal["white"])
    section.ellipsoid(eye, (13, 13, 13), signal["ligament"])
    section.ellipsoid(eye, (12, 12, 12), signal["water"])
    section.ellipsoid((eye[0], eye[1] - 8.5, eye[2]), (4.6, 2.2, 4.6), signal["ligament"])


def _skull(section: Section, signal: Signals, cavity: Image) -> None:
    section.mix(section.cover(-(cavity + 8)), signal["bone"])
    section.mix(section.cover(np.abs(cavity + 4.6) - 1.7), signal["marrow"])
    section.mix(section.cover(-cavity), signal["water"])


def _brain(section: Section, signal: Signals, folds: Image, deeper: Image) -> None:
    x, y, z = np.abs(section.x), section.y, section.z
    if section.plane.normal == 0:
        # A thick slice in the middle shows the cortex beside the fissure, not the fissure alone.
        x = np.maximum(x, np.float32(section.plane.thickness / 2))
    reach = section.depth(*CEREBRUM)
    floor = _floor(x, y) + 0.8
    tent = z + 3 + 0.24 * (y - 14) + 0.25 * x
    depth = np.where(y < -34, np.minimum(reach, z - floor), reach)
    depth = np.where(y > 8, np.minimum(depth, tent), depth)
    for side in (-1, 1):
        lobe = section.depth((side * 37, -10, -17), (22, 40, 21.5))
        depth, reach = np.maximum(depth, lobe), np.maximum(reach, lobe)
    middle = section.depth((0, 2, 6), (40, 36, 22))
    fissure = x + np.clip(middle, 0, None)
    # Sulci lie where the waves cross nothing; how far they reach in varies.
    steep = 2 * np.pi / FOLDS
    slope = np.hypot(*np.gradient(folds, section.plane.spacing)) + 0.35 * steep
    surface = np.minimum(reach, fissure)
    sulcus = np.abs(folds) / slope + np.clip(surface - 15 - 6 * deeper, 0, None)
    cingulate = np.maximum(np.abs(middle + 9 + 3 * deeper), x - 9)
    rise = z + 3 - 0.28 * (y + 8) + 3 * deeper
    lateral = np.maximum(np.maximum(np.abs(rise), 37 - x), np.abs(y + 6) - 30)
    insula = np.maximum(
        np.maximum(np.abs(x - 38 + 2.5 * deeper), np.abs(rise) - 13), np.abs(y + 6) - 24
    )
    gap = np.minimum.reduce([sulcus, fissure, cingulate, lateral, insula])
    gap = np.minimum(gap, depth + PIA).astype(np.float32)
    inside = section.cover(-depth.astype(np.float32))
    matter = section.cover(gap - np.float32(PIA + RIBBON)) * np.float32(
        signal["cortex"] - signal["white"]
    ) + np.float32(signal["white"])
    section.mix(inside * section.cover(np.float32(PIA) - gap), matter)
    falx = np.maximum(np.abs(section.x) - 0.7, np.maximum(middle + 3, 8 - z))
    if section.plane.normal:
        section.mix(section.cover(falx.astype(np.float32)) * (depth > -3), signal["dura"])


def _cerebellum(section: Section, signal: Signals) -> None:
    whole = section.depth((0, 47, -33), (12, 28, 26))
    for side in (-1, 1):
        whole = np.maximum(whole, section.depth((side * 25, 44, -35), (25, 31, 25)))
    box = around(whole > -1)
    if box is None:
        return
    x, y, z, depth = section.x[box], section.y[box], section.z[box], whole[box]
    tent = z + 5 + 0.24 * (y - 14) + 0.25 * np.abs(x)
    # The tent keeps it apart from the cerebrum where that lies above it.
    apart = np.maximum(-tent, -section.depth(*CEREBRUM)[box] - 1)
    depth = np.minimum(depth, apart).astype(np.float32)
    # Folia are thin leaves that stand around the fourth ventricle.
    angle = np.arctan2(z + 37, y - 20)
    leaf = np.abs(np.sin(angle * 13 + 0.06 * np.abs(x)))
    core = np.clip(depth / 16, 0, 1)
    branch = np.exp(np.cos(angle * 13) * 2 - 2) * np.clip(depth / 5, 0, 1)
    white = np.clip(1.7 * core + branch - 0.55, 0, 1)
    grey, pale = np.float32(signal["cortex"]), np.float32(signal["white"])
    gaps = np.clip(1 - leaf / 0.22, 0, 1) * np.clip(1 - depth / 11, 0, 1) * 0.5
    matter = grey + white * (pale - grey)
    matter = matter + gaps * (np.float32(signal["water"]) - matter)
    section.part(box).mix(section.cover(-depth), matter.astype(np.float32))
    for side in (-1, 1):
        section.ellipsoid((side * 13, 38, -36), (5, 7, 5), signal["deep grey"])


def _stem(section: Section, signal: Signals) -> None:
    s = signal
    section.ellipsoid((0, -8, -21), (17, 24, 14), s["water"])
    section.ellipsoid((0, 3, -36), (19, 19, 19), s["water"])
    for side in (-1, 1):
        section.tube([(side * 8, 0, -14), (side * 12, -2, -2)], 6.5, s["white"])
        section.tube([(side * 14, 12, -34), (side * 26, 30, -36)], 7.5, s["white"])
    section.ellipsoid((0, 11, -15), (14, 10, 11), s["white"])
    section.ellipsoid((0, 6, -33), (16, 13.5, 14), s["white"])
    line: list[Vector] = [(0, 11, -44), (0, 17, -60), (0, 22, -76), (0, 25, -92), (0, 33, -200)]
    section.tube(line, (9, 7, 5, 4.6, 4.6), s["cord"], wide=2)
    section.ellipsoid((0, 23, -38), (8, 5.5, 12), s["water"])
    section.tube([(0, 16, -10), (0, 18, -28)], 1.2, s["water"])
    section.ellipsoid((0, 23, -9), (9, 3.5, 5), s["deep grey"])  # quadrigeminal plate
    section.ellipsoid((0, 27, -6), (8, 3, 6), s["water"])
    section.tube([(0, -2, -22), (0, -2, -46)], 1.7, s["flow"])  # basilar artery
    for side in (-1, 1):
        section.tube([(side * 11, -14, -34), (side * 11, -16, -16)], 2.6, s["flow"])
        section.tube([(side * 11, -16, -15), (side * 34, -14, -9)], 1.5, s["flow"])
        section.ellipsoid((side * 5, 6, -15), (3.5, 4.5, 3), s["pallidum"])  # red nuclei
    section.tube([(0, -14, -12), (0, -14, -20)], 1.2, s["deep grey"])
    section.ellipsoid((0, -14, -22), (6, 4.5, 3.2), s["gland"])
    section.tube([(-9, -20, -14), (0, -16, -12), (9, -20, -14)], 1.8, s["white"])  # chiasm


def _middle(section: Section, signal: Signals, size: float) -> None:
    s = signal
    arch: list[Vector] = [
        (0, -26, 2), (0, -33, 8), (0, -34, 15), (0, -27, 22), (0, -10, 26),
        (0, 10, 26), (0, 24, 22), (0, 32, 15), (0, 29, 10),
    ]  # fmt: skip
    section.ellipsoid((0, -3, 14), (2.5, 27, 9), s["water"])
    section.tube(arch, (2, 4, 5, 4, 3.2, 3.2, 3.6, 5, 4), s["white"], wide=14)
    for side in (-1, 1):
        section.ellipsoid(
            (side * 25, -4, 3), (8, 19, 11), s["deep grey"], turn=(0, 0, side * -0.18)
        )
        section.ellipsoid((side * 19, -2, 1), (4, 11, 7), s["pallidum"], turn=(0, 0, side * -0.35))
        section.ellipsoid(
            (side * 9.5, 9, 6), (7.5, 14, 9), s["deep grey"], turn=(0, 0, side * -0.25)
        )
        section.ellipsoid((side * 14, -20, 11), (5, 10, 9), s["deep grey"], turn=(0, 0, side * 0.2))
        section.tube(
            [(side * 15, -12, 18), (side * 17, 6, 20), (side * 20, 20, 14)],
            (4, 2.5, 1.5),
            s["deep grey"],
        )
        line: list[Vector] = [
            (side * 6, -31, 10), (side * 7, -22, 13), (side * 9, -4, 18), (side * 12, 12, 18),
            (side * 18, 26, 12), (side * 22, 38, 7), (side * 21, 52, 5),
        ]  # fmt: skip
        section.tube(line, [size * r for r in (3.5, 5, 4.2, 4.2, 6.5, 4.5, 1)], s["water"])
        line = [(side * 20, 28, 9), (side * 29, 18, -6), (side * 31, -2, -16)]
        section.tube(line, (4 * size, 2.5 * size, 2), s["water"])
        section.tube([(side * 27, 20, -8), (side * 26, 2, -19)], 4, s["cortex"])  # hippocampus
        section.tube([(side * 16, 24, 12), (side * 20, 29, 9)], 2, s["mucosa"])  # plexus
    section.tube([(0, -22, 17), (0, -2, 20)], 0.8, s["white"])
    if section.plane.normal:
        section.ellipsoid((0, -4, 15), (0.8, 28, 9), s["white"])  # septum
    section.tube([(0, 18, 20), (0, 2, 15), (0, -14, 6), (0, -16, -2)], 1.8, s["white"], wide=2)
    section.ellipsoid((0, 0, 0), (1.8 * size, 15, 10), s["water"])
    section.ellipsoid((0, 6, 3), (2.5, 4, 4), s["deep grey"])  # adhesion
    section.ellipsoid((0, 19, 0), (3, 4, 2.6), s["gland"])  # pineal gland


def _base(section: Section, signal: Signals) -> None:
    section.tube([(0, -10, -29), (0, -2, -44), (0, 5, -60)], (5, 5, 3.5), signal["bone"], wide=8)
    section.tube(
        [(0, -10, -30), (0, -2, -44), (0, 5, -59)], (3.5, 3.5, 2), signal["marrow"], wide=7
    )
    for side in (-1, 1):
        turn = (0, 0, side * -0.65)
        section.ellipsoid((side * 40, 12, -36), (24, 8, 11), signal["bone"], turn=turn)
        section.ellipsoid((side * 60, 26, -40), (11, 12, 16), signal["bone"])
        section.tube([(side * 22, 14, -34), (side * 31, 16, -34)], 2.4, signal["water"])
        section.ellipsoid((side * 36, 15, -35), (3, 3, 3), signal["water"])  # inner ear
