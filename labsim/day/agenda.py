"""What is due, and when: the heart of a discrete event simulation."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import datetime

from labsim.clock import ManualClock

Action = Callable[[], None]


class Agenda:
    """Actions in the order in which they are due; the clock jumps from one to the next.

    Of those that are due together the lower priority number comes first, then
    what was entered first, so that the same entries give the same course.

    Parameters
    ----------
    clock : ManualClock
        Moved by `run`, and by nobody else.
    """

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._due: list[tuple[datetime, int, int, Action]] = []
        self._entered = itertools.count()

    def at(self, time: datetime, action: Action, priority: int = 0) -> None:
        """Enter an action; one whose time has passed is due now."""
        time = max(time, self._clock.now())
        heapq.heappush(self._due, (time, priority, next(self._entered), action))

    def run(self, after_each: Action) -> None:
        """Do everything, also what is entered meanwhile.

        Parameters
        ----------
        after_each : callable
            Called after each action, before the clock moves.
        """
        while self._due:
            time, _, _, action = heapq.heappop(self._due)
            self._clock.advance(time - self._clock.now())
            action()
            after_each()
