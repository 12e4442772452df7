"""Monitors and the Grayscale Standard Display Function (PS3.14).

An image shows the same contrasts on two monitors only if both follow one
function from pixel value to luminance. PS3.14 gives one that is even for the
eye: each step of it, a just-noticeable difference, is seen as equally large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labsim.errors import ConfigurationError
from labsim.table import Table

DARKEST, BRIGHTEST = 1, 1023  # the JND indices of PS3.14 7.1
_POWERS = np.arange(6)
# PS3.14 7.1: log10 of the luminance is a ratio of polynomials in ln(j).
_ABOVE = np.array([-1.3011877, 8.0242636e-2, 1.3646699e-1, -2.5468404e-2, 1.3635334e-3, 0.0])
_BELOW = np.array([1.0, -2.5840191e-2, -1.0320229e-1, 2.8745620e-2, -3.1978977e-3, 1.2992634e-4])
# PS3.14 7.1: the way back is a polynomial in log10 of the luminance.
_BACK = np.array(
    [
        71.498068,
        94.593053,
        41.912053,
        9.8247004,
        0.28175407,
        -1.1878455,
        -0.18014349,
        0.14710899,
        -0.017046845,
    ]
)
_P_VALUES = 256
_DRIVING_LEVELS = 1024
_TOLERATED = 10.0  # percent; AAPM TG18 4.3.4, for monitors that diagnoses are made on


def luminance(index: ArrayLike) -> NDArray[np.float64]:
    """Return the luminance of JND indices, by the standard function (PS3.14 7.1).

    Parameters
    ----------
    index : array_like
        JND indices, 1 to 1023; need not be whole.

    Returns
    -------
    ndarray
        Luminance in cd/m², of the same shape.

    Raises
    ------
    ConfigurationError
        If an index is outside of the function.
    """
    wanted = np.asarray(index, dtype=float)
    if wanted.size and not (wanted.min() >= DARKEST and wanted.max() <= BRIGHTEST):
        raise ConfigurationError(
            "The standard display function has JND indices from 1 to 1023.",
            "A luminance that it has is between 0.05 and 3993 cd/m².",
        )
    powers = np.log(wanted)[..., None] ** _POWERS
    return np.asarray(10.0 ** ((powers @ _ABOVE) / (powers @ _BELOW)))


def jnd_index(cd_per_m2: ArrayLike) -> NDArray[np.float64]:
    """Return the JND index of luminances (PS3.14 7.1), the way back from `luminance`.

    Parameters
    ----------
    cd_per_m2 : array_like
        Luminance in cd/m², more than zero.
    """
    logarithm = np.log10(np.asarray(cd_per_m2, dtype=float))
    return np.asarray(logarithm[..., None] ** np.arange(len(_BACK)) @ _BACK)


@dataclass(frozen=True)
class Monitor:
    """A monitor: how bright each pixel value is on it, in the light of its room.

    Parameters
    ----------
    black, white : float
        Luminance of its darkest and its brightest pixel in cd/m², when new and
        in a dark room.
    ambient : float
        Light of the room that its glass reflects, cd/m²; it adds to every
        pixel (PS3.14 7).
    gamma : float
        Exponent of its own response.
    hours : float
        How long its backlight has been on.
    half_life : float
        After how many hours the backlight gives half of its light.
    table : tuple of int
        The calibration: a driving level, 0 to 1023, for each pixel value, 0 to
        255. Evenly spaced where it was never calibrated.

    Raises
    ------
    ConfigurationError
        If there can be no such monitor.
    """

    black: float = 0.3
    white: float = 400.0
    ambient: float = 0.1
    gamma: float = 2.2
    hours: float = 0.0
    half_life: float = 25_000.0
    table: tuple[int, ...] = field(
        default=tuple(
            int(level) for level in np.linspace(0, _DRIVING_LEVELS - 1, _P_VALUES).round()
        ),
        repr=False,
    )

    def __post_init__(self) -> None:
        if not 0 < self.black < self.white or min(self.ambient, self.hours) < 0:
            raise ConfigurationError(
                "A monitor's white is brighter than its black, and nothing is below zero.",
                "For example Monitor(black=0.3, white=400, ambient=0.1).",
            )
        if not self.black + self.ambient >= 0.05 or self.white + self.ambient > 3993:
            raise ConfigurationError(
                "The standard display function goes from 0.05 to 3993 cd/m².",
                "Choose black and white between them.",
            )

    def aged(self, hours: float) -> Monitor:
        """Return the monitor after some more hours: darker, with its old calibration."""
        return replace(self, hours=self.hours + hours)

    def in_light(self, ambient: float) -> Monitor:
        """Return the monitor in another room, cd/m² of reflected light."""
        return replace(self, ambient=ambient)

    def shows(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return what an eye gets from pixels, in cd/m².

        Parameters
        ----------
        values : array_like
            P-values, 0 to 255 (PS3.14 3: what the display function is applied to).
        """
        return self._driven(np.asarray(self.table)[np.asarray(values)])

    def calibrated(self) -> Monitor:
        """Return the monitor with a table that makes it follow the standard function.

        As it is now and where it stands: the table is right for this age and
        this light.
        """
        reachable = self._driven(np.arange(_DRIVING_LEVELS))
        wanted = _standard(reachable[0], reachable[-1])
        after = np.searchsorted(reachable, wanted).clip(1, _DRIVING_LEVELS - 1)
        before_is_nearer = wanted - reachable[after - 1] < reachable[after] - wanted
        return replace(self, table=tuple(int(level) for level in after - before_is_nearer))

    def measure(self, levels: int = 18) -> Measurement:
        """Measure it with a luminance meter in front of the glass (PS3.14 annex C).

        Parameters
        ----------
        levels : int
            How many grey fields, evenly from black to white.
        """
        values = np.linspace(0, _P_VALUES - 1, levels).round().astype(int)
        measured = self.shows(values)
        wanted = _standard(float(measured[0]), float(measured[-1]))[values]
        return Measurement(
            tuple(int(value) for value in values),
            tuple(float(each) for each in measured),
            tuple(float(each) for each in wanted),
        )

    def _driven(self, levels: NDArray[np.int64]) -> NDArray[np.float64]:
        left = math.exp(-math.log(2) * self.hours / self.half_life)
        part = (levels / (_DRIVING_LEVELS - 1)) ** self.gamma
        return np.asarray(self.ambient + left * (self.black + (self.white - self.black) * part))


@dataclass(frozen=True)
class Measurement:
    """What a luminance meter has found.

    Parameters
    ----------
    values : sequence of int
        The grey fields, as P-values.
    measured, wanted : sequence of float
        Luminance in cd/m²: as it is, and by the standard function between the
        same black and white.
    """

    values: Sequence[int]
    measured: Sequence[float]
    wanted: Sequence[float]

    @property
    def ratio(self) -> float:
        """How many times brighter white is than black."""
        return self.measured[-1] / self.measured[0]

    @property
    def deviations(self) -> list[float]:
        """How far each step's contrast is from the standard's, in percent (AAPM TG18 4.3.4)."""
        found, standard = _contrasts(self.measured), _contrasts(self.wanted)
        return [float(each) for each in 100 * (found / standard - 1)]

    @property
    def worst(self) -> float:
        """The largest deviation, in percent, whatever its sign."""
        return max(map(abs, self.deviations))

    @property
    def follows(self) -> bool:
        """Whether the monitor follows the standard function, by the limit for diagnosis (10 %)."""
        return self.worst <= _TOLERATED

    def table(self) -> Table:
        """Return each grey field with its luminance and how far its step deviates."""
        steps = ["", *(f"{each:+.1f}" for each in self.deviations)]
        rows = [
            (value, f"{found:.2f}", f"{wanted:.2f}", step)
            for value, found, wanted, step in zip(
                self.values, self.measured, self.wanted, steps, strict=True
            )
        ]
        verdict = "follows" if self.follows else "does not follow"
        caption = (
            f"The monitor {verdict} the standard display function: "
            f"worst step {self.worst:.1f} %, white {self.ratio:.0f} times black"
        )
        columns = ("P-value", "measured cd/m²", "standard cd/m²", "step deviates by %")
        return Table(columns, rows, caption)

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _standard(black: float, white: float) -> NDArray[np.float64]:
    """Return what each P-value should show between a black and a white, cd/m²."""
    darkest, brightest = jnd_index([black, white])
    return luminance(np.linspace(darkest, brightest, _P_VALUES).clip(DARKEST, BRIGHTEST))


def _contrasts(luminances: Sequence[float]) -> NDArray[np.float64]:
    each = np.asarray(luminances)
    return np.asarray(2 * np.diff(each) / (each[1:] + each[:-1]))
