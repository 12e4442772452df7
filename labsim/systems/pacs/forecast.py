"""When an archive is full: a straight line through what came each day, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from labsim.table import Table

ENOUGH = 14  # days; fewer do not even show the difference between weekdays and weekends twice


@dataclass(frozen=True)
class Forecast:
    """How an archive grows, and when it reaches its marks.

    Parameters
    ----------
    based_on : int
        Whole days of history.
    used : int
        Bytes held now.
    per_day : float or None
        Bytes a day by a least-squares line; None if the history is too short.
    uncertainty : float
        Standard error of that, bytes a day, from how the days scatter around the line.
    reached : mapping of str to date or None
        For each mark the day on which it is reached; None for not within the horizon.
    horizon : date
        How far was looked.
    caution : str
        What to bear in mind.
    """

    based_on: int
    used: int
    per_day: float | None
    uncertainty: float
    reached: Mapping[str, date | None]
    horizon: date
    caution: str

    def table(self) -> Table:
        """Return it as a table."""
        growth = (
            "unknown"
            if self.per_day is None
            else f"{self.per_day:,.0f} ± {self.uncertainty:,.0f} bytes a day"
        )
        rows = [("held now", f"{self.used:,} bytes"), ("growth", growth)]
        for mark, day in self.reached.items():
            rows.append((f"{mark} reached", str(day) if day else f"not before {self.horizon}"))
        rows += [("based on", f"{self.based_on} days"), ("caution", self.caution)]
        return Table(("what", "value"), rows, "Growth forecast of the PACS")

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def forecast(
    history: Mapping[date, int], used: int, today: date, marks: Mapping[str, int], days: int
) -> Forecast:
    """Extend the growth of an archive.

    Parameters
    ----------
    history : mapping of date to int
        Bytes that came on each day; days without any may be missing.
    used : int
        Bytes held now, of what the marks are about.
    today : date
        Is not over, and so does not count.
    marks : mapping of str to int
        Bytes whose day is wanted.
    days : int
        How far to look ahead.
    """
    horizon = today + timedelta(days=days)
    whole = {day: size for day, size in history.items() if day < today}
    based_on = (today - min(whole)).days if whole else 0
    if based_on < ENOUGH:
        caution = f"{based_on} whole days are too few to tell: {ENOUGH} at least"
        already = {mark: today if used >= size else None for mark, size in marks.items()}
        return Forecast(based_on, used, None, 0.0, already, horizon, caution)
    first = min(whole)
    came = np.array([whole.get(first + timedelta(days=n), 0) for n in range(based_on)], float)
    numbers = np.arange(based_on, dtype=float)
    total = np.cumsum(came)
    slope, _ = np.polyfit(numbers, total, 1)
    # Sums of days hang together, so their own scatter around a line would promise too much.
    error = float(np.std(came, ddof=1) / np.sqrt(based_on))
    reached = {mark: _day(size, used, float(slope), today, horizon) for mark, size in marks.items()}
    caution = "the past is assumed to go on: no new scanner, no longer protocols"
    if days > based_on:
        caution += f"; {days} days ahead from {based_on} days is far"
    return Forecast(based_on, used, float(slope), error, reached, horizon, caution)


def _day(size: int, used: int, slope: float, today: date, horizon: date) -> date | None:
    if used >= size:
        return today
    if slope <= 0:
        return None
    left = (size - used) / slope
    if left > (horizon - today).days:
        return None
    return today + timedelta(days=int(np.ceil(left)))
