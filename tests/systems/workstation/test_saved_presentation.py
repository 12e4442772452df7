"""Presentation states that a workstation saves, and applies when the study is opened."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import ConfigurationError, DimseFailed, NotFound

Store = Callable[..., list[FileDataset]]


def test_the_newest_state_is_applied_when_the_study_is_opened(
    archive: Hospital, clock: ManualClock, store: Store, peer: Callable[[str], Path]
) -> None:
    first, second = (str(image.SOPInstanceUID) for image in store(archive, 1))
    ws = archive.workstation
    ws.open("K1")
    plain = ws.see(first)
    assert plain.state == ""
    ws.save_presentation(label="DARK", window=(5000, 2))
    assert ws.see(first).state == "DARK"
    assert ws.see(first).values.max() == 0
    clock.advance(timedelta(minutes=1))
    ws.save_presentation(first, label="TURNED", window=(2048, 4096), rotation=90, inverse=True)

    # Elsewhere: nothing is here any more but what the archive has
    ws.close()
    ws.cache.clear()
    ws.open("K1", user="anna")
    turned = ws.see(first)
    assert turned.state == "TURNED"
    # Clockwise: the dark corner went to the upper right, and is white now.
    assert turned.values[0, 63] == turned.values.max() == 255
    assert turned.values[63, 0] == turned.values.min() < 200
    assert (turned.luminance == ws.screen.monitor.shows(turned.values)).all()
    assert ws.see(second).state == "DARK"  # the newer one is not about it
    states = archive.tools.findscu(
        level="IMAGE",
        StudyInstanceUID=str(ws.reading.study.study_uid) if ws.reading else "",
        SOPClassUID=GrayscaleSoftcopyPresentationStateStorage,
    )
    assert len(states) == 2
    for state in states:
        path = ws.folder / "images" / f"{state.SOPInstanceUID}.dcm"
        judged = subprocess.run(
            [peer("dciodvfy"), path], capture_output=True, text=True, check=False
        )
        assert [line for line in judged.stderr.splitlines() if line.startswith("Error")] == []


def test_what_can_be_no_state(archive: Hospital, store: Store) -> None:
    image = str(store(archive, 1)[0].SOPInstanceUID)
    ws = archive.workstation
    with pytest.raises(ConfigurationError, match="Nothing is open"):
        ws.save_presentation(image)
    ws.open("K1")
    with pytest.raises(NotFound, match="has no image"):
        ws.save_presentation("1.2.3")
    with pytest.raises(ConfigurationError, match="cannot be turned by 45"):
        ws.save_presentation(image, rotation=45)
    with pytest.raises(ConfigurationError, match="no such value"):
        ws.save_presentation(image, colour="blue")
    archive.pacs.register_ae("WS1", host="ws1", port=104, may_store=False)
    with pytest.raises(DimseFailed, match="0x0124"):
        ws.save_presentation(image)
    assert ws.see(image).state == ""
