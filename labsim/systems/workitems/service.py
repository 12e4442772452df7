"""The web interface of a system that has a list of work."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from labsim.systems.facility import System
from labsim.systems.web import origins, tokens
from labsim.systems.web.handler import Gate
from labsim.systems.web.origins import Origins
from labsim.systems.web.tokens import Tokens
from labsim.systems.workitems import web
from labsim.systems.workitems.worklist import Workitems
from labsim.wire.http import HttpNode
from labsim.wire.network import Address

BASE = "/dicom-web"
SCHEMA = tokens.SCHEMA + origins.SCHEMA
LARGEST = 16 * 1024 * 1024  # octets of a workitem


class WorkitemsWeb:
    """Answers over HTTP who holds a token.

    Parameters
    ----------
    system : System
        Whose interface it is; its database has the tables of `SCHEMA`.
    steps : Workitems
        Its list of work.
    title : str
        AE title of the system.
    refused : callable
        Told in one sentence of each caller that is refused, for its token or its TLS.

    Attributes
    ----------
    tokens : Tokens
        The bearer tokens that it has issued.
    origins : Origins
        The web origins whose pages may call.
    """

    def __init__(
        self, system: System, steps: Workitems, title: str, refused: Callable[[str], None]
    ) -> None:
        self.tokens = Tokens(system)
        self.origins = Origins(system)
        self._system = system
        self._title = title
        facility = system.facility
        self._node = HttpNode(system.name, facility.journal, facility.network, facility.loop)
        self._node.refused = refused
        gate = Gate(system, self.tokens, refused, self.origins.all, BASE)
        self._routes = web.routes(BASE, gate=gate, steps=steps)

    def serve(self, place: Address) -> None:
        """Begin to listen."""
        listen = partial(self._node.listen, self._routes, largest=LARGEST)
        close = self._node.close
        protocol = self._node.named("dicomweb")
        self._system.serve(protocol, place, self._title, listen, close, place="http")
