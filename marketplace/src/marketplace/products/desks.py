"""What reviewers see: a version with everything it comes from, and what waits for whom."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col, select

from marketplace import work
from marketplace.actor import Actor
from marketplace.authorisation import service as authorisation
from marketplace.computing import service as computing
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.parties import service as parties
from marketplace.products import rules, stages
from marketplace.products.checking import automatic_checks
from marketplace.products.models import Product, ProductVersion, VersionReview
from marketplace.products.reading import versions_of
from marketplace.products.reviewing import Known, known, may_decide, may_review, reviews_of, unchanged_parts
from marketplace.work import WorkItem
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class Dossier:
    """What a reviewer looks at: the version with everything it comes from.

    Attributes:
        lineage: from the departments' resources to the version, ``{kind, id, title_zh, title_en, digest}`` each.
        content: what leaves; empty once it was deleted, and for those who have no say in the egress.
        report: the automatic findings of the job's own egress review.
        actions: what this actor may do with the version now.
        seated: parties and organisations that decide on the egress.
        unchanged: parts in which it is as the last registered version.
        cost: what it would cost to lose the result, see :func:`computing.costs.of_rejection`; empty once it was deleted.
    """

    product: Product
    version: ProductVersion
    checks: list[dict[str, Any]]
    reviews: list[VersionReview]
    lineage: list[dict[str, Any]]
    content: dict[str, Any]
    report: dict[str, Any]
    actions: list[str]
    seated: computing.Seats
    unchanged: list[str] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)

    @property
    def checklist(self) -> tuple[str, ...]:
        """What the reviewer of the present stage confirms."""
        return stages.CHECKLISTS.get(self.version.status, ())


def dossier(session: Session, actor: Actor, product_id: str, number: int) -> Dossier:
    """Everything about a version under review, for its owner and for those who review or oversee.

    Raises:
        ProblemError: ``not_found``.
    """
    product = session.get(Product, product_id)
    if product is None or not may_review(session, actor, product):
        raise ProblemError("not_found", what="product")
    version = next((row for row in versions_of(session, product_id) if row.number == number), None)
    job = computing.find_job(session, version.job_id) if version else None
    if version is None or job is None:
        raise ProblemError("not_found", what="version")
    seats = computing.reviewers_of(session, job)
    owner = actor.organisation_id == product.organisation_id
    if actor.party in ("industry_department", "source_department") and not owner and not seats.seated(actor):
        raise ProblemError("not_found", what="version")
    review = computing.review_of_job(session, job.id)
    sees = seats.seated(actor) or actor.party == "security_supervisor" or owner
    content: dict[str, Any] = {}
    cost: dict[str, Any] = {}
    with contextlib.suppress(ProblemError):  # deleted by now
        output = computing.approved_output(session, job.id)
        content, cost = output.content if sees else {}, computing.cost_of_rejection(session, job, output)
    return Dossier(product, version, automatic_checks(session, product, version),
                   reviews_of(session, [version.id]).get(version.id, []), _lineage(session, product, version), content,
                   (review.report or {}) if review and sees else {}, version_actions(session, actor, product, version), seats,
                   sorted(unchanged_parts(session, version)), cost)


@dataclass(frozen=True)
class Waiting:
    """A version in somebody's queue; ``actions`` are what this actor may do with it."""

    product: Product
    version: ProductVersion
    actions: list[str]


def waiting_versions(session: Session, actor: Actor, *, stage: str | None = None, cursor: str | None = None, limit: int = 20
                     ) -> Page[Waiting]:
    """Versions under review or cleared, longest waiting first, for those who review or oversee; for departments those on
    whose egress they decide, and a page of these may be shorter than ``limit``.

    Raises:
        ProblemError: ``not_allowed``.
    """
    if actor.party not in ("system", "operator", "security_supervisor", *computing.EGRESS_PARTIES):
        raise ProblemError("not_allowed")
    limit = clamp(limit)
    query = select(ProductVersion, Product).join(Product, col(Product.id) == col(ProductVersion.product_id)).where(
        col(ProductVersion.status).in_([stage] if stage else [*rules.IN_REVIEW, "cleared"])).order_by(col(ProductVersion.id))
    department = actor.party in ("industry_department", "source_department")
    if department:
        query = query.where(ProductVersion.status == "egress_review", col(ProductVersion.grant_id).in_(
            authorisation.grants_authorised_by(session, actor.organisation_id or "")))
    if cursor:
        query = query.where(col(ProductVersion.id) > decode_cursor(cursor, 1, str)[0])
    page = make_page(list(session.exec(query.limit(limit + 1))), limit, lambda row: (row[0].id,))
    found = known(session, actor, [version for version, _product in page.items])
    return Page([Waiting(product, version, version_actions(session, actor, product, version, found)) for version, product in page.items
                 if not department or found.seats[version.id].seated(actor)], page.next)


@work.source
def _work(session: Session, actor: Actor) -> Iterable[WorkItem]:
    """What waits for a reviewer's decision or a code, and what a seller has to correct, submit or list."""
    deciding = {"security_test": "version.security", "compliance_review": "version.compliance", "egress_review": "version.egress",
                "cleared": "version.register"}
    if actor.party in ("operator", "security_supervisor", *computing.EGRESS_PARTIES):
        for item in waiting_versions(session, actor, limit=100).items:
            if {*stages.PASSES.values(), "register"}.intersection(item.actions):
                yield WorkItem(deciding[item.version.status], item.version.id, item.product.title_zh, "review_version:version_id",
                               item.product.organisation_id, item.version.stage_since or item.version.created_at,
                               title_en=item.product.title_en)
    if actor.party in rules.SELLERS and actor.organisation_id:
        own = select(ProductVersion, Product).join(Product, col(Product.id) == col(ProductVersion.product_id)).where(
            Product.organisation_id == actor.organisation_id, col(ProductVersion.status).in_(("returned", "registered")),
            Product.status != "retired").order_by(col(ProductVersion.id)).limit(100)
        for version, product in session.exec(own):
            action = "test" if version.status == "returned" else "list"
            if action in rules.version_life(product.tier).possible(version.status, actor, owner=product.organisation_id):
                yield WorkItem("version.correct" if version.status == "returned" else "version.list", product.id, product.title_zh,
                               "my_product:product_id", product.organisation_id, version.stage_since or version.created_at,
                               title_en=product.title_en)


def version_place(session: Session, version_id: str) -> tuple[str, int]:
    """The product and number of a version, for addresses that name it by its id alone. Raises ``not_found``."""
    version = session.get(ProductVersion, version_id)
    if version is None:
        raise ProblemError("not_found", what="version")
    return version.product_id, version.number


def version_actions(session: Session, actor: Actor, product: Product, version: ProductVersion, found: Known | None = None) -> list[str]:
    """The buttons of a version: what the lifecycle allows, less what this person has no say in. ``found``: what is known of several."""
    actions = rules.version_life(product.tier).possible(version.status, actor, owner=product.organisation_id)
    if version.status in rules.IN_REVIEW:
        try:
            may_decide(session, actor, product, version, version.status, found)
        except ProblemError:
            actions = [action for action in actions if action == "withdraw"]
    elif version.status == "cleared" and actor.organisation_id == product.organisation_id:
        actions = [action for action in actions if action != "register"]
    return list(dict.fromkeys(actions))


def _lineage(session: Session, product: Product, version: ProductVersion) -> list[dict[str, Any]]:
    def link(kind: str, id: str, digest: str = "", zh: str = "", en: str = "") -> dict[str, Any]:
        return {"kind": kind, "id": id, "digest": digest, "title_zh": zh, "title_en": en}

    manifest = version.manifest
    names = parties.organisations_by_id(session, [item["organisation_id"] for item in manifest["participants"]])
    job = computing.find_job(session, version.job_id)
    return [
        *(link("department", key, zh=row.name_zh, en=row.name_en) for key, row in sorted(names.items())),
        link("grant", manifest["grant"]["id"], manifest["grant"]["digest"]),
        link("job", version.job_id, zh=job.title if job else "", en=job.title if job else ""),
        link("output", version.output_id, manifest["output_digest"]),
        link("version", version.id, version.manifest_digest, product.title_zh, product.title_en),
    ]
