"""A node for tests of the link: speaks link.proto over real TLS and answers tasks with the SDK's own pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.factories.federation import Certify, Department

from marketplace.rpc.pki import Authority
from shuyan.federation.local import LocalNode
from shuyan.federation.transport import OpenRequest, TaskRequest
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2 as pb
from shuyan_protos.link.v1.framing import Reader, split


def tls_request(curve: ec.EllipticCurve | None = None) -> tuple[bytes, bytes]:
    """A TLS key (PEM) and the certificate request (DER) for it."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([
        x509.NameAttribute(NameOID.COMMON_NAME, "node")])).sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, request.public_bytes(serialization.Encoding.DER)


def certifier(authority: Authority) -> Certify:
    """Certifies nodes as enrolment would."""
    def certify(node_id: str) -> tuple[str, bytes, bytes]:
        key, request = tls_request()
        issued = authority.issue_node(request, node_id)
        return issued.serial, key, issued.chain_pem.encode()

    return certify


class LinkNode:
    """One connection. ``received`` holds every frame from the coordinator, in order."""

    def __init__(self, department: Department, stream: Any) -> None:
        self.department = department
        self.received: list[pb.CoordinatorFrame] = []
        self.answering = True
        self.ended = asyncio.Event()
        self._stream = stream
        self._news = asyncio.Condition()

    async def send(self, frame: pb.NodeFrame) -> None:
        for part in split(frame):
            await self.send_raw(part.SerializeToString())

    async def send_raw(self, data: bytes) -> None:
        await self._stream.write(data)

    async def wait_for(self, body: str, count: int = 1, seconds: float = 15.0) -> Any:
        """The ``count``-th frame of kind ``body``."""
        def found() -> list[Any]:
            return [getattr(frame, body) for frame in self.received if frame.WhichOneof("body") == body]

        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: len(found()) >= count)
        return found()[count - 1]

    async def read(self) -> None:
        """Take frames until the link ends; answers tasks unless told not to."""
        reader: Reader[pb.CoordinatorFrame] = Reader(pb.CoordinatorFrame)
        try:
            while (data := await self._stream.read()) is not grpc.aio.EOF:
                frame = reader.take(data)
                if frame is None:
                    continue
                async with self._news:
                    self.received.append(frame)
                    self._news.notify_all()
                if self.answering and (reply := await asyncio.to_thread(_answer, self.department.local, frame)):
                    await self.send(reply)
        except grpc.aio.AioRpcError:
            pass
        finally:
            self.ended.set()

    async def drop(self) -> None:
        """The network goes away."""
        self._stream.cancel()
        await self.ended.wait()


def _answer(node: LocalNode, frame: pb.CoordinatorFrame) -> pb.NodeFrame | None:
    body = frame.WhichOneof("body")
    try:
        if body == "task_request":
            asked = frame.task_request
            reply = node.answer(TaskRequest(
                task_id=asked.task_id, node_id=node.node_id, run_id=asked.run_id, round=asked.round, attempt=asked.attempt,
                grant=asked.grant, grant_digest=asked.grant_digest, app_name=asked.app_name, app_digest=asked.app_digest,
                purpose=asked.purpose, participants=tuple(asked.participants), flower_message=asked.flower_message,
                params_json=asked.params_json, deadline_ms=asked.deadline_ms))
            return pb.NodeFrame(task_reply=pb.TaskReply(task_id=reply.task_id, flower_message=reply.flower_message))
        if body == "open_request":
            ask = frame.open_request
            opened = node.open(OpenRequest(ask.task_id, node.node_id, ask.run_id, ask.round, ask.attempt))
            return pb.NodeFrame(open_reply=pb.OpenReply(task_id=opened.task_id, self_mask_seed=opened.self_mask_seed))
    except ProblemError as problem:
        failure = pb.Failure(code=problem.code, args={key: str(value) for key, value in problem.args_.items()})
        if body == "task_request":
            return pb.NodeFrame(task_reply=pb.TaskReply(task_id=frame.task_request.task_id, failure=failure))
        return pb.NodeFrame(open_reply=pb.OpenReply(task_id=frame.open_request.task_id, failure=failure))
    return None


@asynccontextmanager
async def dial(department: Department, root_pem: bytes, port: int, *, hello: pb.Hello | None = None,
               answering: bool = True, first: bytes | None = None) -> AsyncIterator[LinkNode]:
    """Connect as ``department`` and say hello (or ``first``, raw bytes)."""
    credentials = grpc.ssl_channel_credentials(root_pem, department.tls_key or None, department.tls_chain or None)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        stream = channel.stream_stream("/shuyan.link.v1.NodeLink/Connect", request_serializer=None,
                                       response_deserializer=None)()
        node = LinkNode(department, stream)
        node.answering = answering
        if first is not None:
            await node.send_raw(first)
        else:
            await node.send(pb.NodeFrame(hello=hello or pb.Hello(protocol_versions=[1], software_version="test")))
        reading = asyncio.create_task(node.read())
        try:
            yield node
        finally:
            stream.cancel()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
