"""Use cases of sandboxes: open, look, describe, tell of runs, close. Each sandbox is its scenario's and its tenant's alone.

Marginals are :mod:`.marginals`, what a job must have been tried for :mod:`.promotion`.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import rfc8785
from sqlalchemy import func
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.authorisation import service as authorisation
from marketplace.clock import CITY
from marketplace.db import storable, utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.sandboxes import describing, errors, rules
from marketplace.sandboxes.marginals import actions as marginals_actions
from marketplace.sandboxes.marginals import decide as decide_marginals
from marketplace.sandboxes.marginals import get as get_marginals
from marketplace.sandboxes.marginals import list_marginals
from marketplace.sandboxes.marginals import take as take_marginals
from marketplace.sandboxes.models import Sandbox, SandboxRun
from marketplace.sandboxes.promotion import tried
from marketplace.trust import service as trust
from shuyan.jobs import digest_of
from shuyan.mockdata import Description
from shuyan.problems import ProblemError

__all__ = [
    "Use", "actions", "basis_of", "begin_run", "close_sandbox", "decide_marginals", "describe", "finish_run", "get_marginals", "get_run", "get_sandbox", "list_marginals",
    "list_runs", "list_sandboxes", "marginals_actions", "may_open", "open_sandbox", "reopen_sandbox", "sandbox_of", "take_marginals", "tried", "use_of", "uses_of", "visible",
]

_MAX_MS: Final = 2**31 - 1


@dataclass(frozen=True)
class Use:
    """What a sandbox may use, and has used today."""

    runs_a_day: int
    runs_today: int
    rows: int
    storage_mb: int


def open_sandbox(session: Session, actor: Actor, scenario_id: str) -> Sandbox:
    """The sandbox of one's scenario, opened if there is none.

    Raises:
        ProblemError: ``not_found`` (also another's scenario), ``not_allowed``; ``sandbox_nothing_approved``.
    """
    found = authorisation.scenario_of(session, scenario_id)
    if found is None or actor.organisation_id is None or actor.organisation_id != found[0]:
        raise ProblemError("not_found", what="scenario")
    owner, title, _ = found
    rules.OPEN.require(actor, owner=owner)
    if (row := sandbox_of(session, scenario_id)) is not None:
        return row
    if authorisation.approved(session, scenario_id) is None:
        raise ProblemError(errors.NOTHING_APPROVED)
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    id_ = new_id("sandbox")
    session.execute(dialect.insert(Sandbox).values(
        id=id_, scenario_id=scenario_id, organisation_id=owner, title=title, seed=secrets.token_hex(16), status=rules.SANDBOX.initial,
        opened_by=actor.label, created_at=utc_now()).on_conflict_do_nothing(index_elements=["scenario_id"]))
    row = session.exec(select(Sandbox).where(Sandbox.scenario_id == scenario_id)).one()
    if row.id == id_:  # else another request was faster
        trust.append(session, Tag.SANDBOX_OPENED, actor, row.id, related=[scenario_id, owner])
    return row


def may_open(actor: Actor, owner: str) -> bool:
    """Whether the actor may open the sandbox of a scenario of ``owner``."""
    return rules.OPEN.held(actor, owner=owner)


def sandbox_of(session: Session, scenario_id: str) -> Sandbox | None:
    """A scenario's sandbox; who may see it is the caller's to ask (:func:`get_sandbox`)."""
    return session.exec(select(Sandbox).where(Sandbox.scenario_id == scenario_id)).first()


def visible(session: Session, actor: Actor, scenario_id: str) -> str | None:
    """The id of a scenario's sandbox, if there is one that the actor may see."""
    row = sandbox_of(session, scenario_id)
    return row.id if row is not None and rules.may_see(actor, row.organisation_id) else None


def get_sandbox(session: Session, actor: Actor, sandbox_id: str) -> Sandbox:
    """One's own sandbox, or any for those who oversee. Raises ``not_found``."""
    row = session.get(Sandbox, sandbox_id)
    if row is None or not rules.may_see(actor, row.organisation_id):
        raise ProblemError("not_found", what="sandbox")
    return row


def list_sandboxes(session: Session, actor: Actor, *, status: str | None = None, scenario_id: str | None = None,
                   cursor: str | None = None, limit: int = 20) -> Page[Sandbox]:
    """Sandboxes that the actor may see, newest first. Raises ``not_signed_in``, ``bad_cursor``."""
    if actor.party == "public":
        raise ProblemError("not_signed_in")
    query = select(Sandbox).order_by(col(Sandbox.id).desc()).limit(clamp(limit) + 1)
    if actor.party not in rules.OVERSEERS:
        query = query.where(Sandbox.organisation_id == actor.organisation_id)
    if status:
        query = query.where(Sandbox.status == status)
    if scenario_id:
        query = query.where(Sandbox.scenario_id == scenario_id)
    if cursor:
        query = query.where(col(Sandbox.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), clamp(limit), lambda row: (row.id,))


def describe(session: Session, actor: Actor, sandbox_id: str) -> Description:
    """What a sandbox works on, for its tenant alone.

    Raises:
        ProblemError: ``not_found``, ``sandbox_closed``, ``sandbox_nothing_approved``.
    """
    row = session.get(Sandbox, sandbox_id)
    if row is None or not rules.may_work(actor, row.organisation_id):
        raise ProblemError("not_found", what="sandbox")
    if row.status != "open":
        raise ProblemError(errors.CLOSED)
    return describing.describe(session, row)


def basis_of(session: Session, actor: Actor, row: Sandbox) -> tuple[str, str] | None:
    """What a sandbox rests on, kind (``grant``, ``demand``) and id, for its tenant while it is open; ``None``: nothing, or not theirs."""
    if row.status != "open" or not rules.may_work(actor, row.organisation_id):
        return None
    found = authorisation.approved(session, row.scenario_id)
    return (found.kind, found.id) if found is not None else None


def use_of(session: Session, row: Sandbox) -> Use:
    """What a sandbox may use and has used; days begin at the city's midnight."""
    return uses_of(session, [row])[row.id]


def uses_of(session: Session, rows: Iterable[Sandbox]) -> dict[str, Use]:
    """The same for several, by id, in one query."""
    quota, ids = describing.quota(), [row.id for row in rows]
    midnight = dt.datetime.combine(utc_now().astimezone(CITY).date(), dt.time(), CITY)
    today = {id_: int(count) for id_, count in session.execute(
        select(SandboxRun.sandbox_id, func.count()).where(
            col(SandboxRun.sandbox_id).in_(ids), col(SandboxRun.created_at) >= midnight.astimezone(dt.UTC))
        .group_by(col(SandboxRun.sandbox_id)))}
    return {id_: Use(quota.runs_a_day, today.get(id_, 0), quota.rows, quota.storage_mb) for id_ in ids}


def actions(actor: Actor, row: Sandbox) -> list[str]:
    """What the actor may do with a sandbox now."""
    return rules.SANDBOX.possible(row.status, actor, owner=row.organisation_id)


def close_sandbox(session: Session, actor: Actor, sandbox_id: str) -> Sandbox:
    """Stop using a sandbox; its runs stay on record. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    return _take(session, actor, sandbox_id, "shut")


def reopen_sandbox(session: Session, actor: Actor, sandbox_id: str) -> Sandbox:
    """Use a closed sandbox again. Raises as :func:`close_sandbox`."""
    return _take(session, actor, sandbox_id, "open_again")


def _take(session: Session, actor: Actor, sandbox_id: str, action: str) -> Sandbox:
    row = _locked(session, actor, sandbox_id)
    step = rules.SANDBOX.check(action, row.status, actor, owner=row.organisation_id)
    row.status = step.target
    session.add(row)
    if step.event is not None:
        trust.append(session, step.event, actor, row.id, related=[row.scenario_id, row.organisation_id])
    return row


def _locked(session: Session, actor: Actor, sandbox_id: str) -> Sandbox:
    row = session.get(Sandbox, sandbox_id, with_for_update=True, populate_existing=True)
    if row is None or not rules.may_see(actor, row.organisation_id):
        raise ProblemError("not_found", what="sandbox")
    return row


# --- runs ---


def begin_run(session: Session, actor: Actor, sandbox_id: str, *, parts: dict[str, Any], digest: str, description_digest: str,
              rows: int) -> SandboxRun:
    """Take down a run that is about to begin; it counts against the day's quota, whatever comes of it.

    The market cannot see a developer's machine: that a run took place and how it ended is the developer's word, kept in the log.

    Args:
        parts: ``{app, app_digest, params, resources}``; ``digest`` is over it.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``sandbox_closed``, ``sandbox_runs_used_up``, ``sandbox_run_rows``,
            ``sandbox_parts_invalid``, ``sandbox_nothing_approved``.
    """
    row = _locked(session, actor, sandbox_id)
    rules.TRY.require(actor, owner=row.organisation_id)
    if row.status != "open":
        raise ProblemError(errors.CLOSED)
    _check_parts(parts, digest)
    use = use_of(session, row)
    if use.runs_today >= use.runs_a_day:
        raise ProblemError(errors.RUNS_USED_UP, limit=use.runs_a_day)
    if not 1 <= rows <= use.rows:
        raise ProblemError(errors.ROWS_EXCEEDED, field="rows", limit=use.rows)
    if authorisation.approved(session, row.scenario_id) is None:
        raise ProblemError(errors.NOTHING_APPROVED)
    run = SandboxRun(id=new_id("run"), sandbox_id=row.id, organisation_id=row.organisation_id, submitted_by=actor.label,
                     digest=digest, description_digest=description_digest, rows=rows, status=rules.RUN.initial, **parts)
    session.add(run)
    session.flush()
    return run


def _check_parts(parts: dict[str, Any], digest: str) -> None:
    try:
        text = rfc8785.dumps(parts).decode()
        fits = len(text) <= rules.MAX_PARTS and storable(text) and "\\u0000" not in text and digest_of(parts) == digest
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeError):
        fits = False
    if not fits:
        raise ProblemError(errors.PARTS_INVALID, field="digest")


def finish_run(session: Session, actor: Actor, sandbox_id: str, run_id: str, *, duration_ms: int, error_code: str | None = None,
               result_digest: str | None = None) -> SandboxRun:
    """Take down how a run ended: with the digest of a result, or with an error's code. The same told twice is once.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``.
    """
    run = session.get(SandboxRun, run_id, with_for_update=True, populate_existing=True)
    if run is None or run.sandbox_id != sandbox_id or not rules.may_see(actor, run.organisation_id):
        raise ProblemError("not_found", what="sandbox_run")
    if run.status in rules.RUN.final and (run.error_code, run.result_digest) == (error_code, result_digest) \
            and actor.organisation_id == run.organisation_id:
        return run
    step = rules.RUN.check("record_failure" if error_code else "record_success", run.status, actor, owner=run.organisation_id)
    run.status, run.error_code, run.result_digest = step.target, error_code, result_digest
    run.duration_ms, run.finished_at = max(0, min(duration_ms, _MAX_MS)), utc_now()
    session.add(run)
    if step.event is not None:
        trust.append(session, step.event, actor, run.id, related=[sandbox_id, run.organisation_id],
                     data={"digest": run.digest, "outcome": run.status})
    return run


def get_run(session: Session, actor: Actor, sandbox_id: str, run_id: str) -> SandboxRun:
    """One run of a sandbox. Raises ``not_found``."""
    row, run = get_sandbox(session, actor, sandbox_id), session.get(SandboxRun, run_id)
    if run is None or run.sandbox_id != row.id:
        raise ProblemError("not_found", what="sandbox_run")
    return run


def list_runs(session: Session, actor: Actor, sandbox_id: str, *, cursor: str | None = None, limit: int = 20) -> Page[SandboxRun]:
    """A sandbox's runs, newest first. Raises ``not_found``, ``bad_cursor``."""
    row = get_sandbox(session, actor, sandbox_id)
    query = select(SandboxRun).where(SandboxRun.sandbox_id == row.id).order_by(col(SandboxRun.id).desc()).limit(clamp(limit) + 1)
    if cursor:
        query = query.where(col(SandboxRun.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), clamp(limit), lambda run: (run.id,))
