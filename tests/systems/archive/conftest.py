"""For tests of the vendor neutral archive: a hospital that has one, and images for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage
from pynetdicom import build_context
from pynetdicom.association import Association

from labsim import Hospital
from labsim.clock import ManualClock


@pytest.fixture
def town(clock: ManualClock) -> Iterator[Hospital]:
    """A running community hospital, which has an archive beside its PACS."""
    with Hospital(seed=7, site="community", clock=clock) as running:
        yield running


@pytest.fixture
def put(
    dial: Callable[..., AbstractContextManager[Association]],
) -> Callable[..., list[int]]:
    """Send images to the archive, or another system, and return the status of each."""

    def send(
        hospital: Hospital, *images: FileDataset, to: str = "archive", calling: str = "PACS"
    ) -> list[int]:
        syntaxes = {image.file_meta.TransferSyntaxUID for image in images}
        contexts = [build_context(CTImageStorage, syntax) for syntax in syntaxes]
        with dial(hospital, to, *contexts, calling=calling) as association:
            return [int(association.send_c_store(image).Status) for image in images]

    return send
