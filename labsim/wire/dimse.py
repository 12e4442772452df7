"""DICOM associations: who calls, who answers, and what the journal hears of it.

pynetdicom speaks the protocol; this module decides what is the same for every
system of the hospital: time-outs, TCP_NODELAY, admission by AE title, errors
of handlers, and the entries in the journal.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from socketserver import TCPServer
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom._globals import STATUS_PENDING
from pynetdicom.association import Association
from pynetdicom.dsutils import decode
from pynetdicom.presentation import PresentationContext
from pynetdicom.status import code_to_category
from pynetdicom.transport import ThreadedAssociationServer

from labsim import ihe
from labsim.errors import AssociationFailed, LabError
from labsim.journal import Journal
from labsim.wire.network import LOOPBACK, Address, Network, port_taken

TIMEOUT = 5.0
PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.22

# A-ASSOCIATE-RJ: result, source, reason (PS3.8 9.3.4)
CALLING_TITLE_UNKNOWN = (1, 1, 3)
_REASONS: Mapping[tuple[int, int], str] = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
_ADVICE: Mapping[tuple[int, int], str] = {
    (1, 3): "Register the calling AE title at the called system, letter for letter.",
    (1, 7): "Correct the AE title that the caller has for this system, letter for letter.",
    (3, 2): "The called system has too many associations open; find out who holds them.",
}
_STATUS_WORDS: Mapping[int, str] = {
    0x0000: "Success",
    0x0106: "Invalid attribute value",
    0x0110: "Processing failure",
    0x0111: "Duplicate SOP Instance",
    0x0112: "No such SOP Instance",
    0x0117: "Invalid object instance",
    0x0120: "Missing attribute",
    0x0122: "SOP Class not supported",
    0x0124: "Not authorized",
    0xA700: "Out of resources",
    0xA701: "Unable to calculate number of matches",
    0xA702: "Unable to perform sub-operations",
    0xA801: "Move destination unknown",
    0xA900: "Data set does not match SOP Class",
    0xB000: "One or more sub-operations failed",
    0xC000: "Cannot understand",
    0xFE00: "Cancelled",
    0xFF00: "Pending",
    0xFF01: "Pending, some keys not supported",
}


@dataclass(frozen=True)
class Peer:
    """An application entity as another one's configuration knows it."""

    ae_title: str
    host: str
    port: int

    @property
    def address(self) -> Address:
        """Host and port."""
        return Address(self.host, self.port)


@dataclass(frozen=True)
class Call:
    """Who asks for an association, and for what.

    Parameters
    ----------
    calling, called : str
        AE titles.
    sop_classes : frozenset of str
        Abstract syntaxes of the proposed presentation contexts.
    """

    calling: str
    called: str
    sop_classes: frozenset[str]


Rejection = tuple[int, int, int]
Admission = Callable[[Call], Rejection | None]
Handlers = Sequence[tuple[evt.EventType, Callable[..., Any]]]


def describe_status(status: int) -> str:
    """Return a DIMSE status as its code and meaning (PS3.7 Annex C, PS3.4)."""
    words = _STATUS_WORDS.get(status)
    if words is None and 0xC000 <= status <= 0xCFFF:
        words = "Cannot understand or unable to process"
    return f"0x{status:04X} {words or code_to_category(status)}"


def failure(status: int, comment: str) -> Dataset:
    """Return a status with an Error Comment, at most 64 characters (PS3.7 C.4)."""
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment.encode("ascii", "replace").decode()[:64]
    return answer


def instance_of(event: evt.Event) -> str:
    """Return the SOP Instance UID that a request affects or names; empty if it does not."""
    request = event.request
    affected = getattr(request, "AffectedSOPInstanceUID", None)
    return str(affected or getattr(request, "RequestedSOPInstanceUID", None) or "")


class DicomNode:
    """One system's DICOM interface: it listens, and it calls.

    Parameters
    ----------
    system : str
        Whose interface it is, for the journal.
    ae_title : str
        The title it answers to and calls with.
    journal, network
        The hospital's.
    """

    def __init__(self, system: str, ae_title: str, journal: Journal, network: Network) -> None:
        self.system = system
        self.ae_title = ae_title
        self._journal = journal
        self._network = network
        self._server: _Listener | None = None
        self._serving: threading.Thread | None = None
        self._calls: list[Association] = []

    # Answering

    def listen(
        self,
        contexts: Sequence[PresentationContext],
        handlers: Handlers,
        *,
        admit: Admission | None = None,
        port: int = 0,
    ) -> int:
        """Answer associations.

        Parameters
        ----------
        contexts : sequence of PresentationContext
            What is supported.
        handlers : sequence of (event, callable)
            What answers each DIMSE request. A handler that raises is answered
            with 0x0110 Processing failure and journaled.
        admit : callable, optional
            Decides on a `Call`; returns None or what to reject it with.
        port : int
            Loopback port, 0 for a free one.

        Returns
        -------
        int
            The port.

        Raises
        ------
        PortTaken
            If another program listens there.
        """
        entity = self._entity()
        entity.require_called_aet = True
        entity.maximum_associations = 64
        bound = [(event, self._guard(event, handler)) for event, handler in handlers]
        request = [(evt.EVT_REQUESTED, functools.partial(self._requested, admit))]
        try:
            self._server = cast(
                _Listener,
                entity.make_server(
                    (LOOPBACK, port),
                    contexts=_Shared(contexts),  # the entity's own list would lose their roles
                    evt_handlers=[*self.observers(), *request, *bound],
                    server_class=_Listener,
                ),
            )
        except OSError as error:
            raise port_taken(port, f"DICOM of {self.system}") from error
        self._serving = threading.Thread(
            target=self._server.serve_forever,
            args=(0.02,),
            name=f"{self.system}-dicom",
            daemon=True,
        )
        self._serving.start()
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening, and abort the associations that are open."""
        answering: list[Association] = []
        if self._server is not None and self._serving is not None:
            answering = self._server.active_associations
            self._server.shutdown()
            self._serving.join()
            self._server = None
        for association in [*answering, *self._calls]:
            if association.is_established:
                association.abort()
        for association in [*answering, *self._calls]:
            association.join(TIMEOUT)
            association.dul.join(TIMEOUT)

    # Calling

    @contextmanager
    def associate(
        self,
        peer: Peer,
        contexts: Sequence[PresentationContext],
        *,
        negotiation: Sequence[Any] = (),
        handlers: Handlers = (),
    ) -> Iterator[Association]:
        """Open an association for the length of a block.

        It is released at the end, and aborted if the block raises.

        Parameters
        ----------
        peer : Peer
            Whom to call.
        contexts : sequence of PresentationContext
            What to propose.
        negotiation : sequence
            Role selection and other items of the negotiation.
        handlers : sequence of (event, callable)
            What answers requests that come back on the association.

        Raises
        ------
        AssociationFailed
            If it is refused, rejected or aborted, or the peer is silent.
        """
        association = self._call(peer, contexts, negotiation, handlers)
        self._calls.append(association)
        try:
            yield association
        except BaseException:
            if association.is_established:
                association.abort()
            raise
        else:
            if association.is_established:
                association.release()
        finally:
            association.join(TIMEOUT)
            association.dul.join(TIMEOUT)
            self._calls.remove(association)

    def _call(
        self,
        peer: Peer,
        contexts: Sequence[PresentationContext],
        negotiation: Sequence[Any],
        handlers: Handlers,
    ) -> Association:
        try:
            local = self._network.resolve(peer.address)
        except LabError as error:
            raise self._failed(peer, error.what, error.next_step, "unreachable") from error
        bound = [(event, self._guard(event, handler)) for event, handler in handlers]
        association = self._entity().associate(
            local.host,
            local.port,
            contexts=list(contexts),
            ae_title=peer.ae_title,
            ext_neg=list(negotiation),
            evt_handlers=[*self.observers(), *bound],
        )
        if association.is_established:
            return association
        association.dul.join(TIMEOUT)
        _close_socket(association)
        raise self._not_established(peer, association)

    def _not_established(self, peer: Peer, association: Association) -> AssociationFailed:
        if association.is_rejected:
            answer = association.acceptor.primitive
            assert answer is not None
            source, reason = answer.result_source or 0, answer.diagnostic or 0
            words = _REASONS.get((source, reason), "reason unknown")
            code = f"{answer.result}/{source}/{reason}"
            return self._failed(
                peer,
                f"rejected the association: {words} ({code}).",
                _ADVICE.get((source, reason), ""),
                f"rejected {code}",
            )
        refused = {str(UID(c.abstract_syntax or "").name) for c in association.rejected_contexts}
        if refused and not association.accepted_contexts:
            return self._failed(
                peer,
                f"supports nothing of what was proposed: {', '.join(sorted(refused))}.",
                "Compare SOP classes and transfer syntaxes with its conformance statement.",
                "no context",
            )
        if association.is_aborted and association.requestor.primitive is not None:
            advice = "Check that a DICOM service listens there, and what its log says."
            return self._failed(
                peer, "aborted the association or did not answer.", advice, "aborted"
            )
        advice = "Check host and port, and that the service runs."
        return self._failed(peer, "refused the TCP connection.", advice, "refused")

    def _failed(self, peer: Peer, what: str, next_step: str, reason: str) -> AssociationFailed:
        text = f"{self.ae_title} → {peer.ae_title} ({peer.address}): {peer.ae_title} {what}"
        if reason == "unreachable":
            text = f"{self.ae_title} → {peer.ae_title} ({peer.address}): {what}"
        if not reason.startswith("rejected"):  # a rejection is journaled where it arrives
            self._journal.record(self.system, "error", text, peer=peer.ae_title)
        return AssociationFailed(text, next_step, reason=reason)

    # What is the same for both

    def _entity(self) -> AE:
        entity = AE(ae_title=self.ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = TIMEOUT
        entity.network_timeout = 30.0
        entity.maximum_pdu_size = 0  # unlimited: fewer, larger writes
        return entity

    def observers(self) -> list[tuple[evt.EventType, Callable[..., Any]]]:
        """Return what writes an association's course into the journal."""
        return [
            (evt.EVT_CONN_OPEN, _no_delay),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_RELEASED, functools.partial(self._ended, "released")),
            (evt.EVT_ABORTED, functools.partial(self._ended, "aborted")),
            (evt.EVT_DIMSE_RECV, functools.partial(self._message, "received")),
            (evt.EVT_DIMSE_SENT, functools.partial(self._message, "sent")),
        ]

    def _requested(self, admit: Admission | None, event: evt.Event) -> None:
        request = event.assoc.requestor.primitive
        assert request is not None
        call = Call(
            calling=request.calling_ae_title.strip(),
            called=request.called_ae_title.strip(),
            sop_classes=frozenset(
                str(context.abstract_syntax)
                for context in request.presentation_context_definition_list
            ),
        )
        event.assoc.requestor.ae_title = request.calling_ae_title
        # A wrong called title is pynetdicom's to reject, with 1/1/7.
        rejection = admit(call) if admit and call.called == self.ae_title else None
        if rejection:
            event.assoc.acse.send_reject(*rejection)
            evt.trigger(event.assoc, evt.EVT_REJECTED, {})
            event.assoc.kill()

    def _guard(self, event: evt.EventType, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Make sure that an error in a handler is never answered with success.

        pynetdicom answers a C-ECHO whose handler raised with 0x0000, and logs
        other errors where nobody looks.
        """
        if event.name in ("EVT_C_FIND", "EVT_C_GET", "EVT_C_MOVE"):
            return self._guard_generator(handler)

        @functools.wraps(handler)
        def guarded(request: evt.Event) -> Any:
            try:
                return handler(request)
            except Exception as error:
                status = self._handler_failed(request, error)
                return (status, None) if event.name.startswith("EVT_N_") else status

        return guarded

    def _guard_generator(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def guarded(request: evt.Event) -> Iterator[Any]:
            try:
                yield from handler(request)
            except GeneratorExit:
                raise
            except Exception as error:
                self._handler_failed(request, error)
                raise  # pynetdicom answers 0xC311, 0xC411 or 0xC511 and aborts nothing

        return guarded

    def _handler_failed(self, request: evt.Event, error: Exception) -> Dataset:
        text = error.what if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
        association = _association_id(request.assoc)
        self._journal.record(
            self.system,
            "error",
            f"{self.ae_title} could not process a request: {text}",
            peer=_peer_title(request.assoc),
            keys={"association": association},
        )
        return failure(PROCESSING_FAILURE, text)

    # Journal

    def _accepted(self, event: evt.Event) -> None:
        refused = [str(UID(c.abstract_syntax or "").name) for c in event.assoc.rejected_contexts]
        accepted = len(event.assoc.accepted_contexts)
        plural = "" if accepted == 1 else "s"
        text = f"A-ASSOCIATE accepted: {accepted} presentation context{plural}"
        if refused:
            text += f", refused {', '.join(sorted(set(refused)))}"
        self._about(event.assoc, "accepted", text, refused_contexts=sorted(set(refused)))

    def _rejected(self, event: evt.Event) -> None:
        answer = event.assoc.acceptor.primitive
        assert answer is not None
        source, reason = answer.result_source or 0, answer.diagnostic or 0
        words = _REASONS.get((source, reason), "reason unknown")
        code = f"{answer.result}/{source}/{reason}"
        called = event.assoc.acceptor.ae_title.strip()
        request = event.assoc.requestor.primitive
        if event.assoc.is_acceptor and request is not None:
            called = request.called_ae_title.strip()
        text = (
            f"A-ASSOCIATE rejected {code}, {words}: "
            f"calling {event.assoc.requestor.ae_title.strip()}, called {called}"
        )
        self._about(event.assoc, "rejected", text, rejected=code)

    def _ended(self, how: str, event: evt.Event) -> None:
        self._about(event.assoc, how, f"association {how}")

    def _about(self, association: Association, what: str, text: str, **detail: Any) -> None:
        name = _association_id(association)
        self._journal.record(
            self.system,
            "association",
            text,
            peer=_peer_title(association),
            # Both sides see it; shown once, from the requestor to the acceptor.
            keys={"association": name, "message": f"{name} {what}"},
            detail={"direction": "sent" if association.is_requestor else "received", **detail},
        )

    def _message(self, direction: str, event: evt.Event) -> None:
        observed = _Observed.of(event, direction)
        self._journal.record(
            self.system,
            "dimse",
            observed.summary,
            peer=_peer_title(event.assoc),
            transaction=observed.transaction,
            keys=observed.keys,
            detail=observed.detail,
            payload=observed.payload,
        )


class _Listener(ThreadedAssociationServer):
    """pynetdicom's server with room for many callers at once and a quick end."""

    request_queue_size = 128

    def shutdown(self) -> None:
        TCPServer.shutdown(self)
        self.server_close()


class _Shared(list[PresentationContext]):
    """Contexts that nobody changes.

    pynetdicom copies its list in depth for each association, which takes 50 ms
    for those of an archive.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


@dataclass(frozen=True)
class _Observed:
    """One DIMSE message as the journal tells of it."""

    summary: str
    transaction: str
    keys: Mapping[str, str]
    detail: Mapping[str, Any]
    payload: Mapping[str, Any] | None

    @classmethod
    def of(cls, event: evt.Event, direction: str) -> _Observed:
        command_set = event.message.command_set
        name = type(event.message).__name__.replace("_", "-")  # C-STORE-RQ
        command, _, kind = name.rpartition("-")
        sop_class = str(
            command_set.get("AffectedSOPClassUID") or command_set.get("RequestedSOPClassUID") or ""
        )
        status = command_set.get("Status")
        pending = status is not None and code_to_category(status) == STATUS_PENDING
        # A C-STORE carries an image; who keeps it tells the journal what it was.
        identifier = None if command == "C-STORE" else _identifier(event)
        keys = _message_keys(event, direction, command_set, identifier)
        summary, run = _summarize(name, sop_class, status, command_set)
        detail: dict[str, Any] = {"direction": direction, "run": run}
        if kind == "RQ":
            detail["request"] = True
        elif status is not None and not pending:
            detail["answer"] = describe_status(status)
        return cls(
            summary=summary,
            transaction=ihe.transaction_of(
                sop_class, command, retrieval=_is_retrieval(event, command_set)
            ),
            keys=keys,
            detail=detail,
            payload=_payload(event) if identifier is not None else None,
        )


def _is_retrieval(event: evt.Event, command_set: Dataset) -> bool:
    """Tell whether a C-STORE is a sub-operation of a C-MOVE, or of a C-GET asked for before it."""
    if "MoveOriginatorApplicationEntityTitle" in command_set:
        return True
    counts = event.assoc.__dict__.setdefault("_labsim_commands", Counter())
    name = type(event.message).__name__
    counts[name] += 1
    return bool(counts["C_GET_RQ"])


def _summarize(
    name: str, sop_class: str, status: int | None, command_set: Dataset
) -> tuple[str, str]:
    """Return the message in a line, and the same without what differs from one to the next."""
    what = str(UID(sop_class).name) if sop_class else ""
    run = f"{name} {what}".strip()
    if status is not None:
        run += f": {describe_status(status)}"
        if command_set.get("ErrorComment"):
            run += f" ({command_set.ErrorComment})"
    if command_set.get("MoveDestination"):
        run += f" to {command_set.MoveDestination}"
    instance = command_set.get("AffectedSOPInstanceUID") if name == "C-STORE-RQ" else None
    return (f"{run} {instance}" if instance else run), run


def _message_keys(
    event: evt.Event, direction: str, command_set: Dataset, identifier: Dataset | None
) -> dict[str, str]:
    association = _association_id(event.assoc)
    from_requestor = (direction == "sent") == event.assoc.is_requestor
    side = "requestor" if from_requestor else "acceptor"
    counts = event.assoc.__dict__.setdefault("_labsim_messages", Counter())
    counts[side] += 1
    keys = {"association": association, "message": f"{association} {side} {counts[side]}"}
    instance = str(
        command_set.get("AffectedSOPInstanceUID")
        or command_set.get("RequestedSOPInstanceUID")
        or ""
    )
    if type(event.message).__name__.startswith("C_STORE"):
        keys["sop_uid"] = instance
    elif type(event.message).__name__.startswith(("N_CREATE", "N_SET")):
        keys["mpps_uid"] = instance
    if identifier is not None:
        keys |= dicom_keys(identifier)
    return keys


def dicom_keys(dataset: Dataset) -> dict[str, str]:
    """Return what ties a data set to an exam, single values without wild cards only."""
    places = [dataset]
    for name in ("ScheduledProcedureStepSequence", "ScheduledStepAttributesSequence"):
        places += list(dataset.get(name) or [])
    found: dict[str, str] = {}
    for key, keyword in (
        ("patient_id", "PatientID"),
        ("accession", "AccessionNumber"),
        ("study_uid", "StudyInstanceUID"),
        ("series_uid", "SeriesInstanceUID"),
        ("sop_uid", "SOPInstanceUID"),
        ("commitment_uid", "TransactionUID"),
        ("placer_order", "PlacerOrderNumberImagingServiceRequest"),
        ("filler_order", "FillerOrderNumberImagingServiceRequest"),
    ):
        for place in places:
            value = str(place.get(keyword) or "")
            if value and not set(value) & set("*?\\["):
                found.setdefault(key, value)
    return found


def _identifier(event: evt.Event) -> Dataset | None:
    stream = event.message.data_set
    data = stream.getvalue() if isinstance(stream, BytesIO) else b""
    syntax = _syntax(event)
    if not data or syntax is None:
        return None
    try:
        return decode(
            BytesIO(data), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated
        )
    except Exception:  # the journal keeps the bytes; the handler answers for them
        return Dataset()


def _syntax(event: evt.Event) -> UID | None:
    for context in event.assoc.accepted_contexts:
        if context.context_id == event.message.context_id:
            return UID(context.transfer_syntax[0])
    return None


def _payload(event: evt.Event) -> Mapping[str, Any]:
    stream = event.message.data_set
    data = stream.getvalue() if isinstance(stream, BytesIO) else b""
    return {"syntax": str(_syntax(event)), "dicom": base64.b64encode(data).decode()}


def dataset_of(payload: Mapping[str, Any]) -> Dataset:
    """Return the data set that a journal payload holds."""
    syntax = UID(payload["syntax"])
    data = BytesIO(base64.b64decode(payload["dicom"]))
    return decode(data, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)


def _peer_title(association: Association) -> str:
    user = association.acceptor if association.is_requestor else association.requestor
    title = user.ae_title.strip()
    return title or f"{user.address}:{user.port}"


def _association_id(association: Association) -> str:
    """Name an association by its two ports, which both sides know."""
    known = association.__dict__.get("_labsim_id")
    if known is None:
        sock = association.dul.socket.socket if association.dul.socket else None
        ends: tuple[int, int] = (0, 0)
        if sock is not None:
            with contextlib.suppress(OSError):  # closed already: nobody else will speak of it
                ends = (sock.getsockname()[1], sock.getpeername()[1])
        ours, theirs = ends
        known = f"{ours}-{theirs}" if association.is_requestor else f"{theirs}-{ours}"
        if ends != (0, 0):
            association.__dict__["_labsim_id"] = known
    return str(known)


def _no_delay(event: evt.Event) -> None:
    # Without it each message waits 40 ms for the acknowledgment of the one before.
    _association_id(event.assoc)
    sock = event.assoc.dul.socket
    if sock is not None and sock.socket is not None:
        sock.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _close_socket(association: Association) -> None:
    sock = association.dul.socket
    if sock is not None and sock.socket is not None:
        sock.close()
