"""What node tests stand on: a certificate authority, a data authority, a coordinator and nodes, all of them real."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import functools
import hashlib
import ipaddress
import json
import time
from pathlib import Path

import grpc
import grpc.aio
import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from node_toyapps import DIGEST, INSTALLED

from node_agent.admin import Admin
from node_agent.agent import Agent
from node_agent.config import Identity, NodeDir, write_private
from node_agent.keys import NodeKeys
from shuyan.federation import _flower
from shuyan.trust.grants import (
    Grant,
    GrantedApp,
    GrantedResource,
    ParticipantKeys,
    RevocationList,
    RevokedGrant,
    grant_digest,
    sign_grant,
    sign_revocations,
)
from shuyan.trust.keys import b64url, generate_agreement_key, generate_signing_key, raw, save_public_key
from shuyan_protos.link.v1 import link_pb2, link_pb2_grpc
from shuyan_protos.local.v1 import local_pb2

PURPOSE = "城市体检"


def runs(scenario):
    """Run an async test in an event loop of its own, with an end."""
    @functools.wraps(scenario)
    def test(*args, **kwargs):
        async def bounded():
            async with asyncio.timeout(90):
                await scenario(*args, **kwargs)
        asyncio.run(bounded())
    return test


class Pki:
    """A certificate authority that signs what a test wants."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("test CA", self.key.public_key(), None, ca=True)

    def _sign(self, name, public_key, alternative, *, ca=False, usage=None):
        now = dt.datetime.now(dt.UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        builder = (x509.CertificateBuilder()
                   .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])).issuer_name(issuer)
                   .public_key(public_key).serial_number(x509.random_serial_number())
                   .not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
                   .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
        if alternative:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def node(self, node_id, public_key):
        certificate = self._sign(node_id, public_key, [x509.UniformResourceIdentifier(f"shuyan:node:{node_id}")],
                                 usage=ExtendedKeyUsageOID.CLIENT_AUTH)
        return certificate.public_bytes(serialization.Encoding.PEM)

    def server(self):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign("coordinator", key.public_key(), [
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")],
            usage=ExtendedKeyUsageOID.SERVER_AUTH)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
        return pem, certificate.public_bytes(serialization.Encoding.PEM)


class Session:
    """One node's connection as the coordinator sees it."""

    def __init__(self, hello):
        self.hello = hello
        self.out = asyncio.Queue()
        self.waiting = []
        self.frames = []
        self.raw_sizes = []
        self._news = asyncio.Event()

    def note(self, frame):
        self.frames.append(frame)
        self._news.set()

    async def expect(self, kind, match=lambda body: True):
        """The first frame of a kind that matches, waiting for it."""
        while True:
            for index, frame in enumerate(self.frames):
                if frame.WhichOneof("body") == kind and match(getattr(frame, kind)):
                    del self.frames[index]
                    return getattr(frame, kind)
            self._news.clear()
            await self._news.wait()

    async def send(self, **body):
        await self.out.put(link_pb2.CoordinatorFrame(**body).SerializeToString())

    async def send_raw(self, data):
        await self.out.put(data)

    async def ask(self, request):
        await self.send(task_request=request)
        return await self.expect("task_reply", lambda reply: reply.task_id == request.task_id)

    async def open(self, request):
        await self.send(open_request=link_pb2.OpenRequest(
            task_id=request.task_id, run_id=request.run_id, round=request.round, attempt=request.attempt))
        return await self.expect("open_reply", lambda reply: reply.task_id == request.task_id)

    async def hang_up(self):
        await self.out.put(None)


class Coordinator:
    """A coordinator speaking link.proto over mutual TLS; tests say what it sends."""

    def __init__(self, pki, *, max_chunk_bytes=1 << 20, welcome=True, heartbeat_seconds=1):
        self.pki = pki
        self.max_chunk_bytes = max_chunk_bytes
        self.welcome = welcome
        self.heartbeat_seconds = heartbeat_seconds
        self.sessions = asyncio.Queue()
        self.port = 0
        self._server_pair = pki.server()

    async def start(self):
        handler = grpc.method_handlers_generic_handler("shuyan.link.v1.NodeLink", {
            "Connect": grpc.stream_stream_rpc_method_handler(self._connect)})
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1),
                                               ("grpc.max_receive_message_length", -1)])
        self.server.add_generic_rpc_handlers((handler,))
        credentials = grpc.ssl_server_credentials([self._server_pair], self.pki.pem, require_client_auth=True)
        self.port = self.server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        await self.server.start()

    async def stop(self):
        await self.server.stop(0)

    async def _connect(self, iterator, context):
        first = link_pb2.NodeFrame.FromString(await anext(iterator))
        session = Session(first.hello)
        session.identity = context.peer_identities()
        if self.welcome:
            await context.write(link_pb2.CoordinatorFrame(welcome=link_pb2.Welcome(
                protocol_version=1, heartbeat_seconds=self.heartbeat_seconds, coordinator_time_ms=0,
                max_chunk_bytes=self.max_chunk_bytes, max_message_bytes=64 << 20)).SerializeToString())
        await self.sessions.put(session)

        async def write():
            while True:
                try:
                    async with asyncio.timeout(self.heartbeat_seconds):
                        data = await session.out.get()
                except TimeoutError:
                    data = link_pb2.CoordinatorFrame(heartbeat=link_pb2.Heartbeat()).SerializeToString()
                if data is None:
                    return
                await context.write(data)

        async def read():
            parts = []
            async for data in iterator:
                session.raw_sizes.append(len(data))
                frame = link_pb2.NodeFrame.FromString(data)
                if frame.HasField("chunk"):
                    parts.append(frame.chunk.data)
                    if frame.chunk.last:
                        whole = b"".join(parts)
                        assert hashlib.sha256(whole).digest() == frame.chunk.sha256
                        session.note(link_pb2.NodeFrame.FromString(whole))
                        parts = []
                else:
                    session.note(frame)

        tasks = [asyncio.create_task(write()), asyncio.create_task(read())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class World:
    """An authority, participants' keys and the grants and tasks made of them."""

    def __init__(self, path, nodes=3):
        self.path = path
        self.pki = Pki()
        self.authority = generate_signing_key()
        save_public_key(path / "authority.pub", self.authority.public_key())
        self.number = 0
        self.dirs = {}
        self.peers = {}
        for index in range(nodes):
            self.peers[f"node{index}"] = (generate_signing_key(), generate_agreement_key())

    def make_node(self, node_id, port, csv, *, approval="automatic", grade=2, allow=True, config=""):
        """A node's directory, enrolled, with one source and one resource "patients"."""
        node_dir = NodeDir(self.path / node_id)
        node_dir.create()
        if config:
            write_private(node_dir.config_file, config.encode())
        keys = NodeKeys.create(node_dir)
        self.peers[node_id] = (keys.signing, keys.agreement)
        write_private(node_dir.keys / "tls.crt", self.pki.node(node_id, keys.tls.public_key()))
        write_private(node_dir.keys / "ca.pem", self.pki.pem)
        write_private(node_dir.keys / "authority.pub", (self.path / "authority.pub").read_bytes())
        write_private(node_dir.identity_file, Identity(
            node_id=node_id, name=node_id, organisation="卫健委",
            coordinator_address=f"127.0.0.1:{port}").model_dump_json().encode())
        file = self.path / f"{node_id}.csv"
        file.write_text(csv)
        admin = Admin(node_dir, apps={"toy": INSTALLED})
        admin.AddSource(local_pb2.AddSourceRequest(name="patients", location=str(file)))
        columns = [link_pb2.Column(name=name, identifier=name == "id", domain=["*"] if name == "sex" else [])
                   for name in csv.splitlines()[0].split(",")]
        admin.RegisterResource(local_pb2.RegisterResourceRequest(source="patients", resource=link_pb2.Resource(
            name="patients", title="病人", sector="health", grade=grade, approval=approval, columns=columns)))
        if allow:
            admin.AllowApp(local_pb2.AllowAppRequest(name="toy", allow=True))
        admin.close()
        return node_dir

    def grant(self, **changes):
        now = int(time.time())
        ids = sorted(self.peers)
        claims = {
            "iss": "数据局", "jti": "grt_1", "iat": now, "nbf": now - 60, "exp": now + 3600, "scenario": "scn_1",
            "scenario_title": "体检", "purpose": PURPOSE, "grantee": "org_1", "grantee_name": "开发公司",
            "resources": tuple(GrantedResource(resource_id=f"res_{i}", node_id=i, name="patients",
                                               columns=("age", "weight", "sex", "id", "gone")) for i in ids),
            "apps": (GrantedApp(name="toy", digest=DIGEST),),
            "nodes": tuple(ParticipantKeys(node_id=i, name=i, signing_key=b64url(raw(s.public_key())),
                                           agreement_key=b64url(raw(a.public_key())))
                           for i, (s, a) in sorted(self.peers.items())),
            "minimum_cohort": 5, "minimum_participants": 3, "output_forms": ("statistics",), "max_output_values": 1000}
        return Grant(**{**claims, **changes})

    def signed(self, key=None, **changes):
        return sign_grant(self.grant(**changes), key or self.authority)

    def revocations(self, *revoked, number=None, key=None, next_update=3600):
        self.number = number or self.number + 1
        now = int(time.time())
        return sign_revocations(RevocationList(iss="数据局", number=self.number, iat=now, next_update=now + next_update,
                                               revoked=tuple(RevokedGrant(jti=j, at=now, reason="r") for j in revoked)),
                                key or self.authority)

    def task(self, jws, *, run="run_1", round_=1, attempt=1, task_id=None, columns=("age",), expect=None,
             node_id="node0", deadline_ms=30_000, mode="sum", resource="patients", **changes):
        content = _flower.question_content({}, None, expect or {"totals": len(columns)})
        message = _flower.Outgoing(content, "query.tally", run, round_).to_node(1, "m")
        fields = {
            "task_id": task_id or f"{run}-{round_}-{attempt}-{node_id}", "run_id": run, "round": round_,
            "attempt": attempt, "grant": jws, "grant_digest": grant_digest(jws), "app_name": "toy",
            "app_digest": DIGEST, "purpose": PURPOSE, "participants": sorted(self.peers), "flower_message": message,
            "params_json": rfc8785.dumps({"columns": list(columns), "mode": mode, "resource": resource}).decode(),
            "deadline_ms": deadline_ms}
        return link_pb2.TaskRequest(**{**fields, **changes})


def patients(rows=20, start=30):
    """A CSV table with an identifier, numbers, a dimension, a null and a NaN."""
    lines = ["id,name,sex,age,weight"]
    for row in range(rows):
        weight = {3: "", 4: "nan"}.get(row, f"{50 + row}.5")
        lines.append(f"{row},p{row},{'fm'[row % 2]},{start + row},{weight}")
    return "\n".join(lines) + "\n"


@contextlib.asynccontextmanager
async def running(node_dir):
    """An agent on a directory, in this event loop; its worker is a real process."""
    agent = Agent(node_dir, apps={"toy": INSTALLED}, worker_apps={"toy": "node_toyapps:app"})
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        agent.admin.close()


@contextlib.asynccontextmanager
async def one_node(path, *, csv=None, revocations=True, **options):
    """(world, coordinator, agent, session) with one connected node, ready for tasks."""
    world = World(path)
    coordinator = Coordinator(world.pki)
    await coordinator.start()
    node_dir = world.make_node("node0", coordinator.port, csv or patients(), **options)
    try:
        async with running(node_dir) as agent:
            session = await coordinator.sessions.get()
            if revocations:
                await session.send(revocations=link_pb2.Revocations(list=world.revocations()))
                await session.expect("revocations_seen")
            yield world, coordinator, agent, session
    finally:
        await coordinator.stop()


def events(agent):
    return [entry.event for entry in agent.admin.journal.read(0, 1000)]


def invitation(port, pki, code="secret"):
    body = {"v": 1, "enrol": f"127.0.0.1:{port}", "ca_pem": pki.pem.decode(), "code": code, "node_name": "甲",
            "organisation": "卫健委"}
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode()


class Enrolment(link_pb2_grpc.EnrolmentServicer):
    """Signs one certificate for the right code."""

    def __init__(self, pki, link_port):
        self.pki, self.link_port, self.request = pki, link_port, None

    def Enrol(self, request, context):
        if request.code != "secret":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        self.request = request
        csr = x509.load_der_x509_csr(request.certificate_request)
        assert csr.is_signature_valid
        return link_pb2.EnrolReply(node_id="nod_1", certificate_chain=self.pki.node("nod_1", csr.public_key()),
                                   coordinator_address=f"127.0.0.1:{self.link_port}", organisation_name="卫健委")


HERE = Path(__file__).parent
