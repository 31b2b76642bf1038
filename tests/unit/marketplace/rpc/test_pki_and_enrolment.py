"""The certificate authority and enrolment with a one-time code, over real TLS."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlmodel import select
from tests.factories.link_node import tls_request

from marketplace import db
from marketplace.actor import SYSTEM, Actor
from marketplace.computing import service as computing
from marketplace.computing.models import Node, NodeInvitation
from marketplace.rpc import pki
from marketplace.settings import settings
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2 as pb
from shuyan_protos.link.v1 import link_pb2_grpc

ENROL = b"shuyan-enrol-v1\0"


def test_keys_are_private_and_made_once(tmp_path: Path) -> None:
    assert pki.initialise(tmp_path)
    root = (tmp_path / "ca.pem").read_bytes()
    assert not pki.initialise(tmp_path)
    assert (tmp_path / "ca.pem").read_bytes() == root
    authority = pki.Authority(tmp_path)
    authority.server_files({"127.0.0.1"})
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_the_server_certificate_names_its_hosts_and_is_renewed_for_new_ones(tmp_path: Path) -> None:
    pki.initialise(tmp_path)
    authority = pki.Authority(tmp_path)
    first = authority.server_files({"127.0.0.1", "market.example"})
    assert authority.server_files({"127.0.0.1"}) == first
    certificate = x509.load_pem_x509_certificate(first.chain)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(first.root))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(str(name.value) for name in names) == ["127.0.0.1", "market.example"]
    assert authority.server_files({"other.example"}) != first


def test_a_node_certificate_is_for_clients_names_the_node_and_ends(tmp_path: Path) -> None:
    pki.initialise(tmp_path)
    _, request = tls_request()
    issued = pki.Authority(tmp_path).issue_node(request, "node_1")
    certificate, root = x509.load_pem_x509_certificates(issued.chain_pem.encode())
    certificate.verify_directly_issued_by(root)
    assert pki.node_of(issued.chain_pem.encode()) == ("node_1", issued.serial)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) <= pki.NODE_TERM


def test_only_p256_requests_are_certified(tmp_path: Path) -> None:
    pki.initialise(tmp_path)
    authority = pki.Authority(tmp_path)
    for request in (b"", b"garbage", tls_request(ec.SECP384R1())[1]):
        with pytest.raises(ProblemError, match="certificate_request_invalid"):
            authority.issue_node(request, "node_1")
    _, good = tls_request()
    with pytest.raises(ProblemError, match="certificate_request_invalid"):
        authority.issue_node(good[:-1] + bytes([good[-1] ^ 1]), "node_1")


def test_certificates_that_name_no_node_have_no_identity(tmp_path: Path) -> None:
    pki.initialise(tmp_path)
    assert pki.node_of(pki.Authority(tmp_path).server_files({"localhost"}).chain) is None
    assert pki.node_of(pki.Authority(tmp_path).root_pem) is None
    assert pki.node_of(b"") is None


def test_without_keys_there_is_a_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="pki_missing"):
        pki.Authority(tmp_path)


def invitation(market: Any) -> computing.Invitation:
    with db.transaction() as session:
        return computing.invite_node(session, market.operator, organisation_id="org_station0", name=" 新节点 ")


def request(code: str, *, signing: Ed25519PrivateKey | None = None, prove: Ed25519PrivateKey | None = None) -> pb.EnrolRequest:
    signing = signing or Ed25519PrivateKey.generate()
    agreement = X25519PrivateKey.generate().public_key().public_bytes_raw()
    _, csr = tls_request()
    return pb.EnrolRequest(
        code=code, certificate_request=csr, signing_key=signing.public_key().public_bytes_raw(), agreement_key=agreement,
        proof=(prove or signing).sign(ENROL + hashlib.sha256(csr).digest() + agreement), software_version="1")


async def call(c: Any, message: pb.EnrolRequest) -> pb.EnrolReply:
    credentials = grpc.ssl_channel_credentials(c.root_pem)
    async with grpc.aio.secure_channel(f"127.0.0.1:{c.server.enrol_port}", credentials) as channel:
        return await link_pb2_grpc.EnrolmentStub(channel).Enrol(message, timeout=10)


async def refused(c: Any, message: pb.EnrolRequest) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call(c, message)
    return error.value


def test_a_code_enrols_one_node_once(coordinated: Callable[..., None]) -> None:
    async def scenario(c: Any) -> None:
        made = await asyncio.to_thread(invitation, c.market)
        token = computing.invitation_token(settings(), made)
        body = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        assert body["v"] == 1
        assert body["ca_pem"].encode() == c.root_pem
        assert (body["code"], body["node_name"]) == (made.code, "新节点")

        answers = await asyncio.gather(*(call(c, request(made.code)) for _ in range(4)), return_exceptions=True)
        good = [answer for answer in answers if isinstance(answer, pb.EnrolReply)]
        assert len(good) == 1
        assert pki.node_of(good[0].certificate_chain)[0] == good[0].node_id  # type: ignore[index]
        assert good[0].coordinator_address.endswith(f":{c.server.link_port}")
        error = await refused(c, request(made.code))
        assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, "invitation_refused")
        texts = dict(error.trailing_metadata())  # type: ignore[union-attr]
        assert "邀请码" in texts["shuyan-text-zh-bin"].decode()
        with db.reading() as session:
            assert session.get_one(Node, good[0].node_id).name == "新节点"
            stored = [row.code_hash for row in session.exec(select(NodeInvitation))]
            assert made.code not in "".join(stored)

    coordinated(scenario)


def test_a_wrong_proof_does_not_use_up_the_code(coordinated: Callable[..., None]) -> None:
    async def scenario(c: Any) -> None:
        made = await asyncio.to_thread(invitation, c.market)
        for bad in (request(made.code, prove=Ed25519PrivateKey.generate()), pb.EnrolRequest(code=made.code),
                    pb.EnrolRequest(code=made.code, certificate_request=b"x" * 70_000)):
            error = await refused(c, bad)
            assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert (await call(c, request(made.code))).node_id

    coordinated(scenario)


def test_an_expired_code_is_refused(coordinated: Callable[..., None]) -> None:
    async def scenario(c: Any) -> None:
        made = await asyncio.to_thread(invitation, c.market)

        def expire() -> None:
            with db.transaction() as session:
                for row in session.exec(select(NodeInvitation)):
                    row.expires_at = db.utc_now() - dt.timedelta(seconds=1)

        await asyncio.to_thread(expire)
        assert (await refused(c, request(made.code))).details() == "invitation_refused"

    coordinated(scenario)


def test_keys_of_an_active_node_enrol_no_second_one_and_the_code_stays_good(coordinated: Callable[..., None]) -> None:
    async def scenario(c: Any) -> None:
        made = await asyncio.to_thread(invitation, c.market)
        error = await refused(c, request(made.code, signing=c.market.departments[0].signing_key))
        assert error.details() == "node_keys_in_use"
        assert (await call(c, request(made.code))).node_id

    coordinated(scenario)


def test_an_unforeseen_error_tells_nothing_of_the_inside(coordinated: Callable[..., None],
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(c: Any) -> None:
        made = await asyncio.to_thread(invitation, c.market)

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("secret path")

        monkeypatch.setattr("marketplace.computing.nodes.enrol_node", broken)
        error = await refused(c, request(made.code))
        assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal_error")

    coordinated(scenario)


def test_only_operator_authority_and_system_invite(coordinated: Callable[..., None]) -> None:
    async def scenario(c: Any) -> None:
        with db.transaction() as session:
            for actor in (c.market.developer, Actor("operator", "org_operator", client_id="c", scopes=frozenset({"read"}))):
                with pytest.raises(ProblemError, match=r"not_allowed|scope_missing"):
                    computing.invite_node(session, actor, organisation_id="org_station0", name="x")
            with pytest.raises(ProblemError, match="not_found"):
                computing.invite_node(session, SYSTEM, organisation_id="org_none", name="x")
            with pytest.raises(ProblemError, match="node_name_invalid"):
                computing.invite_node(session, SYSTEM, organisation_id="org_station0", name=" \n ")

    coordinated(scenario)
