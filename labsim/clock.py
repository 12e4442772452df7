"""Hospital time. Systems ask a clock, never the operating system."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


class ScaledClock:
    """A clock that runs faster or slower than the machine's.

    Parameters
    ----------
    start : datetime
        The first time it shows.
    speed : float
        Hospital seconds in a second of the machine; more than zero.

    Raises
    ------
    ValueError
        If `speed` is not more than zero.
    """

    def __init__(self, start: datetime, speed: float) -> None:
        if speed <= 0:
            raise ValueError(f"a clock does not stand still or run backwards: {speed}")
        self._start = start
        self._speed = speed
        # The monotonic clock, because somebody may set the other one.
        self._began = time.monotonic()

    def now(self) -> datetime:
        """Return the scaled time since the clock was made."""
        passed = time.monotonic() - self._began
        return self._start + timedelta(seconds=passed * self._speed)


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


class HospitalClock:
    """The clock on the wall of a hospital: it follows another one, and never goes back.

    Parameters
    ----------
    source : Clock
        What it follows.
    """

    def __init__(self, source: Clock) -> None:
        self._source = source
        self._ahead = timedelta()  # of its source
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the hospital's local time."""
        with self._lock:
            return self._source.now() + self._ahead

    def not_before(self, moment: datetime) -> None:
        """Go on from `moment` if that is later than the time shown."""
        with self._lock:
            self._ahead = max(self._ahead, moment - self._source.now())

    @contextmanager
    def following(self, source: Clock) -> Iterator[None]:
        """Follow another clock for the length of a block.

        Afterwards the former one is followed again, from the time that was
        shown last.

        Parameters
        ----------
        source : Clock
            What to follow.

        Raises
        ------
        ValueError
            If it is behind the time shown.
        """
        if source.now() < self.now():
            raise ValueError(f"a clock does not run backwards: {source.now()} is past")
        with self._lock:
            former, self._source, ahead = self._source, source, self._ahead
            self._ahead = timedelta()
        try:
            yield
        finally:
            last = self.now()
            with self._lock:
                self._source, self._ahead = former, ahead
            self.not_before(last)
