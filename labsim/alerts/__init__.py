"""Alerts: what the metrics of a hospital say is wrong, from when on, and who looks after it.

As a monitor with rules of its own would, and without one being installed:
each rule is held against every metric. An alert is pending until it has
lasted, then it fires; somebody acknowledges it; it is resolved when the metric
is in order again.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from sqlite3 import Row
from typing import TYPE_CHECKING, Any

from labsim.alerts import rules, samples
from labsim.alerts.rules import Rule, Rules
from labsim.alerts.samples import SOURCE, Recent, Sample
from labsim.database import Database
from labsim.errors import LabError, NotFound
from labsim.journal import Event
from labsim.table import Table
from labsim.wire.background import BackgroundLoop

if TYPE_CHECKING:
    from labsim.hospital import Hospital

__all__ = ["Alerts", "Rule"]
_LOG = logging.getLogger("labsim.alerts")
PAUSE = 0.5  # seconds; what happens close together is looked at once
_SCHEMA = (
    rules.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS alerts (
    id            INTEGER PRIMARY KEY,
    rule          TEXT NOT NULL,
    labels        TEXT NOT NULL,   -- JSON: of the sample
    severity      TEXT NOT NULL,
    state         TEXT NOT NULL,   -- pending, firing, acknowledged, resolved
    value         REAL NOT NULL,   -- when it began to fire
    since         TEXT NOT NULL,   -- hospital time
    fired         TEXT NOT NULL,
    acknowledged  TEXT NOT NULL,
    by            TEXT NOT NULL,
    note          TEXT NOT NULL,
    resolved      TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS alerts_state ON alerts (state);
"""
)
_Key = tuple[str, str]  # rule, labels


class Alerts:
    """The alerts of a hospital.

    Nothing polls: they are looked at soon after something has happened, when a
    pending one has lasted long enough, and whenever somebody asks. All times
    are the hospital's.

    Parameters
    ----------
    hospital : Hospital
        Which is running; its folder keeps the rules and the alerts.
    loop : BackgroundLoop
        Where it waits.
    """

    def __init__(self, hospital: Hospital, loop: BackgroundLoop) -> None:
        self._hospital = hospital
        self._loop = loop
        self._db = Database(hospital.path / "alerts.sqlite", _SCHEMA)
        self._rules = Rules(self._db, hospital.site)
        self._recent = Recent()
        self._lock = threading.RLock()
        self._values: dict[_Key, float] = {}
        self._planning = threading.Lock()
        self._planned: Future[None] | None = None
        self._planned_for = 0.0  # on the machine's monotonic clock
        self._open = True
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="alerts-worker")
        self._end = hospital.journal.subscribe(self._hear)
        self._plan(PAUSE)

    def close(self) -> None:
        """Look no more."""
        self._end()
        with self._planning:
            self._open = False
            if self._planned is not None:
                self._planned.cancel()
        self._worker.shutdown()
        self._db.close()

    # What a person asks and does

    def table(self) -> Table:
        """Look now, and return what is wrong, the gravest first.

        Returns
        -------
        Table
            Pending, firing and acknowledged alerts, with the value of now.
        """
        self.look()
        rank = {name: place for place, name in enumerate(reversed(rules.SEVERITIES))}
        known = {rule.name: rule.next_step for rule in self._rules}
        shown = [
            (
                row["id"],
                row["rule"],
                row["severity"],
                row["state"],
                _where(row["labels"]),
                f"{self._values.get(_key(row), row['value']):g}",
                row["since"],
                row["by"],
                known.get(row["rule"], ""),
            )
            for row in sorted(self._active(), key=lambda row: (rank[row["severity"]], row["id"]))
        ]
        columns = ("number", "alert", "severity", "state", "where", "value", "since", "by")
        return Table((*columns, "next step"), shown, f"Alerts of {self._hospital.site.institution}")

    def history(self) -> Table:
        """Return every alert that has fired, with its times by the hospital's clock."""
        rows = [
            (
                row["id"],
                row["rule"],
                row["severity"],
                row["state"],
                _where(row["labels"]),
                f"{row['value']:g}",
                row["since"],
                row["fired"],
                row["acknowledged"],
                row["by"],
                row["note"],
                row["resolved"],
            )
            for row in self._db.rows("SELECT * FROM alerts WHERE fired <> '' ORDER BY id")
        ]
        columns = ("number", "alert", "severity", "state", "where", "value")
        times = ("since", "fired", "acknowledged", "by", "note", "resolved")
        return Table((*columns, *times), rows, "Alerts that have fired")

    def acknowledge(self, number: int, by: str = "desk", note: str = "") -> None:
        """Say that somebody looks after an alert that fires.

        Parameters
        ----------
        number : int
            As in `table`.
        by : str
            Who.
        note : str
            What they found or do.

        Raises
        ------
        NotFound
            If no alert has that number.
        LabError
            If it does not fire, or nobody is named.
        """
        with self._lock:
            row = self._db.row("SELECT * FROM alerts WHERE id = ?", number)
            if row is None:
                raise NotFound(f"There is no alert {number}.", "print(hospital.alerts.table())")
            if row["state"] != "firing":
                raise LabError(
                    f"Alert {number} ({row['rule']}) is {row['state']}.",
                    "One that fires can be acknowledged.",
                )
            if not by.strip():
                raise LabError("Nobody acknowledges the alert.", 'Say who: by="…".')
            self._change(row, "acknowledged", acknowledged=self._now(), by=by, note=note)
        told = f": {note}" if note else ""
        self._tell(row["rule"], row["labels"], f"acknowledged by {by}{told}")

    def rules(self) -> Table:
        """Return every rule."""
        return self._rules.table()

    def set(
        self,
        name: str,
        *,
        metric: str | None = None,
        comparison: str | None = None,
        threshold: float | None = None,
        lasting: timedelta | None = None,
        severity: str | None = None,
        next_step: str | None = None,
        only: Mapping[str, str] | None = None,
    ) -> Rule:
        """Change a rule, or make a new one; what is left out stays.

        Parameters
        ----------
        name, metric, comparison, threshold, lasting, severity, next_step, only
            As in `Rule`.

        Returns
        -------
        Rule
            As it holds from now on.

        Raises
        ------
        ConfigurationError
            If a value makes no sense, or a new rule lacks its metric, comparison or threshold.
        """
        given = {key: value for key, value in locals().items() if key not in ("self", "name")}
        changes = {key: value for key, value in given.items() if value is not None}
        rule = self._rules.set(name, changes, {sample.metric for sample in self._measure()})
        self._note(f"rule {name!r}: {rule.condition}, {rule.severity}", alert=name)
        return rule

    def remove(self, name: str) -> None:
        """Forget a rule; its alerts are resolved.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        self._rules.remove(name)
        self._note(f"rule {name!r} removed", alert=name)
        self.look()

    def prometheus(self) -> str:
        """Look now, and return the series ``ALERTS`` in the text format of Prometheus."""
        from prometheus_client import CollectorRegistry, generate_latest  # lazy: as for /metrics
        from prometheus_client.core import GaugeMetricFamily

        self.look()
        names = ("alertname", "alertstate", "severity", "instance")
        family = GaugeMetricFamily("ALERTS", "Alerts that are pending or fire.", labels=names)
        for row in self._active():
            state = "pending" if row["state"] == "pending" else "firing"
            labels = (row["rule"], state, row["severity"], _where(row["labels"]))
            family.add_metric(labels, 1)
        registry = CollectorRegistry()
        registry.register(_Only(family))
        return generate_latest(registry).decode()

    # Looking

    def look(self) -> None:
        """Hold every rule against every metric, now."""
        with self._lock:
            if not self._open:
                return
            measured = self._measure()
            known = list(self._rules)
            found = {
                (rule.name, _text(sample.labels)): (rule, sample)
                for rule in known
                for sample in measured
                if rule.breaks(sample)
            }
            self._values = {key: sample.value for key, (_, sample) in found.items()}
            down = {s.labels["system"] for s in measured if s.metric == "up" and not s.value}
            active = {_key(row): row for row in self._active()}
            for key, row in active.items():
                # Of a system that is down nothing is known; that it is in order least of all.
                silent = json.loads(row["labels"]).get("system") in down
                if key not in found and not (silent and row["rule"] in {r.name for r in known}):
                    self._end_of(row)
            for key, (rule, sample) in found.items():
                self._begin(active.get(key), rule, sample)

    def _begin(self, row: Row | None, rule: Rule, sample: Sample) -> None:
        """Let a rule that is broken be pending, and fire once it has lasted."""
        labels = _text(sample.labels)
        if row is None:
            number = self._db.insert(
                "alerts", rule=rule.name, labels=labels, severity=rule.severity, state="pending",
                value=sample.value, since=self._now(), fired="", acknowledged="", by="", note="",
                resolved="",
            )  # fmt: skip
            row = self._db.row("SELECT * FROM alerts WHERE id = ?", number)
            assert row is not None
        if row["state"] != "pending":
            return
        lasted = self._hospital.clock.now() - datetime.fromisoformat(row["since"])
        if lasted < rule.lasting:
            self._plan((rule.lasting - lasted).total_seconds())
            return
        self._change(row, "firing", fired=self._now(), value=sample.value, severity=rule.severity)
        told = f"{rule.severity}: {rule.metric} is {sample.value:g} ({rule.condition})"
        kind = "state" if rule.severity == "info" else "error"
        self._tell(rule.name, labels, f"{told}. {rule.next_step}".strip(), kind=kind)

    def _end_of(self, row: Row) -> None:
        """Let an alert be resolved; one that has not fired was none."""
        if row["state"] == "pending":
            self._db.run("DELETE FROM alerts WHERE id = ?", row["id"])
            return
        self._change(row, "resolved", resolved=self._now())
        self._tell(row["rule"], row["labels"], "resolved")

    def _hear(self, event: Event) -> None:
        self._recent.hear(event)
        if event.source != SOURCE:
            self._plan(PAUSE)

    def _plan(self, seconds: float) -> None:
        """Look in a while, unless it is planned to look before."""
        moment = time.monotonic() + seconds
        with self._planning:
            if not self._open:
                return
            if self._planned is not None and not self._planned.done():
                if self._planned_for <= moment:
                    return
                self._planned.cancel()
            self._planned, self._planned_for = self._loop.later(seconds, self._go), moment

    def _go(self) -> None:
        with suppress(RuntimeError):  # the hospital is just stopping
            self._worker.submit(self._look_by_itself)

    def _look_by_itself(self) -> None:
        try:
            self.look()
        except Exception:  # the hospital goes on, whatever its monitor does not understand
            if self._hospital.running:  # else it was stopped under our eyes
                _LOG.exception("the alerts could not be looked at")

    def _measure(self) -> list[Sample]:
        now = self._hospital.clock.now()
        return [*samples.measure(self._hospital), *self._recent.samples(now)]

    def _active(self) -> list[Row]:
        return self._db.rows("SELECT * FROM alerts WHERE state <> 'resolved' ORDER BY id")

    def _change(self, row: Row, state: str, **values: Any) -> None:
        self._db.upsert("alerts", "id", **{**dict(row), **values, "state": state})

    def _tell(self, rule: str, labels: str, what: str, kind: str = "state") -> None:
        self._note(f"{rule} ({_where(labels)}): {what}", kind, alert=rule, **json.loads(labels))

    def _note(self, summary: str, kind: str = "state", **keys: str) -> None:
        self._hospital.journal.record(SOURCE, kind, summary, keys=keys)

    def _now(self) -> str:
        return self._hospital.clock.now().isoformat(timespec="seconds")


class _Only:
    """What `prometheus_client` asks for one family."""

    def __init__(self, family: Any) -> None:
        self._family = family

    def describe(self) -> list[Any]:
        """Return nothing: what is there is not known before it is asked for."""
        return []

    def collect(self) -> list[Any]:
        """Return the family."""
        return [self._family]


def _text(labels: Mapping[str, str]) -> str:
    return json.dumps(dict(labels), sort_keys=True)


def _where(labels: str) -> str:
    """Return what an alert is about, the system or the host first."""
    named = json.loads(labels)
    first = [named.pop(name) for name in ("system", "host") if name in named]
    return ", ".join([*first, *named.values()])


def _key(row: Row) -> _Key:
    return row["rule"], row["labels"]
