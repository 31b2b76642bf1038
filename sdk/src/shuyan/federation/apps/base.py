"""What a federated app is: a manifest, a Flower ``ClientApp`` for the nodes, and what the coordinator runs.

An app is an object of :class:`FederatedApp` under an entry point of the group ``shuyan.apps``. Nodes run installed apps
only, which their administrator allowed by name and digest; nothing is ever shipped to a node.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shuyan.federation import problems
from shuyan.federation.vectors import VectorSpec
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp

    from shuyan.federation.grid import SecureGrid
    from shuyan.federation.privacy import Sensitivity
    from shuyan.trust.grants import PrivacyTerms

GROUP: Final = "shuyan.apps"
_KEPT_PARAMS: Final = 8
_log = logging.getLogger(__name__)

Need = Literal["number", "dimension", "category", "any"]
"""How an app uses a column: as numbers, to group by, as a category of a model, or only to be there."""


class Limits(BaseModel):
    """What one task of the app may use up on a node; the node's own limits apply as well."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    seconds: int = Field(default=300, ge=1)
    memory_mb: int = Field(default=1024, ge=64)


class Question(BaseModel):
    """What may come with a question of one action; a node refuses anything else, and anything missing.

    A coordinator that could vary something the handler does not read could put one question again and again, each time
    to other departments, and subtract the sums. So declare only what is read.

    Attributes:
        config: by name, the kind of each small value.
        arrays: names of the arrays; the app's ``arrays`` says which of them, and how long, under given parameters.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    config: dict[str, Literal["integer", "number", "text", "boolean"]] = {}
    arrays: tuple[str, ...] = ()


class AppManifest(BaseModel):
    """An app's declaration.

    Attributes:
        actions: by Flower message type (``query.tally``), the vectors the node may answer with.
        questions: by message type, what comes with the question; an action not named here takes nothing.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: str
    title_zh: str
    title_en: str
    output_form: Literal["statistics", "model"]
    actions: dict[str, dict[str, VectorSpec]]
    questions: dict[str, Question] = {}
    limits: Limits = Limits()


class Progress(Protocol):
    """Called as ``progress(round, rounds, code, **args)``; codes are listed in :mod:`shuyan.federation.grid`."""

    def __call__(self, round_: int, rounds: int, code: str, /, **args: object) -> None: ...


def _no_arrays(_params: Any, _action: str) -> dict[str, int]:
    return {}


@dataclass(frozen=True)
class FederatedApp:
    """One federated app.

    Attributes:
        client_app: runs on the nodes, in the worker; its handlers get a
            :class:`~shuyan.federation._flower.NodeContext` and answer with ``reply(message, vectors, cohort)``.
        serve: runs on the coordinator: ``serve(grid, params, progress) -> content``, JSON-able.
        params_model: strict pydantic model of the job's parameters; must have a ``resource``.
        needs: the columns that given parameters touch, and how; a node checks them against grant and schema.
        arrays: ``arrays(params, action) -> {name: length}``: exactly the arrays a question of that action brings, one-
            dimensional float64 each; their names are declared in the manifest.
        relations: the columns that given parameters touch by resource name, for an app that reads several resources of a
            department; by default ``needs`` of the parameters' ``resource``.
        content_model: strict pydantic model of the content that ``serve`` returns; what does not fit it is no result.
        privacy: ``privacy(params, action, terms) -> {vector: sensitivity}`` for answers with noise; an app without it
            answers exactly or not at all.
        prepare: ``prepare(params, schemas, sole, noisy) -> params``: fills in what the departments declare, for an app whose
            parameters need more of it than domains and bounds. ``schemas``: by resource, the schema at each department;
            ``sole``: by (resource, column), the values that are one department's own; ``noisy``: whether answers carry noise.
            Parameters before that must be valid and give ``relations`` their resources.
        noisy_questions: ``noisy_questions(params) -> {action: {vector: length}}`` for an app that asks several questions with noise: each
            action once, so that what leaves and its noise can be told beforehand; by default that is the first question.
        in_place: its relations may be views over files; only for apps that write all their SQL themselves.
    """

    manifest: AppManifest
    client_app: ClientApp
    serve: Callable[[SecureGrid, Any, Progress], dict[str, Any]]
    params_model: type[BaseModel]
    needs: Callable[[Any], Sequence[tuple[str, Need]]]
    arrays: Callable[[Any, str], Mapping[str, int]] = _no_arrays
    relations: Callable[[Any], Mapping[str, Sequence[tuple[str, Need]]]] | None = None
    content_model: type[BaseModel] | None = None
    privacy: Callable[[Any, str, PrivacyTerms], Mapping[str, Sensitivity]] | None = None
    noisy_questions: Callable[[Any], Mapping[str, Mapping[str, int]]] | None = None
    in_place: bool = False
    prepare: Callable[..., dict[str, Any]] | None = None
    _server_app: list[ServerApp] = field(default_factory=list, repr=False, compare=False)
    _parsed: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def tables(self, params: Any) -> dict[str, tuple[tuple[str, Need], ...]]:
        """The resources that given parameters touch, with the columns of each."""
        if self.relations is not None:
            return {name: tuple(columns) for name, columns in self.relations(params).items()}
        return {str(params.resource): tuple(self.needs(params))}

    @property
    def server_app(self) -> ServerApp:
        """The Flower ``ServerApp``; its main runs :attr:`serve` and leaves the content in ``context.state``."""
        from shuyan.federation import _flower

        if not self._server_app:
            self._server_app.append(_flower.server_app(self))
        return self._server_app[0]

    def run(self, grid: SecureGrid) -> dict[str, Any]:
        """Run the ``ServerApp`` on a grid and return the result's content.

        Raises:
            ProblemError: the run was refused or failed.
            shuyan.federation.grid.RunCancelled: it was cancelled.
        """
        from shuyan.federation import _flower

        return _flower.run_server_app(self.server_app, grid)

    def params(self, raw: Mapping[str, Any] | str) -> Any:
        """Validate job parameters: a mapping, or JSON text as it crossed the link.

        Of the same text as one of the last ones, the same object is returned: every round of a run brings it.

        Raises:
            ProblemError: ``bad_params``, naming the field.
        """
        if isinstance(raw, str) and (known := self._parsed.get(raw)) is not None:
            return known
        try:
            parsed = self.params_model.model_validate_json(raw if isinstance(raw, str) else json.dumps(raw, allow_nan=False))
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "params"
            raise ProblemError(problems.BAD_PARAMS, field=where, where=where) from None
        except (ValueError, TypeError, RecursionError):
            raise ProblemError(problems.BAD_PARAMS, field="params", where="params") from None
        if isinstance(raw, str):
            if len(self._parsed) >= _KEPT_PARAMS:
                self._parsed.clear()
            self._parsed[raw] = parsed
        return parsed


@dataclass(frozen=True)
class InstalledApp:
    """An app found on this machine. ``digest`` covers its manifest, its files and the federation core."""

    name: str
    version: str
    digest: str
    manifest: AppManifest
    _app: FederatedApp = field(repr=False)

    def load(self) -> FederatedApp:
        """The app itself."""
        return self._app


def installed(directory: str | None = None) -> dict[str, InstalledApp]:
    """All apps known on this machine, by name.

    Args:
        directory: a folder of developers' packages to include, whose code is not imported; by default that of the
            environment variable ``SHUYAN_APPS_DIR``, if there is one. Of several versions the highest counts, and no
            package takes the name of an app that comes with the product.
    """
    apps = dict(built_in())
    folder = os.environ.get("SHUYAN_APPS_DIR", "") if directory is None else directory
    if folder:
        from shuyan.federation import foreign

        for name, app in foreign.installed_in(Path(folder)).items():
            apps.setdefault(name, app)
    return apps


@cache
def built_in() -> dict[str, InstalledApp]:
    """The apps installed as code, by name. An app that cannot be imported is left out, with a warning."""
    found: dict[str, InstalledApp] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            app = entry.load()
        except Exception:
            _log.warning("app %s cannot be imported", entry.name, exc_info=True)
            continue
        if not isinstance(app, FederatedApp) or app.manifest.name != entry.name:
            _log.warning("entry point %s is not a federated app of that name", entry.name)
            continue
        found[entry.name] = InstalledApp(entry.name, app.manifest.version, _digest(entry, app), app.manifest, app)
    return found


def _digest(entry: EntryPoint, app: FederatedApp) -> str:
    """``sha256:<hex>`` over the canonical JSON of the manifest and the hashes of all files it consists of."""
    own = _hashes({f"app/{name}": path for name, path in _files_of(entry.module).items()})
    return "sha256:" + sha256(rfc8785.dumps({
        "manifest": app.manifest.model_dump(mode="json"), "files": {**_core(), **own}})).hexdigest()


@cache
def _core() -> dict[str, str]:
    """Hashes of the files that every app consists of."""
    core = Path(__file__).resolve().parent.parent
    files = {f"core/{name}": path for path in core.rglob("*.py")
             if not (name := path.relative_to(core).as_posix()).startswith("apps/") and name != "local.py"}
    return _hashes({**files, "core/apps/base.py": Path(__file__).resolve()})


def _hashes(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def _files_of(module: str) -> dict[str, Path]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(module)
    origin = Path(spec.origin).resolve()
    if spec.submodule_search_locations is None:
        return {origin.name: origin}
    root = origin.parent
    return {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
