"""The hospital's own certification authority.

A hospital signs the certificates of its devices itself: who trusts its root
trusts its hosts. The dates in a certificate are the machine's, not the
hospital's, because TLS compares them with the machine's clock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from labsim.errors import ConfigurationError
from labsim.table import Table
from labsim.wire.tls import Credentials

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

VALIDITY = 397  # days


@dataclass(frozen=True)
class _Authority:
    """A root certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class SiteCa:
    """Issues a certificate to every host that needs one.

    Parameters
    ----------
    folder : Path
        Keeps the root (``ca.pem``, ``ca.key``), and of each host the
        certificate and the key. It is made when the first is issued.
    institution : str
        Its name stands in the certificates.
    """

    def __init__(self, folder: Path, institution: str) -> None:
        self._folder = folder
        self._institution = institution
        self._lock = threading.Lock()

    @property
    def root(self) -> Path:
        """The root certificate (PEM), which programs outside of the hospital have to trust."""
        path = self._folder / "ca.pem"
        if not path.exists():
            self._authority()
        return path

    def of(self, host: str) -> Credentials:
        """Return where a host has its certificate; it gets one when it first needs it."""
        return Credentials(host, self._folder, self._first)

    def issue(
        self,
        host: str,
        *,
        days: float = VALIDITY,
        name: str = "",
        also: Sequence[str] = (),
        stranger: bool = False,
    ) -> Credentials:
        """Give a host a new key and certificate, in the place of those it has.

        Parameters
        ----------
        host : str
            Whose.
        days : float
            How long it is valid; one of a negative number has expired that long ago.
        name : str
            The host name in it (subjectAltName), if it is to be a wrong one.
        also : sequence of str
            Other names that it goes by.
        stranger : bool
            Whether another authority of that name signs it, which nobody here trusts.

        Returns
        -------
        Credentials
            A caller uses it at once, a service from when it is started again.

        Raises
        ------
        ConfigurationError
            If the host name cannot be that of a file.
        """
        if not host or set(host) & set('/\\:*?"<>|') or host in ("ca", ".", ".."):
            raise ConfigurationError(
                f"{host!r} can have no certificate.", "Give a host name of the hospital."
            )
        authority = self._authority()
        if stranger:
            authority = _self_signed(f"Not {self._institution}")
        now = datetime.now(UTC)
        begin = now - timedelta(hours=1) + timedelta(days=min(0.0, days - 1))
        certificate, key = _signed(
            authority, [name or host, *also], begin, now + timedelta(days=days)
        )
        found = self.of(host)
        _write(found.key, key)
        _write(found.certificate, certificate)
        return found

    def renew(self, host: str, *, days: float = VALIDITY) -> Credentials:
        """Issue a certificate that is in order again, whatever was wrong with the old one."""
        return self.issue(host, days=days)

    def certificates(self) -> Table:
        """Return every certificate, with its end and the days left; negative once expired."""
        rows = [self._row(path) for path in sorted(self._folder.glob("*.pem"))]
        columns = ("host", "name in it", "issuer", "valid from", "valid until", "days left")
        return Table(columns, rows, f"Certificates of {self._institution} (UTC)")

    def _row(self, path: Path) -> tuple[str, str, str, str, str, int]:
        from cryptography import x509  # lazy: few hospitals need it

        found = x509.load_pem_x509_certificate(path.read_bytes())
        left = found.not_valid_after_utc - datetime.now(UTC)
        return (
            path.stem,
            _common_name(found.subject),
            _common_name(found.issuer),
            found.not_valid_before_utc.strftime("%Y-%m-%d %H:%M"),
            found.not_valid_after_utc.strftime("%Y-%m-%d %H:%M"),
            left.days,
        )

    def _first(self, host: str) -> None:
        """Issue a certificate unless another thread has just done so."""
        with self._lock:
            if not self.of(host).certificate.exists():
                self.issue(host)

    def _authority(self) -> _Authority:
        """Return the root, made when it is first asked for."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self._folder.mkdir(parents=True, exist_ok=True)
        certificate, key = self._folder / "ca.pem", self._folder / "ca.key"
        if not certificate.exists():
            made = _self_signed(self._institution)
            _write(key, _pem_of(made.key))
            _write(certificate, made.certificate.public_bytes(serialization.Encoding.PEM))
            return made
        kept = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(kept, ec.EllipticCurvePrivateKey), "made here"
        return _Authority(x509.load_pem_x509_certificate(certificate.read_bytes()), kept)


def _self_signed(institution: str) -> _Authority:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _named(f"{institution[:50]} root CA")
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=365))  # expired ones were once valid
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    return _Authority(builder.sign(key, hashes.SHA256()), key)


def _signed(
    authority: _Authority, names: Sequence[str], begin: datetime, end: datetime
) -> tuple[bytes, bytes]:
    """Return certificate and key of a host as PEM, for both ends of a connection."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    root = authority.certificate
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        x509.CertificateBuilder(
            root.subject, _named(names[0]), key.public_key(), x509.random_serial_number()
        )
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer, critical=False)
    )
    signed = builder.sign(authority.key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM), _pem_of(key)


def _usage(*, signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID

    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)  # a mode is given to a new file only
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    new.replace(path)
