"""Importing a package's code from memory. Only ever done in a process that is shut in, or on a developer's own machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from shuyan.appkit.package import Package, StaticManifest
from shuyan.appkit.reads import DeclaredArrays, DeclaredNeeds
from shuyan.appkit.schema import schema_of

if TYPE_CHECKING:
    from shuyan.federation.apps.base import FederatedApp


class NotAnAppError(Exception):
    """The code does not make the app that the manifest declares; the text says where."""


class _Source(InspectLoader):
    """Loads one module of a package."""

    def __init__(self, path: str, text: str, package: bool) -> None:
        self._path, self._text, self._package = path, text, package

    def get_source(self, fullname: str) -> str:
        return self._text

    def is_package(self, fullname: str) -> bool:
        return self._package

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._text, self._path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    """Finds the modules of one package, and of nothing else."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._modules: dict[str, tuple[str, bool]] = {}
        self._sources = sources
        for path in sources:
            package = path.endswith("/__init__.py")
            name = path.removesuffix("/__init__.py" if package else ".py").replace("/", ".")
            self._modules[name] = (path, package)

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        known = self._modules.get(fullname)
        if known is None:
            return None
        file, package = known
        return spec_from_loader(fullname, _Source(file, self._sources[file], package), is_package=package)


def import_app(name: str, sources: Mapping[str, str]) -> FederatedApp:
    """Import ``name`` from ``sources`` and return its attribute ``app``.

    Raises:
        NotAnAppError: there is none.
        Exception: whatever the code raises while it is imported.
    """
    from importlib import import_module

    from shuyan.federation.apps.base import FederatedApp

    sys.meta_path.insert(0, _Finder(sources))
    app = getattr(import_module(name), "app", None)
    if not isinstance(app, FederatedApp):
        raise NotAnAppError(f"{name}.app")
    return app


def load(package: Package) -> FederatedApp:
    """The app of a package, which must be what the manifest says.

    Raises:
        NotAnAppError: it is not.
    """
    app = import_app(package.name, package.sources)
    declared = package.manifest.model_dump(mode="json", exclude={"files", "made_with", "modules"})
    made = static_manifest(app).model_dump(mode="json", exclude={"files", "made_with", "modules"})
    for part, value in declared.items():
        if made[part] != value:
            raise NotAnAppError(part)
    return app


def static_manifest(app: FederatedApp, modules: Sequence[str] = ()) -> StaticManifest:
    """What an app declares, as data.

    Raises:
        NotAnAppError: it was not made by :func:`shuyan.federation.kit.federated_app`.
        SchemaError: its parameters or content cannot be described.
    """
    from shuyan import __version__

    if not isinstance(app.needs, DeclaredNeeds) or not isinstance(app.arrays, DeclaredArrays) or app.content_model is None:
        raise NotAnAppError("federated_app")
    return StaticManifest(
        app=app.manifest, params=schema_of(app.params_model), content=schema_of(app.content_model), reads=app.needs.reads,
        arrays=app.arrays.lengths, modules=tuple(sorted(modules)), made_with=__version__)
