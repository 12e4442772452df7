"""What the journal hears of an association and of the messages on it."""

from __future__ import annotations

import base64
import contextlib
import functools
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom._globals import STATUS_PENDING
from pynetdicom.association import Association
from pynetdicom.dsutils import decode
from pynetdicom.status import code_to_category

from labsim import ihe
from labsim.inflating import require_bounded
from labsim.journal import Journal
from labsim.wire.bounded import keep_bounded
from labsim.wire.network import Network
from labsim.wire.status import REJECTION_REASONS, describe_status
from labsim.wire.steady import keep_in_order


class AssociationLog:
    """Writes the associations of one system into the journal.

    Parameters
    ----------
    system : str
        Whose.
    ae_title : str
        Its title.
    journal, network
        The hospital's.
    """

    def __init__(self, system: str, ae_title: str, journal: Journal, network: Network) -> None:
        self._system = system
        self._ae_title = ae_title
        self._journal = journal
        self._network = network

    def observers(self) -> list[tuple[evt.EventType, Callable[..., Any]]]:
        """Return what to bind to an association."""
        return [
            (evt.EVT_CONN_OPEN, self._connected),
            (evt.EVT_CONN_OPEN, functools.partial(keep_bounded, self.error)),
            (evt.EVT_CONN_OPEN, functools.partial(keep_in_order, self.error)),
            (evt.EVT_CONN_CLOSE, self._disconnected),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_RELEASED, functools.partial(self._ended, "released")),
            (evt.EVT_ABORTED, functools.partial(self._ended, "aborted")),
            (evt.EVT_DIMSE_RECV, functools.partial(self._message, "received")),
            (evt.EVT_DIMSE_SENT, functools.partial(self._message, "sent")),
        ]

    def error(self, text: str, *, association: Association | None = None, peer: str = "") -> None:
        """Write what went wrong, on an association or before there was one."""
        keys = {}
        if association is not None:
            peer, keys = peer_title(association), {"association": association_id(association)}
        self._journal.record(self._system, "error", text, peer=peer, keys=keys)

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
        words = REJECTION_REASONS.get((source, reason), "reason unknown")
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
        if was_connected(event.assoc):  # pynetdicom aborts what was never there, too
            self._about(event.assoc, how, f"association {how}")

    def _connected(self, event: evt.Event) -> None:
        association = event.assoc
        sock: socket.socket = cast(Any, association.dul.socket).socket
        ours, theirs = sock.getsockname()[1], cast(Any, event).address[1]
        if association.is_requestor:
            name = self._network.connected(ours, theirs, "caller")
            self._network.calls(ours, self._system)
            association.__dict__["_labsim_port"] = ours
        else:
            name = self._network.connected(theirs, ours, "called")
        association.__dict__ |= {"_labsim_socket": sock, "_labsim_id": name}
        # Without it each message waits 40 ms for the acknowledgment of the one before.
        with contextlib.suppress(OSError):  # it is closed already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _disconnected(self, event: evt.Event) -> None:
        close_socket(event.assoc)
        self._network.disconnected(association_id(event.assoc))
        self._network.hung_up(event.assoc.__dict__.get("_labsim_port", 0))
        if event.assoc.is_acceptor and event.assoc.requestor.primitive is None:
            caller = peer_title(event.assoc)
            text = f"{self._ae_title}: a connection ended without an association request in DICOM"
            self._journal.record(self._system, "error", text, peer=caller)

    def _about(self, association: Association, what: str, text: str, **detail: Any) -> None:
        name = association_id(association)
        self._journal.record(
            self._system,
            "association",
            text,
            peer=peer_title(association),
            # Both sides see it; shown once, from the requestor to the acceptor.
            keys={"association": name, "message": f"{name} {what}"},
            detail={
                "direction": "sent" if association.is_requestor else "received",
                **({"tls": True} if _is_secured(association) else {}),
                **detail,
            },
        )

    def _message(self, direction: str, event: evt.Event) -> None:
        observed = _Observed.of(event, direction)
        self._journal.record(
            self._system,
            "dimse",
            observed.summary,
            peer=peer_title(event.assoc),
            transaction=observed.transaction,
            keys=observed.keys,
            detail=observed.detail,
            payload=observed.payload,
        )


def _is_secured(association: Association) -> bool:
    return isinstance(association.__dict__.get("_labsim_socket"), ssl.SSLSocket)


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
    moved: set[int] = event.assoc.__dict__.setdefault("_labsim_moved", set())
    if "MoveOriginatorApplicationEntityTitle" in command_set:
        moved.add(int(command_set.MessageID))
        return True
    answered = command_set.get("MessageIDBeingRespondedTo")
    if answered in moved:  # the answer does not say what it answers
        moved.discard(answered)
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
    association = association_id(event.assoc)
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
        # What cannot be read ties to nothing; the handler answers for it.
        with contextlib.suppress(Exception):
            keys |= dicom_keys(identifier)
    return keys


_EXAM_TAGS = {
    "patient_id": Tag("PatientID"),
    "accession": Tag("AccessionNumber"),
    "study_uid": Tag("StudyInstanceUID"),
    "series_uid": Tag("SeriesInstanceUID"),
    "sop_uid": Tag("SOPInstanceUID"),
    "commitment_uid": Tag("TransactionUID"),
    "placer_order": Tag("PlacerOrderNumberImagingServiceRequest"),
    "filler_order": Tag("FillerOrderNumberImagingServiceRequest"),
}
_SCHEDULED = (Tag("ScheduledProcedureStepSequence"), Tag("ScheduledStepAttributesSequence"))


def dicom_keys(dataset: Dataset) -> dict[str, str]:
    """Return what ties a data set to an exam, single values without wild cards only.

    A performed step of several exams has several accession numbers: none of them ties it to
    one exam, its own UID ties it to all.
    """
    places = [dataset]
    for tag in _SCHEDULED:
        if tag in dataset:
            places += list(dataset[tag].value or [])
    found: dict[str, str] = {}
    for key, tag in _EXAM_TAGS.items():
        values = {str(place[tag].value or "") for place in places if tag in place}
        single = {value for value in values if value and not set(value) & set("*?\\[")}
        if len(single) == 1:
            found[key] = single.pop()
    return found


def _identifier(event: evt.Event) -> Dataset | None:
    known: Dataset | None = event.message.__dict__.get("_labsim_identifier")
    if known is not None:  # an answer of ours: it need not be read again
        return known
    stream = event.message.data_set
    data = stream.getvalue() if isinstance(stream, BytesIO) else b""
    syntax = _syntax(event)
    if not data or syntax is None:
        return None
    try:
        if syntax.is_deflated:
            require_bounded(BytesIO(data))
        return decode(
            BytesIO(data), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated
        )
    except Exception:  # the journal keeps the bytes; the handler answers for them
        return Dataset()


def _syntax(event: evt.Event) -> UID | None:
    # Its list of contexts is sorted anew for each who asks.
    context = event.assoc._accepted_cx.get(event.message.context_id or 0)  # 0 is nobody's
    return None if context is None else UID(context.transfer_syntax[0])


def _payload(event: evt.Event) -> Mapping[str, Any]:
    stream = event.message.data_set
    data = stream.getvalue() if isinstance(stream, BytesIO) else b""
    return {"syntax": str(_syntax(event)), "dicom": base64.b64encode(data).decode()}


def dataset_of(payload: Mapping[str, Any]) -> Dataset:
    """Return the data set that a journal payload holds."""
    syntax = UID(payload["syntax"])
    data = BytesIO(base64.b64decode(payload["dicom"]))
    return decode(data, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)


def peer_title(association: Association) -> str:
    """Return the other side's AE title, or its address if it has none."""
    user = association.acceptor if association.is_requestor else association.requestor
    title = user.ae_title.strip()
    return title or f"{user.address}:{user.port}"


def association_id(association: Association) -> str:
    """Return the name that both ends have for a connection, empty before there is one."""
    return str(association.__dict__.get("_labsim_id", ""))


def was_connected(association: Association) -> bool:
    """Tell whether there was ever a TCP connection."""
    return "_labsim_id" in association.__dict__


def close_socket(association: Association) -> None:
    """Close the socket, also one that pynetdicom leaves open."""
    sock: socket.socket = association.__dict__["_labsim_socket"]
    sock.close()
