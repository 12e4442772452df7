"""What a system's interfaces stand on, without a hospital around it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from labsim.clock import ManualClock
from labsim.journal import Journal
from labsim.wire.background import BackgroundLoop
from labsim.wire.certificates import SiteCa
from labsim.wire.network import Network


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 3, 1, 8))


@pytest.fixture
def journal(tmp_path: Path, clock: ManualClock) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal", clock)
    yield opened
    opened.close()


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def loop() -> Iterator[BackgroundLoop]:
    running = BackgroundLoop()
    yield running
    running.close()


@pytest.fixture
def ca(tmp_path: Path) -> SiteCa:
    return SiteCa(tmp_path / "tls", "Riverside Clinic")
