"""The coordinator: enrolment and links on the event loop, jobs in threads, one process."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from typing import Any, Final

import grpc

from marketplace.computing.errors import PORT_TAKEN
from marketplace.logging import get_logger
from marketplace.rpc import ledger
from marketplace.rpc.enrolment import MAX_REQUEST_BYTES, Enrolment
from marketplace.rpc.hub import GRACE_SECONDS, Hub, LinkTransport
from marketplace.rpc.link import RECONNECT_MS, NodeLinks, Recorder
from marketplace.rpc.pki import Authority
from marketplace.rpc.watch import watch
from marketplace.settings import Settings
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2_grpc
from shuyan_protos.link.v1.framing import MAX_WIRE_BYTES

log = get_logger("coordinator")

_STOP_SECONDS: Final = 2.0


class LinkServer:
    """The two gRPC services and the watch over the database. Everything runs on the loop that starts it.

    Args:
        heartbeat_seconds: overrides the setting, for tests.
        recorder: sees every decoded frame from nodes, for tests.
    """

    def __init__(self, settings: Settings, *, heartbeat_seconds: float | None = None,
                 grace_seconds: float = GRACE_SECONDS, recorder: Recorder | None = None) -> None:
        self.hub = Hub(grace_seconds)
        self.link_port = self.enrol_port = 0
        self._settings = settings
        self._links = NodeLinks(self.hub, heartbeat_seconds=heartbeat_seconds or settings.heartbeat_seconds,
                                recorder=recorder)
        self._servers: list[grpc.aio.Server] = []
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> LinkTransport:
        """Listen; the transport on which jobs reach the nodes.

        Raises:
            ProblemError: ``pki_missing``, ``port_taken``.
        """
        config = self._settings
        authority = Authority(config.keys_dir)
        files = authority.server_files({config.link_public_host, "localhost", "127.0.0.1"})
        pair = [(files.key, files.chain)]
        await ledger.nobody_linked()

        links = _server(MAX_WIRE_BYTES)
        links.add_generic_rpc_handlers((self._links.handler(),))
        self.link_port = _listen(links, config.link_host, config.link_port, grpc.ssl_server_credentials(
            pair, root_certificates=files.root, require_client_auth=True))
        await links.start()

        enrolment = _server(MAX_REQUEST_BYTES)
        link_pb2_grpc.add_EnrolmentServicer_to_server(
            Enrolment(authority, f"{config.link_public_host}:{self.link_port}"), enrolment)
        self.enrol_port = _listen(enrolment, config.link_host, config.enrol_port, grpc.ssl_server_credentials(pair))
        await enrolment.start()

        self._servers = [enrolment, links]
        self._watch = asyncio.create_task(watch(self.hub))
        log.info("listening for nodes", link_port=self.link_port, enrol_port=self.enrol_port)
        return LinkTransport(self.hub, asyncio.get_running_loop())

    async def stop(self) -> None:
        """Say goodbye to every node, which will come back by itself, and stop listening."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self.hub.close_all("shutting_down", RECONNECT_MS)
        for server in self._servers:
            await server.stop(_STOP_SECONDS)


async def run(settings: Settings, ready: Callable[[LinkServer], None] = lambda _server: None) -> None:
    """The coordinator until SIGTERM or SIGINT."""
    from marketplace.workflows.engine import Engine

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = LinkServer(settings)
    transport = await server.start()
    engine = Engine(settings, transport)
    try:
        await asyncio.to_thread(engine.start)
        gc.collect()  # what is loaded stays: the collector need not go through it in the middle of a round
        gc.freeze()
        ready(server)
        await stop.wait()
        log.info("shutting down")
    finally:
        # runs first, while the nodes can still be told to stop
        await asyncio.to_thread(engine.stop)
        await server.stop()


def _server(max_message_bytes: int) -> grpc.aio.Server:
    return grpc.aio.server(options=[
        ("grpc.so_reuseport", 0),  # a second coordinator must fail to listen, not share the port
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", MAX_WIRE_BYTES),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ])


def _listen(server: grpc.aio.Server, host: str, port: int, credentials: Any) -> int:
    try:
        bound = server.add_secure_port(f"{host}:{port}", credentials)
    except RuntimeError:
        bound = 0
    if not bound:
        raise ProblemError(PORT_TAKEN, host=host, port=port)
    return int(bound)
