"""What a system measures of itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from labsim.wire.dimse import DicomNode


@dataclass(frozen=True)
class Gauge:
    """One number that goes up and down.

    Parameters
    ----------
    name : str
        As in Prometheus, with its unit at the end: ``"disk_used_bytes"``.
    text : str
        What it is, in a line.
    value : float
        Now.
    labels : mapping of str to str
        What tells it from others of the same name, such as the queue.
    """

    name: str
    text: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def waiting(queue: str, value: float) -> Gauge:
    """Return how many wait in a queue."""
    return Gauge("queue_length", "What waits to be sent.", value, {"queue": queue})


def associations(node: DicomNode) -> Gauge:
    """Return how many associations a DICOM interface has open."""
    return Gauge("associations", "DICOM associations that are open.", node.associations)


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a folder have."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # it was there a moment ago
            total += path.stat().st_size if path.is_file() else 0
    return total
