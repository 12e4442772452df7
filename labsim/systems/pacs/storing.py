"""C-STORE at the PACS (PS3.4 annex B): taken in whole, or refused with the status that says why."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pynetdicom import evt

from labsim.errors import LabError
from labsim.ids import is_uid
from labsim.inflating import TooLarge, require_bounded_file
from labsim.systems.facility import System, text_of
from labsim.systems.pacs.arrival import Arrival
from labsim.systems.pacs.entities import Entities
from labsim.systems.pacs.files import FileStore, tier_of
from labsim.systems.pacs.index import INDEXED, DuplicateInstance, Index, WrongPatient
from labsim.systems.pacs.settings import Settings
from labsim.wire.association_log import dicom_keys
from labsim.wire.charset import readable
from labsim.wire.dimse import instance_of
from labsim.wire.part10 import file_of
from labsim.wire.status import OUT_OF_RESOURCES, failure

_LONG_VALUE = 65536  # bytes; no attribute of the index is longer
_UNDEFINED_LENGTH = 0xFFFFFFFF
_STATUS_OF = {DuplicateInstance: 0x0111, WrongPatient: 0xC001}

Change = Callable[[bytes, FileDataset, str], bytes | None]


@dataclass(frozen=True)
class StoredInstance:
    """What has just been taken in.

    Parameters
    ----------
    header : Dataset
        The data set without its pixels.
    file : str
        Its path below the folder ``files``.
    calling : str
        AE title that sent it.
    new : bool
        False if it took the place of an older instance with its UID.
    """

    header: Dataset
    file: str
    calling: str
    new: bool


@dataclass(frozen=True)
class Receipt:
    """What became of an instance that was sent.

    Parameters
    ----------
    answer : int or Dataset
        Status of the C-STORE (PS3.4 B.2.3), with a comment if it failed.
    header : Dataset
        The data set without its pixels, as it was kept; empty if it cannot be read.
    changed : bool
        Whether it was changed on the way in.
    """

    answer: int | Dataset
    header: Dataset
    changed: bool = False

    @property
    def status(self) -> int:
        """The status alone."""
        return self.answer if isinstance(self.answer, int) else int(self.answer.Status)


class Storing:
    """Takes images in: first the file, then the index, then the answer.

    Attributes
    ----------
    on_the_way_in : list of callables
        What changes an instance before it is kept, such as tag morphing: each
        is called with the file, its header and the calling AE title, and
        returns the file to keep, None for as it is.
    on_stored : list of callables
        What is to be done after an instance was stored, such as routing. Each
        is called with a `StoredInstance` on the PACS's worker, so the sender
        has its answer already; one that raises is journaled, and the others
        are called all the same. What a stop of the system cuts off is not
        called again: whoever needs that takes it up when the system resumes.
    on_indexed : list of callables
        What belongs to storing itself, such as a hold by quality control: each
        is called with an `Arrival` before the answer, and what it writes into
        the database is kept together with the image, or not at all.
    on_again : list of callables
        Called with the header of an image that was there before and stays.
    on_refused : list of callables
        Called with header, calling AE title and reason of an image that the
        index did not take.

    Parameters
    ----------
    system : System
        The PACS.
    index : Index
        Its index.
    files : FileStore
        Its files.
    entities : Entities
        Who may store.
    settings : Settings
        What becomes of a second instance with the UID of the first.
    """

    def __init__(
        self,
        system: System,
        index: Index,
        files: FileStore,
        entities: Entities,
        settings: Settings,
    ) -> None:
        self._system = system
        self._index = index
        self._files = files
        self._entities = entities
        self._settings = settings
        self.on_the_way_in: list[Change] = []
        self.on_stored: list[Callable[[StoredInstance], None]] = []
        self.on_indexed: list[Callable[[Arrival], None]] = []
        self.on_again: list[Callable[[Dataset], None]] = []
        self.on_refused: list[Callable[[Dataset, str, str], None]] = []

    def store(self, event: evt.Event) -> int | Dataset:
        """Answer a C-STORE; what is answered with success is on disk and in the index."""
        denied = self._entities.refuse(event, "may_store")
        if denied:
            return denied
        named = (instance_of(event), str(event.request.AffectedSOPClassUID))

        def judge(header: Dataset) -> Dataset | None:
            if (str(header.SOPInstanceUID), str(header.SOPClassUID)) == named:
                return None
            return failure(0xA900, "data set and request name different instances")

        calling = event.assoc.requestor.ae_title.strip()
        return self.receive(file_of(event), calling, judge).answer

    def receive(
        self, data: bytes, calling: str, judge: Callable[[Dataset], Dataset | None]
    ) -> Receipt:
        """Take an instance in, whichever way it came.

        Parameters
        ----------
        data : bytes
            The file.
        calling : str
            Who sent it.
        judge : callable
            Is given the data set without its pixels, and returns the failure
            to answer with, None if it may be stored.

        Returns
        -------
        Receipt
            What became of it; what is a success is on disk and in the index.
        """
        try:
            header, wrong = _header(data)
        except _Unreadable as error:
            return Receipt(failure(error.status, error.what), error.header)
        refused = judge(header)
        if refused is not None:
            return Receipt(refused, header)
        kept = data
        try:
            kept, header = self._changed(data, header, calling)
            new = self._keep(kept, header, calling, came=data)
        except _KeptFirst as error:
            self._note_image(header, error.what)
            for known in self.on_again:
                known(header)
            return Receipt(0x0000, header)
        except (DuplicateInstance, WrongPatient) as error:
            self._note_image(header, f"image refused: {error.what}", kind="error")
            for told in self.on_refused:
                told(header, calling, error.what)
            return Receipt(failure(_STATUS_OF[type(error)], error.what), header)
        except (OSError, sqlite3.OperationalError) as error:
            why = error.what if isinstance(error, LabError) else str(error)
            if isinstance(error, OSError):
                why = error.strerror or str(error)
            self._system.note(f"image not stored: {why}", kind="error")
            return Receipt(failure(0xA700, f"storage: {why}"), header)
        self._note_image(
            header, "image stored" if new else "image stored again, in place of the old"
        )
        self._complain(header, wrong)
        return Receipt(0x0000, header, changed=kept is not data)

    def _changed(self, data: bytes, header: FileDataset, calling: str) -> tuple[bytes, FileDataset]:
        for change in self.on_the_way_in:
            changed = change(data, header, calling)
            if changed is not None:
                data, (header, _) = changed, _header(changed)
        return data, header

    def _complain(self, header: Dataset, wrong: list[str]) -> None:
        if wrong:  # one line for an image
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            self._note_image(header, f"indexed as far as it can be read: {wrong[0]}{more}", "error")

    def take(self, dataset: Dataset, own_title: str) -> None:
        """Take in what the archive has made itself, such as a rejection note."""
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        header, _ = _header(buffer.getvalue())
        try:
            self._keep(buffer.getvalue(), header, own_title)
        except _KeptFirst:  # begun before a stop, and finished now
            return
        except (OSError, sqlite3.OperationalError) as error:
            raise LabError(
                f"{self._system.name} cannot store what it has made: {error}."
            ) from error
        self._note_image(header, "made and stored")

    def _tell(self, stored: StoredInstance) -> None:
        if self.on_stored:
            # Refused once the system stops; what it would have said is on disk.
            with contextlib.suppress(RuntimeError):
                self._system.worker.submit(self._call_each, stored)

    def _call_each(self, stored: StoredInstance) -> None:
        for follow in self.on_stored:
            try:
                follow(stored)
            except Exception as error:  # one that fails must not keep the others from theirs
                why = error.what if isinstance(error, LabError) else repr(error)
                self._note_image(stored.header, f"after storing: {why}", kind="error")

    def _keep(
        self, data: bytes, header: FileDataset, calling: str, came: bytes | None = None
    ) -> bool:
        """Keep a file, which came as it is, or otherwise."""
        came = data if came is None else came
        original = "" if came is data else hashlib.sha256(came).hexdigest()
        new: list[bool] = []
        names: list[str] = []

        def commit(name: str, move: Callable[[], None]) -> None:
            with self._system.db.transaction():
                self._judge_duplicate(data, header, came)
                about = self._stored(data, header, name, calling)
                new.append(self._index.add(header, about | {"original_sha256": original}))
                for follow in self.on_indexed:
                    follow(Arrival(header, data, calling, new[0]))
                move()
            names.append(name)

        uids = (header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID)
        self._files.keep(data, tuple(map(str, uids)), commit)
        self._tell(StoredInstance(header, names[0], calling, new[0]))
        return new[0]

    def _judge_duplicate(self, data: bytes, header: FileDataset, came: bytes) -> None:
        """Raise what keeps an instance out whose UID is in the archive already."""
        known = self._index.find(str(header.SOPInstanceUID))
        if known is None:
            return
        try:
            same = data.endswith(self._files.encoded(known.file)[1])
        except (OSError, InvalidDicomError, AttributeError):
            return  # the first is lost, so this one takes its place
        same = same and known.transfer_syntax == header.file_meta.TransferSyntaxUID
        same = same or self._came_so(came, known.sop_uid)
        if same and not self._sender(known.sop_uid):
            return  # found at a start, and never acknowledged: now it has come
        policy = self._settings.get("duplicates")
        if same:
            raise _KeptFirst("image sent again, the same as before: nothing changed")
        if known.series_uid != str(header.SeriesInstanceUID) or policy == "replace":
            return  # the index refuses what is in another series
        if policy == "reject":
            raise DuplicateInstance("Another instance with this UID is in the archive.")
        raise _KeptFirst("image sent again with other content: the first is kept")

    def _sender(self, sop_uid: str) -> str:
        statement = "SELECT received_from FROM instances WHERE sop_uid = ?"
        return str(self._system.db.value(statement, sop_uid))

    def _came_so(self, data: bytes, sop_uid: str) -> bool:
        """Tell whether an instance that was compressed or changed since came with these bytes."""
        digest = hashlib.sha256(data).hexdigest()
        statement = "SELECT 1 FROM instances WHERE sop_uid = ? AND original_sha256 = ?"
        return self._system.db.value(statement, sop_uid, digest) is not None

    def repair(self) -> None:
        """Index what a killed process had moved into place and not entered."""
        for name in sorted(self._files.names() - self._index.files()):
            try:
                self.enter(name)
            except LabError as error:
                self._system.note(
                    f"file {name} belongs to no entry of the index: {error.what}", kind="error"
                )

    def enter(self, name: str) -> None:
        """Enter a file of the archive into the index.

        Raises
        ------
        LabError
            If it cannot be read, or contradicts what the index has.
        """
        data = self._files.path(name).read_bytes()
        header, wrong = _header(data)
        with self._system.db.transaction():
            # Who sent it is not known until it comes again; quality control sees it now.
            new = self._index.add(header, self._stored(data, header, name, calling=""))
            for follow in self.on_indexed:
                follow(Arrival(header, data, "", new))
        self._note_image(header, "image found without an entry, and indexed")
        self._complain(header, wrong)

    def _stored(self, data: bytes, header: FileDataset, name: str, calling: str) -> dict[str, Any]:
        return {
            "transfer_syntax": str(header.file_meta.TransferSyntaxUID),
            "file": name,
            "bytes": len(data),
            "received_from": calling,
            "received_at": self._system.now(),
            "availability": tier_of(name).upper(),
            "sha256": hashlib.sha256(data).hexdigest(),
            "original_syntax": "",
            "original_sha256": "",
        }

    def _note_image(self, header: Dataset, text: str, kind: str = "state") -> None:
        keys = dicom_keys(header)
        detail = {"run": text}
        summary = f"{text}: {header.SOPInstanceUID}"
        self._system.facility.journal.record(
            self._system.name, kind, summary, keys=keys, detail=detail
        )


class _KeptFirst(LabError):
    """The archive keeps what it has, and the sender hears success."""


class _Unreadable(LabError):
    """A data set that the archive cannot take, with the status that says so."""

    def __init__(self, what: str, status: int, header: Dataset | None = None) -> None:
        super().__init__(what)
        self.status = status
        self.header = Dataset() if header is None else header  # as far as it can be read


def _header(data: bytes) -> tuple[FileDataset, list[str]]:
    """Read a data set, and skip over its pixels; return what is wrong with its text, too.

    Raises
    ------
    _Unreadable
        If it is broken, or lacks what the index needs.
    """
    try:
        require_bounded_file(BytesIO(data))
        header = dcmread(BytesIO(data), defer_size=_LONG_VALUE)
        _require_whole(header, len(data))
        wrong = readable(header)
        uids = {
            keyword: text_of(header.get(keyword))
            for keyword in (
                "SOPClassUID",
                "SOPInstanceUID",
                "StudyInstanceUID",
                "SeriesInstanceUID",
            )
        }
        for keyword in INDEXED:  # turns each raw element into a value, or fails
            text_of(header.get(keyword))
    except TooLarge as error:
        raise _Unreadable(error.what, OUT_OF_RESOURCES) from error
    except Exception as error:  # pydicom raises many kinds for broken data
        raise _Unreadable(f"cannot read the data set: {error}", 0xC000) from error
    for keyword, uid in uids.items():
        if not uid:
            raise _Unreadable(f"{keyword} is missing", 0xA900, header)
        if not is_uid(uid):
            raise _Unreadable(f"{keyword} is not a UID", 0xC000, header)
    return header, wrong


def _require_whole(header: FileDataset, length: int) -> None:
    """Raise `EOFError` if the last value of a data set is cut off, which pydicom reads over."""
    if not header:  # what has an undefined length and no end leaves nothing at all
        raise EOFError("it ends before its first value does")
    last = list(header.values())[-1]
    # A deflated data set was unpacked before: its places are not those of `data`, and half of
    # one cannot be unpacked.
    if isinstance(last, RawDataElement) and not header.file_meta.TransferSyntaxUID.is_deflated:
        end = last.value_tell + (0 if last.length == _UNDEFINED_LENGTH else last.length)
        if end > length:
            raise EOFError(f"{end - length} bytes are missing at the end")
