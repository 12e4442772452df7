"""The SCP of C-MOVE and C-GET (PS3.4 C.4.2 and C.4.3).

pynetdicom has one too. This one names in each sub-operation of a C-MOVE who
asked for it, answers a wrong Identifier with the status that is meant for it,
sends a data set as the bytes that it is, and lets the archive choose the
transfer syntax when it has seen what the receiver accepts.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE, C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import QueryRetrieveServiceClass
from pynetdicom.status import code_to_category

from labsim.errors import AssociationFailed, LabError
from labsim.wire.dimse import DicomNode, Peer, require_bounded_data
from labsim.wire.status import describe_status, failure

_SUCCESS, _PENDING, _CANCELLED = 0x0000, 0xFF00, 0xFE00
_SOME_FAILED, _ALL_FAILED, _UNABLE = 0xB000, 0xA702, 0xC000
_TOO_MANY = 0xA701  # the counts of an answer end at 65535 (VR US)
_LOW = 2  # priority, which nobody here regards


@dataclass(frozen=True)
class Outgoing:
    """One instance, ready to be sent.

    Parameters
    ----------
    sop_class, sop_uid : str
        UIDs.
    context : PresentationContext
        One that the receiver has accepted.
    data : bytes
        The data set, in the transfer syntax of that context.
    """

    sop_class: str
    sop_uid: str
    context: PresentationContext
    data: bytes


Prepare = Callable[[Sequence[PresentationContext]], Outgoing]


@dataclass(frozen=True)
class Retrieval:
    """What a request comes to.

    Parameters
    ----------
    instances : sequence of (str, callable)
        Each SOP Instance UID, with what makes the instance ready for one of
        the contexts that the receiver takes. Where that raises a `LabError`,
        the sub-operation has failed.
    peer : Peer, optional
        Where a C-MOVE leads to.
    contexts : sequence of PresentationContext
        What to propose there.
    failed : callable
        Is told of each sub-operation that failed: the UID, and why.
    """

    instances: Sequence[tuple[str, Prepare]]
    peer: Peer | None = None
    contexts: Sequence[PresentationContext] = ()
    failed: Callable[[str, str], None] = lambda uid, why: None


class RetrieveRefused(LabError):
    """A request that is answered with a failure before anything is sent.

    Parameters
    ----------
    what : str
        Why, for the Error Comment.
    status : int
        The failure.
    """

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what)
        self.status = status


class RetrieveService:
    """Answers each C-MOVE and C-GET of a system, one sub-operation after the other.

    Parameters
    ----------
    node : DicomNode
        The system's interface, which calls the destination of a C-MOVE.
    plan : callable
        Makes a `Retrieval` of a request, or raises `RetrieveRefused`.
    """

    def __init__(self, node: DicomNode, plan: Callable[[evt.Event], Retrieval]) -> None:
        self._node = node
        self._plan = plan

    def __call__(self, association: Association, request: C_MOVE | C_GET, context_id: int) -> None:
        """Answer one request, from its first answer to its last."""
        context = association._accepted_cx[context_id]
        event = evt.Event(
            association,
            evt.EVT_C_MOVE if isinstance(request, C_MOVE) else evt.EVT_C_GET,
            {
                "request": request,
                "context": context.as_tuple,
                "_is_cancelled": QueryRetrieveServiceClass(association).is_cancelled,
            },
        )
        answers = _Answers(event, context)
        try:
            require_bounded_data(event)
            retrieval = self._plan(event)
        except RetrieveRefused as error:
            answers.refuse(failure(error.status, error.what))
        except Exception as error:  # whatever it was, the caller must not hear success
            answers.refuse(failure(_UNABLE, self._node.failed_to_answer(event, error)))
        else:
            self._carry_out(event, retrieval, answers)

    def _carry_out(self, event: evt.Event, retrieval: Retrieval, answers: _Answers) -> None:
        answers.remaining = len(retrieval.instances)
        if answers.remaining > 65535:
            answers.refuse(failure(_TOO_MANY, f"{answers.remaining} instances are too many"))
        elif retrieval.peer is None:
            _send_all(event.assoc, event, retrieval, answers)
            answers.end()
        elif not retrieval.instances:
            answers.end()
        else:
            try:
                with self._node.associate(retrieval.peer, retrieval.contexts) as called:
                    _send_all(called, event, retrieval, answers)
            except AssociationFailed as error:  # journaled already
                answers.failed += [uid for uid, _ in retrieval.instances]
                answers.remaining = 0
                answers.comment = error.what
            answers.end()


def send_store(
    association: Association,
    outgoing: Outgoing,
    message_id: int,
    asked: tuple[str, int] | None,
    priority: int = _LOW,
) -> Dataset:
    """Send one instance (C-STORE), and return the status.

    Parameters
    ----------
    association : Association
        Established, and not used by anybody else meanwhile.
    outgoing : Outgoing
        What to send.
    message_id : int
        Of this request.
    asked : (str, int), optional
        As part of a C-MOVE: the AE title that asked for it, and its Message
        ID (PS3.7 9.1.1.1).
    priority : int
        Of this request (PS3.7 9.1.1.1).

    Returns
    -------
    Dataset
        With the Status, or empty if there was no answer.
    """
    request = C_STORE()
    request.MessageID = message_id
    request.Priority = priority
    request.AffectedSOPClassUID = UID(outgoing.sop_class)
    request.AffectedSOPInstanceUID = UID(outgoing.sop_uid)
    request.DataSet = BytesIO(outgoing.data)
    if asked is not None:
        request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID = asked
    with _reactor_paused(association):
        association.dimse.send_msg(request, outgoing.context.context_id or 0)
        _, answer = association.dimse.get_msg(block=True)
    if answer is None:
        association._handle_no_response()
        return Dataset()
    return association._check_received_status(answer)


def _send_all(
    association: Association, event: evt.Event, retrieval: Retrieval, answers: _Answers
) -> None:
    """Perform the sub-operations, until they are done or nobody wants them any more."""
    asker, first_id = event.assoc, int(event.request.MessageID or 0)
    # A sender is the SCU of what it sends, on an association that it called or answered.
    accepted = [context for context in association.accepted_contexts if context.as_scu]
    asked = None
    if retrieval.peer is not None:
        asked = asker.requestor.ae_title.strip(), first_id
    silent = False  # the association may be over before its own thread has seen it
    for number, (uid, prepare) in enumerate(retrieval.instances, start=1):
        if asker.acse.is_aborted() or asker.acse.is_release_requested():
            return
        if event.is_cancelled:
            answers.cancelled = True
            return
        status: int | None = None
        why = "no answer"
        if association.is_established and not silent:
            try:
                outgoing = prepare(accepted)
                message_id = (first_id + number - 1) % 65535 + 1
                status = send_store(association, outgoing, message_id, asked).get("Status")
                silent = status is None
            except LabError as error:
                why = error.what
        if status is not None:
            why = describe_status(status)
        category = "Failure" if status is None else code_to_category(status)
        if category not in ("Success", "Warning"):
            retrieval.failed(uid, why)
        answers.performed(uid, category)


@contextlib.contextmanager
def _reactor_paused(association: Association) -> Iterator[None]:
    """Keep an association's own thread from taking the answer."""
    checkpoint: Any = association._reactor_checkpoint
    checkpoint.clear()
    if threading.current_thread() is not association:
        # It may have come through just before; so wait until it really stands there.
        while association.is_alive() and not checkpoint._cond._waiters:
            time.sleep(0.0001)
    try:
        yield
    finally:
        checkpoint.set()


class _Answers:
    """Counts the sub-operations of one request, and tells the caller of them."""

    def __init__(self, event: evt.Event, context: PresentationContext) -> None:
        self._association = event.assoc
        self._context = context
        self._answer = C_MOVE() if isinstance(event.request, C_MOVE) else C_GET()
        self._answer.MessageIDBeingRespondedTo = event.request.MessageID
        self._answer.AffectedSOPClassUID = event.request.AffectedSOPClassUID
        self.remaining = self.completed = self.warnings = 0
        self.failed: list[str] = []
        self.cancelled = False
        self.comment = ""

    def refuse(self, status: Dataset) -> None:
        """Answer with a failure."""
        self._send(status.Status, status.ErrorComment)

    def performed(self, uid: str, category: str) -> None:
        """Count one sub-operation, and say how far it has gone."""
        self.remaining -= 1
        if category == "Success":
            self.completed += 1
        elif category == "Warning":
            self.warnings += 1
        else:
            self.failed.append(uid)
        self._count()
        self._answer.NumberOfRemainingSuboperations = self.remaining
        self._send(_PENDING)

    def end(self) -> None:
        """Give the last answer (PS3.4 C.4.2.1.8 and table C.4-2)."""
        self._count()
        self._answer.NumberOfRemainingSuboperations = self.remaining if self.cancelled else None
        status = _SUCCESS
        if self.cancelled:
            status = _CANCELLED
        elif self.failed and not self.completed and not self.warnings:
            status = _ALL_FAILED
        elif self.failed or self.warnings:
            status = _SOME_FAILED
        if status != _SUCCESS:
            self._answer.Identifier = self._failed_list()
        self._send(status, self.comment)

    def _count(self) -> None:
        self._answer.NumberOfCompletedSuboperations = self.completed
        self._answer.NumberOfFailedSuboperations = len(self.failed)
        self._answer.NumberOfWarningSuboperations = self.warnings

    def _failed_list(self) -> BytesIO:
        identifier = Dataset()
        identifier.FailedSOPInstanceUIDList = self.failed
        syntax = self._context.transfer_syntax[0]
        implicit, little, deflated = (
            syntax.is_implicit_VR,
            syntax.is_little_endian,
            syntax.is_deflated,
        )
        return BytesIO(encode(identifier, implicit, little, deflated) or b"")

    def _send(self, status: int, comment: str = "") -> None:
        if not self._association.is_established:  # nobody is there to hear it
            return
        self._answer.Status = status
        if comment:
            self._answer.ErrorComment = failure(status, comment).ErrorComment
        self._association.dimse.send_msg(self._answer, self._context.context_id or 0)
