"""The computing domain's use cases, in one place for everybody else.

Nodes (:mod:`.nodes`), jobs (:mod:`.jobs`), egress reviews (:mod:`.reviews`) and, for the coordinator alone, their
execution (:mod:`.runs`).
"""

from __future__ import annotations

from marketplace.computing.budgets import Budget, grant_budgets, list_budgets
from marketplace.computing.cards import markdown as card_markdown
from marketplace.computing.cards import model_card, published_card
from marketplace.computing.costs import of_rejection as cost_of_rejection
from marketplace.computing.explain import Cost, Explanation, explain
from marketplace.computing.gallery import AppCard, get_app, list_apps
from marketplace.computing.jobs import (
    approved_output,
    cancel_job,
    check_job,
    dispose_output,
    find_job,
    get_job,
    grant_of_job,
    job_actions,
    job_log,
    job_result,
    jobs_by_id,
    jobs_of_runs,
    jobs_under,
    list_jobs,
    output_digest,
    resources_of,
    submit_job,
    taking_part,
)
from marketplace.computing.nodes import (
    Invitation,
    get_node,
    invitation_token,
    invite_node,
    list_nodes,
    nodes_by_id,
    revoke_node,
)
from marketplace.computing.progress import failure as failure_sentence
from marketplace.computing.progress import note as note_sentence
from marketplace.computing.progress import sentence as log_sentence
from marketplace.computing.reviews import (
    ReviewDetail,
    decide_review,
    decided_by,
    get_review,
    list_reviews,
    review_of_job,
)
from marketplace.computing.routing import Seats, reviewers_of, seats_of_jobs
from marketplace.computing.rules import EGRESS_PARTIES

__all__ = [
    "EGRESS_PARTIES",
    "AppCard",
    "Budget",
    "Cost",
    "Explanation",
    "Invitation",
    "ReviewDetail",
    "Seats",
    "approved_output",
    "cancel_job",
    "card_markdown",
    "check_job",
    "cost_of_rejection",
    "decide_review",
    "decided_by",
    "dispose_output",
    "explain",
    "failure_sentence",
    "find_job",
    "get_app",
    "get_job",
    "get_node",
    "get_review",
    "grant_budgets",
    "grant_of_job",
    "invitation_token",
    "invite_node",
    "job_actions",
    "job_log",
    "job_result",
    "jobs_by_id",
    "jobs_of_runs",
    "jobs_under",
    "list_apps",
    "list_budgets",
    "list_jobs",
    "list_nodes",
    "list_reviews",
    "log_sentence",
    "model_card",
    "nodes_by_id",
    "note_sentence",
    "output_digest",
    "published_card",
    "resources_of",
    "review_of_job",
    "reviewers_of",
    "revoke_node",
    "seats_of_jobs",
    "submit_job",
    "taking_part",
]
