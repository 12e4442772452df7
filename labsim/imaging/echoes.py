"""Liver, kidney, gallbladder and heart as ultrasound meets them.

Coordinates are in mm: x to the right of the screen, y down from the skin.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from labsim.imaging.projection import Image, Point, curve
from labsim.imaging.sector import Scene, distance

LIVER, CORTEX, SINUS, FLUID, FAT, MUSCLE, BLOOD = 0.1, 0.062, 0.34, 0.0035, 0.16, 0.075, 0.006
CURVED = 55.0  # radius of the probe that is laid on an abdomen, in mm


def liver_and_kidney(seed: int) -> Scene:
    """Return a long section through the right lobe of the liver and the right kidney."""
    rng = np.random.default_rng([seed, 20])
    scene = _abdomen(rng)
    x, y = float(rng.uniform(18, 32)), float(rng.uniform(82, 94))
    size, tilt = float(rng.uniform(0.9, 1.08)), float(rng.uniform(0.08, 0.26))
    # Below the liver: fat, muscle of the back.
    scene.ellipse((x + 10, y + 52), (130, 42), MUSCLE, tilt=tilt, soft=3, wall=0.08)
    _vessels(scene, rng, 4, (-70, 20), (38, 70))
    _kidney(scene, rng, x, y, size, tilt)
    dome = curve((-100, -70, -30, 10, 60), (70, 92, 122, 142, 160))
    line = [(float(at), float(dome(at))) for at in np.linspace(-98, 8, 14)]
    scene.line(line, 0.8, 1.1)
    below = scene.y > dome(scene.x) + 2
    scene.scatter[below & (scene.x < 6)] *= 0.22
    return scene


def kidney(seed: int) -> Scene:
    """Return a kidney nearer than in `liver_and_kidney`."""
    rng = np.random.default_rng([seed, 21])
    scene = _abdomen(rng)
    scene.ellipse((10, 116), (150, 40), MUSCLE, tilt=0.05, soft=3, wall=0.08)
    _kidney(scene, rng, 2.0, 66.0, float(rng.uniform(1.12, 1.25)), float(rng.uniform(-0.1, 0.15)))
    return scene


def gallbladder(seed: int) -> Scene:
    """Return a gallbladder in front of the liver; every other patient has a stone in it."""
    rng = np.random.default_rng([seed, 22])
    scene = _abdomen(rng)
    _vessels(scene, rng, 5, (-70, 60), (60, 110))
    x, y = float(rng.uniform(-6, 12)), float(rng.uniform(54, 64))
    tilt = float(rng.uniform(-0.55, -0.3))
    long, wide = float(rng.uniform(32, 40)), float(rng.uniform(12, 16))
    scene.ellipse((x, y), (long, wide), FLUID, tilt=tilt, wall=0.18, loss=-0.13)
    neck = (x + long * float(np.cos(tilt)) * 0.95, y + long * float(np.sin(tilt)) * 0.95)
    scene.ellipse(neck, (9, 5.5), FLUID, tilt=tilt - 0.5, wall=0.3, loss=-0.1)
    scene.ellipse((x, y), (long * 0.98, wide * 0.9), FLUID, tilt=tilt)
    if seed % 2 == 0:
        r, along = float(rng.uniform(3.5, 6)), float(rng.uniform(-0.5, -0.1))
        stone = (
            x + along * long * float(np.cos(tilt)) - (wide - r) * float(np.sin(tilt)),
            y + along * long * float(np.sin(tilt)) + (wide - r) * float(np.cos(tilt)),
        )
        scene.ellipse(stone, (r, r * 0.8), 0.35, wall=1.2, loss=3.0)
    dome = curve((-100, -50, 0, 50, 100), (118, 134, 142, 140, 128))
    line = [(float(at), float(dome(at))) for at in np.linspace(-98, 98, 20)]
    scene.line(line, 0.8, 1.1)
    scene.scatter[scene.y > dome(scene.x) + 2] *= 0.3
    return scene


def _abdomen(rng: np.random.Generator) -> Scene:
    """Return the wall of the belly with liver behind it."""
    scene = Scene(250, 170, LIVER, rng)
    reach = np.hypot(scene.x, scene.y + CURVED) - CURVED
    fat = float(rng.uniform(9, 20))
    muscle = fat + float(rng.uniform(7, 11))
    waves = 0.6 * np.sin(scene.x / 9 + 3) + 0.5 * np.sin(scene.x / 17)
    for near, far, level in ((-20, 2.0, 0.3), (2.0, fat, FAT * 0.55), (fat, muscle, MUSCLE)):
        scene.scatter[(reach >= near) & (reach < far)] = level
    for at in (1.8, *rng.uniform(3, fat, 5), fat, *rng.uniform(fat, muscle, 3), muscle):
        strength = 0.3 if at in (fat, muscle) else 0.1
        scene.reflect += np.float32(strength) * np.exp(
            -(((reach - at - waves) / 0.55) ** 2)
        ).astype(np.float32)
    return scene


def _vessels(
    scene: Scene,
    rng: np.random.Generator,
    count: int,
    across: tuple[float, float],
    down: tuple[float, float],
) -> None:
    """Draw veins of the liver; those of the portal tree have bright walls."""
    for number in range(count):
        x, y = float(rng.uniform(*across)), float(rng.uniform(*down))
        heading = float(rng.uniform(-0.5, 1.2))
        points, radius = [(x, y)], float(rng.uniform(2.0, 3.6))
        for _ in range(5):
            heading += float(rng.normal(0, 0.22))
            x, y = x + 8 * float(np.cos(heading)), y + 8 * float(np.sin(heading))
            points.append((x, y))
        radii = [float(r) for r in np.linspace(radius, radius * 0.45, len(points))]
        scene.strand(points, radii, BLOOD, wall=0.3 if number % 2 else 0.04)


def _kidney(
    scene: Scene, rng: np.random.Generator, x: float, y: float, size: float, tilt: float
) -> None:
    long, wide = 50 * size, 23 * size
    cos, sin = float(np.cos(tilt)), float(np.sin(tilt))
    scene.ellipse((x, y), (long + 4, wide + 4), FAT, tilt=tilt, soft=3)
    scene.ellipse((x, y), (long, wide), CORTEX, tilt=tilt, wall=0.1)
    for angle in np.linspace(0, 2 * np.pi, 11)[:-1] + 0.3:  # the pyramids
        u, v = 0.66 * long * float(np.cos(angle)), 0.6 * wide * float(np.sin(angle))
        at = (x + u * cos - v * sin, y + u * sin + v * cos)
        scene.ellipse(at, (5.5 * size, 4.2 * size), CORTEX * 0.4, tilt=float(angle), soft=2)
    for _ in range(9):
        u, v = float(rng.normal(0, 0.24)) * long, float(rng.normal(0, 0.13)) * wide
        at = (x + u * cos - v * sin, y + u * sin + v * cos)
        half = (float(rng.uniform(7, 14)) * size, float(rng.uniform(3, 6)) * size)
        scene.ellipse(at, half, SINUS * float(rng.uniform(0.6, 1)), tilt=tilt, soft=3)


def renal_flow(scene: Scene, seed: int) -> Image:
    """Return how fast blood moves in `kidney`, -1 to 1, towards the probe if positive."""
    rng = np.random.default_rng([seed, 23])
    flow = np.zeros_like(scene.scatter)

    def at(angle: float, part: float) -> Point:
        return 2 + 50 * part * float(np.cos(angle)), 66 + 23 * part * float(np.sin(angle))

    for angle in np.linspace(0, 2 * np.pi, 8)[:-1] + float(rng.uniform(0, 0.8)):
        for sign, beside in ((1, -0.08), (-1, 0.1)):  # an artery and its vein
            middle = float(angle) + beside
            bend, fork = float(rng.normal(0, 0.1)), float(rng.uniform(0.16, 0.3))
            stem = (at(middle, 0.12), at(middle + bend, 0.48), at(middle + bend, 0.66))
            for width, line in (
                (float(rng.uniform(1.7, 2.2)), stem),
                (1.2, (stem[2], at(middle + fork, 0.84))),
                (1.2, (stem[2], at(middle - fork, 0.86))),
            ):
                for p, q in pairwise(line):
                    _stream(scene, flow, p, q, width, sign)
    return flow


def _stream(scene: Scene, flow: Image, p: Point, q: Point, width: float, sign: int) -> None:
    """Draw blood that flows from p to q, or back: fastest in the middle, seen along the beam."""
    rows, columns = scene.near((p, q), width)
    away = distance(scene.x[columns], scene.y[rows], p, q)
    inside = away < width
    slope = (p[1] - q[1]) / max(float(np.hypot(q[0] - p[0], q[1] - p[1])), 1e-3)
    speed = sign * (0.35 * np.copysign(1, slope) + 0.75 * slope)
    flow[rows, columns][inside] = speed * (1 - 0.6 * (away[inside] / width) ** 2)


class Heart:
    """A beating heart in an apical four-chamber view: the left ventricle is to the right.

    Parameters
    ----------
    seed : int
        Decides its size and how strongly it beats.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 24])
        self.strength = float(rng.uniform(0.25, 0.35))
        size = float(rng.uniform(0.94, 1.06))
        self.scene = Scene(250, 170, 0.012, rng)
        paint = self.scene.ellipse
        paint((-2, 92), (58 * size, 64), 0.03, soft=6)
        paint((2, 74), (45 * size, 47), 0.085, wall=0.12, soft=1.5)
        paint((0, 128), (45 * size, 27), 0.07, wall=0.12, soft=1.5)
        paint((14, 70), (20.5 * size, 41), BLOOD, tilt=-0.12, wall=0.05, soft=1.5)
        paint((-23, 82), (14.5 * size, 29), BLOOD, tilt=0.22, wall=0.05, soft=1.5)
        paint((17, 128), (20 * size, 18.5), BLOOD, wall=0.1)
        paint((-22, 127), (19 * size, 18), BLOOD, wall=0.1)
        paint((29 * size, 84), (4, 9), 0.08, tilt=0.3, soft=2)  # a papillary muscle
        paint((-20, 60), (3, 7), 0.08, tilt=0.5, soft=2)
        # The plane of the valves.
        for line in (((-44, 106), (-36, 105)), ((-9, 106), (-1, 106)), ((33, 106), (41, 105))):
            self.scene.line(line, 0.2, 1.5)
        self.scene.line([(-4, 112), (-4, 126), (-3, 146)], 0.1, 1.2)  # the wall of the atria
        near = np.hypot(self.scene.x, self.scene.y) < 13
        self.scene.scatter[near] = 0.13
        side = np.abs(np.rad2deg(np.arctan2(self.scene.x, np.maximum(self.scene.y, 1))))
        self.scene.scatter *= 1 - 0.55 * np.clip((side - 22) / 22, 0, 1) ** 2

    @staticmethod
    def squeeze(phase: float) -> float:
        """Return how far it has contracted at a part of its cycle, 0 to 1."""
        warped = phase / 0.7 if phase < 0.35 else 0.5 + (phase - 0.35) / 1.3
        return float(np.sin(np.pi * warped) ** 2)

    def where(self, x: Image, y: Image, phase: float) -> tuple[Image, Image]:
        """Return where the tissue that is now at (x, y) was before the beat."""
        now = self.squeeze(phase)
        back_x, back_y = x.copy(), y.copy()
        for (cx, cy), (a, b), share in (
            ((14, 70), (22, 43), 1.0),
            ((-23, 82), (16, 30), 0.7),
        ):
            dx, dy = x - np.float32(cx), y - np.float32(cy)
            out = np.maximum(np.hypot(dx * (1 / a), dy * (1 / b)) - 1, 0)
            pull = np.exp(-(out * out) * 5) * np.float32(self.strength * share * now)
            stretch = pull / (1 - pull)
            back_x += dx * stretch
            back_y += dy * stretch * np.float32(0.4)
        # The valves are drawn towards the apex, which hardly moves.
        back_y += np.clip((y - 50) / 55, 0, 1) * np.float32(9 * now)
        return back_x, back_y

    def leaflets(self, x: Image, y: Image, phase: float) -> Image:
        """Return how strongly the leaflets of the valves reflect at each place."""
        # They open twice: when the ventricle relaxes, and when the atrium contracts.
        opening = max(_bell(phase, 0.56, 0.1), 0.75 * _bell(phase, 0.88, 0.06))
        lift = 9 * self.squeeze(phase)
        seen = np.zeros_like(x)
        for left, right in ((-1.0, 33.0), (-36.0, -9.0)):
            middle, base = (left + right) / 2, 106 - lift
            for hinge, sign in ((left, -1), (right, 1)):
                tip_x = middle + sign * opening * (right - left) * 0.33
                tip_y = base + 4 - 21 * opening
                bend = ((hinge + tip_x) / 2 + sign * 1.5, (base + tip_y) / 2 + 1.5)
                for p, q in (((hinge, base), bend), (bend, (tip_x, tip_y))):
                    np.maximum(seen, np.exp(-((distance(x, y, p, q) / 0.9) ** 2)), out=seen)
        return 0.16 * seen


def _bell(phase: float, middle: float, width: float) -> float:
    return float(np.exp(-(((phase - middle) / width) ** 2)))
