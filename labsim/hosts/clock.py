"""The clock of a host: wrong by an offset that may grow, until it is set by the network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from labsim.clock import Clock
from labsim.database import Database
from labsim.errors import ConfigurationError

SCHEMA = """
CREATE TABLE IF NOT EXISTS host_clocks (
    host TEXT PRIMARY KEY,
    seconds REAL NOT NULL,
    per_day REAL NOT NULL,
    since TEXT NOT NULL
);
"""


class HostClock:
    """What the systems of a host take for the time.

    The hospital's clock is the true time, and the journal's. A host's clock
    shows that plus its error; what the systems write (MSH-7, the dates and
    times of images, their databases) carries it along.

    Parameters
    ----------
    host : str
        Whose clock it is.
    truth : Clock
        The hospital's time.
    db : Database
        Where the error is kept.
    note : callable
        Writes a line to the journal.
    """

    def __init__(
        self, host: str, truth: Clock, db: Database, note: Callable[[str], object]
    ) -> None:
        self._host = host
        self._truth = truth
        self._db = db
        self._note = note
        self._lock = threading.Lock()
        row = db.row("SELECT * FROM host_clocks WHERE host = ?", host)
        self._seconds = row["seconds"] if row else 0.0
        self._per_day = row["per_day"] if row else 0.0
        self._since = datetime.fromisoformat(row["since"]) if row else truth.now()

    def now(self) -> datetime:
        """Return the time that the host shows."""
        truth = self._truth.now()
        return truth + timedelta(seconds=self._error(truth))

    @property
    def error(self) -> float:
        """How many seconds it is ahead of the hospital's time; behind if negative."""
        return self._error(self._truth.now())

    def skew(self, seconds: float) -> None:
        """Put the clock wrong.

        Parameters
        ----------
        seconds : float
            How far ahead of the true time; behind if negative.
        """
        self._set(seconds, self._per_day)
        self._note(f"clock set: {seconds:+g} s from the hospital's time")

    def drift(self, seconds: float) -> None:
        """Let the clock go wrong by itself, from its error of now on.

        Parameters
        ----------
        seconds : float
            How far it runs ahead in a day; behind if negative.

        Raises
        ------
        ConfigurationError
            If it would stand still or run backwards.
        """
        if seconds <= -86400:
            raise ConfigurationError(
                f"A clock that loses {-seconds:g} s a day does not run.", "Use more than -86400."
            )
        self._set(self.error, seconds)
        self._note(f"clock drifts by {seconds:+g} s a day")

    def sync(self) -> float:
        """Set the clock by the hospital's, as a client of NTP does (IHE CT, ITI-1).

        It goes on drifting if it did, as an oscillator does.

        Returns
        -------
        float
            By how many seconds it was wrong.
        """
        wrong = self.error
        self._set(0.0, self._per_day)
        self._note(f"clock synchronised, it was {wrong:+.3f} s off")
        return wrong

    def __repr__(self) -> str:
        return f"{self._host}: {self.now().isoformat(timespec='seconds')}, {self.error:+.3f} s off"

    def _error(self, truth: datetime) -> float:
        with self._lock:
            passed = (truth - self._since).total_seconds()
            return float(self._seconds + self._per_day * passed / 86400)

    def _set(self, seconds: float, per_day: float) -> None:
        with self._lock:
            self._seconds, self._per_day, self._since = seconds, per_day, self._truth.now()
            self._db.upsert(
                "host_clocks",
                "host",
                host=self._host,
                seconds=seconds,
                per_day=per_day,
                since=self._since.isoformat(),
            )
