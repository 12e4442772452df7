"""What is small on the wire and enormous when it is unpacked is refused before it is."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.dsutils import create_file_meta, encode, encode_file_meta

from labsim import Hospital
from labsim.media.reading import read_disc
from labsim.sop_classes import MODALITY_WORKLIST, MPPS, STUDY_ROOT_FIND, STUDY_ROOT_GET

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]
MB = 1024 * 1024


@pytest.fixture(autouse=True)
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no more than 8 MB where it is 256, for the time that a test takes."""
    monkeypatch.setattr("labsim.inflating.LARGEST", 8 * MB)


def deflated(front: bytes, tag: bytes, megabytes: int) -> bytes:
    """Return a data set that ends with a value of zeros, deflated: 1 KB for each of its MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    made = packer.compress(front + tag + b"OW\0\0" + struct.pack("<I", megabytes * MB))
    for _ in range(megabytes):
        made += packer.compress(bytes(MB))
    return made + packer.flush()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A CT image of 40 MB in 40 KB."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, "2.25.666"
    image.PatientID = "T1"
    image.StudyInstanceUID, image.SeriesInstanceUID = "2.25.6", "2.25.66"
    front = encode(image, False, True)
    assert front is not None
    return deflated(front, b"\xe0\x7f\x10\0", 40)


@pytest.fixture(scope="module")
def bomb_file(bomb: bytes) -> bytes:
    meta = create_file_meta(
        sop_class_uid=CTImageStorage,
        sop_instance_uid="2.25.666",
        transfer_syntax=DeflatedExplicitVRLittleEndian,
    )
    return bytes(128) + b"DICM" + encode_file_meta(meta) + bomb


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail if the block takes 30 MB at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 30 * MB
    finally:
        tracemalloc.stop()


def test_a_bomb_is_not_stored_and_the_next_image_is(
    clinic: Hospital, dial: Dial, image: Image, bomb: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = image(DeflatedExplicitVRLittleEndian, SOPInstanceUID="2.25.666")
    context = build_context(CTImageStorage, DeflatedExplicitVRLittleEndian)
    with dial(clinic, "pacs", context) as association:
        with monkeypatch.context() as patch, little_memory():
            patch.setattr("pynetdicom.association.encode", lambda *_: bomb)
            answer = association.send_c_store(sent)
        assert answer.Status == 0xA700
        assert answer.ErrorComment == "the data set would inflate to more than 8 MB"
        assert association.send_c_store(sent).Status == 0x0000


@pytest.mark.parametrize(
    ("system", "sop_class", "keyword"),
    [
        ("pacs", STUDY_ROOT_FIND, "send_c_find"),
        ("pacs", STUDY_ROOT_GET, "send_c_get"),
        ("ris", MODALITY_WORKLIST, "send_c_find"),
    ],
)
def test_a_bomb_is_no_question(
    clinic: Hospital,
    dial: Dial,
    bomb: bytes,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    sop_class: str,
    keyword: str,
) -> None:
    context = build_context(sop_class, DeflatedExplicitVRLittleEndian)
    with dial(clinic, system, context) as association, little_memory():
        monkeypatch.setattr("pynetdicom.association.encode", lambda *_: bomb)
        statuses = [
            status.Status for status, _ in getattr(association, keyword)(Dataset(), sop_class)
        ]
        assert len(statuses) == 1
        assert statuses[0] >= 0xA700
        assert association.is_established


def test_a_bomb_is_no_performed_step(
    clinic: Hospital, dial: Dial, bomb: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = build_context(MPPS, DeflatedExplicitVRLittleEndian)
    with dial(clinic, "ris", context) as association, little_memory():
        monkeypatch.setattr("pynetdicom.association.encode", lambda *_: bomb)
        answer, _ = association.send_n_create(Dataset(), MPPS, "2.25.1")
        assert answer.Status == 0x0110


def test_a_bomb_is_not_stored_over_the_web(clinic: Hospital, bomb_file: bytes) -> None:
    token = clinic.pacs.tokens.issue("scanner", rights=("write",))
    place = next(e for e in clinic.endpoints() if e.protocol == "dicomweb")
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + bomb_file + b"\r\n--x--\r\n"
    with little_memory():
        answer = httpx.post(
            f"http://{place.local}/dicom-web/studies",
            content=body,
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": 'multipart/related; type="application/dicom"; boundary=x',
            },
            trust_env=False,
            timeout=30,
        )
    assert answer.status_code == 409
    (failed,) = answer.json()["0008119A"]["Value"]
    assert failed["00081197"]["Value"] == [0xA700]


def test_a_bomb_is_not_read_from_a_disc(tmp_path: Path, bomb_file: bytes) -> None:
    (tmp_path / "BOMB").write_bytes(bomb_file)
    with little_memory():
        content = read_disc(tmp_path)
    assert content.images == []
    assert content.refused == [("BOMB", "the data set would inflate to more than 8 MB")]


def test_a_body_of_the_web_is_not_unpacked(clinic: Hospital) -> None:
    """Nobody asked for a compressed one, so it is read as it came."""
    token = clinic.pacs.tokens.issue("scanner", rights=("write",))
    place = next(e for e in clinic.endpoints() if e.protocol == "dicomweb")
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join([*(packer.compress(bytes(MB)) for _ in range(40)), packer.flush()])
    with little_memory():
        answer = httpx.post(
            f"http://{place.local}/dicom-web/studies",
            content=packed,
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": 'multipart/related; type="application/dicom"; boundary=x',
                "Content-Encoding": "gzip",
            },
            trust_env=False,
            timeout=30,
        )
    assert answer.status_code == 400
