"""Connected patches of a picture: where each lies, and how it stands out."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Blobs:
    """Connected patches of bright pixels, one in each place of the arrays.

    Parameters
    ----------
    top, bottom, left, right : ndarray of int
        Rows and columns of the box around each; bottom and right are behind the last.
    area : ndarray of int
        Pixels.
    level : ndarray of float
        Mean of its grey levels.
    edge : ndarray of float
        Mean of the pixels right before and right behind each of its runs.
    """

    top: Ints
    bottom: Ints
    left: Ints
    right: Ints
    area: Ints
    level: NDArray[np.float64]
    edge: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.top)

    @property
    def height(self) -> Ints:
        """Rows of each."""
        return self.bottom - self.top

    @property
    def width(self) -> Ints:
        """Columns of each."""
        return self.right - self.left

    def those(self, wanted: NDArray[np.generic]) -> Blobs:
        """Return some of them, by a mask or by their places."""
        return Blobs(*(getattr(self, field.name)[wanted] for field in fields(self)))


class Picture:
    """A grey picture, of which patches are asked for.

    Parameters
    ----------
    grey : ndarray of uint8, (rows, columns)
        As it is shown.
    """

    def __init__(self, grey: Grey) -> None:
        # One row behind the other, with two columns between them that keep them apart.
        self._wide = grey.shape[1] + 2
        self._flat = np.pad(grey, ((0, 0), (1, 1))).ravel()
        self._total = np.cumsum(self._flat, dtype=np.int64)

    def blobs(self, level: int) -> Blobs:
        """Return the patches that are at least so bright, more than 0; corners connect too."""
        start, end, label, count = self._runs(level)
        row, left = np.divmod(start, self._wide)
        right = left + end - start
        top, bottom = np.full(count, len(self._flat)), np.zeros(count, np.int64)
        first, last = np.full(count, self._wide), np.zeros(count, np.int64)
        np.minimum.at(top, label, row)
        np.maximum.at(bottom, label, row + 1)
        np.minimum.at(first, label, left - 1)
        np.maximum.at(last, label, right - 1)
        area = np.bincount(label, end - start, count)
        amount = np.bincount(label, self._total[end - 1] - self._total[start - 1], count)
        ends = self._flat[start - 1].astype(np.int64) + self._flat[end]
        edge = np.bincount(label, ends / 2, count) / np.maximum(np.bincount(label, None, count), 1)
        return Blobs(top, bottom, first, last, area.astype(np.int64), amount / area, edge)

    def within(self, level: int, least: int) -> Bools:
        """Return what lies within large patches: in each row, from the first column to the last.

        Parameters
        ----------
        level : int
            Least grey level of what is bright.
        least : int
            Pixels of a large patch.
        """
        start, end, label, count = self._runs(level)
        large = np.bincount(label, end - start, count)[label] >= least
        row, left = np.divmod(start[large], self._wide)
        rows, columns = len(self._flat) // self._wide, self._wide - 2
        first, last = np.full(rows, self._wide), np.zeros(rows, np.int64)
        np.minimum.at(first, row, left - 1)
        np.maximum.at(last, row, left - 1 + (end - start)[large])
        column = np.arange(columns)
        return (column >= first[:, np.newaxis]) & (column < last[:, np.newaxis])

    def _runs(self, level: int) -> tuple[Ints, Ints, Ints, int]:
        """Return where bright runs begin and end, the patch of each, and how many patches."""
        change = np.flatnonzero(np.diff((self._flat >= level).view(np.int8)))
        start, end = change[::2] + 1, change[1::2] + 1
        label = joined(len(start), *_touching(start, end, self._wide))
        return start, end, label, int(label.max()) + 1 if len(label) else 0


def joined(count: int, one: Ints, other: Ints) -> Ints:
    """Return for each of some things the number of the group that pairs join it to."""
    parent = np.arange(count)
    while True:
        first, second = parent[one], parent[other]
        apart = first != second
        if not apart.any():
            return np.unique(parent, return_inverse=True)[1].astype(np.int64)
        one, other = one[apart], other[apart]
        first, second = first[apart], second[apart]
        np.minimum.at(parent, np.maximum(first, second), np.minimum(first, second))
        while not np.array_equal(parent, parent[parent]):
            parent = parent[parent]


def _touching(start: Ints, end: Ints, wide: int) -> tuple[Ints, Ints]:
    """Return pairs of runs in rows that follow each other, which touch."""
    # A run touches those of the next row that begin before it ends and end behind its start.
    below = np.searchsorted(end, start + wide, "left")
    behind = np.searchsorted(start, end + wide, "right")
    return ranges(below, behind)


def ranges(first: Ints, behind: Ints) -> tuple[Ints, Ints]:
    """Return pairs of a place and each number from `first` to before `behind` at that place."""
    several = np.maximum(behind - first, 0)
    place = np.repeat(np.arange(len(first)), several)
    offset = np.arange(len(place)) - np.repeat(np.cumsum(several) - several, several)
    return place, np.repeat(first, several) + offset
