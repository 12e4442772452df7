"""How much of a place is a tissue, whatever a sequence would make of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from labsim.imaging.solids import Plane, Section
from labsim.imaging.tissues import TISSUES

Paint = Callable[[Section, dict[str, float]], None]


class Slice:
    """A plane through a body, seen by the share that each tissue has in a pixel."""

    def __init__(self, paint: Paint, plane: Plane) -> None:
        self._paint, self._plane = paint, plane
        self._shares: dict[str, Section] = {}
        section = Section(plane, 0)
        self.x, self.y, self.z = section.x, section.y, section.z

    def share(self, tissue: str) -> np.ndarray:
        """Return an image of 1 where a tissue is, and 0 where it is not."""
        if tissue not in self._shares:
            # Painting is linear: with this tissue alone at 1, its share is what is painted.
            section = Section(self._plane, 0)
            self._paint(section, {name: float(name == tissue) for name in TISSUES})
            self._shares[tissue] = section
        return self._shares[tissue].image

    def within(self, tissue: str, region: np.ndarray) -> float:
        """Return how much of a region is a tissue."""
        return float(self.share(tissue)[region].mean())

    def at(self, tissue: str, x: float, y: float, z: float, radius: float = 2.5) -> float:
        """Return how much of the neighbourhood of a point is a tissue."""
        away = (self.x - x) ** 2 + (self.y - y) ** 2 + (self.z - z) ** 2
        return self.within(tissue, away < radius**2)


@pytest.fixture
def cut() -> Callable[..., Slice]:
    """Cut a body: ``cut(paint, view, centre)``."""

    def make(
        paint: Paint, view: str, centre: tuple[float, float, float], spacing: float = 1.0
    ) -> Slice:
        size = round(260 / spacing)
        return Slice(paint, Plane(centre, view, size, size, spacing, 4.0))

    return make
