"""The SCP of C-STORE and C-FIND, as far as it is the same for every system (PS3.7 9.1.1, 9.1.2).

pynetdicom has both too. It builds each command set as a data set and writes
it twice, once for its length, which is half of what an answer costs. This
module writes it at once, and sends it together with the data set: what is
asked of a handler, and what observers are told, is as with pynetdicom.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_FIND_RSP, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_FIND, C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import (
    BasicWorklistManagementServiceClass,
    QueryRetrieveServiceClass,
    ServiceClass,
    StorageServiceClass,
)
from pynetdicom.sop_class import uid_to_service_class
from pynetdicom.status import code_to_category

# Answers a request with all its answers: association, request, presentation context ID.
Service = Callable[[Association, Any, int], None]

_FIND_FAILED, _FIND_UNWRITABLE, _STORE_FAILED = 0xC311, 0xC312, 0xC211  # pynetdicom's own
# Command set (PS3.7 E.1)
_LENGTH, _FIELD, _RESPONDED_TO, _DATA_SET = 0x00000000, 0x00000100, 0x00000120, 0x00000800
_SOP_CLASS, _STATUS, _COMMENT, _SOP_UID = 0x00000002, 0x00000900, 0x00000902, 0x00001000
_WITHOUT, _WITH = 0x0101, 0x0001  # a data set, or not
# Message control header (PS3.8 E.2)
_COMMAND, _LAST = 0x01, 0x02

# What a request says is said back, right or wrong.
_field = functools.partial(DataElement, validation_mode=config.IGNORE)


def answer_find(association: Association, request: C_FIND, context_id: int) -> None:
    """Answer a C-FIND with what its handler yields: pairs of a status and an Identifier."""
    context = association._accepted_cx[context_id]
    answers = _Answers(association, C_FIND_RSP, 0x8020, request, context)
    cancelled = QueryRetrieveServiceClass(association).is_cancelled
    about = {"request": request, "context": context.as_tuple, "_is_cancelled": cancelled}
    try:
        for status, identifier in evt.trigger(association, evt.EVT_C_FIND, about) or ():
            if association.acse.is_aborted() or association.acse.is_release_requested():
                return
            pending = code_to_category(_code(status)) == "Pending"
            data = _written(identifier, context) if pending else b""
            if pending and not data:
                answers.send(_FIND_UNWRITABLE)
                return
            answers.send(status, data, identifier)
            if not pending:
                return
    except Exception:  # the node has told the journal
        answers.send(_FIND_FAILED)
    else:
        answers.send(0x0000)


def answer_store(association: Association, request: C_STORE, context_id: int) -> None:
    """Answer a C-STORE with the status that its handler returns."""
    context = association._accepted_cx[context_id]
    answers = _Answers(association, C_STORE_RSP, 0x8001, request, context)
    about = {"request": request, "context": context.as_tuple}
    try:
        status = evt.trigger(association, evt.EVT_C_STORE, about)
    except Exception:  # the node has told the journal
        status = None
    answers.send(_STORE_FAILED if status is None else status)


_SERVICES: dict[tuple[type, type[ServiceClass]], Service] = {
    (C_FIND, QueryRetrieveServiceClass): answer_find,
    (C_FIND, BasicWorklistManagementServiceClass): answer_find,
    (C_STORE, StorageServiceClass): answer_store,
}


def service_for(request: Any, context: PresentationContext) -> Service | None:
    """Return what answers a request; None if that is pynetdicom's to do, or to refuse."""
    sop_class = getattr(request, "AffectedSOPClassUID", None)
    if sop_class is None or sop_class != context.abstract_syntax:
        return None
    return _SERVICES.get((type(request), _service_class(sop_class)))


@functools.lru_cache(maxsize=256)
def _service_class(sop_class: str) -> type[ServiceClass]:
    return uid_to_service_class(sop_class)


class _Answers:
    """Sends the answers to one request."""

    def __init__(
        self,
        association: Association,
        kind: type[DIMSEMessage],
        field: int,
        request: Any,
        context: PresentationContext,
    ) -> None:
        self._association = association
        self._kind = kind
        self._context_id = context.context_id or 0
        self._fields = [
            _field(_SOP_CLASS, "UI", request.AffectedSOPClassUID),
            _field(_FIELD, "US", field),
            _field(_RESPONDED_TO, "US", request.MessageID),
        ]
        self._instance = getattr(request, "AffectedSOPInstanceUID", None)

    def send(
        self, status: int | Dataset, data: bytes = b"", identifier: Dataset | None = None
    ) -> None:
        """Send one answer, unless there is nobody any more to hear it."""
        if not self._association.is_established:
            return
        command = self._command(status, with_data=bool(data))
        written = b"".join(map(_element, list(command)[1:]))
        command[_LENGTH].value = len(written)
        message = DIMSEMessage()
        message.__class__ = self._kind  # as pynetdicom does with what it receives
        message.command_set, message.data_set = command, BytesIO(data)
        message.context_id = self._context_id
        message.__dict__["_labsim_identifier"] = identifier if data else None
        evt.trigger(self._association, evt.EVT_DIMSE_SENT, {"message": message})
        whole = _element(command[_LENGTH]) + written
        for values in _pdus(whole, data, self._association.dimse.maximum_pdu_size):
            primitive = P_DATA()
            primitive.presentation_data_value_list.extend((self._context_id, v) for v in values)
            self._association.dul.send_pdu(primitive)

    def _command(self, status: int | Dataset, *, with_data: bool) -> Dataset:
        """Return the command set, in the order of its tags."""
        fields = [
            _field(_LENGTH, "UL", 0),
            *self._fields,
            _field(_DATA_SET, "US", _WITH if with_data else _WITHOUT),
            _field(_STATUS, "US", _code(status)),
        ]
        if isinstance(status, Dataset) and status.get("ErrorComment"):
            fields.append(_field(_COMMENT, "LO", status.ErrorComment))
        if self._instance is not None:
            fields.append(_field(_SOP_UID, "UI", self._instance))
        return Dataset({field.tag: field for field in fields})


def _code(status: int | Dataset) -> int:
    return status if isinstance(status, int) else int(status.Status)


def _written(identifier: Dataset, context: PresentationContext) -> bytes:
    syntax = context.transfer_syntax[0]
    how = syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated
    return encode(identifier, *how) or b""


def _element(field: DataElement) -> bytes:
    """Write one element of a command set: Implicit VR Little Endian (PS3.7 6.3.1)."""
    if field.VR in ("US", "UL"):
        value = struct.pack("<H" if field.VR == "US" else "<I", field.value)
    else:
        value = str(field.value).encode("ascii", "replace")
        if len(value) % 2:
            value += b"\0" if field.VR == "UI" else b" "
    return struct.pack("<HHI", field.tag.group, field.tag.element, len(value)) + value


def _pdus(command: bytes, data: bytes, longest: int) -> Iterator[list[bytes]]:
    """Yield what each PDU carries, none longer than the peer takes (PS3.8 D.1, annex E)."""
    parts = [(_COMMAND, command)] + ([(0, data)] if data else [])
    if not longest or sum(6 + len(part) for _, part in parts) <= longest:
        yield [bytes([kind | _LAST]) + part for kind, part in parts]
        return
    room = max(2, (longest - 6) // 2 * 2)
    for kind, part in parts:
        for start in range(0, len(part), room):
            last = _LAST if start + room >= len(part) else 0
            yield [bytes([kind | last]) + part[start : start + room]]
