"""What a system tells a monitor: its metrics, in the text format of Prometheus.

Messages are counted as the journal hears of them; what goes up and down is
measured when somebody asks.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from labsim.journal import Event, Journal
from labsim.systems.facility import System
from labsim.wire.http import Handler, HttpNode
from labsim.wire.network import Address

if TYPE_CHECKING:
    from prometheus_client import Metric

PORT = 9100  # where monitors look for a host's metrics
_LABELS = ("kind", "transaction", "direction", "outcome")


class MessageCounts:
    """How many messages each system has sent and received since the hospital started.

    Parameters
    ----------
    journal : Journal
        Which hears of every message. What a trainer does does not count.
    """

    def __init__(self, journal: Journal) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.Lock()
        journal.subscribe(self._count)

    def of(self, system: str) -> dict[tuple[str, ...], int]:
        """Return a system's counts by kind, transaction, direction and outcome."""
        with self._lock:
            return {key[1:]: count for key, count in self._counts.items() if key[0] == system}

    def _count(self, event: Event) -> None:
        if event.hidden:
            return
        direction = str(event.detail.get("direction", ""))
        key = (event.source, event.kind, event.transaction, direction, outcome_of(event))
        with self._lock:
            self._counts[key] += 1


def outcome_of(event: Event) -> str:
    """Return the code of an answer, ``"error"``, or nothing for what is no answer."""
    if event.kind == "error":
        return "error"
    if "rejected" in event.detail:
        return "rejected"
    answer = str(event.detail.get("answer", "")).removeprefix("ACK ")
    return answer.partition(" ")[0].rstrip(":,")


def offer(system: System, host: str, counts: MessageCounts) -> None:
    """Let a system answer at ``/metrics``.

    Parameters
    ----------
    system : System
        Whose metrics.
    host : str
        Where it runs; if several run there, each has the next port.
    counts : MessageCounts
        Of the hospital.
    """
    facility = system.facility
    # Plain also where all else is by TLS: a monitor has no certificate.
    node = HttpNode(system.name, facility.journal, facility.network, facility.loop, tls=False)
    port, taken = PORT, facility.network.published()
    while Address(host, port) in taken:
        port += 1
    routes = [(r"/metrics", _Metrics, {"system": system, "counts": counts})]
    listen = partial(node.listen, routes)
    system.serve("metrics", Address(host, port), system.name, listen, node.close)


class _Metrics(Handler):
    """Answers a monitor."""

    def initialize(self, node: HttpNode, **rest: Any) -> None:
        super().initialize(node)
        self._system: System = rest["system"]
        self._counts: MessageCounts = rest["counts"]

    async def get(self) -> None:
        """Return all metrics as they are now."""
        text = await self.in_thread(exposition, self._system, self._counts)
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.write(text)

    def on_finish(self) -> None:
        """Keep it out of the journal: a monitor asks every few seconds, and changes nothing."""


def exposition(system: System, counts: MessageCounts) -> bytes:
    """Return a system's metrics in the text format of Prometheus."""
    # lazy: nobody needs it before a monitor asks
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(system, counts))
    return generate_latest(registry)


class _Collector:
    """What `prometheus_client` asks for the metrics of one system."""

    def __init__(self, system: System, counts: MessageCounts) -> None:
        self._system = system
        self._counts = counts

    def describe(self) -> list[Metric]:
        """Return nothing: names are not known before they are measured."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return every metric."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        messages = CounterMetricFamily(
            "labsim_messages", "What the system sent and received.", labels=_LABELS
        )
        for labels, count in sorted(self._counts.of(self._system.name).items()):
            messages.add_metric(labels, count)
        yield messages
        families: dict[str, GaugeMetricFamily] = {}
        for gauge in self._system.gauges():
            name = f"labsim_{gauge.name}"
            if name not in families:
                families[name] = GaugeMetricFamily(name, gauge.text, labels=tuple(gauge.labels))
            families[name].add_metric(tuple(gauge.labels.values()), gauge.value)
        yield from families.values()
