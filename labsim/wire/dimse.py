"""DICOM associations: who calls, and who answers.

pynetdicom speaks the protocol; this module decides what is the same for every
system of the hospital: time-outs, admission by AE title, errors of handlers,
and that every socket is closed in the end.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from socketserver import TCPServer
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import (
    AddressInformation,
    AssociationSocket,
    ThreadedAssociationServer,
)

from labsim.errors import AssociationFailed, LabError
from labsim.ids import is_ae_title
from labsim.inflating import TooLarge, require_bounded
from labsim.journal import Journal
from labsim.wire.answering import Service, service_for
from labsim.wire.association_log import (
    AssociationLog,
    association_id,
    close_socket,
    was_connected,
)
from labsim.wire.bounded import is_busy
from labsim.wire.checkpoint import Checkpoint
from labsim.wire.doorway import Doorway
from labsim.wire.network import Address, Network, port_taken
from labsim.wire.status import (
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    REJECTION_ADVICE,
    REJECTION_REASONS,
    failure,
)
from labsim.wire.tls import Context, Credentials, explain

_LOG = logging.getLogger("labsim.wire.dimse")
TIMEOUT = 5.0
LONGEST = 30.0  # for one PDU to come or go
# It would decode each Identifier, of whatever size, for a log that nobody reads.
_config.LOG_REQUEST_IDENTIFIERS = False


@dataclass(frozen=True)
class Peer:
    """An application entity as another one's configuration knows it."""

    ae_title: str
    host: str
    port: int
    tls: bool = False

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


def instance_of(event: evt.Event) -> str:
    """Return the SOP Instance UID that a request affects or names; empty if it does not."""
    request = event.request
    affected = getattr(request, "AffectedSOPInstanceUID", None)
    return str(affected or getattr(request, "RequestedSOPInstanceUID", None) or "")


def require_bounded_data(event: evt.Event) -> None:
    """Refuse a request with a deflated data set that would be too large.

    Raises
    ------
    TooLarge
        If it would.
    """
    context = getattr(event, "context", None)  # what is no request has none
    if context is not None and context.transfer_syntax == DeflatedExplicitVRLittleEndian:
        # DataSet, Identifier, AttributeList …: each kind of request has its own name for it.
        for value in vars(event.request).values():
            if isinstance(value, BytesIO):
                require_bounded(BytesIO(value.getvalue()))


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
    credentials : Credentials, optional
        With which it calls by TLS; those of the host it is on if left out.
    """

    def __init__(
        self,
        system: str,
        ae_title: str,
        journal: Journal,
        network: Network,
        credentials: Credentials | None = None,
    ) -> None:
        self.system = system
        self.ae_title = ae_title
        self._network = network
        self._credentials = credentials
        self._log = AssociationLog(system, ae_title, journal, network)
        self._server: _Listener | None = None
        self._serving: threading.Thread | None = None
        self._calls: list[Association] = []
        self._dialling: list[_Entity] = []

    # Answering

    def listen(
        self,
        contexts: Sequence[PresentationContext],
        handlers: Handlers,
        port: int = 0,
        *,
        services: Mapping[type, Service] | None = None,
        admit: Admission | None = None,
        tls: Credentials | None = None,
        mutual: bool = True,
        refused: Callable[[str], None] = lambda what: None,
    ) -> int:
        """Answer associations.

        Parameters
        ----------
        contexts : sequence of PresentationContext
            What is supported.
        handlers : sequence of (event, callable)
            What answers each DIMSE request. A handler that raises is answered
            with 0x0110 Processing failure and journaled.
        port : int
            Loopback port, 0 for a free one.
        services : mapping, optional
            What answers the requests of a kind, such as ``C_MOVE``, in the
            place of pynetdicom's own service.
        admit : callable, optional
            Decides on a `Call`; returns None or what to reject it with.
        tls : Credentials, optional
            To speak TLS (PS3.15 B.12).
        mutual : bool
            Whether a caller by TLS must show a certificate.
        refused : callable
            Is told why a caller and this node did not agree on TLS.

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
        entity.network = self._network
        bound = [(event, self._guard(event, handler)) for event, handler in handlers]
        requested = functools.partial(self._requested, admit, services or {})
        request = [(evt.EVT_REQUESTED, requested)]
        complain = functools.partial(self._no_handshake, refused)
        context = tls.server(mutual=mutual, complain=complain) if tls else None
        try:
            self._server = cast(
                _Listener,
                entity.make_server(
                    (self._network.interface, port),
                    contexts=_Shared(contexts),  # the entity's own list would lose their roles
                    evt_handlers=[*self._log.observers(), *request, *bound],
                    server_class=_Listener,
                ),
            )
            self._server.tls = context
        except OSError as error:
            raise port_taken(port, f"DICOM of {self.system}", error) from error
        self._serving = threading.Thread(
            target=self._server.serve_forever,
            args=(0.02,),
            name=f"{self.system}-dicom",
            daemon=True,
        )
        self._serving.start()
        return int(self._server.server_address[1])

    @property
    def associations(self) -> int:
        """How many associations are open, whoever called."""
        answering = self._server.active_associations if self._server is not None else []
        return len(answering) + len(self._calls)

    def observers(self) -> Handlers:
        """Return what writes an association's course into the journal."""
        return self._log.observers()

    def close(self) -> None:
        """Stop listening, abort the associations that are open, and wait for no answer."""
        answering: list[Association] = []
        if self._server is not None and self._serving is not None:
            self._server.shutdown()
            self._serving.join()
            answering = self._server.active_associations  # now that no more come
            self._server = None
        for association in [*answering, *self._calls]:
            if association.is_established and is_busy(association):
                _shut(association)  # an abort would wait for the end of the PDU
            elif association.is_established:
                association.abort()
            elif association.requestor.primitive is None:
                _hang_up(association)
        for entity in list(self._dialling):
            if entity.calling is not None:
                _hang_up(entity.calling)
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
            if association.is_established:
                association.release()
        except BaseException:  # Ctrl-C may come in the middle of the release, too
            _end(association)
            raise
        finally:
            association.join(TIMEOUT)
            association.dul.join(TIMEOUT)
            close_socket(association)
            self._calls.remove(association)

    def _call(
        self,
        peer: Peer,
        contexts: Sequence[PresentationContext],
        negotiation: Sequence[Any],
        handlers: Handlers,
    ) -> Association:
        for title in (self.ae_title, peer.ae_title):
            if not is_ae_title(title):
                advice = "1 to 16 characters of ASCII, no backslash, not spaces alone."
                raise self._failed(peer, f"{title!r} is no AE title.", advice, "AE title")
        try:
            local = self._network.resolve(peer.address)
        except LabError as error:
            raise self._failed(peer, error.what, error.next_step, "unreachable") from error
        context = self._context(peer) if peer.tls else None
        bound = [(event, self._guard(event, handler)) for event, handler in handlers]
        entity = self._entity()
        self._dialling.append(entity)
        try:
            with self._network.dialling(local):
                association = entity.associate(
                    local.host,
                    local.port,
                    contexts=list(contexts),
                    ae_title=peer.ae_title,
                    ext_neg=list(negotiation),
                    evt_handlers=[*self._log.observers(), *bound],
                    tls_args=(context, peer.host) if context else None,
                )
        except BaseException:  # Ctrl-C, before there was an association to give back
            if entity.calling is not None:
                _end(entity.calling)
                close_socket(entity.calling)
            raise
        finally:
            self._dialling.remove(entity)
        if association.is_established:
            return association
        association.dul.join(TIMEOUT)
        close_socket(association)
        if context is not None and context.noted.latest is not None:
            context.noted.latest.close()  # pynetdicom leaves it open if nobody listens
        if context is not None and context.noted.problem is not None:
            what, next_step = explain(context.noted.problem, peer.host)
            raise self._failed(peer, f"could not be reached by TLS: {what}.", next_step, "TLS")
        raise self._not_established(peer, association)

    def _context(self, peer: Peer) -> Context:
        credentials = self._credentials or self._network.credentials
        if credentials is None:
            what = f"{self.system} is to call by TLS, and its host has no certificate."
            raise self._failed(peer, what, "Call without TLS, or give it one.", "unreachable")
        return credentials.client()

    def _no_handshake(self, refused: Callable[[str], None], what: str) -> None:
        text = f"a connection ended before TLS was agreed on: {what}"
        self._log.error(f"{self.ae_title}: {text}")
        refused(text)

    def _not_established(self, peer: Peer, association: Association) -> AssociationFailed:
        if association.is_rejected:
            answer = association.acceptor.primitive
            assert answer is not None
            source, reason = answer.result_source or 0, answer.diagnostic or 0
            words = REJECTION_REASONS.get((source, reason), "reason unknown")
            code = f"{answer.result}/{source}/{reason}"
            return self._failed(
                peer,
                f"rejected the association: {words} ({code}).",
                REJECTION_ADVICE.get((source, reason), ""),
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
        if was_connected(association):
            advice = "Check that DICOM is spoken there, with or without TLS, and what its log says."
            return self._failed(
                peer, "aborted the association or did not answer.", advice, "aborted"
            )
        advice = "Check host and port, and that the service runs."
        return self._failed(peer, "refused the TCP connection.", advice, "refused")

    def _failed(self, peer: Peer, what: str, next_step: str, reason: str) -> AssociationFailed:
        text = f"{self.ae_title} → {peer.ae_title} ({peer.address}): {peer.ae_title} {what}"
        if reason in ("AE title", "unreachable"):  # the peer has heard nothing of it
            text = f"{self.ae_title} → {peer.ae_title} ({peer.address}): {what}"
        if not reason.startswith("rejected"):  # a rejection is journaled where it arrives
            self._log.error(text, peer=peer.ae_title)
        return AssociationFailed(text, next_step, reason=reason)

    # What is the same for both

    def _entity(self) -> _Entity:
        entity = _Entity(ae_title=self.ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = TIMEOUT
        entity.network_timeout = LONGEST
        entity.maximum_pdu_size = 0  # unlimited: fewer, larger writes
        return entity

    def _requested(
        self, admit: Admission | None, services: Mapping[type, Service], event: evt.Event
    ) -> None:
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
        # pynetdicom has no place where a service of its own could be replaced.
        serve = functools.partial(_serve, services, event.assoc)
        event.assoc.__dict__["_serve_request"] = serve
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
                require_bounded_data(request)
                return handler(request)
            except TooLarge as error:
                status = self._handler_failed(request, error)
                if event is evt.EVT_C_STORE:
                    status.Status = OUT_OF_RESOURCES
                return (status, None) if event.name.startswith("EVT_N_") else status
            except Exception as error:  # whatever it was, the caller must not hear success
                status = self._handler_failed(request, error)
                return (status, None) if event.name.startswith("EVT_N_") else status

        return guarded

    def _guard_generator(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def guarded(request: evt.Event) -> Iterator[Any]:
            try:
                require_bounded_data(request)
                yield from handler(request)
            except GeneratorExit:
                raise
            except Exception as error:  # journaled, and passed on to be answered as a failure
                self._handler_failed(request, error)
                raise  # pynetdicom answers 0xC311, 0xC411 or 0xC511 and aborts nothing

        return guarded

    def failed_to_answer(self, request: evt.Event, error: Exception) -> str:
        """Write into the journal why a request could not be processed, and return it."""
        text = error.what if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
        what = f"{self.ae_title} could not process a request: {text}"
        self._log.error(what, association=request.assoc)
        return text

    def _handler_failed(self, request: evt.Event, error: Exception) -> Dataset:
        return failure(PROCESSING_FAILURE, self.failed_to_answer(request, error))


class _Entity(AE):
    """pynetdicom's application entity, with sockets that are closed in the end.

    Its associations lose no answer (`Checkpoint`).

    pynetdicom does not close a socket that it cannot shut down first, such as
    one that nobody answered or that the peer has reset.
    """

    calling: Association | None = None
    network: Network | None = None

    def _create_socket(
        self,
        assoc: Association,
        address: AddressInformation,
        tls_args: tuple[ssl.SSLContext, str] | None,
    ) -> AssociationSocket:
        self.calling = assoc
        assoc._reactor_checkpoint = Checkpoint(assoc)
        made = super()._create_socket(assoc, address, tls_args)
        assoc.__dict__["_labsim_socket"] = made.socket
        return made


class _Listener(ThreadedAssociationServer):
    """pynetdicom's server with room for many callers at once and a quick end."""

    request_queue_size = 128
    tls: Context | None = None

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self._shaking: set[socket.socket] = set()

    def server_bind(self) -> None:
        """Listen behind the host's firewall."""
        entity, bare = cast(_Entity, self.ae), cast(socket.socket, self.socket)
        assert entity.network is not None
        bare.close()
        self.socket = Doorway(entity.network, self.server_address[1])
        self.socket.settimeout(entity.network_timeout)
        self.server_address = self.socket.getsockname()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Agree on TLS first, on the caller's own thread: one that is silent holds up no other."""
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(TIMEOUT)
        self._shaking.add(request)
        try:
            secured = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        finally:
            self._shaking.discard(request)
        self._shaking.add(secured)
        try:
            secured.do_handshake()
        except OSError:  # the context has told why
            secured.close()
            return
        finally:
            self._shaking.discard(secured)
        secured.settimeout(None)
        super().finish_request(secured, client_address)

    def service_actions(self) -> None:
        """Leave garbage to Python.

        pynetdicom's own collects all of it each second, for every server: at a
        hospital of eight, with a long journal, that took half of the time.
        """

    def shutdown(self) -> None:
        TCPServer.shutdown(self)
        for waiting in list(self._shaking):
            with contextlib.suppress(OSError):  # it is closed already
                waiting.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Shared(list[PresentationContext]):
    """Contexts that nobody changes.

    pynetdicom copies its list in depth for each association, which takes 50 ms
    for those of an archive.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


def _serve(
    services: Mapping[type, Service], association: Association, request: Any, context_id: int
) -> None:
    """Answer a request, in the place of pynetdicom's method."""
    accepted = association._accepted_cx.get(context_id)
    service = None
    if accepted is not None and request.is_valid_request:
        service = services.get(type(request)) or service_for(request, accepted)
    if service is None:
        Association._serve_request(association, request, context_id)
        return
    association.dimse.cancel_req = {}
    association._is_paused = True  # so that sub-operations may go the same way
    try:
        service(association, request, context_id)
    except Exception:  # nothing that a handler did; the caller must not wait for more
        _LOG.exception("a request on %s was not answered", association_id(association))
        association.abort()
    finally:
        association._is_paused = False
        association.dimse.cancel_req = {}


def _end(association: Association) -> None:
    """End an association that an error has left in whatever state."""
    if association.is_released or association.is_aborted or association.is_rejected:
        association.kill()  # it is over, and its threads shall know
    else:
        association.abort()


def _hang_up(association: Association) -> None:
    """Wake what waits for a request that never came, or for the rest of it."""
    cast(Any, association.dul.to_user_queue).put(None)  # no primitive: its type has none
    _shut(association)


def _shut(association: Association) -> None:
    with contextlib.suppress(OSError, KeyError):  # not connected yet
        association.__dict__["_labsim_socket"].shutdown(socket.SHUT_RDWR)
