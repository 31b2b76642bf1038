"""Joining a market: one call with the operator's one-time code; afterwards only pinned keys are believed."""

from __future__ import annotations

import base64
import hashlib
import json

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pydantic import BaseModel, ConfigDict, ValidationError

from node_agent import __version__, errors
from node_agent.config import Identity, NodeDir, write_private
from node_agent.keys import NodeKeys
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2, link_pb2_grpc

_TIMEOUT_SECONDS = 20.0


class Invitation(BaseModel):
    """What the operator hands over: base64url of this as JSON."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    v: int
    enrol: str
    ca_pem: str
    code: str
    node_name: str
    organisation: str

    @classmethod
    def parse(cls, token: str) -> Invitation:
        """Read an invitation.

        Raises:
            ProblemError: ``invitation_invalid``.
        """
        compact = "".join(token.split())
        try:
            raw = base64.urlsafe_b64decode(compact + "=" * (-len(compact) % 4))
            invitation = cls.model_validate(json.loads(raw))
            x509.load_pem_x509_certificates(invitation.ca_pem.encode())
        except (ValueError, ValidationError) as error:
            raise ProblemError(errors.INVITATION_INVALID) from error
        if invitation.v != 1:
            raise ProblemError(errors.INVITATION_INVALID)
        return invitation


def certificate_fingerprint(invitation: Invitation) -> str:
    """SHA-256 of the market's CA certificate, hex: what an administrator compares by telephone."""
    certificate = x509.load_pem_x509_certificates(invitation.ca_pem.encode())[0]
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def enrol(node_dir: NodeDir, invitation: Invitation, authority_key_file: bytes) -> Identity:
    """Enrol the node and store its identity, certificate and the pinned keys.

    Args:
        node_dir: an initialised directory.
        invitation: from the operator.
        authority_key_file: the content of the data authority's public key file, stored as it is.

    Raises:
        ProblemError: ``already_enrolled``, ``enrolment_refused``, ``enrolment_unreachable``.
    """
    existing = node_dir.identity()
    if existing:
        raise ProblemError(errors.ALREADY_ENROLLED, node_id=existing.node_id)
    keys = NodeKeys.load(node_dir)
    request = keys.certificate_request(invitation.node_name)
    reply = _call(invitation, link_pb2.EnrolRequest(
        code=invitation.code, certificate_request=request, signing_key=keys.signing_public,
        agreement_key=keys.agreement_public, proof=keys.enrolment_proof(request), software_version=__version__))
    _check_certificate(keys, reply)
    write_private(node_dir.keys / "tls.crt", reply.certificate_chain)
    write_private(node_dir.keys / "ca.pem", invitation.ca_pem.encode())
    write_private(node_dir.keys / "authority.pub", authority_key_file)
    identity = Identity(node_id=reply.node_id, name=invitation.node_name,
                        organisation=reply.organisation_name or invitation.organisation,
                        coordinator_address=reply.coordinator_address)
    # Last: a directory with an identity is a whole one.
    write_private(node_dir.identity_file, identity.model_dump_json(indent=2).encode())
    return identity


def _call(invitation: Invitation, request: link_pb2.EnrolRequest) -> link_pb2.EnrolReply:
    credentials = grpc.ssl_channel_credentials(root_certificates=invitation.ca_pem.encode())
    with grpc.secure_channel(invitation.enrol, credentials) as channel:
        try:
            reply: link_pb2.EnrolReply = link_pb2_grpc.EnrolmentStub(channel).Enrol(
                request, timeout=_TIMEOUT_SECONDS, wait_for_ready=False)
        except grpc.RpcError as error:
            status = error.code()
            if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise ProblemError(errors.ENROLMENT_UNREACHABLE, address=invitation.enrol) from error
            raise ProblemError(errors.ENROLMENT_REFUSED, reason=status.name.lower()) from error
    return reply


def _check_certificate(keys: NodeKeys, reply: link_pb2.EnrolReply) -> None:
    """The certificate must be over our own key and name us as the reply does."""
    try:
        certificate = x509.load_pem_x509_certificate(reply.certificate_chain)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise ProblemError(errors.ENROLMENT_REFUSED, reason="certificate") from error
    if certificate.public_key() != keys.tls.public_key() or uris != [f"shuyan:node:{reply.node_id}"]:
        raise ProblemError(errors.ENROLMENT_REFUSED, reason="certificate")
