"""For tests of what the archive does of its own accord."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from pydicom.dataset import FileDataset
from pynetdicom.association import Association

from labsim import Hospital


@pytest.fixture
def send(
    dial: Callable[..., AbstractContextManager[Association]],
) -> Callable[..., list[int]]:
    """Send images to the archive, and return the status of each."""

    def store(hospital: Hospital, *images: FileDataset, calling: str = "CT1") -> list[int]:
        classes = sorted({str(image.SOPClassUID) for image in images})
        with dial(hospital, "pacs", *classes, calling=calling) as association:
            return [int(association.send_c_store(image).Status) for image in images]

    return store


@pytest.fixture
def heard() -> Callable[[Hospital, str], None]:
    """Wait until the archive has noted something."""

    def wait(hospital: Hospital, text: str) -> None:
        assert hospital.journal.wait_for(
            lambda event: event.source == "pacs" and text in event.summary, 5
        ), f"the archive never noted {text!r}"

    return wait
