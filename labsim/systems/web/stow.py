"""STOW-RS, store over the web (PS3.18 10.5; IHE RAD-108).

IHE actor: Image Manager. What comes in takes the way of a C-STORE, so that
duplicates, holds, quotas and whatever follows are the same. Only whole DICOM
files are taken; metadata with bulk data apart (``application/dicom+json``) is
refused with 415.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from tornado.httputil import HTTPServerRequest
from tornado.routing import PathMatches
from tornado.web import stream_request_body

from labsim.ids import is_uid
from labsim.inflating import TooLarge, require_bounded_file
from labsim.systems.facility import text_of
from labsim.systems.pacs.auditing import Auditing
from labsim.systems.pacs.storing import Receipt, Storing
from labsim.systems.web.handler import WebHandler
from labsim.systems.web.multipart_reading import boundary_of, read_parts
from labsim.wire.association_log import dicom_keys
from labsim.wire.http import HttpError, Route
from labsim.wire.status import OUT_OF_RESOURCES, PROCESSING_FAILURE, describe_status, failure

FILE = "application/dicom"
JSON = "application/dicom+json"
LARGEST = 256 * 1024 * 1024  # octets of a request
COERCED = 0xB000  # Warning Reason (PS3.18 table I.2-1)
_ACCEPTED = {JSON, "application/json", "application/*", "*/*"}
_SOP_CLASSES = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
# What is told of an instance that is not stored.
_TOLD = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber",
    "StudyDescription", "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate",
    "PatientSex", "SpecificCharacterSet",
)  # fmt: skip


class Posted(PathMatches):
    """A path at which this handler answers POST, and what a browser asks before."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Leave other methods to other handlers."""
        return super().match(request) if request.method in ("POST", "OPTIONS") else None


@stream_request_body
class Store(WebHandler):
    """Takes in the instances of one request."""

    def initialize(  # type: ignore[override]
        self, storing: Storing, auditing: Auditing, **rest: Any
    ) -> None:
        """Take what the route says."""
        super().initialize(**rest)
        self._storing = storing
        self._auditing = auditing
        self._boundary = b""
        self._body = bytearray()
        self._came = 0

    async def prepare(self) -> None:
        """Refuse what cannot be taken before its body comes."""
        assert self.request.connection is not None
        # What is too much is counted below, so that the sender hears 413 and not a closed door.
        self.request.connection.set_max_body_size(sys.maxsize)  # type: ignore[attr-defined]
        await super().prepare()
        if self.request.method == "OPTIONS":
            return
        self.transaction = "RAD-108"
        accept = self.request.headers.get("Accept", "") or "*/*"
        if not {part.split(";")[0].strip().lower() for part in accept.split(",")} & _ACCEPTED:
            raise HttpError(406, f"It is answered as {JSON}, not as {accept[:100]}.")
        self._boundary = boundary_of(self.request.headers.get("Content-Type", ""), FILE)
        self._require_room(int(self.request.headers.get("Content-Length", "0")))

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body, as long as it is not too much."""
        self._came += len(chunk)
        if self._came <= LARGEST:
            self._body += chunk
        else:
            self._body.clear()

    async def post(self, study_uid: str = "") -> None:
        """Store each instance, and say what became of it (PS3.18 10.5.3)."""
        if study_uid and not is_uid(study_uid):
            raise HttpError(400, f"{study_uid[:64]!r} is not a UID.")
        self._require_room(self._came)
        receipts = await self.in_thread(self._store, study_uid)
        answer = self._answer(receipts, study_uid)
        self.set_status(_status_of(receipts))
        self.set_header("Content-Type", JSON)
        self.finish(json.dumps(answer.to_json_dict()))

    def _require_room(self, size: int) -> None:
        if size > LARGEST:
            raise HttpError(
                413, f"More than {LARGEST} octets are not taken at once.", "Send fewer instances."
            )

    def _store(self, study_uid: str) -> list[Receipt]:
        parts = read_parts(self._body, self._boundary, FILE)
        self._body.clear()
        other = next((part.media_type for part in parts if part.media_type != FILE), None)
        if other is not None:
            raise HttpError(415, f"A part is {other[:100]}.", f"Each has to be {FILE}.")
        if not parts:
            raise HttpError(400, "There is no instance in the request.")
        receipts = [self._receive(part.content, study_uid) for part in parts]
        studies = {text_of(receipt.header.get("StudyInstanceUID")) for receipt in receipts}
        if len(studies) == 1:
            self.keys["study_uid"] = studies.pop()
        stored = [str(r.header.SOPInstanceUID) for r in receipts if r.status == 0x0000]
        refused = [(r.header, r.status) for r in receipts if r.status != 0x0000]
        self._auditing.stored_over_web(self.source(), stored, refused)
        return receipts

    def _receive(self, file: bytes, study_uid: str) -> Receipt:
        """Take in one file, which goes the way of a C-STORE."""

        def judge(header: Dataset) -> Dataset | None:
            if not study_uid or str(header.StudyInstanceUID) == study_uid:
                return None
            return failure(0xA900, "data set and URL name different studies")

        try:
            require_bounded_file(BytesIO(file))
            header, framed = _framed(file)
            problem = _problem(header)
        except TooLarge as error:
            return self._failed(OUT_OF_RESOURCES, error.what, Dataset())
        except Exception as error:  # pydicom raises many kinds for broken data
            return self._failed(0xC000, f"cannot read the file: {error}", Dataset())
        try:
            receipt = (
                self._storing.receive(framed, self.holder, judge)
                if problem is None
                else Receipt(problem, header)
            )
        except Exception as error:  # whatever it was, the caller must not hear success
            return self._failed(PROCESSING_FAILURE, str(error), header)
        if isinstance(receipt.answer, Dataset):
            self._note_failure(receipt)
        return receipt

    def _failed(self, status: int, why: str, header: Dataset) -> Receipt:
        receipt = Receipt(failure(status, why), header)
        self._note_failure(receipt)
        return receipt

    def _note_failure(self, receipt: Receipt) -> None:
        # The sender hears a number only; the administrator is to find the words.
        assert isinstance(receipt.answer, Dataset)
        what = f"image of {self.holder} not stored: {describe_status(receipt.status)}"
        keys = dicom_keys(receipt.header)
        self.gate.system.note(f"{what}, {receipt.answer.ErrorComment}", kind="error", **keys)

    def _answer(self, receipts: Sequence[Receipt], study_uid: str) -> Dataset:
        """Return the Store Instances Response (PS3.18 table I.1-1)."""
        answer = Dataset()
        stored = [receipt for receipt in receipts if receipt.status == 0x0000]
        failed = [receipt for receipt in receipts if receipt.status != 0x0000]
        named = [r for r in failed if text_of(r.header.get("SOPInstanceUID"))]
        studies = {str(receipt.header.StudyInstanceUID) for receipt in stored}
        answer.RetrieveURL = self.url("studies", *studies) if len(studies) == 1 else None
        if stored:
            answer.ReferencedSOPSequence = [self._stored(receipt) for receipt in stored]
        if named:
            answer.FailedSOPSequence = [_failure(receipt) for receipt in named]
        if len(named) < len(failed):
            unnamed = [r for r in failed if not text_of(r.header.get("SOPInstanceUID"))]
            answer.OtherFailuresSequence = [_failure(receipt) for receipt in unnamed]
        return answer

    def _stored(self, receipt: Receipt) -> Dataset:
        item, header = _reference(receipt.header), receipt.header
        item.RetrieveURL = self.url(
            *("studies", str(header.StudyInstanceUID)),
            *("series", str(header.SeriesInstanceUID)),
            *("instances", str(header.SOPInstanceUID)),
        )
        if receipt.changed:
            item.WarningReason = COERCED
        return item


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = text_of(header.get("SOPClassUID"))
    item.ReferencedSOPInstanceUID = text_of(header.get("SOPInstanceUID"))
    return item


def _failure(receipt: Receipt) -> Dataset:
    known = text_of(receipt.header.get("SOPInstanceUID"))
    item = _reference(receipt.header) if known else Dataset()
    item.FailureReason = receipt.status
    return item


def _status_of(receipts: Sequence[Receipt]) -> int:
    """Return the HTTP status for what became of the instances (PS3.18 table 10.5.3-1)."""
    stored = [receipt for receipt in receipts if receipt.status == 0x0000]
    if not stored:
        return 409
    whole = len(stored) == len(receipts) and not any(receipt.changed for receipt in stored)
    return 200 if whole else 202


def _framed(file: bytes) -> tuple[FileDataset, bytes]:
    """Return what a file is about, and the file that a C-STORE of the instance would leave.

    The data set stays as it came. Preamble and File Meta Information are the
    archive's own (PS3.10 7.1), so that the same instance is the same file
    whichever way it comes.
    """
    stream = BytesIO(file)
    read_preamble(stream, force=False)
    read_dataset(
        stream,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag.group != 2,
    )
    header = dcmread(BytesIO(file), stop_before_pixels=True, specific_tags=list(_TOLD))
    sop_class, sop_uid, *_ = (text_of(header.get(keyword)) for keyword in _TOLD)
    meta = create_file_meta(
        sop_class_uid=UID(sop_class),
        sop_instance_uid=UID(sop_uid),
        transfer_syntax=UID(header.file_meta.get("TransferSyntaxUID", "")),
    )
    return header, b"".join((bytes(128), b"DICM", encode_file_meta(meta), file[stream.tell() :]))


def _problem(header: FileDataset) -> Dataset | None:
    """Return why a file is not wanted at all, None if it may be."""
    meta = header.file_meta
    syntax = UID(meta.get("TransferSyntaxUID", ""))
    if text_of(header.get("SOPClassUID")) not in _SOP_CLASSES:
        return failure(0x0122, f"{UID(text_of(header.get('SOPClassUID'))).name} is not stored")
    if syntax not in AllTransferSyntaxes:
        return failure(0xC122, f"transfer syntax {syntax}")
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        named = text_of(meta.get(f"MediaStorage{keyword}"))
        if named and named != text_of(header.get(keyword)):
            return failure(0xA900, "data set and file meta information differ")
    return None


def routes(base: str, **named: Any) -> list[Route]:
    """Return where to store, below a base path (PS3.18 table 10.5.1-1)."""
    return [(Posted(base + path), Store, named) for path in ("/studies", "/studies/([^/]+)")]
