"""The coordinator's certificate authority: P-256, one root, a server certificate, and one certificate a node.

The root signs only for this link: nodes pin it at enrolment, and nothing else trusts it (RFC 5280 profile, path length 0).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from marketplace.computing.errors import CSR_INVALID, PKI_MISSING
from shuyan.problems import ProblemError

CA_TERM: Final = dt.timedelta(days=3650)
SERVER_TERM: Final = dt.timedelta(days=397)
NODE_TERM: Final = dt.timedelta(days=397)
"""Bounded, so that a forgotten node falls silent by itself; a new invitation renews it."""

_RENEW_BEFORE: Final = dt.timedelta(days=30)
_SKEW: Final = dt.timedelta(minutes=5)  # clocks of departments are not all right
_NODE_URI: Final = "shuyan:node:"


@dataclass(frozen=True)
class ServerFiles:
    """PEM for a gRPC server."""

    key: bytes
    chain: bytes
    root: bytes


@dataclass(frozen=True)
class NodeCertificate:
    """A freshly issued certificate: PEM of it followed by the root, and its serial number in hex."""

    chain_pem: str
    serial: str


class Authority:
    """The certificate authority in a folder of keys.

    Raises:
        ProblemError: ``pki_missing`` before :func:`initialise`.
    """

    def __init__(self, keys_dir: Path) -> None:
        self._dir = keys_dir
        try:
            self._key = _load_key(keys_dir / "ca.key")
            self._certificate = x509.load_pem_x509_certificate((keys_dir / "ca.pem").read_bytes())
        except OSError:
            raise ProblemError(PKI_MISSING) from None

    @property
    def root_pem(self) -> bytes:
        """The root certificate, which nodes pin."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def server_files(self, hosts: Iterable[str]) -> ServerFiles:
        """Key and certificate for ``hosts``; issued anew when they changed or the term is nearly over."""
        key_path, certificate_path = self._dir / "server.key", self._dir / "server.pem"
        if not _good_for(certificate_path, key_path, set(hosts)):
            key = ec.generate_private_key(ec.SECP256R1())
            names = [_general_name(host) for host in sorted(set(hosts))]
            certificate = self._sign(_builder("Shuyan coordinator", key.public_key(), SERVER_TERM).add_extension(
                x509.SubjectAlternativeName(names), critical=False), ExtendedKeyUsageOID.SERVER_AUTH)
            _write_secret(key_path, _key_pem(key))
            _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
        return ServerFiles(key_path.read_bytes(), certificate_path.read_bytes() + self.root_pem, self.root_pem)

    def issue_node(self, request_der: bytes, node_id: str) -> NodeCertificate:
        """Certify a node's TLS key under the name ``shuyan:node:<node_id>``; nothing else of the request is used.

        Raises:
            ProblemError: ``certificate_request_invalid``.
        """
        public_key = request_key(request_der)
        certificate = self._sign(_builder(node_id, public_key, NODE_TERM).add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(_NODE_URI + node_id)]), critical=False),
            ExtendedKeyUsageOID.CLIENT_AUTH)
        pem = certificate.public_bytes(serialization.Encoding.PEM) + self.root_pem
        return NodeCertificate(pem.decode(), serial_of(certificate))

    def _sign(self, builder: x509.CertificateBuilder, usage: x509.ObjectIdentifier) -> x509.Certificate:
        issuer_key = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (builder.issuer_name(self._certificate.subject)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(_usage(digital_signature=True), critical=True)
                .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
                .sign(self._key, hashes.SHA256()))


def initialise(keys_dir: Path, city: str = "Shuyan") -> bool:
    """Make the root key and certificate unless they exist; whether they were made now."""
    keys_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (keys_dir / "ca.key").exists() and (keys_dir / "ca.pem").exists():
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (_builder(f"{city} node link root", key.public_key(), CA_TERM)
                   .issuer_name(_name(f"{city} node link root"))
                   .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                   .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
                   .sign(key, hashes.SHA256()))
    # the key first: a root certificate whose key was lost would be pinned and useless
    _write_secret(keys_dir / "ca.key", _key_pem(key))
    _write(keys_dir / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))
    return True


def request_key(request_der: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 key of a PKCS#10 request that proves possession of it.

    Raises:
        ProblemError: ``certificate_request_invalid``.
    """
    try:
        request = x509.load_der_x509_csr(request_der)
        valid = request.is_signature_valid
        key = request.public_key()
    except (ValueError, TypeError, InvalidSignature):
        raise ProblemError(CSR_INVALID, reason="PKCS#10") from None
    if not valid:
        raise ProblemError(CSR_INVALID, reason="signature")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ProblemError(CSR_INVALID, reason="P-256")
    return key


def node_of(certificate_pem: bytes) -> tuple[str, str] | None:
    """(node id, serial) that a peer's certificate names, or ``None`` if it names no node or more than one."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1 or not uris[0].startswith(_NODE_URI):
        return None
    return uris[0].removeprefix(_NODE_URI), serial_of(certificate)


def serial_of(certificate: x509.Certificate) -> str:
    """A certificate's serial number in hex."""
    return f"{certificate.serial_number:x}"


def _builder(common_name: str, key: ec.EllipticCurvePublicKey, term: dt.timedelta) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (x509.CertificateBuilder().subject_name(_name(common_name)).public_key(key)
            .serial_number(x509.random_serial_number()).not_valid_before(now - _SKEW).not_valid_after(now + term)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(digital_signature=digital_signature, content_commitment=False, key_encipherment=False,
                         data_encipherment=False, key_agreement=False, key_cert_sign=key_cert_sign, crl_sign=crl_sign,
                         encipher_only=False, decipher_only=False)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _good_for(certificate_path: Path, key_path: Path, hosts: set[str]) -> bool:
    if not certificate_path.exists() or not key_path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    covered = {str(name.value) for name in names}
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    return hosts <= covered and left > _RENEW_BEFORE and certificate.public_key() == _load_key(key_path).public_key()


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path.name} is not a P-256 key")
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write_secret(path: Path, data: bytes) -> None:
    _write(path, data, 0o600)


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
