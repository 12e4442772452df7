"""The screens of a workstation, drawn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import LabError
from labsim.widgets import show_screens


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """A clock that is moved."""
    return ManualClock(datetime(2026, 3, 2, 10, 30))


@pytest.fixture(scope="module")
def community(clock: ManualClock) -> Iterator[Hospital]:
    """A hospital with a chest radiograph."""
    with Hospital(seed=7, site="community", clock=clock) as running:
        yield running


def test_what_hangs_is_drawn_and_told(community: Hospital, clock: ManualClock) -> None:
    with pytest.raises(LabError, match="Nothing is open"):
        show_screens(community.workstation)
    exam = community.exam("DXCHEST", name="Vega^Ana")
    ws = community.workstation
    ws.open(exam.accession)
    picture = show_screens(ws)
    assert picture.png.startswith(b"\x89PNG")
    assert f"Vega^Ana, P000001: {exam.accession} Chest PA and lateral" in picture.alt
    assert "hung by 'Chest, two views'" in picture.alt
    assert f"frontal: {exam.accession} of 20260302, 1 image; lateral: " in picture.alt
    ws.save_presentation(
        str(ws.reading.study.headers[0].SOPInstanceUID) if ws.reading else "",
        label="NARROW",
        window=(2000, 100),
    )
    assert "1 image, NARROW; lateral" in show_screens(ws).alt
    # The same images on a monitor that has grown dim
    before = show_screens(ws)
    clock.advance(timedelta(hours=30_000))
    assert show_screens(ws).png != before.png
