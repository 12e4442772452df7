"""C-FIND by name, ID, date and accession number, as the archive grows.

Both archives hold the same studies, of one image each, twenty on a day. Our
index is filled in one transaction, Orthanc by its REST interface; what is
timed is the C-FIND alone, on one association.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path

import orthanc
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, Association, evt
from row import Row

from labsim import Hospital
from labsim.sop_classes import STUDY_ROOT_FIND
from labsim.systems.pacs.index import Index

SIZES = (1_000, 10_000, 100_000)
REPEATS = 15
_A_DAY = 20
_FIRST_DAY = date(2010, 1, 1)
_KEYS = {
    "ID": ("PatientID", "P000500"),
    "name": ("PatientName", "Bench000500*"),
    "date": ("StudyDate", (_FIRST_DAY + timedelta(days=25)).strftime("%Y%m%d")),
    "accession number": ("AccessionNumber", "A000500"),
}


def run(folder: Path) -> list[Row]:
    """Return the median of fifteen queries of each kind, in milliseconds."""
    rows = []
    with (
        Hospital(path=folder / "hospital") as hospital,
        orthanc.running(folder / "orthanc", {"tools": ("TOOLS", 4242)}) as peer,
    ):
        port = next(e.local.port for e in hospital.pacs.endpoints if e.protocol == "dicom")
        before = 0
        for size in SIZES:
            _fill_index(hospital, before, size)
            _fill_orthanc(peer, before, size)
            before = size
            ours = _ask(port, "PACS")
            theirs = _ask(peer.dicom_port, "ORTHANC")
            aim = "≥ 3" if size == SIZES[-1] else ""
            rows += [
                Row(
                    f"C-FIND by {kind}, {size:,} studies",
                    *(ours[kind], "ms", theirs[kind], "Orthanc"),
                    aim=aim,
                )
                for kind in _KEYS
            ]
    return rows


def _ask(port: int, title: str) -> dict[str, float]:
    entity = AE(ae_title="TOOLS")
    entity.add_requested_context(STUDY_ROOT_FIND)
    handlers = [(evt.EVT_CONN_OPEN, _without_delay)]
    association = entity.associate("127.0.0.1", port, ae_title=title, evt_handlers=handlers)
    assert association.is_established
    try:
        return {kind: _median(association, *key) for kind, key in _KEYS.items()}
    finally:
        association.release()


def _without_delay(event: evt.Event) -> None:
    """Send at once; else both archives wait 40 ms for each request."""
    connection = event.assoc.dul.socket.socket
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _median(association: Association, keyword: str, value: str) -> float:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    for asked in ("PatientName", "PatientID", "StudyDate", "AccessionNumber", "StudyInstanceUID"):
        setattr(identifier, asked, "")
    setattr(identifier, keyword, value)
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        found = [
            answer
            for status, answer in association.send_c_find(identifier, STUDY_ROOT_FIND)
            if status.Status in (0xFF00, 0xFF01)
        ]
        taken.append(time.perf_counter() - begun)
        assert len(found) == (_A_DAY if keyword == "StudyDate" else 1), (keyword, len(found))
    return sorted(taken)[REPEATS // 2] * 1000


def _studies(first: int, last: int) -> Iterator[Dataset]:
    for number in range(first, last):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = CTImageStorage
        image.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.1.{number}.1.1"
        image.StudyDate = (_FIRST_DAY + timedelta(days=number // _A_DAY)).strftime("%Y%m%d")
        image.StudyTime, image.Modality = "120000", "CT"
        image.AccessionNumber = f"A{number:06d}"
        image.StudyDescription = "CT thorax"
        image.PatientName, image.PatientID = f"Bench{number:06d}^Mark", f"P{number:06d}"
        image.PatientBirthDate, image.PatientSex = "19700101", "O"
        image.StudyInstanceUID = f"1.2.826.0.1.3680043.8.498.1.{number}"
        image.SeriesInstanceUID = f"1.2.826.0.1.3680043.8.498.1.{number}.1"
        image.SeriesNumber = image.InstanceNumber = 1
        yield image


def _fill_index(hospital: Hospital, first: int, last: int) -> None:
    db = hospital.pacs.db
    index = Index(db)
    with db.transaction():
        for image in _studies(first, last):
            stored = {
                "transfer_syntax": str(ExplicitVRLittleEndian),
                "file": f"{image.SOPInstanceUID}.dcm",
                "bytes": 1000,
                "received_from": "BENCH",
                "received_at": "2026-01-01T12:00:00",
            }
            index.add(image, stored)


def _fill_orthanc(peer: orthanc.Orthanc, first: int, last: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        for start in range(first, last, 1000):
            files = [_file(image) for image in _studies(start, min(start + 1000, last))]
            for answer in pool.map(lambda data: peer.http.post("/instances", content=data), files):
                answer.raise_for_status()
    assert _count(peer) == last


def _count(peer: orthanc.Orthanc) -> int:
    return int(peer.get("/statistics")["CountStudies"])


def _file(image: Dataset) -> bytes:
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
