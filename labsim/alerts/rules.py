"""Rules of alerts: which metric, past which threshold, for how long, and what to do then."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from labsim.alerts.samples import METRICS, Sample
from labsim.database import Database
from labsim.errors import ConfigurationError, NotFound
from labsim.site import Site
from labsim.table import Table

SEVERITIES = ("info", "warning", "critical")
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
SCHEMA = """
CREATE TABLE IF NOT EXISTS rules (
    name        TEXT PRIMARY KEY,
    metric      TEXT NOT NULL,
    comparison  TEXT NOT NULL,
    threshold   REAL NOT NULL,
    seconds     REAL NOT NULL,   -- hospital time that it must last
    severity    TEXT NOT NULL,
    next_step   TEXT NOT NULL,
    only        TEXT NOT NULL    -- JSON: labels that a sample must have
);
"""


@dataclass(frozen=True)
class Rule:
    """When there is an alert.

    Parameters
    ----------
    name : str
        Of the alert.
    metric : str
        One of `METRICS`, or a gauge of a system as at ``/metrics``, without ``labsim_``.
    comparison : str
        ``>``, ``>=``, ``<``, ``<=``, ``==`` or ``!=``.
    threshold : float
        In the unit of the metric.
    lasting : timedelta
        Hospital time for which it must be so before the alert fires.
    severity : str
        ``"info"``, ``"warning"`` or ``"critical"``.
    next_step : str
        What whoever is called should look at.
    only : mapping of str to str
        Labels that a sample must have, such as its system or queue.
    """

    name: str
    metric: str
    comparison: str
    threshold: float
    lasting: timedelta = timedelta()
    severity: str = "warning"
    next_step: str = ""
    only: Mapping[str, str] = field(default_factory=dict)

    def breaks(self, sample: Sample) -> bool:
        """Tell whether a sample is past the threshold."""
        return (
            sample.metric == self.metric
            and self.only.items() <= sample.labels.items()
            and COMPARISONS[self.comparison](sample.value, self.threshold)
        )

    @property
    def condition(self) -> str:
        """In one line, as people write it."""
        where = ", ".join(f"{name}={value}" for name, value in self.only.items())
        lasting = f" for {self.lasting}" if self.lasting else ""
        return (
            f"{self.metric}{where and f' of {where}'} {self.comparison} {self.threshold:g}{lasting}"
        )


_UP = timedelta(seconds=30)  # a restart is no outage
_USUAL = (
    Rule("system down", "up", "==", 0, _UP, "critical",
         'hospital.hosts() shows what runs; hospital.bring_up("…") starts a system.'),
    Rule("service down", "service_up", "==", 0, _UP, "critical",
         'hospital.host("…").services() lists them, and .start("…") starts one.'),
    Rule("queue grows", "queue_length", ">", 50, timedelta(minutes=15), "warning",
         "See whether the receiver answers: its system, its port, its AE title."),
    Rule("HL7 errors", "hl7_errors_in_15_minutes", ">", 3, timedelta(), "warning",
         'hospital.logs("…", level="warning") has the acknowledgments.'),
    Rule("disk nearly full", "host_disk_used_ratio", ">", 0.9, timedelta(), "critical",
         'hospital.host("…").disk.table() tells who uses it.'),
    Rule("store nearly full", "disk_used_ratio", ">", 0.9, timedelta(), "critical",
         "Move or delete studies, or raise the quota of the store."),
    Rule("clock off", "clock_error_seconds", ">", 60, timedelta(), "warning",
         'hospital.host("…").clock.sync() sets it by the network.'),
    Rule("backup failed", "backup_failed", ">", 0, timedelta(), "critical",
         "print(hospital.pacs.backups.table()) has the reason."),
    Rule("backup old", "backup_age_seconds", ">", 26 * 3600, timedelta(), "warning",
         "print(hospital.pacs.backups.table()) has when it is due."),
)  # fmt: skip
_STANDBY = Rule(
    "standby behind", "replication_lag_seconds", ">", 600, timedelta(minutes=1), "critical",
    "print(hospital.pacs.replication.table()) has the last problem.",
)  # fmt: skip
_TLS = Rule(
    "certificate ends", "certificate_days_left", "<", 30, timedelta(), "warning",
    'hospital.ca.renew("…"), and the services of that host are to be started again.',
)  # fmt: skip


def usual(site: Site) -> Iterator[Rule]:
    """Yield the rules that make sense for a hospital."""
    yield from _USUAL
    if site.standby is not None:
        yield _STANDBY
    if site.tls is not None:
        yield _TLS


class Rules:
    """The rules of a hospital, kept on disk.

    Parameters
    ----------
    db : Database
        With `SCHEMA`.
    site : Site
        Decides which rules a new hospital has.
    """

    def __init__(self, db: Database, site: Site) -> None:
        self._db = db
        if db.value("SELECT value FROM counters WHERE name = 'usual rules'") is None:
            with db.transaction():
                for rule in usual(site):
                    self._keep(rule)
                db.upsert("counters", "name", name="usual rules", value=1)

    def __iter__(self) -> Iterator[Rule]:
        for row in self._db.rows("SELECT * FROM rules ORDER BY rowid"):
            name, metric, comparison, threshold, seconds, severity, next_step, only = row
            lasting = timedelta(seconds=seconds)
            yield Rule(
                name, metric, comparison, threshold, lasting, severity, next_step, json.loads(only)
            )

    def of(self, name: str) -> Rule:
        """Return a rule.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        known = {rule.name: rule for rule in self}
        if name not in known:
            raise NotFound(
                f"There is no alert {name!r}.", f"There are {', '.join(known) or 'none'}."
            )
        return known[name]

    def set(self, name: str, changes: Mapping[str, Any], gauges: set[str]) -> Rule:
        """Make a rule, or change one.

        Raises
        ------
        ConfigurationError
            If a value makes no sense, or a new rule lacks one.
        """
        try:
            rule = replace(self.of(name), **changes)
        except NotFound:
            if missing := {"metric", "comparison", "threshold"} - set(changes):
                raise ConfigurationError(
                    f"The new alert {name!r} lacks {', '.join(sorted(missing))}.",
                    f"alerts.set({name!r}, metric=…, comparison='>', threshold=…)",
                ) from None
            rule = Rule(name, **changes)
        _check(rule, gauges)
        self._keep(rule)
        return rule

    def remove(self, name: str) -> None:
        """Forget a rule.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        self.of(name)
        self._db.run("DELETE FROM rules WHERE name = ?", name)

    def table(self) -> Table:
        """Return every rule in a line."""
        rows = [(rule.name, rule.condition, rule.severity, rule.next_step) for rule in self]
        return Table(("alert", "when", "severity", "next step"), rows, "Rules of alerts")

    def _keep(self, rule: Rule) -> None:
        self._db.upsert(
            "rules",
            "name",
            name=rule.name,
            metric=rule.metric,
            comparison=rule.comparison,
            threshold=float(rule.threshold),
            seconds=rule.lasting.total_seconds(),
            severity=rule.severity,
            next_step=rule.next_step,
            only=json.dumps(dict(rule.only)),
        )


def _check(rule: Rule, gauges: set[str]) -> None:
    """Refuse a rule that could never mean anything."""
    wrong = ""
    known = sorted(gauges | set(METRICS))
    if not rule.name.strip():
        raise ConfigurationError("An alert needs a name.", 'Such as "queue grows".')
    if rule.metric not in known:
        wrong, hint = f"metric {rule.metric!r}", f"Metrics are {', '.join(known)}."
    elif rule.comparison not in COMPARISONS:
        wrong, hint = f"comparison {rule.comparison!r}", f"Use one of {' '.join(COMPARISONS)}"
    elif rule.severity not in SEVERITIES:
        wrong, hint = f"severity {rule.severity!r}", f"Use {', '.join(SEVERITIES)}."
    elif not _is_number(rule.threshold):
        wrong, hint = f"threshold {rule.threshold!r}", "Give a number in the unit of the metric."
    elif not isinstance(rule.lasting, timedelta) or rule.lasting < timedelta():
        wrong, hint = f"duration {rule.lasting!r}", "Give a timedelta of hospital time, or none."
    if wrong:
        raise ConfigurationError(f"The alert {rule.name!r} cannot have the {wrong}.", hint)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
