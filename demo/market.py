"""One market of real processes on this machine: set up, started, its nodes enrolled."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import shuyan
from demo import department
from demo.commands import Runner, executable, program, run
from demo.data import DISTRICTS, District
from demo.layout import OPERATOR, Layout, Party, write_private
from demo.processes import (
    Processes,
    Service,
    Spawn,
    http_ready,
    port_ready,
    port_taken,
    process_environment,
    socket_ready,
)

T = TypeVar("T")
MARKET, COORDINATOR = "marketplace", "coordinator"


class PortTaken(Exception):
    """Somebody else listens on a port that the market needs."""

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(str(port))


class AlreadyRunning(Exception):
    """Another process uses the same folder."""


class DemoMarket:
    """The marketplace, the coordinator and one node agent a district, each a process of its own.

    ``with DemoMarket(layout) as market:`` holds the folder's lock; leaving it stops every process.
    """

    def __init__(self, layout: Layout, districts: Sequence[District] = DISTRICTS, *, runner: Runner = program,
                 spawn: Spawn | None = None) -> None:
        """``runner`` and ``spawn``: how commands and services are started; by default as programs."""
        self.layout = layout
        self.districts = tuple(districts)
        self.processes = Processes(spawn)
        self._runner = runner
        self._connections: dict[str, shuyan.Market] = {}
        self._lock_file: Any = None

    def run(self, name: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> str:
        """Run a command and return its output; see :func:`demo.commands.run`."""
        return run(name, *arguments, environment=environment, runner=self._runner)

    def __enter__(self) -> Self:
        self.layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_file = (self.layout.root / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock_file.close()
            raise AlreadyRunning from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self.processes.stop_all()
        self._lock_file.close()

    # -- setting up -------------------------------------------------------------------------------------------------

    def check_ports(self) -> None:
        """Raises :class:`PortTaken` for the first port in use."""
        for port in self.layout.ports.all:
            if port_taken("127.0.0.1", port):
                raise PortTaken(port)

    def initialise(self) -> None:
        """Keys, database and first accounts; on a later start only what is missing."""
        layout, environment = self.layout, self.layout.market_environment()
        public = layout.authority / "authority.pub"
        if not public.exists():
            layout.authority.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.run("shuyan-authority", "init", "--key", layout.authority / "authority.key", "--public", public)
        self.run("shuyan-market", "init", environment=environment)
        if not (layout.market / "keys" / "authority.pub").exists():
            # The operator receives the public half; the private one stays with the authority.
            shutil.copyfile(public, layout.market / "keys" / "authority.pub")
        if not (layout.root / "initialised").exists():
            self.run("shuyan-coordinator", "init", environment=environment)
            seed = layout.root / "seed.json"
            write_private(seed, json.dumps(layout.seed(), ensure_ascii=False, indent=2))
            self.run("shuyan-market", "seed", seed, environment=environment)
            seed.unlink()
            (layout.root / "initialised").touch()

    def write_raw_data(self) -> None:
        """The departments' own files."""
        for district in self.districts:
            department.write_raw_data(district, self.layout.department(district) / "data")

    # -- processes --------------------------------------------------------------------------------------------------

    def market_service(self) -> Service:
        layout = self.layout
        return Service(MARKET, (executable("shuyan-market"), "serve"), layout.logs / "marketplace.log",
                       http_ready(f"{layout.url}/healthz"), process_environment(layout.market_environment()))

    def coordinator_service(self) -> Service:
        layout = self.layout
        return Service(COORDINATOR, (executable("shuyan-coordinator"), "serve"), layout.logs / "coordinator.log",
                       port_ready("127.0.0.1", layout.ports.link, layout.ports.enrol),
                       process_environment(layout.market_environment()))

    def node_service(self, district: District) -> Service:
        folder = self.layout.node(district)
        return Service(district.slug, (executable("shuyan-node"), "--dir", str(folder), "run"),
                       self.layout.logs / f"node-{district.slug}.log", socket_ready(folder / "node.sock"),
                       process_environment({}))

    def start_centre(self) -> None:
        """Start the marketplace and the coordinator."""
        self.processes.start(self.market_service(), self.coordinator_service())

    def start_nodes(self) -> None:
        """Start the agents of all enrolled nodes."""
        self.processes.start(*(self.node_service(district) for district in self.districts))

    def start_all(self) -> None:
        """Start everything at once, where every node is enrolled already."""
        self.processes.start(self.market_service(), self.coordinator_service(),
                             *(self.node_service(district) for district in self.districts))

    # -- nodes ------------------------------------------------------------------------------------------------------

    def enrolled(self, district: District) -> bool:
        return (self.layout.node(district) / "identity.json").exists()

    def node_command(self, district: District, *arguments: str | Path) -> str:
        """Run ``shuyan-node`` as the department's administrator."""
        return self.run("shuyan-node", "--dir", self.layout.node(district), *arguments)

    def node_json(self, district: District, *arguments: str | Path) -> Any:
        """What a reading command of ``shuyan-node`` says, as data."""
        return json.loads(self.node_command(district, *arguments, "--json"))

    def market_command(self, *arguments: str | Path) -> str:
        """Run ``shuyan-market`` as the operator."""
        return self.run("shuyan-market", *arguments, environment=self.layout.market_environment())

    def authority_command(self, *arguments: str | Path) -> str:
        """Run ``shuyan-authority`` as the data authority."""
        return self.run("shuyan-authority", *arguments, environment=self.layout.authority_environment())

    def enrol(self, district: District) -> None:
        """Invite a node (operator), then set it up and enrol it (department)."""
        folder = self.layout.node(district)
        invitation = self.layout.department(district) / "invitation.txt"
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_private(invitation, self.connect(OPERATOR).nodes.invite(f"org_{district.slug}", f"{district.name_zh}节点"))
        if not (folder / "config.toml").exists():
            self.node_command(district, "init")
        self.node_command(district, "enrol", "--invitation", invitation,
                          "--authority-key", self.layout.authority / "authority.pub", "--yes")
        invitation.unlink(missing_ok=True)

    def card(self, district: District) -> Path:
        """Where a department keeps its node's key card."""
        return self.layout.department(district) / "card.json"

    def _hand_out_card(self, district: District) -> None:
        self.node_command(district, "card", "--out", self.card(district))

    def trust_cards(self) -> None:
        """Every department hands out its node's key card, and the data authority trusts it."""
        self.in_parallel(self._hand_out_card)
        for district in self.districts:
            self.authority_command("nodes", "trust", self.card(district), "--yes")
        # Nodes take no task without a fresh list of what is revoked, empty as it may be.
        self.authority_command("revocations", "renew")

    def in_parallel(self, work: Callable[[District], None]) -> None:
        """Do ``work`` for every district, some at the same time; the first failure is raised."""
        with ThreadPoolExecutor(max_workers=4) as pool:
            for done in [pool.submit(work, district) for district in self.districts]:
                done.result()

    def wait_for(self, look: Callable[[], T | None], what: str, within: float = 30.0) -> T:
        """Look until there is something to see.

        Raises:
            TimeoutError: there was nothing in time; names ``what``.
            ProcessFailed: a process ended meanwhile.
        """
        end = time.monotonic() + within
        while (seen := look()) is None:
            for failure in self.processes.ended():
                raise failure
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: {within:g} s")
            time.sleep(0.1)
        return seen

    def wait_connected(self) -> None:
        """Wait until the market sees every node connected."""
        operator = self.connect(OPERATOR)
        self.wait_for(
            lambda: True if sum(node.connected for node in operator.nodes.list()) >= len(self.districts) else None,
            "nodes connected")

    def connect(self, party: Party) -> shuyan.Market:
        """The SDK, signed in as ``party``'s program."""
        if party.slug not in self._connections:
            self._connections[party.slug] = shuyan.connect(
                self.layout.url, client_id=party.client_id, client_secret=self.layout.secret(party))
        return self._connections[party.slug]


