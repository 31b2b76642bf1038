"""The bare thing a round is compared with: gRPC streams under the same mutual TLS, each frame sent straight back."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import grpc

METHOD = "/bench.Echo/Connect"


class Echoes:
    """The server's side: one outgoing queue and one stream of answers for each client."""

    def __init__(self) -> None:
        self.streams: list[Any] = []

    def handler(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler("bench.Echo", {
            "Connect": grpc.stream_stream_rpc_method_handler(self.connect)})

    async def connect(self, _requests: Any, context: Any) -> None:
        self.streams.append(context)
        await asyncio.Event().wait()

    async def exchange(self, payload: bytes) -> None:
        """Send ``payload`` to every client and wait for all answers."""
        async def one(stream: Any) -> None:
            await stream.write(payload)
            await stream.read()

        await asyncio.gather(*(one(stream) for stream in self.streams))


async def answer(address: str, folder: Path) -> None:
    """The client's side, with a node's own key and certificate."""
    credentials = grpc.ssl_channel_credentials(
        (folder / "ca.pem").read_bytes(), (folder / "tls.key").read_bytes(), (folder / "tls.crt").read_bytes())
    async with grpc.aio.secure_channel(address, credentials) as channel:
        call = channel.stream_stream(METHOD)()
        while (frame := await call.read()) is not grpc.aio.EOF:
            await call.write(frame)


if __name__ == "__main__":
    with contextlib.suppress(grpc.RpcError):  # the server has gone: the measurement is over
        asyncio.run(answer(sys.argv[1], Path(sys.argv[2])))
