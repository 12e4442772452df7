"""What every request over the web must pass: a bearer token (RFC 6750), and CORS."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from labsim.systems.audit.message import SOURCE, Participant
from labsim.systems.facility import System
from labsim.systems.web.tokens import InvalidToken, Tokens
from labsim.wire.http import Handler, HttpError, HttpNode


@dataclass(frozen=True)
class Gate:
    """What `WebHandler` needs to know of its system.

    Parameters
    ----------
    system : System
        Whose interface it is.
    tokens : Tokens
        Those that it has issued.
    refused : callable
        Told in one sentence of each request that is refused, for the audit trail.
    origins : callable
        Returns the web origins whose pages may call, such as ``"http://localhost:3000"``.
    base : str
        Path below which everything is.
    """

    system: System
    tokens: Tokens
    refused: Callable[[str], None]
    origins: Callable[[], Collection[str]] = tuple
    base: str = ""


class WebHandler(Handler):
    """Answers only who holds a token with the right for the method.

    Attributes
    ----------
    needs : dict of str to str
        Right by HTTP method; GET needs ``"read"``, all others ``"write"``.
    holder : str
        Name of the token.
    authority : str
        Host and port by which the caller reached this interface.
    """

    needs = {"GET": "read", "HEAD": "read"}  # noqa: RUF012  (a subclass may replace it)

    def initialize(self, node: HttpNode, gate: Gate | None = None, **rest: Any) -> None:
        """Take what the route says."""
        super().initialize(node, **rest)
        assert gate is not None  # every route of a WebHandler names it
        self.gate = gate
        self.holder = ""

    async def prepare(self) -> None:
        """Refuse who has no valid token (401), or not the right (403), as RFC 6750 3.1 says."""
        super().prepare()
        self.authority = self._authority_asked()
        await self.in_thread(self._allow_origin)
        if self.request.method == "OPTIONS":
            return  # a browser sends no token with a preflight
        right = self.needs.get(self.request.method or "", "write")
        await self.in_thread(self._admit, right)

    def source(self) -> Participant:
        """Return who holds the token, and has asked or sent, for the audit trail."""
        host = self.caller.partition(":")[0]
        return Participant(self.holder, requestor=True, role=SOURCE, host=host)

    def url(self, *path: str) -> str:
        """Return the address of something at this interface, as the caller named its host."""
        base = f"{self.request.protocol}://{self.authority}"
        return "/".join((base + self.gate.base, *path))

    def options(self, *path: str) -> None:
        """Answer the preflight of a browser."""
        self.set_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
        self.set_header("Access-Control-Allow-Headers", "Authorization, Accept, Content-Type")
        self.set_status(204)

    def _authority_asked(self) -> str:
        host = self.request.host
        if ":" in host.rpartition("]")[2]:
            return host
        # Some clients leave the port out; what is named without it could not be reached.
        stream = self.request.connection.stream  # type: ignore[union-attr]
        return f"{host}:{stream.socket.getsockname()[1]}"

    def _allow_origin(self) -> None:
        origin = self.request.headers.get("Origin", "")
        self._origin = origin if origin and origin in self.gate.origins() else ""
        self._let_page_read()

    def _let_page_read(self) -> None:
        self.set_header("Vary", "Origin")
        if self._origin:
            self.set_header("Access-Control-Allow-Origin", self._origin)

    def write_error(self, status_code: int, **named: Any) -> None:
        """Answer so that a page of an allowed origin can read the error too."""
        if hasattr(self, "_origin"):
            self._let_page_read()
        super().write_error(status_code, **named)

    def _admit(self, right: str) -> None:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            # Who has shown nothing is told no error code (RFC 6750 3.1).
            self._refuse(401, "A bearer token is needed.", "Bearer")
        try:
            known = self.gate.tokens.check(token.strip())
        except InvalidToken as error:
            self._refuse(401, error.what, 'Bearer error="invalid_token"')
        self.holder = known.name
        if right not in known.rights:
            what = f"The token of {known.name} has no right to {right}."
            self._refuse(403, what, f'Bearer error="insufficient_scope", scope="{right}"')

    def _refuse(self, status: int, what: str, challenge: str) -> None:
        self.gate.refused(f"{self.request.method} {self.request.path} of {self.caller}: {what}")
        raise HttpError(
            status,
            what,
            "Ask for one with tokens.issue(…).",
            headers={"WWW-Authenticate": challenge},
        )
