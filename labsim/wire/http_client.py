"""HTTP requests from one system to another."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from labsim.errors import LabError, Unreachable
from labsim.journal import Journal
from labsim.wire.http import REQUEST_ID, TIMEOUT, record_exchange
from labsim.wire.network import Address, Network
from labsim.wire.tls import Context, explain

if TYPE_CHECKING:
    import httpx


class HttpClient:
    """Sends one system's requests; each on a connection of its own.

    Parameters
    ----------
    system : str
        Who asks.
    journal, network
        The hospital's.
    tls : bool, optional
        Whether it speaks HTTPS, with the certificate of its host; as the hospital does if
        left out.

    Attributes
    ----------
    refused : callable
        Is told why TLS was not agreed on with who was called.
    """

    _numbers = itertools.count(1)

    def __init__(
        self, system: str, journal: Journal, network: Network, *, tls: bool | None = None
    ) -> None:
        self.tls = network.security.http if tls is None else tls
        self.refused: Callable[[str], object] = lambda what: None
        self.system = system
        self._journal = journal
        self._network = network

    def request(
        self,
        method: str,
        peer: Address,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        transaction: str = "",
        keys: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
    ) -> httpx.Response:
        """Send one request and wait for its answer, whatever its status.

        Parameters
        ----------
        method, path : str
            Such as ``"GET"`` and ``"/studies?limit=10"``.
        peer : Address
            Host and port in the hospital.
        headers, content
            Of the request.
        transaction, keys
            For the journal.
        tls : ssl.SSLContext, optional
            To speak HTTPS, such as `labsim.wire.tls.Credentials.client` returns;
            the certificate must be of the peer's host name. Made of the host's own
            certificate if left out where HTTPS is spoken at all.
        timeout : float
            Seconds to wait for each part of the answer.

        Returns
        -------
        httpx.Response
            Read to its end.

        Raises
        ------
        Unreachable
            If no answer came; says why.
        """
        import httpx  # lazy: it takes a tenth of a second

        number = f"{self.system}-{next(self._numbers)}"
        credentials = self._network.credentials
        if tls is None and self.tls and credentials is not None:
            tls = credentials.client()
        ports: list[int] = []
        dial = ExitStack()

        def trace(name: str, info: Mapping[str, Any]) -> None:
            if name == "connection.connect_tcp.complete":
                ports.append(info["return_value"].get_extra_info("client_addr")[1])
                self._network.calls(ports[-1], self.system)
                dial.close()

        receiver = self._network.system_at(peer) or str(peer)
        known = {**(keys or {}), "message": number}
        status, problem = 0, ""
        try:
            local = self._network.resolve(peer)
            dial.enter_context(self._network.dialling(local))
            with httpx.Client(verify=tls or False, timeout=timeout, trust_env=False) as client:
                answer = client.request(
                    method,
                    f"{'https' if tls else 'http'}://{local.host}:{local.port}{path}",
                    headers={"Host": str(peer), REQUEST_ID: number, **(headers or {})},
                    content=content,
                    # The name in the certificate is the host's, not the loopback address.
                    extensions={"trace": trace, "sni_hostname": peer.host},
                )
            status = answer.status_code
            if status >= 400:
                problem = answer.text.strip()[:200]
            return answer
        except (httpx.TransportError, OSError, ssl.SSLError) as error:
            if isinstance(tls, Context) and tls.noted.problem is not None:
                cause, next_step = explain(tls.noted.problem, peer.host)
                problem = f"TLS failed, {cause}."
                self.refused(f"HTTP to {peer}: {problem}")
                what = f"{receiver} ({peer}) could not be reached by TLS for {method} {path}"
                raise Unreachable(f"{what}: {cause}.", next_step) from error
            problem = f"{type(error).__name__}: {error}"
            raise Unreachable(
                f"{receiver} ({peer}) did not answer {method} {path}: {error}.",
                "Check host, port and scheme, and that the service runs.",
            ) from error
        except LabError as error:
            problem = error.what
            raise
        finally:
            dial.close()
            for port in ports:
                self._network.hung_up(port)
            record_exchange(
                self._journal,
                self.system,
                f"{method} {path}",
                status,
                direction="sent",
                peer=receiver,
                transaction=transaction,
                keys=known,
                problem=problem,
                tls=tls is not None,
            )
