"""Use cases of the authorisation chain: scenario → data demand → grant → revocation.

The data authority's private key is never here. This side drafts what the authority is asked to sign, and accepts what
comes back if it carries the signature of ``keys/authority.pub`` and goes no further than the demand. The nodes do not
rely on that: they verify every grant again for themselves.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.agreements import service as agreements
from marketplace.authorisation import errors, rules
from marketplace.authorisation.models import (
    CLAIMS_VERSION,
    DataDemand,
    GrantRecord,
    RevocationListRecord,
    Scenario,
)
from marketplace.catalogue import service as catalogue
from marketplace.catalogue.rules import SECTORS
from marketplace.computing.nodes import nodes_by_id
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.parties import service as parties
from marketplace.programs import service as programs
from marketplace.settings import settings
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
    RevocationList,
    grant_digest,
    read_first_grant,
    verify_grant,
    verify_revocations,
)
from shuyan.trust.keys import load_public_key

MAX_TITLE, MAX_PURPOSE, MAX_REASON = 120, 2000, 500


# --- scenarios ---


def propose_scenario(session: Session, actor: Actor, *, title: str, purpose: str, sector: str,
                     public_benefit: bool = False) -> Scenario:
    """Propose an application scenario: the purpose under which data may later be asked for.

    Raises:
        ProblemError: ``not_allowed``, ``scenario_invalid``.
    """
    if not rules.may_apply(actor) or actor.organisation_id is None:
        raise ProblemError("not_allowed")
    title, purpose = title.strip(), purpose.strip()
    for name, holds in (("title", 1 <= len(title) <= MAX_TITLE), ("purpose", 1 <= len(purpose) <= MAX_PURPOSE),
                        ("sector", sector in SECTORS)):
        if not holds:
            raise ProblemError(errors.SCENARIO_INVALID, field=name, name=name)
    row = Scenario(id=new_id("scenario"), organisation_id=actor.organisation_id, title=title, purpose=purpose,
                   sector=sector, public_benefit=public_benefit, status=rules.SCENARIO.initial)
    session.add(row)
    trust.append(session, Tag.SCENARIO_PROPOSED, actor, row.id, related=[row.organisation_id],
                 data={"sector": sector, "public_benefit": public_benefit})
    return row


def withdraw_scenario(session: Session, actor: Actor, scenario_id: str) -> Scenario:
    """Withdraw an own scenario that has no grant yet. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    row = _scenario(session, actor, scenario_id, lock=True)
    step = rules.SCENARIO.check("withdraw", row.status, actor, owner=row.organisation_id)
    row.status = step.target
    session.add(row)
    trust.append(session, Tag.SCENARIO_WITHDRAWN, actor, row.id, related=[row.organisation_id])
    return row


def get_scenario(session: Session, actor: Actor, scenario_id: str) -> Scenario:
    """One scenario the actor may see. Raises ``not_found``."""
    return _scenario(session, actor, scenario_id)


def list_scenarios(session: Session, actor: Actor, *, status: str | None = None, cursor: str | None = None,
                   limit: int = 20) -> Page[Scenario]:
    """Scenarios the actor may see, newest first."""
    return _page(session, actor, Scenario, {"status": status}, cursor, limit)


def scenario_actions(actor: Actor, row: Scenario) -> list[str]:
    """What this actor may do with the scenario on a page."""
    return [a for a in rules.SCENARIO.possible(row.status, actor, owner=row.organisation_id) if a != "grant"]


# --- data demands ---


def submit_demand(session: Session, actor: Actor, scenario_id: str, body: Mapping[str, Any]) -> DataDemand:
    """Ask for data under an own scenario; see :class:`.rules.DemandBody` for ``body``.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state`` (withdrawn scenario), or one of the ``demand_…``
            problems naming the field at fault.
    """
    if not rules.may_apply(actor):
        raise ProblemError("not_allowed")
    scenario = _scenario(session, actor, scenario_id, lock=True)
    if scenario.organisation_id != actor.organisation_id:
        raise ProblemError("not_allowed")
    if scenario.status in rules.SCENARIO.final:
        raise ProblemError("wrong_state", state=scenario.status, action="submit_demand")
    asked = rules.parse_body(body)
    facts = _facts(session, [item.resource_id for item in asked.resources])
    rules.check_demand(asked, facts, _app_facts(session))
    row = DataDemand(id=new_id("demand"), scenario_id=scenario.id, organisation_id=scenario.organisation_id,
                     body=asked.model_dump(mode="json"), status=rules.DEMAND.initial)
    session.add(row)
    trust.append(session, Tag.DEMAND_SUBMITTED, actor, row.id,
                 related=[scenario.id, row.organisation_id, *facts],
                 data={"apps": asked.apps, "minimum_cohort": asked.minimum_cohort, "term_days": asked.term_days,
                       "release": asked.release, "own_figures": asked.own_figures})
    return row


def refuse_demand(session: Session, actor: Actor, demand_id: str, reason: str) -> DataDemand:
    """Refuse a demand, with the reason the applicant reads.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``demand_reason_missing``.
    """
    reason = reason.strip()
    row = _demand(session, actor, demand_id, lock=True)
    step = rules.DEMAND.check("refuse", row.status, actor, owner=row.organisation_id)
    if not 1 <= len(reason) <= MAX_REASON:
        raise ProblemError(errors.REASON_MISSING, field="reason")
    row.status, row.reason = step.target, reason
    session.add(row)
    trust.append(session, Tag.DEMAND_REFUSED, actor, row.id, related=[row.scenario_id, row.organisation_id])
    return row


def withdraw_demand(session: Session, actor: Actor, demand_id: str) -> DataDemand:
    """Withdraw an own demand that is not decided yet. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    row = _demand(session, actor, demand_id, lock=True)
    row.status = rules.DEMAND.check("withdraw", row.status, actor, owner=row.organisation_id).target
    session.add(row)
    trust.append(session, Tag.DEMAND_WITHDRAWN, actor, row.id, related=[row.scenario_id, row.organisation_id])
    return row


def get_demand(session: Session, actor: Actor, demand_id: str) -> DataDemand:
    """One demand the actor may see. Raises ``not_found``."""
    return _demand(session, actor, demand_id)


def list_demands(session: Session, actor: Actor, *, status: str | None = None, scenario_id: str | None = None,
                 cursor: str | None = None, limit: int = 20) -> Page[DataDemand]:
    """Demands the actor may see, newest first."""
    return _page(session, actor, DataDemand, {"status": status, "scenario_id": scenario_id}, cursor, limit)


def demand_actions(actor: Actor, row: DataDemand) -> list[str]:
    """What this actor may do with the demand on a page; granting takes the authority's own command."""
    return [a for a in rules.DEMAND.possible(row.status, actor, owner=row.organisation_id) if a != "grant"]


# --- grants ---


def grant_draft(session: Session, actor: Actor, demand_id: str) -> Grant:
    """What the data authority is asked to sign for a demand: its claims as of now, with the nodes' registered keys.

    The authority compares the keys with the node cards it trusts before it signs.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``demand_node_unavailable``, or a ``demand_…``
            problem if the demand no longer holds (a resource withdrawn, a grade raised).
    """
    if not rules.may_issue(actor):
        raise ProblemError("not_allowed")
    row = _demand(session, actor, demand_id)
    rules.DEMAND.check("grant", row.status, actor, owner=row.organisation_id)
    return _draft(session, actor, row)


def _draft(session: Session, actor: Actor, row: DataDemand) -> Grant:
    asked = rules.parse_body(row.body)
    facts = _facts(session, [item.resource_id for item in asked.resources])
    apps = programs.installed(session)
    rules.check_demand(asked, facts, _app_facts(session))
    scenario = session.get_one(Scenario, row.scenario_id)
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
        iss=actor.organisation_id or "", jti=rules.grant_id(row.id), iat=now, nbf=now - rules.CLOCK_SKEW_SECONDS,
        exp=now + asked.term_days * rules.DAY, scenario=scenario.id, scenario_title=scenario.title,
        purpose=scenario.purpose, grantee=grantee.id, grantee_name=grantee.name_zh,
        resources=resources,
        apps=tuple(GrantedApp(name=name, digest=apps[name].digest) for name in sorted(asked.apps)),
        nodes=tuple(ParticipantKeys(node_id=node.id, name=node.name, signing_key=node.signing_key,
                                    agreement_key=node.agreement_key)
                    for _, node in sorted(nodes.items())),
        minimum_cohort=asked.minimum_cohort, minimum_participants=asked.minimum_participants,
        output_forms=tuple(sorted(asked.output_forms)), release=asked.release,
        privacy=None if asked.privacy is None else _terms(asked.privacy), own_figures=asked.own_figures,
        sole_values=rules.sole_values(resources, facts))


def _terms(asked: rules.DemandedPrivacy) -> PrivacyTerms:
    rho = accounting.rho_for(asked.epsilon, asked.delta) if asked.epsilon is not None else asked.rho_nano
    return PrivacyTerms(**asked.model_dump(exclude={"epsilon", "rho_nano"}), rho_nano=rho or 1)


def accept_grant(session: Session, actor: Actor, demand_id: str, jws: str) -> GrantRecord:
    """Take in the grant the data authority has signed for a demand. The same JWS twice is the same grant.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``authority_key_missing``, ``grant_invalid``,
            ``grant_other_demand``, ``grant_too_wide``, or a ``demand_…`` problem.
    """
    if not rules.may_issue(actor):
        raise ProblemError("not_allowed")
    row = _demand(session, actor, demand_id, lock=True)
    grant, digest = verify_grant(jws, _authority_key()), grant_digest(jws)
    known = session.get(GrantRecord, grant.jti)
    if known is not None and known.digest == digest and known.demand_id == row.id:
        return known
    step = rules.DEMAND.check("grant", row.status, actor, owner=row.organisation_id)
    facts = _facts(session, [item.resource_id for item in grant.resources])
    rules.check_within(grant, _draft(session, actor, row), facts, time.time())
    record = GrantRecord(id=grant.jti, demand_id=row.id, scenario_id=row.scenario_id,
                         organisation_id=row.organisation_id, jws=jws, digest=digest, not_before=_time(grant.nbf),
                         expires_at=_time(grant.exp), status=rules.GRANT.initial, release=grant.release,
                         own_figures=grant.own_figures)
    scenario = session.get_one(Scenario, row.scenario_id, with_for_update=True)
    scenario.status = rules.SCENARIO.check("grant", scenario.status, actor, owner=row.organisation_id).target
    row.status = step.target
    session.add_all([record, row, scenario])
    trust.append(session, Tag.GRANT_ISSUED, actor, record.id,
                 related=[row.id, row.scenario_id, row.organisation_id, *(n.node_id for n in grant.nodes),
                          *(r.resource_id for r in grant.resources)],
                 data={"digest": digest, "expires": grant.exp})
    return record


def get_grant(session: Session, actor: Actor, grant_id: str) -> GrantRecord:
    """One grant the actor may see. Raises ``not_found``."""
    row = session.get(GrantRecord, grant_id)
    if row is None or not rules.may_see(actor, row.organisation_id):
        raise ProblemError("not_found", what="grant")
    return row


def list_grants(session: Session, actor: Actor, *, status: str | None = None, scenario_id: str | None = None,
                cursor: str | None = None, limit: int = 20) -> Page[GrantRecord]:
    """Grants the actor may see, newest first. Expired ones are among the active: expiry is the clock's."""
    return _page(session, actor, GrantRecord, {"status": status, "scenario_id": scenario_id}, cursor, limit)


def read_grant(record: GrantRecord) -> Grant:
    """The claims of a stored grant, its signature checked; of an outdated one too, to be shown.

    Raises ``grant_invalid``, ``authority_key_missing``.
    """
    if grant_digest(record.jws) != record.digest:
        raise ProblemError(federation.GRANT_INVALID)
    read = verify_grant if record.claims_version >= CLAIMS_VERSION else read_first_grant
    return read(record.jws, _authority_key())


def grant_state(record: GrantRecord, now: dt.datetime) -> str:
    """``active``, ``revoked``, ``expired``, or ``outdated``: signed by an earlier version and as good as expired."""
    if record.status != "active":
        return record.status
    if record.expires_at <= now:
        return "expired"
    return "active" if record.claims_version >= CLAIMS_VERSION else "outdated"


def usable_grant(session: Session, grant_id: str, now: dt.datetime) -> tuple[GrantRecord, Grant]:
    """A grant under which a job may run at ``now`` (aware).

    Raises:
        ProblemError: ``not_found``, ``grant_revoked``, ``grant_not_yet_valid``, ``grant_expired``, ``grant_invalid``,
            ``grant_outdated``, ``authority_key_missing``, ``agreement_not_in_force``.
    """
    record = session.get(GrantRecord, grant_id)
    if record is None:
        raise ProblemError("not_found", what="grant", field="grant_id")
    agreements.require_for_demand(session, record.demand_id, now, lock=False)
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


# --- revocation ---


def accept_revocations(session: Session, actor: Actor, jws: str) -> RevocationListRecord:
    """Take in a newer list of revoked grants; those it names stop at once. The same JWS twice is the same list.

    Raises:
        ProblemError: ``not_allowed``, ``authority_key_missing``, ``revocations_invalid``, ``revocations_old``,
            ``revocations_dropped``, ``revocations_past``.
    """
    if not rules.may_issue(actor):
        raise ProblemError("not_allowed")
    new = verify_revocations(jws, _authority_key())
    latest = latest_revocations(session)
    if latest is not None:
        if latest.jws == jws:
            return latest
        _check_newer(new, latest)
    if new.next_update <= time.time():
        raise ProblemError(errors.REVOCATIONS_STALE)
    record = RevocationListRecord(number=new.number, jws=jws)
    try:
        with session.begin_nested():
            session.add(record)
    except IntegrityError:  # another list of this number came in at the same moment
        raise ProblemError(errors.REVOCATIONS_OLD, number=new.number, latest=new.number) from None
    reasons = {item.jti: item.reason for item in new.revoked}
    query = select(GrantRecord).where(col(GrantRecord.id).in_(reasons), GrantRecord.status == "active")
    for grant in session.exec(query.order_by(GrantRecord.id).with_for_update()).all():
        grant.status = rules.GRANT.check("revoke", grant.status, actor, owner=grant.organisation_id).target
        grant.revoked_at, grant.revocation_reason = utc_now(), reasons[grant.id]
        session.add(grant)
        trust.append(session, Tag.GRANT_REVOKED, actor, grant.id,
                     related=[grant.demand_id, grant.scenario_id, grant.organisation_id], data={"list": new.number})
    return record


@catalogue.grants_in_force
def _granted_now(session: Session) -> dict[str, dict[str, list[str]]]:
    """What the grants in force name, for the negative list."""
    rows = session.exec(select(GrantRecord).where(GrantRecord.status == "active", col(GrantRecord.expires_at) > utc_now(),
                                                  GrantRecord.claims_version == CLAIMS_VERSION))
    return {row.id: {item.resource_id: list(item.columns) for item in read_grant(row).resources} for row in rows}


def _check_newer(new: RevocationList, latest: RevocationListRecord) -> None:
    held = verify_revocations(latest.jws, _authority_key())
    if new.number <= held.number:
        raise ProblemError(errors.REVOCATIONS_OLD, number=new.number, latest=held.number)
    dropped = {item.jti for item in held.revoked} - {item.jti for item in new.revoked}
    if dropped:
        raise ProblemError(errors.REVOCATIONS_DROPPED, grant=min(dropped))


def latest_revocations(session: Session) -> RevocationListRecord | None:
    """The newest list of revoked grants, if the authority has signed any yet."""
    return session.exec(select(RevocationListRecord).order_by(col(RevocationListRecord.number).desc()).limit(1)).first()


# --- shared ---


def _authority_key() -> Ed25519PublicKey:
    path = settings().keys_dir / "authority.pub"
    if not path.exists():
        raise ProblemError(errors.AUTHORITY_KEY_MISSING)
    return load_public_key(path)


def _app_facts(session: Session) -> dict[str, rules.AppFacts]:
    return {name: rules.AppFacts(app.manifest.output_form, app.load().privacy is not None)
            for name, app in programs.installed(session).items()}


def _facts(session: Session, ids: Iterable[str]) -> dict[str, rules.ResourceFacts]:
    rows = catalogue.resources_by_id(session, ids)
    nodes = nodes_by_id(session, {row.node_id for row in rows.values()})
    return {row.id: rules.ResourceFacts(
        id=row.id, node_id=row.node_id, name=row.name, grade=row.grade, active=row.status == "active",
        columns={column["name"]: bool(column.get("identifier")) for column in row.columns},
        domains={column["name"]: tuple(column.get("domain") or ()) for column in row.columns},
        node=nodes[row.node_id].name if row.node_id in nodes else "") for row in rows.values()}


def _time(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _scenario(session: Session, actor: Actor, scenario_id: str, *, lock: bool = False) -> Scenario:
    row = session.get(Scenario, scenario_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or not rules.may_see(actor, row.organisation_id):
        raise ProblemError("not_found", what="scenario")
    return row


def _demand(session: Session, actor: Actor, demand_id: str, *, lock: bool = False) -> DataDemand:
    row = session.get(DataDemand, demand_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or not rules.may_see(actor, row.organisation_id):
        raise ProblemError("not_found", what="demand")
    return row


def _page(session: Session, actor: Actor, model: Any, filters: Mapping[str, str | None], cursor: str | None,
          limit: int) -> Page[Any]:
    if actor.party == "public":
        raise ProblemError("not_signed_in")
    query = select(model).order_by(col(model.id).desc()).limit(clamp(limit) + 1)
    if actor.party not in rules.OVERSEERS:
        query = query.where(model.organisation_id == actor.organisation_id)
    for name, value in filters.items():
        if value:
            query = query.where(getattr(model, name) == value)
    if cursor:
        query = query.where(col(model.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), clamp(limit), lambda row: (row.id,))
