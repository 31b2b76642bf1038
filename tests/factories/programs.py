"""Packages of the template's app, in whatever version, and an operator who signs them offline."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from marketplace.settings import Settings
from shuyan.appkit import Package, loader, pack, sign_package
from shuyan.appkit.package import StaticManifest
from shuyan.appkit.project import Project, new_project
from shuyan.trust import keys


@cache
def _template() -> tuple[StaticManifest, dict[str, str], str]:
    with tempfile.TemporaryDirectory() as folder:
        project = Project.read(new_project("visit_costs", Path(folder)))
    from shuyan.appkit.rules import imports_of

    sources = dict(project.sources)
    return (loader.static_manifest(loader.import_app(project.name, sources), imports_of(project.name, sources)), sources,
            project.readme)


def make_package(version: str = "1.0.0", *, name: str = "visit_costs", more: str = "", bound: float | None = None) -> Package:
    """The template's package. ``more`` is source appended to its first module, ``bound`` a bound of all its vectors."""
    manifest, sources, readme = _template()
    app = manifest.app.model_copy(update={"version": version, "name": name})
    if bound is not None:
        app = app.model_copy(update={"actions": {
            action: {vector: spec.model_copy(update={"bound": bound}) for vector, spec in specs.items()}
            for action, specs in app.actions.items()}})
    renamed = {path.replace("visit_costs/", f"{name}/", 1): text.replace("visit_costs", name) for path, text in sources.items()}
    renamed[f"{name}/__init__.py"] += more
    return pack(manifest.model_copy(update={"app": app}), renamed, readme)


class Signer:
    """The operator's signing desk: its key is nowhere near the market, which is given the public half."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.key = Ed25519PrivateKey.generate()
        if settings is not None:
            self.install(settings)

    def install(self, settings: Settings) -> None:
        """Make this the key that the market believes."""
        target = settings.keys_dir / "apps.pub"
        target.unlink(missing_ok=True)
        keys.save_public_key(target, self.key.public_key())

    def sign(self, package: Package) -> str:
        return sign_package(package, self.key, issuer="运营公司", at=1_780_000_000)
