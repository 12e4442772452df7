"""For tests that kill hospitals: victims, and how often they are killed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from victims import Victims


@pytest.fixture
def victims() -> Iterator[Victims]:
    """Start hospitals in processes of their own; what still runs at the end is killed."""
    started = Victims()
    yield started
    started.end()


@pytest.fixture(scope="session")
def times() -> int:
    """How many times as often as usual everything is killed: LABSIM_KILLS."""
    return int(os.environ.get("LABSIM_KILLS", "1"))
