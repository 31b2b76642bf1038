"""What a job would do, before anything is asked of a department or spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.catalogue import service as catalogue
from marketplace.computing import budgets, rules, submission
from marketplace.computing.jobs import answered_job
from marketplace.computing.models import Node

if TYPE_CHECKING:
    from marketplace.computing.probing import Probe
    from marketplace.computing.submission import Checked
    from shuyan.trust.grants import PrivacyTerms


@dataclass(frozen=True)
class Cost:
    """What a job costs of privacy at each department; no more than this, and nothing if it was answered before.

    Attributes:
        rho_nano: in 1e-9 of zCDP's ρ.
        epsilon: of that alone, at ``delta``.
        short: departments whose budgets, as they last told, do not suffice.
    """

    rho_nano: int
    epsilon: float
    delta: float
    short: list[str]


@dataclass(frozen=True)
class Explanation:
    """What a job would do.

    Attributes:
        resources: by name, the columns that are read of each.
        departments: ``{node_id, name, approval, allowed}``: whether its administrator looks at each use, and whether the app
            is allowed there (``None``: not known).
        computes: what each node works out on its own rows: ``{sql, group_by: [{name, values}], cells}`` of a query.
        leaves: the first questions' vectors, each added up over all departments before anybody sees it:
            ``{question, vector, values, bytes}``; ``bytes`` as they travel, masked. With noise, those of all questions, where the app
            says which these are.
        rounds: questions put to each department at most; 0: not known beforehand.
        cells: groups that the result could have; ``None`` where that is not known.
        cohort: fewest rows that a released figure rests on.
        errors: the noise on each element of those sums: ``{question, vector, deviation, half_width}``, the half-width of
            95 %; empty for exact answers.
        open_key: of a query by a key whose values nobody declared, how they are found: ``{title, max_keys, key_bytes, threshold,
            delta}``, the threshold in distinct units, noise included.
        notes: codes of what else there is to know: ``exact``, ``own_figures_hidden``, ``noise``, ``approval``,
            ``several_rounds``, ``answered_before``, ``clamped_to_bounds``, ``continuous_quantiles``.
        answered_before: the job whose result would be given again, at no cost.
        params: as they would be submitted.
    """

    app: str
    app_digest: str
    release: str
    resources: dict[str, list[str]]
    departments: list[dict[str, Any]]
    computes: list[dict[str, Any]]
    leaves: list[dict[str, Any]]
    rounds: int
    cells: int | None
    cohort: int
    cost: Cost | None
    errors: list[dict[str, Any]]
    open_key: dict[str, Any] | None
    notes: list[str]
    answered_before: str | None
    params: dict[str, Any]


def explain(session: Session, actor: Actor, *, grant_id: str, app: str, params: dict[str, Any]) -> Explanation:
    """What a job would do; everything that would be refused on submission is refused here in the same words.

    Raises:
        ProblemError: see :func:`.jobs.submit_job`.
    """
    grantee = rules.SUBMIT.acting(actor)
    checked = submission.check(session, grantee, grant_id=grant_id, app=app, params=params)
    grant, probed = checked.grant, checked.probe
    earlier = answered_job(session, grantee, checked.question_digest)
    resources = {name: sorted(columns) for name, columns in submission.touched(checked.app, checked.params).items()}
    departments = _departments(session, checked, app)
    computes, cells, plan_notes = _computes(checked)
    leaves, errors, open_key = _leaves(checked, probed), _errors(probed), None
    typed = checked.app.params(checked.params)
    if hasattr(typed, "asked") and grant.privacy is not None:
        leaves, errors, open_key = _noisy_query(checked, grant.privacy)
    elif checked.app.noisy_questions is not None and grant.privacy is not None:
        leaves, errors = _noisy_questions(checked, grant.privacy, checked.app.noisy_questions(typed))
    notes = ["noise" if grant.release == "dp" else "exact"]
    notes += ["own_figures_hidden"] if not grant.own_figures and any(one.resource in resources for one in grant.sole_values) else []
    notes += ["approval"] if any(one["approval"] == "manual" for one in departments) else []
    notes += ["several_rounds"] if probed is not None and probed.rounds > 1 else []
    notes += ["answered_before"] if earlier is not None else []
    return Explanation(
        app=app, app_digest=checked.app_digest, release=grant.release, resources=resources, departments=departments,
        computes=computes, leaves=leaves, rounds=probed.rounds if probed else 0, cells=cells,
        cohort=grant.minimum_cohort, cost=_cost(session, actor, grant_id, checked), errors=errors,
        open_key=open_key, notes=[*notes, *plan_notes], answered_before=None if earlier is None else earlier.id, params=checked.params)


def _departments(session: Session, checked: Checked, app: str) -> list[dict[str, Any]]:
    nodes = {node.id: node for node in session.exec(select(Node).where(col(Node.id).in_(checked.departments)))}
    items = [item for item in checked.grant.resources if item.name in checked.resources]
    rows = catalogue.resources_by_id(session, [item.resource_id for item in items])
    manual = {item.node_id for item in items if rows[item.resource_id].approval == "manual"}
    found = []
    for node_id, name in checked.departments.items():
        node = nodes.get(node_id)
        allowed = None if node is None or not node.apps else {"name": app, "digest": checked.app_digest} in node.apps
        found.append({"node_id": node_id, "name": name, "approval": "manual" if node_id in manual else "automatic",
                      "allowed": allowed})
    return found


def _computes(checked: Checked) -> tuple[list[dict[str, Any]], int | None, list[str]]:
    """Of a query, what each node runs; other apps' computations are told by their vectors."""
    typed = checked.app.params(checked.params)
    if not hasattr(typed, "plan"):
        groups = getattr(typed, "cell_count", None)
        return [], groups() if callable(groups) else None, []
    from shuyan.federation.sql.compile import tally_sql
    from shuyan.federation.sql.serve import notes

    plan = typed.plan()
    widest = typed.asked().widest() if plan.inexact is not None else plan  # as many groups as there can be
    computes = [{"sql": tally_sql(core), "cells": wide.cells,
                 "group_by": [{"name": key.title, "values": len(key.domain.values)} for key in wide.keys]}
                for core, wide in zip(plan.cores, widest.cores, strict=True)]
    return computes, widest.cells, [*notes(plan, 0), *(["found_keys"] if plan.inexact is not None else [])]


def _noisy_query(
    checked: Checked, terms: PrivacyTerms,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any] | None]:
    """What leaves for all questions of a query with noise, the noise on it, and how undeclared groups would be found."""
    from shuyan.federation.sql import discovery, noisy

    asked = checked.app.params(checked.params).asked()
    leaves, errors = _noisy_questions(checked, terms, noisy.questions(asked))
    key = discovery.open_key(asked.plan)
    if key is None:
        return leaves, errors, None
    shape = asked.sketch()
    deviation = next(one["deviation"] for one in errors if one["question"] == noisy.NOISY_KEYS and one["vector"] == "sketch")
    return leaves, errors, {"title": key.title, "max_keys": shape.keys, "key_bytes": shape.width, "delta": terms.delta,
                            "threshold": shape.threshold(deviation, terms)}


def _noisy_questions(
    checked: Checked, terms: PrivacyTerms, questions: Mapping[str, Mapping[str, int]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What leaves for all questions of a job with noise, and the noise on it."""
    from shuyan.federation.checks import holders, plan_noise
    from shuyan.federation.privacy.noise import half_width

    typed, actions = checked.app.params(checked.params), checked.manifest.actions
    leaves: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for question, expect in questions.items():
        planned = plan_noise(checked.app, typed, question, expect, terms, participants=max(3, len(checked.departments)),
                             departments=holders(checked.grant, checked.app.tables(typed)))
        for name, length in expect.items():
            leaves.append({"question": question, "vector": name, "values": length,
                           "bytes": 8 * actions[question][name].limbs * length})
            errors.append({"question": question, "vector": name, "deviation": planned[name].deviation,
                           "half_width": half_width(planned[name].deviation)})
    return leaves, errors


def _leaves(checked: Checked, probed: Probe | None) -> list[dict[str, Any]]:
    if probed is None:
        return []
    asked = [(probed.message_type, probed.expect), *([probed.further] if probed.further else [])]
    actions = checked.manifest.actions
    return [{"question": question, "vector": name, "values": length, "bytes": 8 * actions[question][name].limbs * length}
            for question, expect in asked for name, length in expect.items()]


def _errors(probed: Probe | None) -> list[dict[str, Any]]:
    if probed is None or not probed.noise:
        return []
    from shuyan.federation.privacy.noise import half_width

    return [{"question": probed.message_type, "vector": name, "deviation": probed.noise[name].deviation, "half_width": half_width(probed.noise[name].deviation)}
            for name in probed.expect]


def _cost(session: Session, actor: Actor, grant_id: str, checked: Checked) -> Cost | None:
    terms = checked.grant.privacy
    if terms is None:
        return None
    from shuyan.federation.privacy import rho_of

    rho = rho_of(checked.app.params(checked.params), terms)
    short = {one.department for one in budgets.grant_budgets(session, actor, grant_id)
             if one.left_nano < rho and (one.scope == "grant" or one.resource in checked.resources)
             and one.node_id in checked.departments}
    return Cost(rho, budgets.epsilon(rho, terms.delta), terms.delta, sorted(short))
