"""The monitor of a workstation: it ages by the clock, is calibrated, and is checked (PS3.14)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime

from labsim.imaging.display import Measurement, Monitor
from labsim.systems.facility import System
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS monitors (
    id       INTEGER PRIMARY KEY,
    settings TEXT NOT NULL,         -- JSON, as it was at that time
    since    TEXT NOT NULL,
    why      TEXT NOT NULL          -- installed, calibrated, other light
);
CREATE TABLE IF NOT EXISTS monitor_checks (
    id         INTEGER PRIMARY KEY,
    checked_at TEXT NOT NULL,
    hours      REAL NOT NULL,
    worst      REAL NOT NULL,       -- percent
    ratio      REAL NOT NULL,
    white      REAL NOT NULL,       -- cd/m²
    ambient    REAL NOT NULL,       -- cd/m²
    passed     INTEGER NOT NULL
);
"""
# AAPM TG18 4.3.4, for monitors that diagnoses are made on; the light of the room is in both.
_WHITE, _RATIO = 170.0, 250.0


@dataclass(frozen=True)
class QualityCheck:
    """A monitor measured against the limits for diagnosis.

    Parameters
    ----------
    measurement : Measurement
        What the luminance meter has found.
    ambient : float
        Light of the room that the glass reflects, cd/m².
    hours : float
        How long the backlight has been on.
    """

    measurement: Measurement
    ambient: float
    hours: float

    @property
    def passed(self) -> bool:
        """Whether all limits are kept."""
        return all(kept for *_, kept in self._criteria())

    def _criteria(self) -> list[tuple[str, str, str, bool]]:
        found = self.measurement
        white = found.measured[-1]
        return [
            ("contrast of the worst step deviates by", f"{found.worst:.1f} %", "10 % at most",
             found.follows),
            ("white", f"{white:.0f} cd/m²", f"{_WHITE:g} cd/m² at least", white >= _WHITE),
            ("white is brighter than black", f"{found.ratio:.0f} times", f"{_RATIO:g} at least",
             found.ratio >= _RATIO),
        ]  # fmt: skip

    def table(self) -> Table:
        """Return each criterion with what was found, its limit, and whether that is kept."""
        rows = [
            (what, found, limit, "yes" if kept else "NO")
            for what, found, limit, kept in self._criteria()
        ]
        verdict = "may be used" if self.passed else "must not be used"
        caption = (
            f"After {self.hours:.0f} hours, in a light of {self.ambient:g} cd/m², "
            f"the monitor {verdict} for diagnosis"
        )
        return Table(("criterion", "found", "limit", "kept"), rows, caption)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


class Screen:
    """The monitor with its history; what it is at a moment follows from the clock.

    Parameters
    ----------
    system : System
        The workstation.
    now : callable
        Returns the time by which the backlight ages.
    """

    def __init__(self, system: System, now: Callable[[], datetime]) -> None:
        self._system = system
        self._db = system.db
        self._now = now
        if self._db.row("SELECT 1 FROM monitors") is None:
            self._keep(Monitor().calibrated(), "installed")

    @property
    def monitor(self) -> Monitor:
        """The monitor as it is now."""
        row = self._db.row("SELECT settings, since FROM monitors ORDER BY id DESC")
        assert row is not None
        settings = json.loads(row["settings"])
        then = Monitor(**settings | {"table": tuple(settings["table"])})
        passed = self._now() - datetime.fromisoformat(row["since"])
        return then.aged(max(0.0, passed.total_seconds() / 3600))

    def calibrate(self) -> Measurement:
        """Calibrate it for its age and the light of its room, and measure it."""
        calibrated = self.monitor.calibrated()
        self._keep(calibrated, "calibrated")
        return calibrated.measure()

    def light(self, ambient: float) -> None:
        """Change the light of the room, as its glass reflects it, in cd/m².

        Raises
        ------
        ConfigurationError
            If it is less than nothing.
        """
        self._keep(self.monitor.in_light(ambient), f"light of {ambient:g} cd/m²")

    def replace(self, monitor: Monitor | None = None) -> None:
        """Put a new monitor in its place; a calibrated one of the usual kind if left out."""
        self._keep(monitor or Monitor().calibrated(), "installed")

    def check(self) -> QualityCheck:
        """Measure it against the limits for diagnosis, and keep the result."""
        monitor = self.monitor
        done = QualityCheck(monitor.measure(), monitor.ambient, monitor.hours)
        self._db.insert(
            "monitor_checks",
            checked_at=self._now().isoformat(timespec="seconds"),
            hours=monitor.hours,
            worst=done.measurement.worst,
            ratio=done.measurement.ratio,
            white=done.measurement.measured[-1],
            ambient=done.ambient,
            passed=int(done.passed),
        )
        self._system.note(
            f"monitor checked: {'passed' if done.passed else 'failed'}",
            kind="state" if done.passed else "error",
        )
        return done

    def checks(self) -> Table:
        """Return every check, the oldest first."""
        rows = self._db.rows("SELECT * FROM monitor_checks ORDER BY id")
        shown = [
            (
                *(row["checked_at"], f"{row['hours']:.0f}", f"{row['worst']:.1f}"),
                *(f"{row['ratio']:.0f}", f"{row['white']:.0f}", f"{row['ambient']:.2f}"),
                "passed" if row["passed"] else "failed",
            )
            for row in rows
        ]
        columns = ("when", "hours", "worst step %", "ratio", "white cd/m²", "room cd/m²")
        return Table((*columns, "verdict"), shown, f"Checks of the monitor of {self._system.name}")

    def history(self) -> Table:
        """Return what was done to it."""
        rows = self._db.rows("SELECT since, why FROM monitors ORDER BY id")
        return Table(("when", "what"), rows, f"The monitor of {self._system.name}")

    def _keep(self, monitor: Monitor, why: str) -> None:
        since = self._now().isoformat()
        self._db.insert("monitors", settings=json.dumps(asdict(monitor)), since=since, why=why)
        self._system.note(f"monitor: {why}")
