"""The DICOMweb interface of an archive (PS3.18)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from labsim.database import Database
from labsim.systems.audit.trail import MINOR_FAILURE, AuditTrail
from labsim.systems.facility import System
from labsim.systems.web import origins, qido, tokens
from labsim.systems.web.handler import Gate
from labsim.systems.web.origins import Origins
from labsim.systems.web.tokens import Tokens
from labsim.wire.http import HttpNode
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
    """

    def __init__(
        self, system: System, trail: AuditTrail, database: Callable[[], Database], title: str
    ) -> None:
        self.tokens = Tokens(system)
        self._origins = Origins(system)
        self._system = system
        self._trail = trail
        self._title = title
        facility = system.facility
        self._node = HttpNode(system.name, facility.journal, facility.network, facility.loop)
        gate = Gate(system, self.tokens, self._refused, self.origins)
        self._routes = qido.routes(BASE, gate=gate, database=database, title=title)

    def serve(self, place: Address) -> None:
        """Begin to listen."""
        listen = partial(self._node.listen, self._routes)
        close = self._node.close
        self._system.serve("dicomweb", place, self._title, listen, close, place="http")

    def origins(self) -> Sequence[str]:
        """Return the web origins whose pages may call."""
        return self._origins.all()

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
