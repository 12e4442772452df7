"""DICOM by TLS, on a port beside the plain one (PS3.15 B.12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pynetdicom.presentation import PresentationContext

from labsim.site import Site
from labsim.systems.facility import System
from labsim.wire.dimse import DicomNode, Handlers
from labsim.wire.network import Address


def serve_by_tls(
    system: System,
    site: Site,
    address: Address,
    answering: tuple[Sequence[PresentationContext], Handlers],
    *,
    title: str,
    protocol: str = "dicom-tls",
    refused: Callable[[str], None] = lambda what: None,
    **more: Any,
) -> None:
    """Answer by TLS what is answered without.

    Parameters
    ----------
    system : System
        Who listens, with the certificate of its host.
    site : Site
        Says whether a caller must show one.
    address : Address
        Host and port in the hospital.
    answering : tuple
        Presentation contexts and handlers, as `DicomNode.listen` takes them.
    title : str
        AE title.
    protocol : str
        As in `labsim.systems.facility.Endpoint`.
    refused : callable
        Is told why TLS was not agreed on with a caller.
    **more
        For `DicomNode.listen`.
    """
    facility, (contexts, handlers) = system.facility, answering
    node = DicomNode(system.name, title, facility.journal, facility.network)
    credentials = facility.network.credentials
    assert credentials is not None, "the hospital issues them"

    # The context is made anew at each start, so that a renewed certificate is shown then.
    def listen(port: int) -> int:
        return node.listen(
            contexts,
            handlers,
            port,
            tls=credentials,
            mutual=site.security.mutual,
            refused=refused,
            **more,
        )

    system.serve(protocol, address, title, listen, node.close, place="dicom-tls")
