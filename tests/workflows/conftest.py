"""For tests of whole workflows: a community hospital whose scanners make small images."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from labsim import Hospital
from labsim.clock import ManualClock


@pytest.fixture
def department(small_scans: None) -> Iterator[Hospital]:
    """A running community hospital of its own; it is eight o'clock, 2 March 2026."""
    clock = ManualClock(datetime(2026, 3, 2, 8, 0))
    with Hospital(seed=7, site="community", clock=clock) as running:
        yield running
