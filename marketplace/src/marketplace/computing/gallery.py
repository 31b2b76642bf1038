"""The federated apps that can be asked for: what they take, what they give, and where they are allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.computing.models import Node
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class AppCard:
    """One app.

    Attributes:
        params_schema: JSON Schema of a job's parameters, without what the market fills in itself.
        content_schema: JSON Schema of the result's content; ``None`` where the app does not say.
        noisy: it can answer with noise, under a grant whose release is ``dp``.
        questions: message types it puts to the departments.
        allowed_at: departments whose node allows this very version, by name; for who is signed in.
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


def list_apps(session: Session, actor: Actor) -> list[AppCard]:
    """The apps installed here, by name."""
    # Flower costs the web tier a quarter of a second and 30 MB, so it is loaded by the first who asks
    from shuyan.federation import apps

    allowed: dict[tuple[str, str], list[str]] = {}
    if actor.party != "public":
        for node in session.exec(select(Node).where(Node.status == "active").order_by(col(Node.name), col(Node.id))):
            for app in node.apps:
                allowed.setdefault((app["name"], app["digest"]), []).append(node.name)
    return [_card(app, tuple(allowed.get((name, app.digest), ()))) for name, app in sorted(apps.installed().items())]


def get_app(session: Session, actor: Actor, name: str) -> AppCard:
    """One app. Raises ``not_found``."""
    for card in list_apps(session, actor):
        if card.name == name:
            return card
    raise ProblemError("not_found", what="app")


def _card(app: Any, allowed_at: tuple[str, ...]) -> AppCard:
    from marketplace.computing.submission import FILLED

    loaded, manifest = app.load(), app.manifest
    params = loaded.params_model.model_json_schema()
    params["properties"] = {name: one for name, one in params.get("properties", {}).items() if name not in FILLED}
    model = loaded.content_model
    return AppCard(
        name=app.name, version=app.version, digest=app.digest, title_zh=manifest.title_zh, title_en=manifest.title_en,
        output_form=manifest.output_form, noisy=loaded.privacy is not None, questions=tuple(sorted(manifest.actions)),
        params_schema=params, content_schema=None if model is None else model.model_json_schema(), allowed_at=allowed_at)
