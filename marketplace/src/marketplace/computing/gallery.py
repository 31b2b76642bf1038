"""The federated apps that can be asked for: what they take, what they give, and where they are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.computing.models import Node
from marketplace.programs import service as programs
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from shuyan.federation.apps import InstalledApp


@dataclass(frozen=True)
class AppVersion:
    """An accepted version of a developer's app; ``allowed_at`` as for the card."""

    version: str
    digest: str
    allowed_at: tuple[str, ...]


@dataclass(frozen=True)
class AppCard:
    """One app.

    Attributes:
        params_schema: JSON Schema of a job's parameters, without what the market fills in itself.
        content_schema: JSON Schema of the result's content; ``None`` where the app does not say.
        noisy: it can answer with noise, under a grant whose release is ``dp``.
        questions: message types it puts to the departments.
        allowed_at: departments whose node allows this very version, by name; for who is signed in.
        developer: the organisation that submitted it; empty for an app that comes with the product.
        versions: accepted versions of a developer's app, the highest first.
    """

    name: str
    version: str
    digest: str
    title_zh: str
    title_en: str
    output_form: str
    noisy: bool
    questions: tuple[str, ...]
    params_schema: dict[str, Any]
    content_schema: dict[str, Any] | None
    allowed_at: tuple[str, ...]
    developer: str = ""
    versions: tuple[AppVersion, ...] = ()


def list_apps(session: Session, actor: Actor) -> list[AppCard]:
    """The apps installed here, by name."""
    return _cards(session, actor, programs.installed(session))


def get_app(session: Session, actor: Actor, name: str) -> AppCard:
    """One app. Raises ``not_found``."""
    app = programs.installed(session).get(name)
    if app is None:
        raise ProblemError("not_found", what="app")
    return _cards(session, actor, {name: app})[0]


def _cards(session: Session, actor: Actor, apps: Mapping[str, InstalledApp]) -> list[AppCard]:
    allowed: dict[tuple[str, str], list[str]] = {}
    if actor.party != "public":
        for node in session.exec(select(Node).where(Node.status == "active").order_by(col(Node.name), col(Node.id))):
            for one in node.apps:
                allowed.setdefault((one["name"], one["digest"]), []).append(node.name)
    versions = programs.accepted_versions(session)
    cards = []
    for name, app in sorted(apps.items()):
        mine = versions.get(name, [])
        cards.append(replace(
            _card(app, tuple(allowed.get((name, app.digest), ()))), developer=mine[0].organisation_id if mine else "",
            versions=tuple(AppVersion(it.version, it.digest, tuple(allowed.get((name, it.digest), ()))) for it in mine)))
    return cards


def _card(app: Any, allowed_at: tuple[str, ...]) -> AppCard:
    from marketplace.computing.submission import FILLED

    loaded, manifest = app.load(), app.manifest
    schema = _schema(loaded.params_model)
    params = {**schema, "properties": {name: one for name, one in schema.get("properties", {}).items() if name not in FILLED}}
    model = loaded.content_model
    return AppCard(
        name=app.name, version=app.version, digest=app.digest, title_zh=manifest.title_zh, title_en=manifest.title_en,
        output_form=manifest.output_form, noisy=loaded.privacy is not None, questions=tuple(sorted(manifest.actions)),
        params_schema=params, content_schema=None if model is None else _schema(model), allowed_at=allowed_at)


@lru_cache(maxsize=256)
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON Schema, not to be changed: those of the apps that come with the product take a tenth of a second to make."""
    return model.model_json_schema()
