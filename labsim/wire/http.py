"""HTTP servers of the hospital: they listen, and every request is in the journal.

Tornado speaks the protocol, on the hospital's background loop. This module
decides what is the same for every system: how a request is journaled, what an
error looks like, how large a body may be, and that all ends at once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http.client import responses
from typing import Any, ParamSpec, TypeVar

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher
from tornado.web import Application, HTTPError, RequestHandler

from labsim.errors import LabError
from labsim.journal import Journal
from labsim.wire.background import BackgroundLoop
from labsim.wire.doorway import Doorway
from labsim.wire.network import Network, port_taken
from labsim.wire.tls import Context

LARGEST_BODY = 512 * 1024 * 1024
TIMEOUT = 5.0
REQUEST_ID = "X-Request-ID"  # by which both ends name a request in their journal
_P = ParamSpec("_P")
_T = TypeVar("_T")
# The journal has what went wrong; without this it would be printed, too.
logging.getLogger("tornado").addHandler(logging.NullHandler())
Route = tuple[str | Matcher, type["Handler"], dict[str, Any]]


class HttpError(LabError):
    """A request that is answered with an error status.

    Parameters
    ----------
    status : int
        HTTP status code, 400 to 599.
    what, next_step : str
        As in `LabError`; both are in the answer.
    headers : mapping, optional
        For the answer.
    """

    def __init__(
        self,
        status: int,
        what: str,
        next_step: str = "",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what, next_step)
        self.status = status
        self.headers = dict(headers or {})


class Handler(RequestHandler):
    """Answers the requests at one path.

    A subclass has methods ``get``, ``post`` …, as Tornado's have. What they
    ask of a system goes through `in_thread`, because the loop must not wait.

    Attributes
    ----------
    caller : str
        The system that asks, else its address.
    transaction : str
        IHE transaction, for the journal; a method may set it.
    keys : dict of str to str
        What ties the request to an exam, for the journal; a method may set it.
    """

    _numbers = itertools.count(1)

    def initialize(self, node: HttpNode, **rest: Any) -> None:
        """Take what the route says."""
        self.node = node
        self.transaction = ""
        self.keys: dict[str, str] = {}
        self.problem = ""
        # Not in `prepare`, which a request with an unknown method never comes to.
        self.caller = node.caller(self.request)
        given = self.request.headers.get(REQUEST_ID, "")
        self._number = given[:64] or f"{node.system}-{next(self._numbers)}"

    def prepare(self) -> Awaitable[None] | None:
        """Do what comes before every method; a subclass may refuse the request here."""
        return None

    async def in_thread(self, work: Callable[_P, _T], *values: _P.args, **named: _P.kwargs) -> _T:
        """Do something that waits, on a thread of its own."""
        return await asyncio.to_thread(work, *values, **named)

    def set_default_headers(self) -> None:
        """Say nothing about the software."""
        self.set_header("Server", "labsim")

    def write_error(self, status_code: int, **named: Any) -> None:
        """Answer with one sentence and a next step, as plain text; never with a traceback."""
        error = named.get("exc_info", (None, None))[1]
        if isinstance(error, HttpError):
            self.problem = str(error)
            for name, value in error.headers.items():
                self.set_header(name, value)
        elif isinstance(error, LabError):
            self.problem = str(error)
        elif isinstance(error, HTTPError):
            self.problem = error.log_message or responses.get(status_code, "")
        else:
            self.problem = f"Internal error: {error!r}"
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self.problem + "\n")

    def _handle_request_exception(self, error: BaseException) -> None:
        if isinstance(error, HttpError):
            # Tornado takes the status from its own class only.
            self.send_error(error.status, exc_info=(type(error), error, error.__traceback__))
            return
        super()._handle_request_exception(error)

    def log_exception(self, *exception: Any) -> None:
        """Keep Tornado's log quiet: the journal has it."""

    def on_finish(self) -> None:
        """Write request and answer into the journal, as one end saw them."""
        self.node.record(
            f"{self.request.method} {self.request.uri}",
            self.get_status(),
            direction="received",
            peer=self.caller,
            transaction=self.transaction,
            keys={**self.keys, "message": self._number},
            problem=self.problem,
        )


class NotThere(Handler):
    """Answers what no route is for."""

    def prepare(self) -> None:
        """Refuse it."""
        super().prepare()
        raise HttpError(404, f"There is nothing at {self.request.path}.")


class HttpNode:
    """One system's HTTP interface.

    Parameters
    ----------
    system : str
        Whose interface it is, for the journal.
    journal, network, loop
        The hospital's.
    tls : bool, optional
        Whether it speaks HTTPS, with the certificate of its host; as the hospital does if
        left out.

    Attributes
    ----------
    refused : callable
        Is told why TLS was not agreed on with a caller; on a thread where it may wait.
    """

    def __init__(
        self,
        system: str,
        journal: Journal,
        network: Network,
        loop: BackgroundLoop,
        *,
        tls: bool | None = None,
    ) -> None:
        self.tls = network.security.http if tls is None else tls
        self.refused: Callable[[str], object] = lambda what: None
        self.system = system
        self._journal = journal
        self._network = network
        self._loop = loop
        self._server: HTTPServer | None = None

    def listen(
        self,
        routes: Sequence[tuple[str | Matcher, type[Handler], Mapping[str, Any]]],
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        largest: int = LARGEST_BODY,
    ) -> int:
        """Answer requests.

        Parameters
        ----------
        routes : sequence of (str or Matcher, type of Handler, mapping)
            Of each a regular expression of the path, or what else tells whether
            it fits a request, who answers, and what its ``initialize`` gets by name.
        port : int
            Loopback port, 0 for a free one.
        tls : ssl.SSLContext, optional
            To speak HTTPS, such as `labsim.wire.tls.Credentials.server` returns; made of the
            host's certificate if left out where HTTPS is spoken at all.
        largest : int
            How many octets a body may have.

        Returns
        -------
        int
            The port.

        Raises
        ------
        PortTaken
            If another program listens there.
        """
        made = [(path, handler, {"node": self, **named}) for path, handler, named in routes]
        application = Application(
            made,
            default_handler_class=NotThere,
            default_handler_args={"node": self},
            log_function=lambda handler: None,
        )
        credentials = self._network.credentials
        if tls is None and self.tls and credentials is not None:
            tls = credentials.server(mutual=self._network.security.mutual)
        if isinstance(tls, Context):
            tls.noted.complain = self._no_handshake
        try:
            return self._loop.run(self._listen(application, port, tls, largest))
        except OSError as error:
            raise port_taken(port, f"HTTP of {self.system}", error) from error

    def named(self, protocol: str) -> str:
        """Return the name of what is spoken there, such as ``"dicomweb"``, with TLS or without."""
        return f"{protocol}-tls" if self.tls else protocol

    def close(self) -> None:
        """Stop listening and end the conversations that are open."""
        if self._server is not None:
            self._loop.run(self._close(self._server))
            self._server = None

    def caller(self, request: HTTPServerRequest) -> str:
        """Return which system asks; the address if it is a program from outside."""
        assert request.connection is not None
        place = request.connection.context.address  # type: ignore[attr-defined]
        return self._network.caller(place[1]) or f"{place[0]}:{place[1]}"

    def record(
        self,
        request: str,
        status: int,
        *,
        direction: str,
        peer: str,
        transaction: str,
        keys: Mapping[str, str],
        problem: str = "",
    ) -> None:
        """Write a request and its answer into the journal."""
        record_exchange(
            self._journal,
            self.system,
            request,
            status,
            direction=direction,
            peer=peer,
            transaction=transaction,
            keys=keys,
            problem=problem,
            tls=self.tls,
        )

    def _no_handshake(self, what: str) -> None:
        text = f"HTTP: a connection ended before TLS was agreed on: {what}"
        self._journal.record(self.system, "error", f"{text}.")
        # This is the loop, which must not wait.
        self._loop.spawn(asyncio.to_thread(self.refused, text))

    async def _listen(
        self, application: Application, port: int, tls: ssl.SSLContext | None, largest: int
    ) -> int:
        server = HTTPServer(
            application,
            ssl_options=tls,
            max_body_size=largest,
            max_buffer_size=largest,
            body_timeout=60.0,
            idle_connection_timeout=60.0,
        )
        listening = Doorway(self._network, port)
        listening.setblocking(False)
        server.add_sockets([listening])
        self._server = server
        return int(listening.getsockname()[1])

    async def _close(self, server: HTTPServer) -> None:
        server.stop()
        await server.close_all_connections()


def record_exchange(
    journal: Journal,
    system: str,
    request: str,
    status: int,
    *,
    direction: str,
    peer: str,
    transaction: str,
    keys: Mapping[str, str],
    problem: str = "",
    tls: bool = False,
) -> None:
    """Write one request with its answer into the journal, as one of its ends saw it.

    Parameters
    ----------
    journal : Journal
        The hospital's.
    system : str
        Whose end it is.
    request : str
        Method and path.
    status : int
        Of the answer; 0 if none came.
    direction : str
        ``"sent"`` or ``"received"``.
    peer, transaction, keys
        As in `labsim.journal.Event`; ``keys["message"]`` names the request at both ends.
    problem : str
        What the answer said of an error.
    tls : bool
        Whether by HTTPS.
    """
    answer = f"{status} {responses.get(status, '')}".strip() if status else "no answer"
    shown = f"{request} → {answer}" + (f": {problem}" if problem else "")
    detail = {"direction": direction, "request": True, "answer": answer, "status": status}
    if tls:
        detail["tls"] = True
    journal.record(
        system, "http", shown, peer=peer, transaction=transaction, keys=keys, detail=detail
    )
