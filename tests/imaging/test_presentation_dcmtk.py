"""Our rendering of presentation states against that of DCMTK, pixel by pixel."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset

from labsim.ids import make_uid
from labsim.imaging import ct, dx, us
from labsim.imaging.presentation import Area, Window, make
from labsim.imaging.presentation_applying import apply

Take = Callable[..., list[FileDataset]]
Rendered = Callable[..., NDArray[np.int64]]


@pytest.fixture
def dcmtk(peer: Callable[[str], Path], tmp_path: Path) -> Rendered:
    """Let dcmp2pgm render a frame with a presentation state."""

    def render(state: Dataset, image: FileDataset, frame: int = 1) -> NDArray[np.int64]:
        paths = [tmp_path / name for name in ("state.dcm", "image.dcm", "out.pgm")]
        state.save_as(paths[0], enforce_file_format=True)
        image.save_as(paths[1], enforce_file_format=True)
        command = [peer("dcmp2pgm"), "-f", str(frame), "-p", *paths]
        subprocess.run(command, capture_output=True, check=True, timeout=60)
        data = paths[2].read_bytes()
        head = re.match(rb"P5\s+(?:#.*\n)*(\d+)\s+(\d+)\s+255\s", data)
        assert head is not None, data[:40]
        columns, rows = int(head[1]), int(head[2])
        return np.frombuffer(data[head.end() :], np.uint8).reshape(rows, columns).astype(int)

    return render


def state_for(images: list[FileDataset], **wanted: Any) -> Dataset:
    uids = {"series_uid": make_uid("pr series"), "sop_uid": make_uid("pr")}
    return make(images, **uids, now=datetime(2026, 3, 2, 10, 30), **wanted)


@pytest.fixture
def scout(take: Take) -> FileDataset:
    """A CT image that is not square."""
    image = deepcopy(take(ct, "CHEST_LOCALIZER")[0])
    image.PixelData = np.ascontiguousarray(image.pixel_array[:200]).tobytes()
    image.Rows = 200
    return image


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"window": (40, 400)},
        {"window": (-600, 1500), "inverse": True},
        {"window": Window(-50, 1500, "LINEAR_EXACT")},
        *({"rotation": turn, "flip": flip} for turn in (0, 90, 180, 270) for flip in (0, 1)),
    ],
    ids=str,
)
def test_windows_polarity_and_turns_are_as_dcmtk_has_them(
    scout: FileDataset, dcmtk: Rendered, wanted: dict[str, Any]
) -> None:
    state = state_for([scout], **wanted)
    ours, theirs = apply(state, scout).values.astype(int), dcmtk(state, scout)
    assert ours.shape == theirs.shape
    assert theirs.std() > 20  # it shows something
    assert np.abs(ours - theirs).max() <= 1  # it rounds down, we to the nearest


def test_a_presentation_table_is_as_dcmtk_has_it(scout: FileDataset, dcmtk: Rendered) -> None:
    state = state_for([scout])
    del state.PresentationLUTShape
    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.LUTData = (65535 * np.linspace(0, 1, 256) ** 2).astype("<u2").tobytes()
    table["LUTData"].VR = "OW"
    state.PresentationLUTSequence = [table]
    ours, theirs = apply(state, scout).values.astype(int), dcmtk(state, scout)
    plain = apply(state_for([scout]), scout).values.astype(int)
    assert np.abs(ours - theirs).max() <= 3  # it looks up what it has rounded down before
    assert np.abs(ours - plain).max() > 50


def test_a_voi_table_is_as_dcmtk_has_it(scout: FileDataset, dcmtk: Rendered) -> None:
    state = state_for([scout])
    item, table = Dataset(), Dataset()
    table.add_new("LUTDescriptor", "SS", [2000, -1000, 12])
    table.LUTData = (4095 * np.linspace(0, 1, 2000) ** 0.5).astype("<u2").tobytes()
    table["LUTData"].VR = "OW"
    item.VOILUTSequence = [table]
    state.SoftcopyVOILUTSequence = [item]
    ours, theirs = apply(state, scout).values.astype(int), dcmtk(state, scout)
    assert np.abs(ours - theirs).max() <= 1


def test_frames_of_an_echo_and_a_radiograph_are_as_dcmtk_has_them(
    take: Take, dcmtk: Rendered
) -> None:
    for image, frame in ((take(us, "HEART")[0], 7), (take(dx, "HAND_LEFT")[0], 1)):
        state = state_for([image], rotation=90)
        assert np.abs(apply(state, image, frame).values - dcmtk(state, image, frame)).max() <= 1


def test_dcmtk_takes_a_state_with_an_area_and_shows_the_whole_image(
    scout: FileDataset, dcmtk: Rendered
) -> None:
    # It leaves the choice of the area to its viewer: ours must be a part of what it renders.
    state = state_for([scout], area=Area(11, 21, 50, 41), rotation=270)
    ours, theirs = apply(state, scout).values.astype(int), dcmtk(state, scout)
    top, left = int(scout.Columns) - 50, 20
    part = theirs[top : top + 40, left : left + 21]
    assert ours.shape == part.shape
    assert np.abs(ours - part).max() <= 1
