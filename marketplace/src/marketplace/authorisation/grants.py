"""Use cases of grants: drafted from what the review left, signed elsewhere by the data authority, taken in, used.

The data authority's private key is never here. This side drafts what the authority is asked to sign, and accepts what
comes back if it carries the signature of ``keys/authority.pub`` and goes no further than the demand. The nodes do not
rely on that: they verify every grant again for themselves.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import replace

from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM, Actor
from marketplace.agreements import service as agreements
from marketplace.authorisation import (
    asking,
    claims,
    demands,
    errors,
    frames,
    rules,
    shared,
    texts,
    withdrawals,
)
from marketplace.authorisation.models import (
    CLAIMS_VERSION,
    DataDemand,
    GrantedLine,
    GrantRecord,
    Scenario,
)
from marketplace.catalogue import service as catalogue
from marketplace.computing.nodes import nodes_by_id
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.notices import service as notices
from marketplace.paging import Page
from marketplace.parties import service as parties
from marketplace.programs import service as programs
from marketplace.trust import service as trust
from shuyan.federation import problems as federation
from shuyan.federation.privacy import accounting
from shuyan.problems import ProblemError
from shuyan.trust.grants import (
    Grant,
    GrantedApp,
    GrantedResource,
    ParticipantKeys,
    PrivacyTerms,
    grant_digest,
    read_first_grant,
    verify_grant,
)


def grant_draft(session: Session, actor: Actor, demand_id: str) -> Grant:
    """What the data authority is asked to sign for a demand: its claims as of now, with the nodes' registered keys.

    The authority compares the keys with the node cards it trusts before it signs.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``demand_node_unavailable``, or a ``demand_…``
            problem if the demand no longer holds (a resource withdrawn, a grade raised).
    """
    rules.ISSUE.require(actor)
    row = shared.demand(session, actor, demand_id)
    rules.DEMAND.check("grant", row.status, actor, owner=row.organisation_id)
    return drafted(session, actor, row)


def drafted(session: Session, actor: Actor, row: DataDemand, *, lock: bool = False) -> Grant:
    """The claims of a demand's grant as of now; see :func:`grant_draft`, which asks whether they may be had."""
    asked = asking.without(asking.parse_body(row.body), row.struck)
    if asked is None:
        raise ProblemError("wrong_state", state=row.status, action="grant")
    ids = [item.resource_id for item in asked.resources]
    facts, apps = shared.resource_facts(session, ids), programs.installed(session)
    scenario = session.get_one(Scenario, row.scenario_id)
    asked = _pruned(asked, facts)
    around = demands.around(session, scenario, asked, besides=row.follows_id, lock=lock)
    asking.check(asked, facts, shared.app_facts(session), _shortened(around))
    nodes = nodes_by_id(session, {item.node_id for item in facts.values()})
    for node in nodes.values():
        if node.status != "active":
            raise ProblemError(errors.NODE_UNAVAILABLE, node=node.name)
    grantee = parties.organisations_by_id(session, [row.organisation_id])[row.organisation_id]
    now = int(time.time())
    resources = tuple(sorted(
        (GrantedResource(resource_id=item.resource_id, node_id=facts[item.resource_id].node_id,
                         name=facts[item.resource_id].name, columns=tuple(item.columns))
         for item in asked.resources), key=lambda item: (item.node_id, item.name)))
    return Grant(
        iss=actor.organisation_id or "", jti=claims.grant_id(row.id), iat=now, nbf=now - asking.CLOCK_SKEW_SECONDS,
        exp=_end(session, row, now, asked.term_days), scenario=scenario.id, scenario_title=scenario.title,
        purpose=scenario.purpose, grantee=grantee.id, grantee_name=grantee.name_zh,
        resources=resources,
        apps=tuple(GrantedApp(name=name, digest=apps[name].digest) for name in sorted(asked.apps)),
        nodes=tuple(ParticipantKeys(node_id=node.id, name=node.name, signing_key=node.signing_key,
                                    agreement_key=node.agreement_key)
                    for _, node in sorted(nodes.items())),
        minimum_cohort=asked.minimum_cohort, minimum_participants=asked.minimum_participants,
        output_forms=tuple(sorted(asked.output_forms)), release=asked.release,
        privacy=None if asked.privacy is None else _terms(asked.privacy), own_figures=asked.own_figures,
        sole_values=claims.sole_values(resources, facts))


def _end(session: Session, row: DataDemand, now: int, days: int) -> int:
    """When a grant signed now ends: after its term, and before any agreement it rests on.

    Raises:
        ProblemError: ``operation_ends`` if an agreement is over.
    """
    ends, term = frames.latest_end(session, row), now + days * asking.DAY
    if ends is None:
        return term
    latest = int(ends.timestamp()) - asking.CLOCK_SKEW_SECONDS
    if latest <= now:
        raise ProblemError(errors.OPERATION_ENDS, field="term_days", days=0)
    return min(term, latest)


def _shortened(around: asking.Around) -> asking.Around:
    """At signing an agreement's end shortens the term; it stands against nothing any more."""
    return replace(around, frame_ends=None)


def _pruned(asked: asking.DemandBody, facts: Mapping[str, asking.ResourceFacts]) -> asking.DemandBody:
    """Privacy terms without the tables that the review struck altogether."""
    if asked.privacy is None:
        return asked
    names = {facts[item.resource_id].name for item in asked.resources if item.resource_id in facts}
    units = {name: column for name, column in asked.privacy.unit_columns.items() if name in names}
    return asked.model_copy(update={"privacy": asked.privacy.model_copy(update={"unit_columns": units})}) if units else asked


def _terms(asked: asking.DemandedPrivacy) -> PrivacyTerms:
    rho = accounting.rho_for(asked.epsilon, asked.delta) if asked.epsilon is not None else asked.rho_nano
    return PrivacyTerms(**asked.model_dump(exclude={"epsilon", "rho_nano"}), rho_nano=rho or 1)


def accept_grant(session: Session, actor: Actor, demand_id: str, jws: str) -> GrantRecord:
    """Take in the grant the data authority has signed for a demand. The same JWS twice is the same grant.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``authority_key_missing``, ``grant_invalid``,
            ``agreement_not_in_force``, ``grant_other_demand``, ``grant_too_wide``, or a ``demand_…`` problem.
    """
    rules.ISSUE.require(actor)
    frames.lock(session, demand_id)  # first, as by whoever ends or suspends it
    row = shared.demand(session, actor, demand_id, lock=True)
    earlier = withdrawals.lock_of_demand(session, row.follows_id)
    grant, digest = verify_grant(jws, shared.authority_key()), grant_digest(jws)
    known = session.get(GrantRecord, grant.jti)
    if known is not None and known.digest == digest and known.demand_id == row.id:
        return known
    step = rules.DEMAND.check("grant", row.status, actor, owner=row.organisation_id)
    owners = shared.owners(session, [item.resource_id for item in grant.resources])
    facts = shared.resource_facts(session, owners)
    ends = frames.latest_end(session, row)
    claims.check_within(grant, drafted(session, actor, row, lock=True), facts, time.time(),
                        term=asking.parse_body(row.body).term_days * asking.DAY, latest=ends.timestamp() if ends else None)
    record = GrantRecord(id=grant.jti, demand_id=row.id, scenario_id=row.scenario_id,
                         organisation_id=row.organisation_id, jws=jws, digest=digest, not_before=shared.moment(grant.nbf),
                         expires_at=shared.moment(grant.exp), status=rules.GRANT.initial, release=grant.release,
                         own_figures=grant.own_figures, mode=row.mode, operation_id=row.operation_id,
                         agreement_id=row.agreement_id)
    scenario = session.get_one(Scenario, row.scenario_id, with_for_update=True, populate_existing=True)
    if scenario.status in ("accepted", "authorised"):  # a new version of it may be under way
        scenario.status = rules.SCENARIO.check("grant", scenario.status, SYSTEM).target
    row.status = step.target
    session.add_all([record, row, scenario])
    session.flush()
    session.add_all([GrantedLine(grant_id=record.id, resource_id=item.resource_id, node_id=item.node_id,
                                 organisation_id=owners[item.resource_id]) for item in grant.resources])
    session.flush()
    trust.append(session, Tag.GRANT_ISSUED, actor, record.id,
                 related=[row.id, row.scenario_id, row.organisation_id, *(n.node_id for n in grant.nodes),
                          *(r.resource_id for r in grant.resources),
                          *(one for one in (row.operation_id, row.agreement_id) if one)],
                 data={"digest": digest, "expires": grant.exp})
    for told in dict.fromkeys([row.organisation_id, *owners.values()]):
        notices.tell(session, told, texts.ISSUED, record.id, title=scenario.title)
    if earlier is not None:
        withdrawals.replace(session, earlier)
    return record


def get_grant(session: Session, actor: Actor, grant_id: str) -> GrantRecord:
    """One grant the actor may see. Raises ``not_found``."""
    row = session.get(GrantRecord, grant_id)
    if row is None or not rules.may_see(actor, row.organisation_id):
        raise ProblemError("not_found", what="grant")
    return row


def may_issue(actor: Actor) -> bool:
    """Whether this actor has grants signed."""
    return rules.ISSUE.held(actor)


def list_grants(session: Session, actor: Actor, *, status: str | None = None, scenario_id: str | None = None,
                cursor: str | None = None, limit: int = 20) -> Page[GrantRecord]:
    """Grants the actor may see, newest first. Expired ones are among the active: expiry is the clock's."""
    return shared.page(session, actor, GrantRecord, {"status": status, "scenario_id": scenario_id}, cursor, limit)


def read_grant(record: GrantRecord) -> Grant:
    """The claims of a stored grant, its signature checked; of an outdated one too, to be shown.

    Raises ``grant_invalid``, ``authority_key_missing``.
    """
    if grant_digest(record.jws) != record.digest:
        raise ProblemError(federation.GRANT_INVALID)
    read = verify_grant if record.claims_version >= CLAIMS_VERSION else read_first_grant
    return read(record.jws, shared.authority_key())


def grant_state(record: GrantRecord, now: dt.datetime) -> str:
    """``active``, ``held``, ``revoked``, ``expired``, or ``outdated``: signed by an earlier version and as good as expired."""
    if record.status != "active":
        return record.status
    if record.expires_at <= now:
        return "expired"
    return "active" if record.claims_version >= CLAIMS_VERSION else "outdated"


def usable_grant(session: Session, grant_id: str, now: dt.datetime, *, lock: bool = False) -> tuple[GrantRecord, Grant]:
    """A grant under which a job may run at ``now`` (aware).

    Args:
        lock: no withdrawal comes between this and the end of the transaction.

    Raises:
        ProblemError: ``not_found``, ``grant_revoked``, ``grant_held``, ``grant_not_yet_valid``, ``grant_expired``, ``grant_invalid``,
            ``grant_outdated``, ``authority_key_missing``, ``agreement_not_in_force``.
    """
    record = session.get(GrantRecord, grant_id, with_for_update=lock or None, populate_existing=lock)
    if record is None:
        raise ProblemError("not_found", what="grant", field="grant_id")
    agreements.require_for_demand(session, record.demand_id, now, lock=False)
    if record.status == "held":
        raise ProblemError(federation.GRANT_HELD)
    if record.status != "active":
        raise ProblemError(federation.GRANT_REVOKED)
    if record.claims_version < CLAIMS_VERSION:
        raise ProblemError(errors.GRANT_OUTDATED)
    grant = read_grant(record)
    if now.timestamp() < grant.nbf:
        raise ProblemError(federation.GRANT_NOT_YET_VALID)
    if now.timestamp() >= grant.exp:
        raise ProblemError(federation.GRANT_EXPIRED)
    return record, grant


def hold_agreement(session: Session, grant_id: str, now: dt.datetime) -> None:
    """Keep the agreement under a grant from ending until this transaction is over. Raises ``agreement_not_in_force``."""
    record = session.get(GrantRecord, grant_id)
    if record is not None:
        agreements.require_for_demand(session, record.demand_id, now)


def demand_of_grant(session: Session, grant_id: str) -> str:
    """The id of the demand a grant was issued on."""
    return session.get_one(GrantRecord, grant_id).demand_id


def grants_of_demand(session: Session, demand_id: str) -> list[str]:
    """Ids of the grants on a demand."""
    return list(session.exec(select(GrantRecord.id).where(GrantRecord.demand_id == demand_id).order_by(col(GrantRecord.id))))


@catalogue.grants_in_force
def _granted_now(session: Session) -> dict[str, dict[str, list[str]]]:
    """What the grants in force name, for the negative list."""
    rows = session.exec(select(GrantRecord).where(col(GrantRecord.status).in_(("active", "held")), col(GrantRecord.expires_at) > utc_now(),
                                                  GrantRecord.claims_version == CLAIMS_VERSION))
    return {row.id: {item.resource_id: list(item.columns) for item in read_grant(row).resources} for row in rows}
