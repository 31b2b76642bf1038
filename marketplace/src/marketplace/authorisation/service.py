"""The authorisation chain's use cases, in one place for everybody else.

Scenarios (:mod:`.scenarios`), demands (:mod:`.demands`), their reviews (:mod:`.reviews`), grants (:mod:`.grants`),
withdrawal (:mod:`.withdrawals`), the revocation list (:mod:`.revocations`) and total volume (:mod:`.volume`).
"""

from __future__ import annotations

from marketplace.authorisation.answering import (
    Authorised,
    authorised,
    authorised_by,
    grants_authorised_by,
)
from marketplace.authorisation.approved import Approved, approved, scenario_of, scenario_of_grant
from marketplace.authorisation.demands import (
    changes,
    demand_actions,
    draft_demand,
    edit_demand,
    get_demand,
    list_demands,
    preview,
    revise_demand,
    submit_demand,
    withdraw_demand,
)
from marketplace.authorisation.demands import lines as demand_lines
from marketplace.authorisation.grants import (
    accept_grant,
    demand_of_grant,
    get_grant,
    grant_draft,
    grant_state,
    grants_of_demand,
    hold_agreement,
    list_grants,
    may_issue,
    read_grant,
    usable_grant,
)
from marketplace.authorisation.reviews import Action as Decision
from marketplace.authorisation.reviews import actions as opinion_actions
from marketplace.authorisation.reviews import give as give_opinion
from marketplace.authorisation.reviews import opinions, strikable
from marketplace.authorisation.reviews import progress as review_progress
from marketplace.authorisation.revocations import accept_revocations, latest_revocations
from marketplace.authorisation.scenarios import (
    Content,
    assign_sector,
    edit_scenario,
    get_scenario,
    list_scenarios,
    may_assign_sectors,
    may_propose,
    propose_scenario,
    revise_scenario,
    scenario_actions,
    scenario_versions,
    sector_department,
    sector_departments,
    submit_scenario,
    withdraw_scenario,
)
from marketplace.authorisation.stops import (
    NOTHING_HELD,
    HeldThere,
    NodeStop,
    held_by_node,
    holds_seen,
    reached,
    revocations_seen,
    stops,
)
from marketplace.authorisation.volume import Volume, limited_resources, may_set_volume, record_use, volumes
from marketplace.authorisation.volume import set_limit as set_volume
from marketplace.authorisation.withdrawals import ask as ask_withdrawal
from marketplace.authorisation.withdrawals import decide as decide_withdrawal
from marketplace.authorisation.withdrawals import hold as hold_grant
from marketplace.authorisation.withdrawals import (
    hold_actions,
    may_hold,
    when_withdrawn,
    withdrawal_actions,
)
from marketplace.authorisation.withdrawals import holds as grant_holds
from marketplace.authorisation.withdrawals import release as release_grant

__all__ = [
    "NOTHING_HELD",
    "Approved",
    "Authorised",
    "Content",
    "Decision",
    "HeldThere",
    "NodeStop",
    "Volume",
    "accept_grant",
    "accept_revocations",
    "approved",
    "ask_withdrawal",
    "assign_sector",
    "authorised",
    "authorised_by",
    "changes",
    "decide_withdrawal",
    "demand_actions",
    "demand_lines",
    "demand_of_grant",
    "draft_demand",
    "edit_demand",
    "edit_scenario",
    "get_demand",
    "get_grant",
    "get_scenario",
    "give_opinion",
    "grant_draft",
    "grant_holds",
    "grant_state",
    "grants_authorised_by",
    "grants_of_demand",
    "held_by_node",
    "hold_actions",
    "hold_agreement",
    "hold_grant",
    "holds_seen",
    "latest_revocations",
    "limited_resources",
    "list_demands",
    "list_grants",
    "list_scenarios",
    "may_assign_sectors",
    "may_hold",
    "may_issue",
    "may_propose",
    "may_set_volume",
    "opinion_actions",
    "opinions",
    "preview",
    "propose_scenario",
    "reached",
    "read_grant",
    "record_use",
    "release_grant",
    "review_progress",
    "revise_demand",
    "revise_scenario",
    "revocations_seen",
    "scenario_actions",
    "scenario_of",
    "scenario_of_grant",
    "scenario_versions",
    "sector_department",
    "sector_departments",
    "set_volume",
    "stops",
    "strikable",
    "submit_demand",
    "submit_scenario",
    "usable_grant",
    "volumes",
    "when_withdrawn",
    "withdraw_demand",
    "withdraw_scenario",
    "withdrawal_actions",
]
