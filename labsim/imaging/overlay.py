"""What an ultrasound scanner writes and draws on its screen: who, how deep, the beat, the flow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from labsim.imaging.font import glyphs, plain
from labsim.imaging.projection import Image
from labsim.imaging.sector import Screen

Picture = NDArray[np.uint8]
STRIP = 44  # rows at the top that say whom it shows
FAST = 0.35  # speed, as part of the scale, that is drawn at least


def write(picture: Picture, text: str, row: int, column: int, scale: int, level: int) -> None:
    """Write into a picture; what does not fit is cut off.

    Parameters
    ----------
    picture : ndarray of uint8
        Grey, or in colour.
    text : str
        One line.
    row, column : int
        Its upper left corner.
    scale : int
        How many pixels a dot of the font is wide.
    level : int
        Grey level.
    """
    dots = np.kron(glyphs(text), np.ones((scale, scale), dtype=bool))
    place = picture[row : row + dots.shape[0], max(column, 0) : max(column, 0) + dots.shape[1]]
    place[dots[: place.shape[0], : place.shape[1]]] = level


def identity(picture: Picture, lines: Sequence[tuple[str, str]]) -> None:
    """Write two lines at the top, each with a text to the left and one to the right.

    Parameters
    ----------
    picture : ndarray of uint8
        Where to.
    lines : sequence of (left, right)
        What to write; what is too long for a line is written small.
    """
    columns = picture.shape[1]
    for (left, right), row in zip(lines, (4, 24), strict=True):
        scale = 2 if 12 * (len(plain(left)) + len(plain(right)) + 2) <= columns else 1
        write(picture, left, row, 6, scale, 230)
        write(picture, right, row, columns - 5 - 6 * scale * len(plain(right)), scale, 230)


def labels(picture: Picture, settings: Sequence[str], section: str, station: str) -> None:
    """Write how it is taken, what it shows, and where it is taken."""
    rows, columns = picture.shape[:2]
    for place, text in enumerate(settings):
        write(picture, text, STRIP + 12 + 11 * place, 6, 1, 170)
    write(picture, section, rows - 52, 6, 2, 230)
    write(picture, station, rows - 45, columns - 6 - 6 * len(station), 1, 170)


def depth_scale(picture: Picture, screen: Screen) -> None:
    """Draw a tick for each cm of depth, a long one with its number for every fifth."""
    column = min(screen.box[3] + 14, picture.shape[1] - 30)
    for depth in range(0, int(screen.probe.depth) + 1, 10):
        row, _ = screen.place(0, depth)
        long = depth % 50 == 0
        picture[row, column - (7 if long else 3) : column] = 200
        if long and depth:
            write(picture, str(depth // 10), row - 3, column + 4, 1, 200)
    row, column = screen.box[0] + 4, screen.box[2] + (screen.box[3] - screen.box[2]) // 4
    write(picture, "V", row, column, 2, 200)  # the side of the probe that has a mark


def electrocardiogram(columns: int) -> Image:
    """Return heights of the trace over one beat, one for each column; the R wave is 1 high."""
    t = np.linspace(0, 1, columns, endpoint=False)
    waves = (  # height, place, width of P, Q, R, S and T
        (0.14, 0.88, 0.025), (-0.1, 0.985, 0.008), (1.0, 0.01, 0.009), (-0.2, 0.032, 0.01),
        (0.28, 0.31, 0.045),
    )  # fmt: skip
    trace = np.zeros(columns, np.float32)
    for height, middle, width in waves:
        away = np.abs(t - middle)
        trace += height * np.exp(-((np.minimum(away, 1 - away) / width) ** 2)).astype(np.float32)
    return trace


def draw_trace(picture: Picture, trace: Image, phase: float) -> None:
    """Draw the electrocardiogram, and a mark where this frame is."""
    base, left = picture.shape[0] - 4, 6
    heights = np.rint(trace * 22).astype(int)
    for column, (before, here) in enumerate(pairwise(heights)):
        low, high = min(before, here), max(before, here)
        picture[base - 4 - high : base - 3 - low, left + column] = 150
    now = left + int(phase * len(trace))
    picture[base - 28 : base, now : now + 2] = 255


def colored(screen: Screen, grey: Picture, flow: Image, rng: np.random.Generator) -> Picture:
    """Return a picture with what flows within a box in colour: red towards the probe.

    Parameters
    ----------
    screen : Screen
        Where the beams are drawn.
    grey : ndarray of uint8, (rows, columns)
        The picture without flow.
    flow : ndarray, (samples, beams)
        Speed towards the probe, -1 to 1; 0 where nothing flows.
    rng : numpy.random.Generator
        For the noise.

    Returns
    -------
    ndarray of uint8, (rows, columns, 3)
        Red, green, blue.
    """
    samples, beams = flow.shape
    box = (round(0.3 * samples), round(0.86 * samples), round(0.14 * beams), round(0.86 * beams))
    inside = np.zeros_like(flow)
    inside[box[0] : box[1], box[2] : box[3]] = 1
    speed = flow + rng.normal(0, 0.1, flow.shape).astype(np.float32) * (flow != 0)
    speed = np.clip(speed * inside, -1, 1)
    strength, towards = np.zeros_like(grey), np.zeros_like(grey)
    screen.draw(np.abs(speed), strength)
    screen.draw((speed > 0).astype(np.float32), towards)
    moving = strength > FAST * 255
    picture = np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    shade = (110 + 0.57 * strength[moving]).astype(np.uint8)
    hot = (np.maximum(strength[moving].astype(np.int16) - 130, 0) * 1.6).clip(0, 230)
    red = towards[moving] > 127
    picture[moving] = np.stack(
        [np.where(red, shade, 0), hot.astype(np.uint8), np.where(red, 0, shade)], axis=1
    )
    _outline(picture, screen, box)
    _bar(picture)
    return picture


def _outline(picture: Picture, screen: Screen, box: tuple[int, int, int, int]) -> None:
    """Draw the border of the colour box."""
    x, y = screen.probe.grid()
    first, last, left, right = box
    for line in (
        (slice(first, last), left),
        (slice(first, last), right),
        (first, slice(left, right)),
        (last, slice(left, right)),
    ):
        at, down = np.atleast_1d(x[line]), np.atleast_1d(y[line])
        steps = np.linspace(0, len(at) - 1, 600)
        ticks = np.arange(len(at))
        columns = np.rint(screen.middle + np.interp(steps, ticks, at) * screen.scale)
        rows = np.rint(screen.top + np.interp(steps, ticks, down) * screen.scale)
        picture[rows.astype(int), columns.astype(int)] = (0, 220, 90)


def _bar(picture: Picture) -> None:
    """Draw what colour is what speed."""
    rows, right = 100, picture.shape[1] - 12
    speed = np.linspace(1, -1, rows)[:, np.newaxis]
    shade, hot = 110 + 145 * np.abs(speed), np.clip(np.abs(speed) * 255 - 130, 0, 125) * 1.6
    bar = np.concatenate(
        [np.where(speed > 0, shade, 0), hot, np.where(speed > 0, 0, shade)], axis=1
    )
    bar[np.abs(speed[:, 0]) < FAST / 3] = 0
    picture[70 : 70 + rows, right - 10 : right] = bar[:, np.newaxis].astype(np.uint8)
    for text, row in (("+19.3", 60), ("-19.3", 70 + rows + 3), ("cm/s", 70 + rows + 14)):
        write(picture, text, row, right - 6 * len(text), 1, 220)
