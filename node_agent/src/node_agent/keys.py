"""The node's own keys, made here and never sent anywhere: TLS (P-256), signing (Ed25519), agreement (X25519)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import NameOID

from node_agent.config import Identity, NodeDir, write_private
from shuyan.trust import keys as trust_keys
from shuyan.trust.cards import NodeCard, sign_card

_PROOF_CONTEXT = b"shuyan-enrol-v1\0"


@dataclass(frozen=True)
class NodeKeys:
    """The three private keys of a node."""

    tls: ec.EllipticCurvePrivateKey
    signing: Ed25519PrivateKey
    agreement: X25519PrivateKey

    @classmethod
    def create(cls, node_dir: NodeDir) -> NodeKeys:
        """Make and store new keys, each in a file of its own with mode 0600."""
        keys = cls(ec.generate_private_key(ec.SECP256R1()), trust_keys.generate_signing_key(),
                   trust_keys.generate_agreement_key())
        write_private(node_dir.keys / "tls.key", keys.tls_pem())
        trust_keys.save_private_key(node_dir.keys / "signing.key", keys.signing)
        trust_keys.save_private_key(node_dir.keys / "agreement.key", keys.agreement)
        return keys

    @classmethod
    def load(cls, node_dir: NodeDir) -> NodeKeys:
        """Read the stored keys.

        Raises:
            ValueError: ``tls.key`` holds another kind of key.
            ProblemError: ``key_invalid``.
        """
        tls = serialization.load_pem_private_key((node_dir.keys / "tls.key").read_bytes(), None)
        if not isinstance(tls, ec.EllipticCurvePrivateKey):
            raise ValueError("tls.key holds another kind of key")
        return cls(tls, trust_keys.load_signing_key(node_dir.keys / "signing.key"),
                   trust_keys.load_agreement_key(node_dir.keys / "agreement.key"))

    @cached_property
    def signing_public(self) -> bytes:
        """Raw 32 bytes."""
        return trust_keys.raw(self.signing.public_key())

    @cached_property
    def agreement_public(self) -> bytes:
        """Raw 32 bytes."""
        return trust_keys.raw(self.agreement.public_key())

    def tls_pem(self) -> bytes:
        """The TLS private key, PKCS#8 PEM."""
        return self.tls.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption())

    def certificate_request(self, name: str) -> bytes:
        """A PKCS#10 request (DER) with common name ``name``; its signature proves possession of the TLS key."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or "node")])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(self.tls, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.DER)

    def enrolment_proof(self, request: bytes) -> bytes:
        """The signing key's word that the TLS and the agreement key belong to the same node."""
        return self.signing.sign(_PROOF_CONTEXT + hashlib.sha256(request).digest() + self.agreement_public)

    def card(self, identity: Identity) -> NodeCard:
        """The public key card for the data authority, signed by the signing key."""
        return sign_card(node_id=identity.node_id, name=identity.name, organisation=identity.organisation,
                         signing_key=self.signing, agreement_key=trust_keys.b64url(self.agreement_public))


def certificate_expiry(chain_pem: bytes) -> str:
    """When the first certificate of a PEM chain expires, ISO 8601 UTC."""
    return x509.load_pem_x509_certificate(chain_pem).not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
