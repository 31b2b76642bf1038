"""Decisions of the authorisation chain, without I/O: who may do what, who is asked, and what opinions come to.

What may be asked for is :mod:`.asking`; what may be signed is :mod:`.claims`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from marketplace.actor import Actor
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, power, transition

APPLICANTS: Final = ("developer", "operator")

Mode = Literal["overall", "field", "scenario"]

# --- what applicants and the outcome of reviews move ---

# 一场景一授权: proposed, checked by the operator, argued (合规性与必要性论证) before any data may be asked for.
# Shuozhou plan, "应用场景需求提出与论证"; Liuzhou plan, "无场景不授权".
SCENARIO: Final = Lifecycle("scenario", "draft", (
    transition("edit", "draft", "draft", APPLICANTS, own=True, scope="jobs"),
    transition("edit", "returned", "returned", APPLICANTS, own=True, scope="jobs"),
    transition("submit", ("draft", "returned"), "submitted", APPLICANTS, Tag.SCENARIO_SUBMITTED, own=True, scope="jobs"),
    transition("pass", "submitted", "arguing", "system"),
    transition("return", ("submitted", "arguing"), "returned", "system", Tag.SCENARIO_RETURNED),
    transition("refuse", ("submitted", "arguing"), "refused", "system", Tag.SCENARIO_REFUSED),
    transition("accept", "arguing", "accepted", "system", Tag.SCENARIO_ACCEPTED),
    # The change of an accepted scenario is a new version, argued anew.
    transition("revise", ("accepted", "authorised"), "draft", APPLICANTS, Tag.SCENARIO_REVISED, own=True, scope="jobs"),
    transition("grant", ("accepted", "authorised"), "authorised", "system"),
    transition("withdraw", ("draft", "submitted", "returned", "arguing", "accepted"), "withdrawn", APPLICANTS,
               Tag.SCENARIO_WITHDRAWN, own=True, scope="jobs"),
), final=frozenset({"withdrawn", "refused"}), way=("draft", "submitted", "arguing", "accepted", "authorised"))

# 一场景一清单一审核. Shuozhou plan, "数据需求申请与审核"; Guizhou measures, who reviews in which mode.
DEMAND: Final = Lifecycle("demand", "draft", (
    transition("edit", "draft", "draft", APPLICANTS, own=True, scope="jobs"),
    transition("edit", "returned", "returned", APPLICANTS, own=True, scope="jobs"),
    transition("submit", ("draft", "returned"), "submitted", APPLICANTS, Tag.DEMAND_SUBMITTED, own=True, scope="jobs"),
    transition("pass", "submitted", "in_review", "system"),
    transition("return", ("submitted", "in_review"), "returned", "system", Tag.DEMAND_RETURNED),
    transition("refuse", ("submitted", "in_review"), "refused", "system", Tag.DEMAND_REFUSED),
    transition("approve", "in_review", "approved", "system", Tag.DEMAND_APPROVED),
    transition("agree", "approved", "agreed", "system", Tag.DEMAND_AGREED),
    transition("lapse", ("approved", "agreed"), "lapsed", "system", Tag.DEMAND_LAPSED),
    transition("grant", "agreed", "granted", "data_authority", Tag.GRANT_ISSUED, scope="grants", roles="reviewer"),
    transition("withdraw", ("draft", "submitted", "returned", "in_review", "approved", "agreed"), "withdrawn", APPLICANTS,
               Tag.DEMAND_WITHDRAWN, own=True, scope="jobs"),
), final=frozenset({"granted", "refused", "withdrawn", "lapsed"}),
    way=("draft", "submitted", "in_review", "approved", "agreed", "granted"))

# --- opinions: one an organisation, given once ---

_JUDGES: Final = ("operator", "data_authority", "industry_department", "source_department")
_DECISIONS: Final = {"approve": "approved", "return": "returned", "refuse": "refused"}

OPINION: Final = Lifecycle("opinion", "pending", (
    *(transition(action, ("pending", "overdue"), target, _JUDGES, Tag.OPINION_GIVEN, own=True, scope="review", roles="reviewer")
      for action, target in _DECISIONS.items()),
    transition("escalate", "pending", "overdue", "system", Tag.OPINION_OVERDUE),
    # what is overdue the authority may decide in the other's place
    *(transition(action, "overdue", target, "data_authority", Tag.OPINION_GIVEN, scope="review", roles="reviewer")
      for action, target in _DECISIONS.items()),
    transition("void", ("pending", "overdue"), "void", "system"),
), final=frozenset({"approved", "returned", "refused", "void"}), way=("pending", "approved"))

OPEN: Final = ("pending", "overdue")

# --- grants, and how those responsible withdraw them ---

GRANT: Final = Lifecycle("grant", "active", (
    transition("hold", ("active", "held"), "held", "system", Tag.GRANT_HELD),
    transition("release", "held", "active", "system", Tag.GRANT_RELEASED),
    transition("revoke", ("active", "held"), "revoked", "data_authority", Tag.GRANT_REVOKED, scope="grants", roles="reviewer"),
), final=frozenset({"revoked"}), way=("active", "revoked"))

HOLD: Final = Lifecycle("grant_hold", "placed", (
    transition("release", "placed", "released", ("data_authority", "source_department", "industry_department"),
               Tag.GRANT_RELEASED, own=True, scope="review", roles="reviewer"),
    transition("void", ("placed", "asked"), "void", "system"),
    # what the operator asks for, the authority follows or not
    transition("follow", "asked", "followed", "data_authority", Tag.GRANT_HELD, scope="review", roles="reviewer"),
    transition("dismiss", "asked", "dismissed", "data_authority", Tag.WITHDRAWAL_DISMISSED, scope="review", roles="reviewer"),
), final=frozenset({"released", "followed", "dismissed", "void"}), way=("placed", "released"))

PROPOSE: Final = power("scenario.propose", APPLICANTS, scope="jobs")
DEMAND_DATA: Final = power("demand.draft", APPLICANTS, own=True, scope="jobs")
REVISE_DEMAND: Final = power("demand.revise", APPLICANTS, own=True, scope="jobs")
ISSUE: Final = power("grant.issue", "data_authority", scope="grants", roles="reviewer")
HOLD_GRANT: Final = power("grant.hold", ("data_authority", "source_department", "industry_department"), scope="review",
                          roles="reviewer")
ASK_WITHDRAWAL: Final = power("grant.ask_withdrawal", "operator", scope="operate")
SET_VOLUME: Final = power("volume.set", "source_department", own=True, scope="review", roles="reviewer")
ASSIGN_SECTOR: Final = power("sector.assign", "data_authority", scope="review", roles=("admin", "reviewer"))

OVERSEERS: Final = frozenset({"data_authority", "operator", "source_department", "industry_department",
                              "security_supervisor", "system"})
"""Who sees every scenario, demand and grant that was put forward: those who review and supervise, and the departments asked."""

REVISABLE: Final = frozenset({"approved", "agreed", "granted", "refused", "lapsed"})
"""States of a demand that a new version of it can follow; before that its own list is changed."""


def may_see(actor: Actor, owner: str, status: str = "") -> bool:
    """Whether ``actor`` may see a scenario, demand or grant of organisation ``owner``; a draft its owner alone does."""
    if actor.organisation_id is not None and actor.organisation_id == owner:
        return True
    return actor.party == "system" or (actor.party in OVERSEERS and status != "draft")


# --- who is asked ---


@dataclass(frozen=True)
class Judge:
    """An organisation whose opinion is asked, and in what capacity."""

    organisation_id: str
    party: str


def argued_by(authority: str, industry: str | None, submitter: str) -> list[Judge]:
    """Who argues a scenario: the data authority and the industry department of its sector (Shuozhou plan)."""
    return _judges([(authority, "data_authority"), (industry, "industry_department")], submitter)


def reviewed_by(mode: Mode, authority: str, industry: str | None, departments: Iterable[str], submitter: str) -> list[Judge]:
    """Who reviews a demand: 整体授权 the data authority together with the source departments, 分领域授权 the industry
    department (Guizhou measures on who reviews), 场景授权 all of them. Where a sector has no industry department, the
    authority stands in for it.
    """
    sources = [(one, "source_department") for one in sorted(set(departments))]
    lead = (industry, "industry_department") if industry else (authority, "data_authority")
    if mode == "field":
        return _judges([lead], submitter)
    if mode == "scenario":
        return _judges([(authority, "data_authority"), lead, *sources], submitter)
    return _judges([(authority, "data_authority"), *sources], submitter)


def _judges(asked: Sequence[tuple[str | None, str]], submitter: str) -> list[Judge]:
    """Each organisation once, and nobody about its own submission."""
    out: dict[str, Judge] = {}
    for organisation_id, party in asked:
        if organisation_id is not None and organisation_id != submitter:
            out.setdefault(organisation_id, Judge(organisation_id, party))
    return list(out.values())


def answers_for_egress(mode: str, opinions: Sequence[Given]) -> tuple[Judge | None, frozenset[str]]:
    """谁授权谁审核: who authorised a use, and so decides what leaves the domain from it.

    Args:
        opinions: approvals of the list that was granted, each by the organisation that was asked itself.

    Returns:
        the industry department that authorised in mode ``field``; ``None`` for the data authority, which authorised in the
        others and where no industry department did; and the source departments whose consent is needed beside.
    """
    lead = next((Judge(one.organisation_id, one.party) for one in opinions if one.party == "industry_department"), None)
    return lead if mode == "field" else None, frozenset(one.organisation_id for one in opinions if one.party == "source_department")


# --- what opinions come to ---


class Given(Protocol):
    """What the outcome needs of an opinion."""

    @property
    def organisation_id(self) -> str: ...
    @property
    def party(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def struck(self) -> list[str]: ...


@dataclass(frozen=True)
class Outcome:
    """``action`` of the subject's lifecycle, and the resources that it leaves out."""

    action: str
    struck: frozenset[str] = frozenset()


def outcome(opinions: Sequence[Given], owners: dict[str, str], quorum_percent: int) -> Outcome | None:
    """What the opinions of one stage come to; ``None`` while it is open.

    A return by anybody returns the subject. The authority's or the industry department's refusal refuses it; a source
    department's refusal strikes that department's own lines. Who leads (everybody but source departments) must have
    answered. Of the source departments as many as the quorum says must have; the rest may stay silent once they are
    overdue, and then their lines are struck: silence approves nothing.

    Args:
        owners: by resource id, the department that answers for it; empty for a scenario.
        quorum_percent: of the source departments asked, 1 to 100.
    """
    if any(one.status == "returned" for one in opinions):
        return Outcome("return")
    leads = [one for one in opinions if one.party != "source_department"]
    sources = [one for one in opinions if one.party == "source_department"]
    if any(one.status == "refused" for one in leads):
        return Outcome("refuse")
    if any(one.status in OPEN for one in leads) or any(one.status == "pending" for one in sources):
        return None
    given = [one for one in sources if one.status not in OPEN]
    if len(given) < math.ceil(len(sources) * quorum_percent / 100):
        return None
    silent = {one.organisation_id for one in sources if one.status in (*OPEN, "refused")}
    struck = {line for one in opinions if one.status == "approved" for line in one.struck}
    struck |= {line for line, owner in owners.items() if owner in silent}
    if owners and struck >= owners.keys():
        return Outcome("refuse", frozenset(struck))
    return Outcome("approve", frozenset(struck))


def may_strike(party: str, organisation_id: str, owners: dict[str, str]) -> Collection[str]:
    """The lines an organisation may strike: a source department its own, who leads every one."""
    return [line for line, owner in owners.items() if party != "source_department" or owner == organisation_id]
