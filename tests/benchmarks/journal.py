"""What the journal costs: 200 CT images stored with it, and with one that writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

from images import write_series
from ingest import send
from row import Row

from labsim import Hospital
from labsim.journal import Event, Journal

COUNT, RUNS = 200, 3


def run(folder: Path) -> list[Row]:
    """Return the best of three runs with it and without, each with images of its own."""
    with_it = _ingest(folder / "with")
    with mock.patch.object(Journal, "record", _nothing):
        without = _ingest(folder / "without")
    return [Row(f"{COUNT} CT images stored", with_it, "s", without, "no journal", aim="≥ 0.9")]


def _ingest(folder: Path) -> float:
    series = [write_series(folder / f"series{n}", COUNT) for n in range(RUNS)]
    with Hospital(path=folder / "hospital") as hospital:
        place = next(e for e in hospital.pacs.endpoints if e.protocol == "dicom")
        return min(send(files, place.local.port, "PACS") for files in series)


def _nothing(journal: Journal, source: str, kind: str, summary: str, **rest: Any) -> Event:
    return Event(0, "", "", source, "", kind, "", {}, summary)
