"""Finds nodules in a CT of the thorax: solid, round, and with lung all around.

A ball of each size is laid on every voxel. Where it is filled with solid
tissue, and the shell around it with lung, a nodule is likely: a vessel goes
through the shell, the chest wall fills half of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labsim.systems.ai.volume import Volume

_SOLID = -350.0  # HU from which a voxel counts as tissue
_LUNG = (-980.0, -600.0)  # HU of aerated lung
_RADII = (4.0, 5.0, 6.5, 8.0)  # mm
_SHELL = (3.0, 6.5)  # the shell begins and ends so many mm outside of the ball
LEAST = 0.5  # confidence from which a finding is told
_SOFTEST, _FIRM = -130.0, -50.0  # HU, mean with the blurred edge: of a vessel cut, of a nodule
_Cube = NDArray[np.float32]
_Mask = NDArray[np.bool_]
_Waves = NDArray[np.complex64]


@dataclass(frozen=True)
class Finding:
    """A nodule, as the algorithm sees it.

    Parameters
    ----------
    position : tuple of float
        Patient coordinates of its middle, in mm.
    diameter : float
        Of a ball with as much volume, in mm.
    confidence : float
        0 to 1: how full the ball is, how much lung the shell holds and how firm the
        tissue is, multiplied, to the third power because vessels come close.
    mean : float
        Mean of its voxels, in HU.
    mask : numpy.ndarray of bool
        Its voxels, in the shape of the volume.
    """

    position: tuple[float, float, float]
    diameter: float
    confidence: float
    mean: float
    mask: _Mask


def find_nodules(volume: Volume) -> list[Finding]:
    """Return the nodules of a volume, the most certain first."""
    solid = volume.values > _SOLID
    lung = (volume.values > _LUNG[0]) & (volume.values < _LUNG[1])
    score, size = _scores(volume, solid, lung)
    found = []
    for place, radius, evidence in _peaks(volume, score, size):
        mask = _grown(volume, solid, place, 1.4 * radius)
        if mask.any():
            found.append(_finding(volume, mask, evidence))
    told = [finding for finding in found if finding.confidence >= LEAST]
    return sorted(told, key=lambda finding: -finding.confidence)


def _scores(volume: Volume, solid: _Mask, lung: _Mask) -> tuple[_Cube, _Cube]:
    """Return the best score of each voxel, and the radius of the ball that has it."""
    solid_waves, lung_waves = _waves(solid), _waves(lung)
    best = np.zeros(solid.shape, dtype=np.float32)
    size = np.zeros(solid.shape, dtype=np.float32)
    away = _away(volume)
    for radius in _RADII:
        ball = away <= radius
        shell = (away >= radius + _SHELL[0]) & (away <= radius + _SHELL[1])
        filled = _share(solid_waves, ball)
        clear = _share(lung_waves, shell)
        score = np.clip(2 * filled - 1, 0, 1) * np.clip((clear - 0.5) / 0.4, 0, 1)
        # A larger ball that is as full is the better one.
        better = score >= np.maximum(best, 0.01)
        best[better], size[better] = score[better], radius
    return best, size


def _away(volume: Volume) -> _Cube:
    """Return the distance of each voxel from the first, in mm, around the edges."""
    axes = [
        np.minimum(np.arange(n), n - np.arange(n)) * step
        for n, step in zip(volume.values.shape, volume.spacing, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.asarray(np.sqrt(z**2 + y**2 + x**2), dtype=np.float32)


def _waves(mask: _Mask) -> _Waves:
    return np.asarray(np.fft.rfftn(mask.astype(np.float32)), dtype=np.complex64)


def _share(waves: _Waves, kernel: _Mask) -> _Cube:
    """Return, for each voxel, which share of the kernel laid on it is filled."""
    total = np.fft.irfftn(waves * _waves(kernel), kernel.shape, axes=(0, 1, 2))
    return np.asarray(total / kernel.sum(), dtype=np.float32)


def _peaks(
    volume: Volume, score: _Cube, size: _Cube
) -> Iterator[tuple[tuple[int, int, int], float, float]]:
    """Yield place, radius and score of each peak; what is near one belongs to it."""
    rest = score.copy()
    rest[0] = rest[-1] = 0  # half of the ball would lie outside of the volume
    while True:
        index = np.unravel_index(int(np.argmax(rest)), rest.shape)
        place = (int(index[0]), int(index[1]), int(index[2]))
        if rest[place] ** 3 < LEAST:
            return
        yield place, float(size[place]), float(rest[place])
        rest[_near(volume, place, 20.0)] = 0


def _near(volume: Volume, place: tuple[int, int, int], radius: float) -> _Mask:
    """Return the voxels that lie within a radius of one."""
    axes = [
        (np.arange(n) - at) * step
        for n, at, step in zip(volume.values.shape, place, volume.spacing, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.asarray(z**2 + y**2 + x**2 <= radius**2)


def _grown(volume: Volume, solid: _Mask, place: tuple[int, int, int], reach: float) -> _Mask:
    """Return the solid voxels that hang together with one, not farther than a reach."""
    allowed = solid & _near(volume, place, reach)
    grown = np.zeros_like(solid)
    grown[place] = allowed[place]
    count = -1
    while (now := int(grown.sum())) != count:
        count = now
        wider = grown.copy()
        for axis in range(3):
            wider |= np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
        grown = wider & allowed
    return grown


def _finding(volume: Volume, mask: _Mask, evidence: float) -> Finding:
    mean = float(volume.values[mask].mean())
    firm = min(1.0, max(0.0, (mean - _SOFTEST) / (_FIRM - _SOFTEST)))
    middle = [float(np.mean(axis)) for axis in np.nonzero(mask)]
    volume_mm3 = float(mask.sum()) * float(np.prod(volume.spacing))
    diameter = 2 * (3 * volume_mm3 / (4 * np.pi)) ** (1 / 3)
    return Finding(
        volume.position(*middle),
        float(diameter),
        round((evidence * firm) ** 3, 3),
        mean,
        mask,
    )
