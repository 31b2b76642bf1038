"""The public audit log: any subject's trail, the signed state of the log, and how to verify both."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, redirect, render_template, request, url_for

from marketplace.computing import service as computing
from marketplace.db import reading
from marketplace.settings import settings
from marketplace.trust import service as trust
from marketplace.web.blueprint import web
from marketplace.web.views._common import organisation_names
from shuyan.problems import ProblemError

RECENT = 30
SHOWN = 200


@web.get("/audit")
def audit() -> Any:
    subject = request.args.get("subject", "").strip()
    if subject:
        return redirect(url_for("web.audit_subject", subject=subject))
    with reading() as db:
        size = trust.log_size(db)
        events = trust.events_for(db, None, after=max(-1, size - RECENT - 1), limit=RECENT)
        checkpoint, signers, note = _checkpoint(db)
    return render_template("web/audit.html", events=list(reversed(events)), size=size, checkpoint=checkpoint,
                           signers=signers, note=note, vkey=_vkey())


def _vkey() -> str:
    try:
        return trust.log_vkey()
    except ProblemError:  # not initialised yet: the page says that there is no checkpoint
        return ""


def _checkpoint(db: Any) -> tuple[Any, list[dict[str, Any]], str]:
    """The newest checkpoint, who has cosigned it, and its note with the cosignatures."""
    checkpoint = trust.latest_checkpoint(db)
    if checkpoint is None:
        return None, [], ""
    rows = trust.cosignatures(db, checkpoint.size)
    nodes = computing.nodes_by_id(db, [row.node_id for row in rows])
    names = organisation_names(db, [node.organisation_id for node in nodes.values()])
    signers = [{"node": nodes[row.node_id].name, "organisation": names.get(nodes[row.node_id].organisation_id, "–"),
                "at": row.created_at} for row in rows if row.node_id in nodes]
    return checkpoint, signers, trust.cosigned_note(db, checkpoint)


@web.get("/audit/<subject>")
def audit_subject(subject: str) -> Any:
    with reading() as db:
        rows = trust.events_for(db, subject, limit=SHOWN)
        if not rows:
            raise ProblemError("not_found", what="subject")
        checkpoint, signers, note = _checkpoint(db)
    events = [{"row": row, "leaf": json.loads(row.leaf), "pretty": _pretty(row.leaf),
               "sealed": checkpoint is not None and row.index < checkpoint.size} for row in rows]
    return render_template("web/audit_subject.html", subject=subject, events=events, checkpoint=checkpoint,
                           signers=signers, note=note, vkey=_vkey(), page=_page_of(subject),
                           market=settings().public_url, more=len(rows) == SHOWN)


def _pretty(leaf: str) -> str:
    return json.dumps(json.loads(leaf), ensure_ascii=False, indent=2)


def _page_of(subject: str) -> str | None:
    kind = subject.split("_")[0]
    if kind == "prod":
        return url_for("web.product", product_id=subject)
    return url_for("web.resource", resource_id=subject) if kind == "res" else None


@web.get("/audit/<subject>/bundle.json")
def audit_bundle(subject: str) -> Any:
    """All an offline verifier needs, as a file."""
    with reading() as db:
        data = trust.bundle(db, subject)
    body = json.dumps(data, ensure_ascii=False, indent=1)
    return Response(body, mimetype="application/json",
                    headers={"Content-Disposition": f'attachment; filename="{_safe(subject)}.bundle.json"'})


def _safe(subject: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in subject)[:80]
