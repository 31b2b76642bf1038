"""The node's directory: where everything of one node lives, and the settings in its ``config.toml``."""

from __future__ import annotations

import fcntl
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node_agent import errors
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from shuyan.federation.differencing import GuardRules

_SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes, the last of them zero; gRPC needs a few more

_TEMPLATE = """\
# Settings of this node. Every line is optional; docs/node.md describes them.

[policy]
# minimum_cohort = 5        # never answer over fewer rows, whatever a grant says

[worker]
# memory_mb = 2048          # what one task may use beyond the idle worker
# task_seconds = 300        # the longest a task may run
# sandbox = "required"      # run nothing, not even the product's apps, unless the process can be shut in

[budget]
# rho = 1.0                 # of each resource and period, in zCDP's ρ, unless budget set says otherwise
# renewal = "yearly"        # never, monthly, quarterly or yearly

[guard]
# depth = 2                 # how many earlier questions are combined when looking for one that comes too close
# across_grantees = false   # whether one grantee's questions count for another's
# participants = "strict"   # strict, run or off: whether departments may differ between related questions

[risk]
# maximum_share_below_5 = 0.2   # rows in classes of fewer than five that register without a reason

[measure]
# refresh_hours = 24        # how often row counts and quality are measured anew; 0: only when asked
"""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PolicyConfig(_Section):
    """What the department demands beyond every grant."""

    minimum_cohort: int = Field(5, ge=1, description="Never answer over fewer rows, whatever a grant says.")
    app_failures: int = Field(5, ge=1, description=(
        "How often a developer's app may fail here before it is suspended: each failure tells the outside a little."))


class WorkerConfig(_Section):
    """Limits of the worker process."""

    memory_mb: int = Field(2048, ge=64, description="Address space one task may use beyond the idle worker, MiB.")
    task_seconds: float = Field(300.0, gt=0, description="The longest a task may run, whatever deadline it carries.")
    file_mb: int = Field(64, ge=1, description="The largest file the worker may write (its log), MiB.")
    spill_mb: int = Field(0, ge=0, description=(
        "How much of the disk a query of the product's own apps may use when memory is short, MiB; 0: none, and rows are "
        "never written anywhere."))
    threads: int = Field(1, ge=1, le=256, description="Threads of a query of the product's own apps.")
    sandbox: Literal["available", "required"] = Field("available", description=(
        "How the product's own apps are shut in: as far as the kernel can (available), or not at all without Landlock or "
        "namespaces, and seccomp (required). Developers' apps always require it."))


class RiskConfig(_Section):
    """How identifying a resource may be."""

    maximum_share_below_5: float = Field(0.2, ge=0, le=1, description=(
        "The largest share of rows in classes of fewer than five, over the quasi-identifiers, that registers without a reason."))


class MeasureConfig(_Section):
    """How often resources are measured."""

    refresh_hours: float = Field(24.0, ge=0, description=(
        "Hours between two measurements of row counts and quality; 0: only when asked."))


class BudgetConfig(_Section):
    """The privacy budget of a resource for which ``budget set`` set none."""

    rho: float = Field(1.0, ge=0, le=1_000_000, description=(
        "What all answers with differential privacy about one resource may cost together in a period, in zCDP's ρ; 1 is an ε of "
        "7.8 at a δ of 1e-6. Grants have budgets of their own besides."))
    renewal: Literal["never", "monthly", "quarterly", "yearly"] = Field("yearly", description=(
        "When a period ends and the budget is whole again, by Beijing time."))


class GuardConfig(_Section):
    """The guard against differences between answers."""

    depth: int = Field(2, ge=1, le=3, description=(
        "How many earlier questions are combined when looking for one that a new question comes too close to."))
    max_sets: int = Field(500, ge=1, le=5000, description=(
        "Different conditions remembered for each resource and grantee; further ones are refused. At depth 3 at most 64."))
    max_mb: int = Field(512, ge=1, description="Room for them in memory, MiB; further ones are refused.")
    across_grantees: bool = Field(False, description="Whether what one grantee was answered counts for another's questions.")
    participants: Literal["strict", "run", "off"] = Field("strict", description=(
        "Whether related questions must be asked of the same departments, or of three others at least: always (strict), except "
        "that a run may go on without departments the coordinator says it lost (run), or only where they are identical (off)."))
    max_refusals: int = Field(20, ge=1, description=(
        "Refusals for coming too close after which a grantee's new conditions are refused for a day."))

    def rules(self) -> GuardRules:
        """As the guard takes them."""
        from shuyan.federation.differencing import GuardRules

        return GuardRules(self.depth, self.max_sets, self.max_mb, self.across_grantees, self.participants, self.max_refusals)


class Config(_Section):
    """The settings of a node."""

    policy: PolicyConfig = PolicyConfig()
    worker: WorkerConfig = WorkerConfig()
    risk: RiskConfig = RiskConfig()
    measure: MeasureConfig = MeasureConfig()
    budget: BudgetConfig = BudgetConfig()
    guard: GuardConfig = GuardConfig()


class Identity(BaseModel):
    """What the node learned at enrolment; ``identity.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node_id: str
    name: str
    organisation: str
    coordinator_address: str


@dataclass(frozen=True)
class NodeDir:
    """Paths inside one node's directory."""

    path: Path

    @property
    def config_file(self) -> Path:
        return self.path / "config.toml"

    @property
    def identity_file(self) -> Path:
        return self.path / "identity.json"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def database(self) -> Path:
        return self.path / "state.sqlite"

    @property
    def socket(self) -> Path:
        return self.path / "node.sock"

    @property
    def log(self) -> Path:
        return self.path / "node.log"

    @property
    def worker_log(self) -> Path:
        return self.path / "worker.log"

    @property
    def view_salt(self) -> Path:
        """The secret that views mask with."""
        return self.keys / "views.salt"

    @property
    def scratch(self) -> Path:
        """The worker's home and working directory."""
        return self.path / "scratch"

    def create(self) -> None:
        """Make the directory, readable by its owner only.

        Raises:
            ProblemError: ``node_dir_exists``, ``node_dir_path_too_long``.
        """
        if self.config_file.exists():
            raise ProblemError(errors.NODE_DIR_EXISTS, path=self.path)
        if len(os.fsencode(self.socket.absolute())) > _SOCKET_PATH_LIMIT:
            raise ProblemError(errors.NODE_DIR_PATH_TOO_LONG, path=self.path,
                               limit=_SOCKET_PATH_LIMIT - len("/node.sock"))
        for folder in (self.path, self.keys, self.scratch):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
        write_private(self.config_file, _TEMPLATE.encode())

    def require(self) -> None:
        """Raises ``node_dir_missing`` unless :meth:`create` was here before."""
        if not self.config_file.exists():
            raise ProblemError(errors.NODE_DIR_MISSING, path=self.path)

    def config(self) -> Config:
        """The settings.

        Raises:
            ProblemError: ``node_config_invalid``.
        """
        try:
            return Config.model_validate(tomllib.loads(self.config_file.read_text()))
        except tomllib.TOMLDecodeError as error:
            raise ProblemError(errors.NODE_CONFIG_INVALID, setting="config.toml", reason=str(error)) from error
        except ValidationError as error:
            first = error.errors()[0]
            raise ProblemError(errors.NODE_CONFIG_INVALID, setting=".".join(str(part) for part in first["loc"]),
                               reason=first["msg"]) from error

    def identity(self) -> Identity | None:
        """Who this node is, or None before enrolment."""
        if not self.identity_file.exists():
            return None
        return Identity.model_validate_json(self.identity_file.read_bytes())


class Lock:
    """One process per node directory: an advisory lock that the kernel drops when its holder dies.

    Raises (on entering):
        ProblemError: ``node_dir_locked``.
    """

    def __init__(self, node_dir: NodeDir) -> None:
        self._node_dir = node_dir
        self._descriptor = -1

    def __enter__(self) -> Lock:
        self._descriptor = os.open(self._node_dir.path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise ProblemError(errors.NODE_DIR_LOCKED, path=self._node_dir.path) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        os.close(self._descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write a file only its owner may read, whole or not at all, and on the disk when this returns."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
