"""The DICOMweb interface of an archive (PS3.18)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from labsim.database import Database
from labsim.systems.audit.trail import MINOR_FAILURE, AuditTrail
from labsim.systems.facility import System
from labsim.systems.pacs.access import Access, needs
from labsim.systems.pacs.auditing import Auditing
from labsim.systems.web import origins, qido, tokens
from labsim.systems.web.handler import Gate
from labsim.systems.web.origins import Origins
from labsim.systems.web.tokens import Tokens
from labsim.wire.http import HttpNode, Route
from labsim.wire.network import Address

BASE = "/dicom-web"
SCHEMA = tokens.SCHEMA + origins.SCHEMA


class DicomWeb:
    """Answers over HTTP who holds a token.

    Parameters
    ----------
    system : System
        Whose interface it is; its database has the tables of `SCHEMA`.
    trail : AuditTrail
        Hears of requests that are refused.
    database : callable
        Returns the index as outsiders see it.
    title : str
        AE title of the system.
    auditing : Auditing
        Hears of searches.
    access : Access
        Who is at the console, and may configure it.
    """

    def __init__(
        self,
        system: System,
        trail: AuditTrail,
        database: Callable[[], Database],
        title: str,
        auditing: Auditing,
        access: Access,
    ) -> None:
        self.tokens = Tokens(system, access.require)
        self.access = access
        self._origins = Origins(system)
        self._system = system
        self._trail = trail
        self._title = title
        facility = system.facility
        self._node = HttpNode(system.name, facility.journal, facility.network, facility.loop)
        self._node.refused = trail.not_authenticated
        self._gate = Gate(system, self.tokens, self._refused, self.origins, BASE)
        self._routes: list[Route] = []
        self.offer(qido.routes, database=database, title=title, auditing=auditing)

    def offer(self, routes: Callable[..., Sequence[Route]], **named: Any) -> None:
        """Offer more below the same base path, behind the same tokens; before `serve`."""
        # What comes later is asked first: it may be for one method of a path only.
        self._routes = [*routes(BASE, gate=self._gate, **named), *self._routes]

    def serve(self, place: Address) -> None:
        """Begin to listen."""
        listen = partial(self._node.listen, self._routes)
        close = self._node.close
        protocol = self._node.named("dicomweb")
        self._system.serve(protocol, place, self._title, listen, close, place="http")

    def origins(self) -> Sequence[str]:
        """Return the web origins whose pages may call."""
        return self._origins.all()

    @needs("configure")
    def allow_origins(self, *origins: str) -> None:
        """Say the pages of which web origins may call (CORS); at first none may.

        Raises
        ------
        ConfigurationError
            If one is not written as a browser sends it, such as ``"http://localhost:3000"``.
        """
        self._origins.allow(*origins)

    def _refused(self, what: str) -> None:
        self._trail.alert("110126", what, about=self._system.name, outcome=MINOR_FAILURE)
