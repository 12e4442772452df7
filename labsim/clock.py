"""Hospital time. Systems ask a clock, never the operating system."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the hospital's time of day."""

    def now(self) -> datetime:
        """Return the hospital's local time, without a time zone."""
        ...


class WallClock:
    """The time of the machine that the lab runs on."""

    def now(self) -> datetime:
        """Return the machine's local time."""
        return datetime.now()


class ManualClock:
    """A clock that moves only when told to.

    Parameters
    ----------
    start : datetime
        The first time it shows.
    """

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the time the clock was last set to."""
        with self._lock:
            return self._now

    def advance(self, step: timedelta) -> datetime:
        """Move the clock on.

        Parameters
        ----------
        step : timedelta
            How far; never backwards.

        Returns
        -------
        datetime
            The new time.

        Raises
        ------
        ValueError
            If `step` is negative.
        """
        if step < timedelta():
            raise ValueError(f"a clock does not run backwards: {step}")
        with self._lock:
            self._now += step
            return self._now
