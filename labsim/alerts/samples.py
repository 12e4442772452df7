"""What alerts look at: every metric of the hospital as it is now."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from labsim.errors import LabError
from labsim.journal import Event
from labsim.systems.facility import System
from labsim.systems.metrics import outcome_of
from labsim.systems.pacs import Pacs

if TYPE_CHECKING:
    from labsim.hospital import Hospital

SOURCE = "alerts"  # who writes in the journal
WINDOW = timedelta(minutes=15)
METRICS = {
    "up": "1 while a system runs, 0 while it is down",
    "service_up": "1 while a service listens, 0 while it is stopped",
    "hl7_errors_in_15_minutes": "HL7 messages that were refused or had no answer",
    "errors_in_15_minutes": "errors that a system has written",
    "host_disk_used_ratio": "part of a host's quota that is used",
    "clock_error_seconds": "how far a host's clock is wrong, either way",
    "certificate_days_left": "until a certificate ends, negative after that",
    "replication_lag_seconds": "how far the standby is behind",
    "backup_age_seconds": "since the last scheduled backup",
    "backup_failed": "1 if the last scheduled backup came to nothing",
}


@dataclass(frozen=True)
class Sample:
    """One number of the hospital.

    Parameters
    ----------
    metric : str
        One of `METRICS`, or a gauge of a system.
    value : float
        Now.
    labels : mapping of str to str
        Which system, host, queue.
    """

    metric: str
    value: float
    labels: Mapping[str, str]


class Recent:
    """Counts what went wrong within the last quarter of an hour, by system."""

    def __init__(self) -> None:
        self._errors: dict[tuple[str, str], deque[datetime]] = {}
        self._lock = threading.Lock()

    def hear(self, event: Event) -> None:
        """Take in an event of the journal."""
        if event.hidden or event.source == SOURCE:
            return
        refused = outcome_of(event) in ("AE", "AR", "CE", "CR", "rejected")
        if event.kind == "error":
            metric = "errors_in_15_minutes"
        elif event.kind == "hl7" and refused:
            metric = "hl7_errors_in_15_minutes"
        else:
            return
        with self._lock:
            times = self._errors.setdefault((metric, event.source), deque(maxlen=10_000))
            times.append(datetime.fromisoformat(event.hospital_time))

    def samples(self, now: datetime) -> Iterator[Sample]:
        """Yield the counts."""
        with self._lock:
            for (metric, system), times in self._errors.items():
                while times and now - times[0] > WINDOW:
                    times.popleft()
                yield Sample(metric, len(times), {"system": system})


def measure(hospital: Hospital) -> Iterator[Sample]:
    """Yield what can be measured now; what is just stopping has nothing to tell."""
    down = hospital.down
    for name in down:
        yield Sample("up", 0, {"system": name})
    for name, system in hospital.systems.items():
        with suppress(sqlite3.Error, LabError):
            yield from _system(system)
            yield Sample("up", 1, {"system": name})
    yield from _hosts(hospital)
    if hospital.site.tls is not None:
        for row in hospital.ca.certificates():
            yield Sample("certificate_days_left", row[-1], {"host": row[0]})


def _system(system: System) -> Iterator[Sample]:
    """Yield what a system that runs measures of itself."""
    for service in system.listening():
        labels = {"system": system.name, "service": service.protocol}
        yield Sample("service_up", int(service.running), labels)
    for gauge in system.gauges():
        yield Sample(gauge.name, gauge.value, {"system": system.name, **gauge.labels})
    if isinstance(system, Pacs):
        yield from _safety(system)


def _hosts(hospital: Hospital) -> Iterator[Sample]:
    for row in hospital.hosts():
        host = hospital.host(str(row[0]))
        labels = {"host": host.name}
        yield Sample("clock_error_seconds", abs(host.clock.error), labels)
        if host.disk.quota:
            yield Sample("host_disk_used_ratio", host.disk.used / host.disk.quota, labels)


def _safety(pacs: Pacs) -> Iterator[Sample]:
    """Yield how old the copies of an archive are."""
    labels = {"system": pacs.name}
    if (lag := pacs.replication.lag()) is not None:
        yield Sample("replication_lag_seconds", lag.total_seconds(), labels)
    now = pacs.facility.clock.now()
    for folder, _, _, due, last, outcome in pacs.backups.table():
        where = {**labels, "folder": folder}
        made = datetime.fromisoformat(last or due)  # the first one is due at once
        yield Sample("backup_age_seconds", (now - made).total_seconds(), where)
        yield Sample("backup_failed", int(outcome.startswith("failed")), where)
