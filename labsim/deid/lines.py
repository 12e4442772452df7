"""Lines of text in a picture: patches of the size of letters that stand side by side.

Nothing is read and no font is known. A letter is a small patch with sharp
edges: much brighter, or darker, than the pixels right beside it, while speckle
and the noise of a detector fade into what is around them. On the picture of a
patient only letters in a line are text: three of like height and level on one
base line. Where nothing else is shown, one letter is enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from labsim.deid.blobs import Blobs, Bools, Grey, Ints, Picture, joined, ranges

# At each grey level, other letters come apart from what they stand on.
BRIGHT = (40, 100, 150, 200, 240)
DARK = (100, 150, 200)  # of the picture turned round
CONTRAST = 60  # grey levels between a letter and what is right beside it
SMALLEST = 5  # rows of the smallest letter
FEWEST = 3  # letters of a line on the picture of a patient
MARGIN = 2  # pixels around a line, for the soft edges of lossy compression


@dataclass(frozen=True)
class Region:
    """A rectangle of an image.

    Parameters
    ----------
    top, bottom, left, right : int
        Rows and columns, from 0; `bottom` and `right` are behind the last.
    frame : int
        Number of the frame as DICOM counts, from 1; 0 for every frame.
    """

    top: int
    bottom: int
    left: int
    right: int
    frame: int = 0

    def meets(self, other: Region) -> bool:
        """Tell whether they share a pixel."""
        return (
            self.top < other.bottom
            and other.top < self.bottom
            and self.left < other.right
            and other.left < self.right
        )

    def around(self, other: Region) -> Region:
        """Return the rectangle around both."""
        return replace(
            self,
            top=min(self.top, other.top),
            bottom=max(self.bottom, other.bottom),
            left=min(self.left, other.left),
            right=max(self.right, other.right),
        )


def lines(grey: Grey, empty: Bools, tallest: int) -> list[Region]:
    """Find lines of text, bright on dark and dark on bright.

    Parameters
    ----------
    grey : ndarray of uint8, (rows, columns)
        The picture, as it is shown.
    empty : ndarray of bool, (rows, columns)
        Where no picture of a patient is: there a single bright letter counts.
    tallest : int
        Rows of the largest letter.
    """
    found = []
    nowhere = np.zeros_like(empty)
    for shown, levels, alone in ((grey, BRIGHT, empty), (255 - grey, DARK, nowhere)):
        picture = Picture(shown)
        for level in levels:
            found += _at(picture.blobs(level), alone, tallest)
    return united(found)


def united(regions: list[Region]) -> list[Region]:
    """Return regions, those that overlap made one."""
    apart: list[Region] = []
    for region in regions:
        grown = region
        while near := [other for other in apart if other.meets(grown)]:
            apart = [other for other in apart if not other.meets(grown)]
            for other in near:
                grown = grown.around(other)
        apart.append(grown)
    return sorted(apart, key=lambda region: (region.top, region.left))


def _at(patches: Blobs, empty: Bools, tallest: int) -> list[Region]:
    """Return the lines among patches."""
    patches = patches.those(
        (patches.level - patches.edge >= CONTRAST)
        & (patches.height <= tallest)
        & (patches.width <= 20 * tallest)
    )
    letters = patches.those(_like_letters(patches))
    if not len(letters):
        return []
    group = joined(len(letters), *_neighbours(letters))
    alone = empty[(letters.top + letters.bottom) // 2, (letters.left + letters.right) // 2]
    found = []
    for number in range(int(group.max()) + 1):
        members = group == number
        line = letters.those(members)
        if alone[members].all() or _stands_on_a_line(line):
            found.append(_whole(line, patches, empty.shape))
    return found


def _like_letters(patches: Blobs) -> Bools:
    """Tell which patches may be a letter, or a word whose letters touch."""
    height, width = patches.height, patches.width
    fill = patches.area / (height * width)
    bar = (fill > 0.9) & ((np.minimum(height, width) > 6) | (height > 8 * width))
    graph = (width > 2 * height) & ((fill < 0.15) | (fill > 0.8))
    return np.asarray((height >= SMALLEST) & ~bar & ~graph)


def _neighbours(letters: Blobs) -> tuple[Ints, Ints]:
    """Return pairs of letters that may follow each other in a line."""
    order = np.argsort(letters.left, kind="stable")
    left, height = letters.left[order], letters.height[order]
    reach = letters.right[order] + np.ceil(1.6 * height).astype(np.int64)
    one, other = ranges(np.arange(1, len(left) + 1), np.searchsorted(left, reach, "right"))
    one, other = order[one], order[other]
    tall = np.maximum(letters.height[one], letters.height[other])
    low = np.minimum(letters.height[one], letters.height[other])
    lower = np.minimum(letters.bottom[one], letters.bottom[other])
    shared = lower - np.maximum(letters.top[one], letters.top[other])
    apart = np.abs(letters.level[one] - letters.level[other])
    alike = (shared >= 0.5 * low) & (tall <= 2.2 * low) & (apart <= 30)
    return one[alike], other[alike]


def _stands_on_a_line(letters: Blobs) -> bool:
    """Tell whether letters are enough, and most of them stand on one base line."""
    if len(letters) < FEWEST:
        return False
    room = max(1.0, 0.15 * float(np.median(letters.height)))
    on_it = int((np.abs(letters.bottom - np.median(letters.bottom)) <= room).sum())
    return on_it >= max(FEWEST, 0.6 * len(letters))


def _whole(letters: Blobs, patches: Blobs, shape: tuple[int, ...]) -> Region:
    """Return a line with its dots, dashes and accents, and a margin."""
    height = int(letters.height.max())
    above, below = letters.top.min() - 0.4 * height, letters.bottom.max() + 0.4 * height
    near = patches.those(
        (patches.height <= height)
        & (patches.width <= 2 * height)
        & (patches.top > above)
        & (patches.bottom < below)
    )
    left, right, grown = int(letters.left.min()), int(letters.right.max()), True
    top, bottom = int(letters.top.min()), int(letters.bottom.max())
    while grown:
        part = near.those((near.right >= left - height) & (near.left <= right + height))
        before = (left, right)
        if len(part):
            left, right = min(left, int(part.left.min())), max(right, int(part.right.max()))
            top, bottom = min(top, int(part.top.min())), max(bottom, int(part.bottom.max()))
        grown = (left, right) != before
    return Region(
        max(top - MARGIN, 0),
        min(bottom + MARGIN, shape[0]),
        max(left - MARGIN, 0),
        min(right + MARGIN, shape[1]),
    )
