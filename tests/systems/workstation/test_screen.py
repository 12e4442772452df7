"""The monitor of a workstation ages, is calibrated and checked, and shows images."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import ConfigurationError, NotFound
from labsim.imaging.display import Monitor
from labsim.systems.workstation import Workstation

Store = Callable[..., list[FileDataset]]


def later(clock: ManualClock, hours: float) -> None:
    clock.advance(timedelta(hours=hours))


def test_a_new_monitor_passes_and_an_old_one_fails(archive: Hospital, clock: ManualClock) -> None:
    screen = archive.workstation.screen
    first = screen.check()
    assert first.passed
    assert (first.hours, screen.monitor.hours) == (0, 0)
    later(clock, 40_000)
    second = screen.check()
    assert second.hours == 40_000
    assert not second.passed
    assert second.measurement.measured[-1] < first.measurement.measured[-1] / 2
    rows = screen.checks()
    assert [(row[1], row[6]) for row in rows] == [("0", "passed"), ("40000", "failed")]
    assert "must not be used" in str(second)
    assert ("white", "NO") in [(row[0], row[3]) for row in second.table()]


def test_it_ages_by_the_time_of_the_hospital_and_not_by_a_wrong_clock(
    archive: Hospital, clock: ManualClock
) -> None:
    screen = archive.workstation.screen
    archive.host("ws1").clock.skew(100_000 * 3600)
    assert screen.monitor.hours == 0
    later(clock, 10)
    assert screen.monitor.hours == pytest.approx(10)


def test_it_is_as_old_after_a_restart(archive: Hospital, clock: ManualClock) -> None:
    archive.workstation.screen.light(0.5)
    later(clock, 100)
    before = archive.workstation.screen.monitor
    archive.rebuild("ws1")
    assert archive.workstation.screen.monitor == before
    assert before.hours == pytest.approx(100)
    assert before.ambient == 0.5


def test_light_in_the_room_is_answered_by_calibration(archive: Hospital) -> None:
    screen = archive.workstation.screen
    screen.light(0.9)
    spoiled = screen.check()
    assert not spoiled.measurement.follows
    assert screen.calibrate().follows
    assert screen.check().passed
    screen.light(20.0)
    screen.calibrate()
    bright = screen.check()  # no table helps against a ratio that is too small
    assert bright.measurement.follows
    assert not bright.passed
    assert [row[1] for row in screen.history()] == [
        "installed", "light of 0.9 cd/m²", "calibrated", "light of 20 cd/m²", "calibrated",
    ]  # fmt: skip
    with pytest.raises(ConfigurationError, match="nothing is below zero"):
        screen.light(-1)


def test_a_monitor_is_replaced(archive: Hospital, clock: ManualClock) -> None:
    screen = archive.workstation.screen
    later(clock, 40_000)
    screen.replace()
    assert screen.monitor.hours == 0
    assert screen.check().passed
    screen.replace(Monitor())  # taken out of the box, and not calibrated
    assert not screen.check().passed


# Images on it


def opened(hospital: Hospital, store: Store, **attributes: object) -> tuple[Workstation, str]:
    image = store(hospital, 1, 1, **attributes)[0]
    hospital.workstation.open("K1")
    return hospital.workstation, str(image.SOPInstanceUID)


def test_an_image_is_windowed_and_shown_by_the_monitor(
    archive: Hospital, clock: ManualClock, store: Store
) -> None:
    pixels = (np.arange(64 * 64) % 64).astype("<u2").reshape(64, 64)
    ws, uid = opened(
        archive,
        store,
        PixelData=pixels.tobytes(),
        RescaleSlope=2,
        RescaleIntercept=-20,
        WindowCenter=[40.5, 0],
        WindowWidth=[41, 9],
    )
    seen = ws.see(uid)
    # 0 at and below 20, 255 at and above 60 (PS3.3 C.11.2.1.2.1)
    assert [int(seen.values[0, column]) for column in (0, 20, 30, 40, 63)] == [0, 0, 128, 255, 255]
    assert seen.luminance.tolist() == ws.screen.monitor.shows(seen.values).tolist()
    later(clock, 25_000)
    aged = ws.see(uid)
    assert (aged.values == seen.values).all()
    assert aged.luminance.max() < 0.6 * seen.luminance.max()


def test_low_values_of_a_plate_are_white(archive: Hospital, store: Store) -> None:
    ws, uid = opened(
        archive, store, PhotometricInterpretation="MONOCHROME1", WindowCenter=1000, WindowWidth=2000
    )
    seen = ws.see(uid)
    assert seen.values[0, 0] == 255
    assert seen.values[63, 63] == 0


def test_an_image_without_a_window_shows_all_its_values(archive: Hospital, store: Store) -> None:
    ws, uid = opened(archive, store)
    seen = ws.see(uid)
    assert int(seen.values[0, 0]) == 0
    assert int(seen.values[63, 63]) == round(255 * 126 * 16 / 4095)


def test_a_coloured_image_is_shown_in_colour(archive: Hospital, store: Store) -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    ws, uid = opened(
        archive, store, PixelData=red.tobytes(), SamplesPerPixel=3, PlanarConfiguration=0,
        PhotometricInterpretation="RGB", BitsAllocated=8, BitsStored=8, HighBit=7,
    )  # fmt: skip
    seen = ws.see(uid)
    assert seen.values[5, 5].tolist() == [200, 0, 0]
    assert seen.luminance.shape == (64, 64)


def test_only_what_hangs_is_shown(archive: Hospital, store: Store) -> None:
    with pytest.raises(ConfigurationError, match="Nothing is open"):
        archive.workstation.see("1.2.3")
    other = store(archive, 2)[0]
    ws, _ = opened(archive, store)
    with pytest.raises(NotFound, match="does not hang"):
        ws.see(str(other.SOPInstanceUID))
