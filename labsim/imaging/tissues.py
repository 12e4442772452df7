"""What magnetic resonance knows of a tissue, and the signal that a sequence makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, exp, radians, sin

from labsim.errors import NotFound


@dataclass(frozen=True)
class Tissue:
    """How a tissue relaxes at 1.5 T, about as textbooks give it.

    Parameters
    ----------
    density : float
        Protons that give a signal, as a part of those of water.
    t1, t2 : float
        Relaxation times in ms.
    """

    density: float
    t1: float = 1000.0
    t2: float = 50.0


TISSUES = {
    "air": Tissue(0.0),
    "annulus": Tissue(0.30, 900, 28),
    "bone": Tissue(0.04, 1000, 10),
    "bowel": Tissue(0.80, 1100, 90),
    "cartilage": Tissue(0.80, 1050, 42),
    "cord": Tissue(0.74, 780, 78),
    "cortex": Tissue(0.86, 1000, 98),
    "deep grey": Tissue(0.80, 880, 84),
    "disc": Tissue(0.92, 1300, 130),
    "dry disc": Tissue(0.50, 1000, 48),
    "dura": Tissue(0.25, 900, 22),
    "fat": Tissue(0.88, 260, 105),
    "flow": Tissue(0.05, 1400, 200),  # blood has left the slice before it is listened to
    "fluid": Tissue(1.0, 3800, 1100),
    "gland": Tissue(0.80, 700, 85),
    "ligament": Tissue(0.22, 800, 16),
    "marrow": Tissue(0.78, 300, 92),
    "meniscus": Tissue(0.16, 800, 12),
    "mucosa": Tissue(0.85, 1000, 95),
    "muscle": Tissue(0.76, 900, 44),
    "pallidum": Tissue(0.74, 760, 62),
    "plaque": Tissue(0.90, 1350, 165),
    "red marrow": Tissue(0.70, 500, 86),
    "skin": Tissue(0.62, 700, 60),
    "tendon": Tissue(0.10, 800, 8),
    "water": Tissue(1.0, 4200, 1800),
    "white": Tissue(0.70, 600, 78),
}


@dataclass(frozen=True)
class Sequence:
    """What a scanner does to the protons.

    Parameters
    ----------
    kind : str
        ``"SE"`` for a spin echo, ``"IR"`` with an inversion before it, ``"GR"``
        for a spoiled gradient echo.
    repetition, echo, inversion : float
        Times TR, TE and TI in ms.
    flip : float
        Flip angle in degrees.
    """

    kind: str
    repetition: float
    echo: float
    inversion: float = 0.0
    flip: float = 90.0

    def signal(self, tissue: Tissue) -> float:
        """Return how strong a tissue is in the image; water at rest, fully relaxed, is 1.

        Raises
        ------
        NotFound
            If there is no such kind of sequence.
        """
        recovered = exp(-self.repetition / tissue.t1)
        echo = exp(-self.echo / tissue.t2) * tissue.density
        if self.kind == "SE":
            return echo * (1 - recovered)
        if self.kind == "IR":
            return echo * abs(1 - 2 * exp(-self.inversion / tissue.t1) + recovered)
        if self.kind == "GR":
            angle = radians(self.flip)
            return echo * sin(angle) * (1 - recovered) / (1 - cos(angle) * recovered)
        raise NotFound(f"There is no sequence {self.kind!r}.", "There are SE, IR and GR.")

    def signals(self) -> dict[str, float]:
        """Return the signal of every tissue."""
        return {name: self.signal(tissue) for name, tissue in TISSUES.items()}
