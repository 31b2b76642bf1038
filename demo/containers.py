"""``python -m demo.containers``: plays the main job on the market of ``docker-compose.yml``, and disturbs it.

The same chain as on one machine, typed into the containers. Then one department's network is cut and joined again,
every service is restarted, and everything is taken down and brought up with its volumes; after each, a fresh federated
job has to reach its result. Its own project name keeps it apart from a market somebody else runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import shuyan
from demo import scenes
from demo.chain import Chain
from demo.commands import CommandFailed
from demo.data import DISTRICTS, District
from demo.layout import OPERATOR, PARTIES, Layout, Ports, write_private
from demo.market import DemoMarket
from demo.processes import http_ready
from demo.screen import LinkBroken, Screen

PROJECT = "shuyancheck"
PORT = 8790
REPOSITORY = Path(__file__).parent.parent
CONTAINED = DISTRICTS[:3]
UP_WITHIN = 1200.0  # seconds; the first build installs everything
SETTLED_WITHIN = 120.0


class ContainerMarket(DemoMarket):
    """The market in containers, with the commands of :class:`~demo.market.DemoMarket` typed into them."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout, CONTAINED)

    def compose(self, *arguments: str, given: str | None = None, within: float = 300.0) -> str:
        """Run ``docker-compose``.

        Raises:
            CommandFailed: its exit code was not 0.
        """
        command = ("docker-compose", "-p", PROJECT, "-f", str(REPOSITORY / "docker-compose.yml"), *arguments)
        environment = {**os.environ, "SHUYAN_PORT": str(self.layout.ports.web), "DOCKER_BUILDKIT": "0"}
        result = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=within,
                                env=environment, stdin=None if given is not None else subprocess.DEVNULL)
        if result.returncode:
            raise CommandFailed(command, result.returncode, (result.stdout + result.stderr)[-2000:])
        return result.stdout

    def up(self, *, build: bool = False) -> None:
        """Bring everything up and wait until it serves, every department connected."""
        self.compose("up", "-d", *(["--build"] if build else []), within=UP_WITHIN)
        self.settle()

    def settle(self) -> None:
        """Wait until the web site serves and every department is connected with its resources."""
        ready = http_ready(f"{self.layout.url}/healthz")
        self.wait_for(lambda: True if ready() else None, "the web site", SETTLED_WITHIN)
        self._fetch_secrets()
        self.wait_connected()
        wanted = len(self.districts) * len(scenes.SCENES)
        operator = self.connect(OPERATOR)
        self.wait_for(lambda: True if len([*operator.resources.list()]) >= wanted else None, "resources", SETTLED_WITHIN)

    def _fetch_secrets(self) -> None:
        """The operator hands the parties' programs their first secrets."""
        for party in PARTIES:
            if party.scope and not self.layout.secret_file(party).exists():
                write_private(self.layout.secret_file(party), self.compose(
                    "exec", "-T", "marketplace", "cat", f"/data/accounts/clients/{party.slug}.secret"))

    def wait_connected(self, count: int | None = None) -> None:
        """Wait until exactly ``count`` departments (default: all) are connected."""
        operator, wanted = self.connect(OPERATOR), len(self.districts) if count is None else count

        def look() -> bool | None:
            try:
                return True if sum(node.connected for node in operator.nodes.list()) == wanted else None
            except (shuyan.ConnectionFailed, shuyan.Unavailable):
                return None

        self.wait_for(look, f"{wanted} nodes connected", SETTLED_WITHIN)

    def service_of(self, district: District) -> str:
        """The department's service in ``docker-compose.yml``."""
        return f"node-{self.districts.index(district) + 1}"

    def network(self, action: str, district: District) -> None:
        """``disconnect`` or ``connect`` a department's network."""
        service = self.service_of(district)
        container = self.compose("ps", "-q", service).strip()
        network = f"{PROJECT}_department-{service.removeprefix('node-')}"
        subprocess.run(["docker", "network", action, network, container], check=True, capture_output=True, timeout=60)

    def node_command(self, district: District, *arguments: str | Path) -> str:
        return self.compose("exec", "-T", self.service_of(district), "shuyan-node", "--dir", "/data/node",
                            *map(str, arguments))

    def market_command(self, *arguments: str | Path) -> str:
        return self.compose("exec", "-T", "marketplace", "shuyan-market", *map(str, arguments))

    def authority_command(self, *arguments: str | Path) -> str:
        return self.compose("run", "--rm", "-T", "authority", "shuyan-authority", *map(str, arguments))

    def trust(self, district: District) -> None:
        """Hand a node's key card to the authority, which keeps it in its own volume."""
        card = self.node_command(district, "card")
        kept = f"/authority/{district.slug}.card"
        self.compose("run", "--rm", "-T", "authority", "sh", "-c",
                     f"cat > {kept} && shuyan-authority nodes trust {kept} --yes", given=card)


class ContainerChain(Chain):
    """The chain, on departments that have registered themselves, and what may happen to it afterwards."""

    market: ContainerMarket

    def set_up(self) -> None:
        step, market = self.screen.step, self.market
        with step("构建镜像，启动全部容器", "Image built, all containers up"):
            market.up(build=True)
        with step("数据主管部门核验节点密钥卡", "The data authority trusts the nodes' key cards"):
            for district in market.districts:
                market.trust(district)
            market.authority_command("revocations", "renew")
        self.appoint()

    def disturb(self) -> None:
        """Everything that operations people do to a market, each followed by a fresh job."""
        market, step = self.market, self.screen.step
        cut = market.districts[0]
        self.screen.heading("断网与恢复", "A network cut and joined")
        with step("切断{name}的网络", "{name} cut off", name=cut.name_en):
            market.network("disconnect", cut)
            market.wait_connected(len(market.districts) - 1)
        with step("缺一个部门的任务有明确结局", "A job without it has a decided outcome") as now:
            now.note = self.refused_job()
        with step("恢复网络", "Joined again"):
            market.network("connect", cut)
            market.wait_connected()
        self.fresh_job()
        self.screen.heading("逐个重启服务", "Each service restarted")
        for service in ("postgres", "marketplace", "coordinator", *(market.service_of(d) for d in market.districts)):
            with step("重启 {service}", "{service} restarted", service=service):
                market.compose("restart", service)
                market.settle()
            self.fresh_job()
        self.screen.heading("整体停止再启动", "Taken down and brought up")
        with step("停止并删除容器，保留数据卷", "Containers removed, volumes kept"):
            market.compose("down")
        with step("再次启动", "Up again"):
            market.up()
        self.fresh_job()
        self.verify()

    def refused_job(self) -> str:
        """A job that lacks a department fails, and says which. Returns what it says."""
        scene = scenes.HEALTH
        job = self.submit(scene.products[0], self.made[f"{scene.key}.grant"], fresh=True)
        job.wait(timeout=SETTLED_WITHIN, poll=0.2)
        if job.status != "failed":
            raise RuntimeError(job.status)
        return job.log()[-1].text


def main() -> int:
    """Exit code 0 when every link held; the containers and volumes of the check are removed either way."""
    screen = Screen()
    if shutil.which("docker-compose") is None or subprocess.run(
            ["docker", "version"], capture_output=True, check=False, timeout=30).returncode:
        screen.say("这台机器上没有可用的 Docker 引擎。", "No Docker engine answers on this machine.")
        return 2
    with tempfile.TemporaryDirectory(prefix="shuyan-compose-") as folder:
        layout = Layout(Path(folder), Ports(PORT, PORT + 1, PORT + 2))
        with ContainerMarket(layout) as market:
            market.compose("down", "-v", "--remove-orphans")
            try:
                chain = ContainerChain(market, screen)
                chain.play()
                chain.disturb()
            except LinkBroken as broken:
                screen.say("\n链条在这一步断开：{step}\n{reason}", "\nThe chain broke here: {step}\n{reason}",
                           step=broken.step, reason=broken.reason)
                screen.console.print(market.compose("logs", "--tail", "15"), markup=False)
                return 1
            finally:
                market.compose("down", "-v", "--remove-orphans")
    screen.say("\n容器环境下主流程及各项扰动全部通过。", "\nThe main job and every disturbance passed in containers.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
