"""For tests of single systems: a clinic to share, and plain callers from outside."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.ids import make_uid

NOW = datetime(2026, 3, 2, 10, 30)


@pytest.fixture(scope="module")
def clinic() -> Iterator[Hospital]:
    """A running clinic that the tests of a module share; it is half past ten, 2 March 2026."""
    with Hospital(seed=7, clock=ManualClock(NOW)) as running:
        yield running


@pytest.fixture(scope="session")
def dial() -> Callable[..., AbstractContextManager[Association]]:
    """Call a system over DICOM, with nothing of labsim in between."""

    @contextmanager
    def call(
        hospital: Hospital,
        system: str,
        *contexts: Any,
        calling: str = "TOOLS",
        called: str = "",
        roles: tuple[Any, ...] = (),
        handlers: tuple[Any, ...] = (),
    ) -> Iterator[Association]:
        place = next(
            e for e in hospital.endpoints() if e.system == system and e.protocol in ("dicom", "mwl")
        )
        entity = AE(ae_title=calling)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 5
        association = entity.associate(
            place.local.host,
            place.local.port,
            contexts=[build_context(c) if isinstance(c, str) else c for c in contexts],
            ae_title=called or place.title,
            ext_neg=list(roles),
            evt_handlers=[(evt.EVT_CONN_OPEN, _no_delay), *handlers],
        )
        try:
            yield association
        finally:
            if association.is_established:
                association.release()
                association.join(5)
            association.dul.join(5)

    return call


@pytest.fixture(scope="session")
def mllp() -> Callable[[Hospital, str, str], list[str]]:
    """Send one HL7 message to a system and return the segments of its acknowledgment."""

    def send(hospital: Hospital, system: str, message: str) -> list[str]:
        place = next(e for e in hospital.endpoints() if e.system == system and e.protocol == "mllp")
        with socket.create_connection((place.local.host, place.local.port), 5) as connection:
            connection.settimeout(5)
            connection.sendall(b"\x0b" + message.replace("\n", "\r").encode() + b"\x1c\r")
            answer = b""
            while not answer.endswith(b"\x1c\r"):
                answer += connection.recv(4096)
        return answer[1:-2].decode().rstrip("\r").split("\r")

    return send


@pytest.fixture(scope="session")
def image() -> Callable[..., FileDataset]:
    """Make a small CT image; each has its own study, series and instance if not told otherwise."""
    numbers = itertools.count(1)

    def make(syntax: UID = ExplicitVRLittleEndian, **attributes: Any) -> FileDataset:
        number = next(numbers)
        dataset = FileDataset(
            "",
            {},
            preamble=b"\0" * 128,
            file_meta=FileMetaDataset(),
            is_implicit_VR=syntax.is_implicit_VR,
            is_little_endian=syntax.is_little_endian,
        )
        dataset.file_meta.TransferSyntaxUID = syntax
        plain: dict[str, Any] = {
            "SpecificCharacterSet": "ISO_IR 192",
            "SOPClassUID": CTImageStorage,
            "SOPInstanceUID": make_uid("test image", number),
            "StudyDate": "20260302",
            "StudyTime": "103000",
            "AccessionNumber": f"T{number}",
            "Modality": "CT",
            "StudyDescription": "CT thorax",
            "PatientName": "Silva^Ines",
            "PatientID": f"T{number:06d}",
            "PatientBirthDate": "19800229",
            "PatientSex": "F",
            "StudyInstanceUID": make_uid("test study", number),
            "SeriesInstanceUID": make_uid("test series", number),
            "SeriesNumber": 1,
            "InstanceNumber": 1,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": 2,
            "Columns": 2,
            "BitsAllocated": 16,
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
            "PixelData": bytes(range(8)),
        }
        for keyword, value in (plain | attributes).items():
            setattr(dataset, keyword, value)
        return dataset

    return make


@pytest.fixture(scope="session")
def keys() -> Callable[..., Dataset]:
    """Make the Identifier of a request."""

    def make(**attributes: Any) -> Dataset:
        identifier = Dataset()
        for keyword, value in attributes.items():
            setattr(identifier, keyword, value)
        return identifier

    return make


def _no_delay(event: evt.Event) -> None:
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


# An archive of one's own


@pytest.fixture
def clock() -> ManualClock:
    """The clock of `archive`: half past ten, 2 March 2026."""
    return ManualClock(NOW)


@pytest.fixture
def archive(clock: ManualClock) -> Iterator[Hospital]:
    """A running clinic whose time stands still."""
    with Hospital(seed=7, clock=clock) as running:
        yield running


@pytest.fixture
def store(
    dial: Callable[..., AbstractContextManager[Association]], image: Callable[..., FileDataset]
) -> Callable[..., list[FileDataset]]:
    """Store a study of some CT images in a hospital's archive; return them."""

    def send(
        hospital: Hospital, number: int, count: int = 2, **attributes: object
    ) -> list[FileDataset]:
        made = [picture(image, number, each, **attributes) for each in range(count)]
        with dial(hospital, "pacs", CTImageStorage) as association:
            for one in made:
                assert association.send_c_store(one).Status == 0x0000
        return made

    return send


def picture(
    image: Callable[..., FileDataset], study: int, number: int, **attributes: object
) -> FileDataset:
    """Make one image of a study, 64 by 64, with a gradient that compresses well."""
    pixels = (np.add.outer(np.arange(64), np.arange(64)) * 16 + number).astype("<u2")
    plain: dict[str, object] = {
        "PatientID": f"K{study:06d}",
        "IssuerOfPatientID": "RIVERSIDE",
        "AccessionNumber": f"K{study}",
        "StudyInstanceUID": make_uid("kept study", study),
        "SeriesInstanceUID": make_uid("kept series", study),
        "SOPInstanceUID": make_uid("kept image", study, number),
        "InstanceNumber": number + 1,
        "Rows": 64,
        "Columns": 64,
        "PixelData": pixels.tobytes(),
    }
    return image(**(plain | attributes))
