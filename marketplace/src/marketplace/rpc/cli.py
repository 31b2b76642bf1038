"""``shuyan-coordinator``: make the node link's certificates, serve the nodes, tell whether it is healthy."""

from __future__ import annotations

import os
import sys

import typer

from marketplace.settings import settings
from shuyan._text import language, set_language, t
from shuyan.problems import ProblemError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=t(
    "数堰协调服务：连接各部门节点，执行联邦计算任务。", "The Shuyan coordinator: links the departments' nodes and runs federated jobs."))

OK, FAILED, NO_CONNECTION = 0, 1, 3


@app.callback()
def _language(lang: str | None = typer.Option(None, "--lang", help=t("界面语言：zh 或 en。", "Language: zh or en."))) -> None:
    if lang is not None:
        set_language(lang)


@app.command(help=t("生成节点连接所用的证书（可重复执行）。", "Make the node link's certificates; repeating it changes nothing."))
def init() -> None:
    from marketplace.rpc.pki import Authority, initialise

    config = settings()
    made = initialise(config.keys_dir)
    Authority(config.keys_dir).server_files({config.link_public_host, "localhost", "127.0.0.1"})
    print(t("已生成根证书：{path}", "Made the root certificate: {path}", path=config.keys_dir / "ca.pem") if made else
          t("根证书已存在：{path}", "The root certificate is there: {path}", path=config.keys_dir / "ca.pem"))


@app.command(help=t("运行协调服务，直到收到停止信号。", "Run the coordinator until told to stop."))
def serve() -> None:
    # before Flower is imported: it would call home
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    import asyncio

    from marketplace.logging import configure
    from marketplace.rpc.server import LinkServer, run
    from marketplace.workflows.lock import single_coordinator

    config = settings()
    configure(json=config.log_json)

    def ready(server: LinkServer) -> None:
        print(t("协调服务已就绪：节点连接端口 {link}，注册端口 {enrol}。",
                "The coordinator is ready: node links on port {link}, enrolment on port {enrol}.",
                link=server.link_port, enrol=server.enrol_port), flush=True)

    with single_coordinator(config):
        asyncio.run(run(config, ready))


@app.command(help=t("检查协调服务是否应答（供容器健康检查使用）。", "Whether the coordinator answers; for container health checks."))
def health() -> None:
    import grpc

    from shuyan_protos.link.v1 import link_pb2 as pb
    from shuyan_protos.link.v1 import link_pb2_grpc

    config = settings()
    root = (config.keys_dir / "ca.pem").read_bytes() if (config.keys_dir / "ca.pem").exists() else None
    # an enrolment without anything in it has to be refused, by the loop that serves the links as well
    with grpc.secure_channel(f"127.0.0.1:{config.enrol_port}", grpc.ssl_channel_credentials(root)) as channel:
        try:
            link_pb2_grpc.EnrolmentStub(channel).Enrol(pb.EnrolRequest(), timeout=3)
            healthy = False
        except grpc.RpcError as error:
            healthy = error.code() is grpc.StatusCode.INVALID_ARGUMENT
    if not healthy:
        print(t("协调服务没有应答。", "The coordinator does not answer."), file=sys.stderr)
        raise typer.Exit(NO_CONNECTION)
    print(t("协调服务正常。", "The coordinator is well."))


def main() -> None:
    """The console script."""
    try:
        app()
    except ProblemError as problem:
        print(problem.text(language()), file=sys.stderr)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
