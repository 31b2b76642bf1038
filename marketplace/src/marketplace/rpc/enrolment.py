"""The enrolment service: a department's node becomes a member of the federation with a one-time code."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from sqlmodel import Session

from marketplace.computing import nodes
from marketplace.computing.errors import CSR_INVALID
from marketplace.logging import get_logger
from marketplace.rpc import database
from marketplace.rpc.pki import Authority, request_key
from shuyan.problems import ProblemError, get
from shuyan_protos.link.v1 import link_pb2 as pb
from shuyan_protos.link.v1 import link_pb2_grpc

log = get_logger("enrolment")

PROOF_CONTEXT: Final = b"shuyan-enrol-v1\0"
MAX_REQUEST_BYTES: Final = 64 * 1024

STATUS: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT, 401: grpc.StatusCode.UNAUTHENTICATED, 403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND, 409: grpc.StatusCode.FAILED_PRECONDITION, 422: grpc.StatusCode.INVALID_ARGUMENT,
    500: grpc.StatusCode.INTERNAL, 503: grpc.StatusCode.UNAVAILABLE,
}


class Enrolment(link_pb2_grpc.EnrolmentServicer):  # type: ignore[misc]
    """Served with server-side TLS only: the node has no certificate yet, the code speaks for it."""

    def __init__(self, authority: Authority, coordinator_address: str) -> None:
        self._authority = authority
        self._address = coordinator_address

    async def Enrol(self, request: pb.EnrolRequest, context: Any) -> pb.EnrolReply:
        """Check proof and code, certify the node's TLS key, record the node.

        On refusal the status' details are the problem's code, and its sentences come as trailing metadata
        ``shuyan-text-zh-bin`` and ``shuyan-text-en-bin`` (UTF-8).
        """
        try:
            await asyncio.to_thread(check_proof, request)
            reply = await database.write(enrol, request, self._authority, self._address)
        except ProblemError as problem:
            log.info("enrolment refused", code=problem.code)
            await abort(context, problem)
            raise
        except Exception as error:  # gRPC would tell the caller its text
            log.error("enrolment failed", error=type(error).__name__)
            await abort(context, ProblemError("internal_error", reference="enrolment"))
            raise
        log.info("node enrolled", node_id=reply.node_id)
        return reply


def check_proof(request: pb.EnrolRequest) -> None:
    """The sender holds all three private keys: TLS (by the request's signature), signing, and names the third.

    Raises:
        ProblemError: ``certificate_request_invalid``.
    """
    request_key(request.certificate_request)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(request.certificate_request)
    try:
        X25519PublicKey.from_public_bytes(request.agreement_key)
        Ed25519PublicKey.from_public_bytes(request.signing_key).verify(
            request.proof, PROOF_CONTEXT + digest.finalize() + request.agreement_key)
    except (ValueError, InvalidSignature):
        raise ProblemError(CSR_INVALID, reason="proof") from None


def enrol(session: Session, request: pb.EnrolRequest, authority: Authority, coordinator_address: str) -> pb.EnrolReply:
    """One transaction: the code is used up if and only if the node exists afterwards."""
    invitation = nodes.consume_invitation(session, request.code)
    node_id = nodes.new_node_id()
    certificate = authority.issue_node(request.certificate_request, node_id)
    nodes.enrol_node(session, invitation, node_id=node_id, certificate_pem=certificate.chain_pem,
                     certificate_serial=certificate.serial, signing_key=request.signing_key,
                     agreement_key=request.agreement_key, software_version=request.software_version)
    return pb.EnrolReply(node_id=node_id, certificate_chain=certificate.chain_pem.encode(),
                         coordinator_address=coordinator_address, organisation_name=invitation.organisation_name)


async def abort(context: Any, problem: ProblemError) -> None:
    """End a call with a problem of the catalogue; no other text crosses the boundary."""
    await context.abort(STATUS.get(get(problem.code).status, grpc.StatusCode.UNKNOWN), problem.code, (
        ("shuyan-text-zh-bin", problem.text("zh").encode()), ("shuyan-text-en-bin", problem.text("en").encode())))
