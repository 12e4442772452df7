"""TLS as it is used on DICOM, MLLP and HTTP: who proves what to whom, and what went wrong.

The BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15
B.12): TLS 1.2 at least, with forward secrecy and authenticated encryption
(RFC 9325 4.2); both ends show a certificate where the server asks for it.
A server's name is checked against the host name that the caller has in its
configuration, although the socket is a loopback one.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

# For TLS 1.2 (RFC 9325 4.2); all suites of TLS 1.3 are good.
CIPHERS = ":".join(
    f"ECDHE-{authentication}-{encryption}"
    for authentication in ("ECDSA", "RSA")
    for encryption in ("AES256-GCM-SHA384", "AES128-GCM-SHA256")
)
Complain = Callable[[str], None]
_WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)

# What OpenSSL calls it, what it means, and what to do about it.
_RENEW = "Look at hospital.ca.certificates() and renew it: hospital.ca.renew(host)."
_PLAIN = "Compare both ends: host, port, and whether TLS is switched on there."
_CAUSES = (
    ("CERTIFICATE_EXPIRED", "the other side says that our certificate has expired", _RENEW),
    ("UNKNOWN_CA", "the other side does not trust the authority of our certificate", _RENEW),
    ("CERTIFICATE_REQUIRED", "the other side asks for a certificate, and we showed none", _RENEW),
    ("DID_NOT_RETURN_A_CERTIFICATE", "the caller showed no certificate", _RENEW),
    ("BAD_CERTIFICATE", "the other side does not accept our certificate", _RENEW),
    ("CERTIFICATE_UNKNOWN", "the other side does not accept our certificate", _RENEW),
    ("WRONG_VERSION_NUMBER", "the other side does not speak TLS", _PLAIN),
    ("HTTP_REQUEST", "the other side does not speak TLS", _PLAIN),
    ("PROTOCOL_VERSION", "no version of TLS that both ends allow", "TLS 1.2 or 1.3 it must be."),
    ("UNSUPPORTED_PROTOCOL", "no version of TLS that both ends allow", "Use TLS 1.2 or 1.3."),
    ("NO_SHARED_CIPHER", "no cipher suite that both ends allow", "Use those of RFC 9325 4.2."),
    ("HANDSHAKE_FAILURE", "the other side found nothing to agree on", "Look into its log."),
)


@dataclass(frozen=True)
class Security:
    """What a hospital's systems speak TLS for, beside DICOM, where each service says so itself.

    Parameters
    ----------
    mllp, http : bool
        Whether HL7 and HTTP go by TLS (IHE ITI TF-2, ITI-19), listening and calling alike.
    mutual : bool
        Whether a caller must show a certificate.
    """

    mllp: bool = False
    http: bool = False
    mutual: bool = True


def explain(error: BaseException, host: str = "") -> tuple[str, str]:
    """Say why TLS failed.

    Parameters
    ----------
    error : Exception
        What the library raised.
    host : str
        Name of the other side, where it is known.

    Returns
    -------
    tuple of str
        The cause, without a full stop, and the next step.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error, host or "the caller")
    if isinstance(error, TimeoutError):
        return "the other side did not finish the TLS handshake in time", _PLAIN
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").upper().replace(" ", "_")
        for name, what, next_step in _CAUSES:
            if name in reason:
                return what, next_step
        if isinstance(error, ssl.SSLEOFError) or "UNEXPECTED_EOF" in reason:
            return "the other side hung up during the TLS handshake", _PLAIN
        return f"TLS failed ({error.reason or error})", _PLAIN
    return "the other side hung up during the TLS handshake", _PLAIN


def _untrusted(error: ssl.SSLCertVerificationError, host: str) -> tuple[str, str]:
    # X509_V_ERR numbers of OpenSSL, which are part of its interface.
    code, text = error.verify_code, error.verify_message
    if code == 10:
        return f"the certificate of {host} has expired", _RENEW
    if code == 9:
        return f"the certificate of {host} is not valid yet", "Compare the clocks."
    if code in (18, 19, 20, 21):
        return f"the certificate of {host} is signed by an authority that is not trusted", _RENEW
    if code in (62, 64):
        return f"the certificate is not of the name {host}", _RENEW
    return f"the certificate of {host} is not good: {text}", _RENEW


@dataclass
class _Noted:
    """What a context knows about the last connection that failed."""

    complain: Complain | None = None
    problem: BaseException | None = None
    latest: ssl.SSLSocket | None = None

    def note(self, error: BaseException) -> None:
        self.problem = error
        if self.complain is not None:
            self.complain(explain(error)[0])


class Context(ssl.SSLContext):
    """Remembers why a connection failed, where the library above only knows that it did.

    Attributes
    ----------
    noted : _Noted
        The last failure, the last socket, and who is told of failures.
    """

    noted: _Noted

    def wrap_socket(self, *values: Any, **named: Any) -> ssl.SSLSocket:
        """Speak TLS on a socket, and know it in case nobody closes it."""
        made = super().wrap_socket(*values, **named)
        self.noted.latest = made
        return made


def _note(connection: ssl.SSLSocket | ssl.SSLObject, error: BaseException) -> None:
    cast(Context, connection.context).noted.note(error)


class _Socket(ssl.SSLSocket):
    """What pynetdicom and Tornado use."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except _WANTS:
            raise
        except OSError as error:
            _note(self, error)
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except _WANTS:
            raise
        except ssl.SSLError as error:  # in TLS 1.3 the verdict of a server comes only now
            _note(self, error)
            raise


class _Object(ssl.SSLObject):
    """What asyncio uses."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except _WANTS:
            raise
        except OSError as error:
            _note(self, error)
            raise


@dataclass(frozen=True)
class Credentials:
    """Where a host has its key and certificate, and the root it trusts.

    Parameters
    ----------
    host : str
        Whose.
    folder : Path
        Of the authority.
    issue : callable
        Issues the first certificate.
    """

    host: str
    folder: Path
    issue: Callable[[str], Any] = field(repr=False, compare=False)

    @property
    def certificate(self) -> Path:
        """The certificate, PEM."""
        return self.folder / f"{self.host}.pem"

    @property
    def key(self) -> Path:
        """The private key, PEM."""
        return self.folder / f"{self.host}.key"

    @property
    def root(self) -> Path:
        """The root certificate, PEM."""
        return self.folder / "ca.pem"

    def server(self, *, mutual: bool = True, complain: Complain | None = None) -> Context:
        """Return what a service listens with.

        Parameters
        ----------
        mutual : bool
            Whether a caller must show a certificate of the same authority.
        complain : callable, optional
            Is told why a handshake failed.
        """
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.noted.complain = complain
        context.verify_mode = ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE
        return context

    def client(self, *, anonymous: bool = False) -> Context:
        """Return what one call is made with.

        Parameters
        ----------
        anonymous : bool
            Whether to show no certificate.
        """
        return self._context(ssl.PROTOCOL_TLS_CLIENT, shown=not anonymous)

    def _context(self, protocol: int, *, shown: bool = True) -> Context:
        if not self.certificate.exists():
            self.issue(self.host)
        context = Context(protocol)
        context.noted = _Noted()
        context.sslsocket_class = _Socket
        context.sslobject_class = _Object
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.load_verify_locations(self.root)
        if shown:
            context.load_cert_chain(self.certificate, self.key)
        return context
