"""Images from outside, on their way to a hospital that may die, and what it said of each."""

from __future__ import annotations

import itertools
import random
import socket
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import httpx
from pydicom import dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from victims import Victim, place_of

from labsim import Hospital
from labsim.ids import make_uid

PIXELS = "PixelData"


def make(number: object, chance: random.Random, *, study: int = 1) -> FileDataset:
    """Make an image of random content and size, up to half a megabyte."""
    image = FileDataset(
        "", {}, preamble=b"\0" * 128, file_meta=FileMetaDataset(), is_implicit_VR=False
    )
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    rows, columns = 2 * chance.randint(1, 256), 2 * chance.randint(1, 256)
    plain = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": make_uid("killed image", number),
        "AccessionNumber": f"K{study}",
        "Modality": "CT",
        "PatientName": "Silva^Ines",
        "PatientID": "K000001",
        "StudyDate": "20100302",
        "StudyInstanceUID": make_uid("killed study", study),
        "SeriesInstanceUID": make_uid("killed series", study),
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        PIXELS: chance.randbytes(2 * rows * columns),
    }
    for keyword, value in plain.items():
        setattr(image, keyword, value)
    return image


def encoded(image: FileDataset) -> bytes:
    """Return the bytes of the data set, without what a file has in front of it."""
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    file = buffer.getvalue()
    buffer.seek(0)
    before = dcmread(buffer, stop_before_pixels=True, specific_tags=[]).file_meta
    start = 132 + 12 + before.FileMetaInformationGroupLength
    return file[start:]


class Ledger:
    """What was sent, and of what a success was heard: SOP Instance UID to data set."""

    def __init__(self) -> None:
        self.sent: dict[str, bytes] = {}
        self.acknowledged: dict[str, bytes] = {}

    def sending(self, image: FileDataset) -> str:
        uid = str(image.SOPInstanceUID)
        self.sent[uid] = encoded(image)
        return uid

    def taken(self, uid: str) -> None:
        self.acknowledged[uid] = self.sent[uid]

    def require_kept(self, folder: Path, uids: Iterable[str] | None = None) -> None:
        """Find each acknowledged image where the index says, bit for bit as it was sent."""
        index = (folder / "pacs" / "pacs.sqlite").as_uri()
        with closing(sqlite3.connect(f"{index}?mode=ro", uri=True)) as door:
            files = dict(door.execute("SELECT sop_uid, file FROM instances"))
        for uid in self.acknowledged if uids is None else uids:
            if uid in self.acknowledged:
                kept = folder / "pacs" / "files" / files[uid]
                assert kept.read_bytes().endswith(self.acknowledged[uid])
        assert files.keys() <= self.sent.keys()


class Sender:
    """Sends images over one association."""

    def __init__(
        self, victim: Victim | Hospital, ledger: Ledger, *, calling: str = "TOOLS"
    ) -> None:
        entity = AE(ae_title=calling)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        host, port = place_of(victim, "pacs", "dicom")
        self._sockets: list[socket.socket] = []
        handlers = [(evt.EVT_CONN_OPEN, self._opened)]
        self._association = entity.associate(host, port, ae_title="PACS", evt_handlers=handlers)
        self._ledger = ledger

    def send(self, image: FileDataset) -> bool:
        """Send one image; False once the receiver is gone."""
        uid = self._ledger.sending(image)
        try:
            status = self._association.send_c_store(image)
        except RuntimeError:  # no association any more
            return False
        if "Status" not in status:
            return False
        assert status.Status == 0x0000
        self._ledger.taken(uid)
        return True

    def _opened(self, event: evt.Event) -> None:
        self._sockets.append(event.assoc.dul.socket.socket)
        self._sockets[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def end(self) -> None:
        if self._association.is_established:
            self._association.release()
        for thread in (self._association, self._association.dul):
            if thread.ident is not None:  # not begun where nobody answered the call
                thread.join(5)
        for opened in self._sockets:  # pynetdicom forgets one whose other end has died
            opened.close()


class WebSender:
    """Sends images by STOW-RS (PS3.18 10.5), each in a request of its own."""

    def __init__(self, victim: Victim, ledger: Ledger, token: str) -> None:
        host, port = victim.place("pacs", "dicomweb")
        self._client = httpx.Client(
            base_url=f"http://{host}:{port}/dicom-web",
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
                "Accept": "application/dicom+json",
            },
            timeout=20,
            trust_env=False,
        )
        self._ledger = ledger

    def send(self, image: FileDataset) -> bool:
        """Send one image; False once the receiver is gone."""
        uid = self._ledger.sending(image)
        buffer = BytesIO()
        image.save_as(buffer, enforce_file_format=True)
        head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
        try:
            answer = self._client.post("/studies", content=head + buffer.getvalue() + b"\r\n--b--")
        except httpx.TransportError:
            return False
        assert answer.status_code == 200, answer.text
        self._ledger.taken(uid)
        return True

    def end(self) -> None:
        self._client.close()


def kill_while_sending(
    victim: Victim,
    senders: list[Sender | WebSender],
    images: list[Iterable[FileDataset]],
    seconds: float,
) -> None:
    """Let all send at once, and kill the receiver after so many seconds of it."""

    def work(sender: Sender | WebSender, queue: Iterable[FileDataset]) -> None:
        for image in queue:
            if not sender.send(image):
                return

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip(senders, images, strict=True)
    ]
    assassin = threading.Timer(seconds, victim.kill)
    for thread in (*threads, assassin):
        thread.start()
    for thread in (*threads, assassin):
        thread.join()
    for sender in senders:
        sender.end()


def endless(name: str, *, study: int = 1) -> Iterator[FileDataset]:
    """Make images of one study, as long as somebody wants them."""
    chance = random.Random(name)
    return (make(f"{name} {n}", chance, study=study) for n in itertools.count())


def send_one(receiver: Victim | Hospital, ledger: Ledger, image: FileDataset) -> bool:
    """Send one image; False if the receiver has died."""
    sender = Sender(receiver, ledger)
    try:
        return sender.send(image)
    finally:
        sender.end()
