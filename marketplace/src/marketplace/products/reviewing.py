"""Use cases of review: a version is submitted, looked at stage by stage, returned or cleared, and given its code."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, func, select

from marketplace.actor import SYSTEM, Actor
from marketplace.computing import service as computing
from marketplace.db import storable, utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.parties import service as parties
from marketplace.products import rules, stages, texts
from marketplace.products.checking import automatic_checks
from marketplace.products.drafting import texts_digest
from marketplace.products.errors import (
    ALREADY_SAID,
    BAD_TEXT,
    CHECKLIST,
    CHECKS_FAILED,
    COMMENT_REQUIRED,
    OWN_VERSION,
    TESTS_NOT_PASSED,
)
from marketplace.products.models import Product, ProductVersion, VersionReview
from marketplace.products.reading import locked_product, locked_version, versions_of
from marketplace.products.testing import latest_run
from marketplace.settings import settings
from marketplace.trust import service as trust
from marketplace.workdays import after_workdays
from shuyan.problems import ProblemError

MAX_NOTE: Final = 2000
_OVERDUE: Final = "version.egress_overdue"
_REGISTRATION_LOCK: Final = 7239472
_REGISTERED: Final = ("registered", "listed", "superseded")


def submit_version(session: Session, actor: Actor, product_id: str, number: int) -> ProductVersion:
    """Hand a tested version in for review. Stages that the rule table skips are recorded as skipped.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``tests_not_passed``.
    """
    product = locked_product(session, actor, product_id)
    version = locked_version(session, product_id, number)
    rules.version_life(product.tier).check("submit", version.status, actor, owner=product.organisation_id)
    run = latest_run(session, version.id)
    if run is None or not run.passed or run.manifest_digest != version.manifest_digest:
        raise ProblemError(TESTS_NOT_PASSED)
    computing.approved_output(session, version.job_id)  # still approved, or it raises
    version.texts_digest = texts_digest(product)
    version.round += 1
    version.submitted_by, version.submitted_at = actor.label, utc_now()
    skip = stages.skipped(unchanged_parts(session, version))
    _move(session, product, version, stages.next_stage(None, skip))
    for stage in skip:
        session.add(VersionReview(id=new_id("prv"), version_id=version.id, round=version.round, stage=stage, decision="skipped",
                                  decided_by="system"))
    trust.append(session, Tag.VERSION_SUBMITTED, actor, version.id, related=[product_id, version.job_id], data={
        "manifest_digest": version.manifest_digest, "texts_digest": version.texts_digest, "skipped": skip, "round": version.round})
    return version


def unchanged_parts(session: Session, version: ProductVersion) -> frozenset[str]:
    """In which parts a version is as the last one that was registered."""
    last = next((row for row in versions_of(session, version.product_id)
                 if row.number < version.number and row.registration_code and row.status in _REGISTERED), None)
    new = stages.parts(version.manifest, version.texts_digest)
    return stages.unchanged(new, stages.parts(last.manifest, last.texts_digest) if last else None)


def _move(session: Session, product: Product, version: ProductVersion, stage: str) -> None:
    """Into the next stage, and those are told who are to act."""
    version.status, version.stage_since = stage, utc_now()
    session.add(version)
    if stage == "egress_review":
        deadlines.put(session, _OVERDUE, version.id, _due(version.stage_since), number=version.round)
    for organisation in _to_act(session, product, version):
        notices.tell(session, organisation, texts.VERSION_WAITING, version.id, role="reviewer",
                     title_zh=product.title_zh, title_en=product.title_en, number=version.number, stage=stage)


def _to_act(session: Session, product: Product, version: ProductVersion) -> list[str]:
    if version.status == "egress_review":
        return seats_of(session, version).organisations(session)
    action = "register" if version.status == "cleared" else stages.PASSES[version.status]
    found = {party for step in rules.version_life(product.tier).transitions if step.action == action for party in step.parties}
    return [organisation for party in sorted(found) for organisation in _of_party(session, party)
            if organisation != product.organisation_id]


def _of_party(session: Session, party: str) -> list[str]:
    return [row.id for row in parties.list_organisations(session, kind=party, limit=50)]


@dataclass(frozen=True)
class Known:
    """What is to be known of versions before an actor decides on them.

    Attributes:
        reviews: by version, what was decided on its present submission, oldest first.
        seats: by version in the egress review, who decides.
        own: versions that the very person handed in, under whichever membership.
    """

    reviews: dict[str, list[VersionReview]]
    seats: dict[str, computing.Seats]
    own: frozenset[str]


def known(session: Session, actor: Actor, versions: Sequence[ProductVersion]) -> Known:
    """What is to be known of these versions; a few queries, however many there are. Raises ``not_found``."""
    rounds = {row.id: row.round for row in versions}
    reviews = {id_: [one for one in reversed(found) if one.round == rounds[id_]]
               for id_, found in reviews_of(session, list(rounds)).items()}
    late = [row for row in versions if row.status == "egress_review"]
    who = parties.persons(session, [actor.label, *(row.submitted_by for row in versions if row.submitted_by)])
    return Known(reviews, _seats(session, late, reviews), frozenset(
        row.id for row in versions if row.submitted_by and who[row.submitted_by] == who[actor.label]))


def _seats(session: Session, versions: Sequence[ProductVersion], reviews: Mapping[str, Sequence[VersionReview]]
           ) -> dict[str, computing.Seats]:
    """Who decides on the egress of versions; see :mod:`marketplace.computing.routing`."""
    jobs = computing.jobs_by_id(session, [row.job_id for row in versions])
    seats, out = computing.seats_of_jobs(session, list(jobs.values())), {}
    for row in versions:
        if row.job_id not in jobs:
            raise ProblemError("not_found", what="job")
        late = row.status == "egress_review" and row.stage_since is not None and _due(row.stage_since) <= utc_now()
        out[row.id] = seats[row.job_id].passed_on(_agreed(reviews.get(row.id, ()))) if late else seats[row.job_id]
    return out


def seats_of(session: Session, version: ProductVersion) -> computing.Seats:
    """Who decides on the egress of one version. Raises ``not_found``."""
    return _seats(session, [version], {version.id: _reviews(session, version)})[version.id]


def _due(since: dt.datetime) -> dt.datetime:
    return after_workdays(since, settings().egress_days)


@deadlines.on(_OVERDUE)
def _overdue(session: Session, due: Deadline) -> None:
    """The data authority decides in the place of whoever has not; where it has agreed already, the version goes on."""
    found = session.get_one(ProductVersion, due.subject)
    product = session.get_one(Product, found.product_id, with_for_update=True, populate_existing=True)
    version = locked_version(session, product.id, found.number)
    if version.status != "egress_review" or version.round != due.number or version.stage_since is None:
        return
    if _everybody_agreed(session, version):
        rules.version_life(product.tier).check("time_up", version.status, SYSTEM)
        _pass(session, product, version)
        trust.append(session, Tag.VERSION_EGRESS_PASSED, SYSTEM, version.id, related=[product.id],
                     data={"manifest_digest": version.manifest_digest, "complete": True, "round": version.round})
        return
    for organisation in _to_act(session, product, version):
        notices.tell(session, organisation, texts.VERSION_OVERDUE, version.id, role="reviewer",
                     title_zh=product.title_zh, title_en=product.title_en, number=version.number)


def pass_stage(session: Session, actor: Actor, product_id: str, number: int, *, ticked: Sequence[str] = (), note: str = "",
               stage: str | None = None) -> ProductVersion:
    """Pass the stage that a version is in. It moves on once everybody who has a say in the stage has passed it.

    Args:
        ticked: codes of the stage's checklist, every one of which must be confirmed.
        stage: the one that is meant, for whoever decides on what was read a while ago; None: whichever it is in.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``own_version``, ``not_reviewer_of_grant``,
            ``already_reviewed``, ``checklist_incomplete``, ``automatic_checks_failed``, ``product_text_invalid``.
    """
    product, version, stage = _under_review(session, actor, product_id, number, stage, "pass_egress")
    life = rules.version_life(product.tier)
    step = life.check(stages.PASSES.get(stage, "pass_egress"), stage, actor, owner=product.organisation_id)
    organisation = may_decide(session, actor, product, version, stage)
    missing = [code for code in stages.CHECKLISTS[stage] if code not in ticked]
    if missing:
        raise ProblemError(CHECKLIST, field="ticked", missing=", ".join(missing))
    checks = automatic_checks(session, product, version)
    failed = [check["code"] for check in checks if not check["passed"]]
    if failed:
        raise ProblemError(CHECKS_FAILED, codes=", ".join(failed))
    session.add(VersionReview(id=new_id("prv"), version_id=version.id, round=version.round, stage=stage, organisation_id=organisation,
                              decision="passed", decided_by=actor.label, ticked=list(stages.CHECKLISTS[stage]), checks=checks,
                              note=_note(note)))
    session.flush()
    complete = stage != "egress_review" or _everybody_agreed(session, version)
    if complete:
        _pass(session, product, version)
    if step.event:
        trust.append(session, step.event, actor, version.id, related=[product_id, organisation],
                     data={"manifest_digest": version.manifest_digest, "complete": complete, "round": version.round})
    return version


def _pass(session: Session, product: Product, version: ProductVersion) -> None:
    skip = [row.stage for row in _reviews(session, version) if row.decision == "skipped"]
    _move(session, product, version, stages.next_stage(version.status, skip))


def return_version(session: Session, actor: Actor, product_id: str, number: int, note: str, *, stage: str | None = None) -> ProductVersion:
    """Return a version under review for correction, saying what is to be changed; one reviewer is enough for that.

    Raises:
        ProblemError: as :func:`pass_stage`; ``version_comment_required``.
    """
    product, version, stage = _under_review(session, actor, product_id, number, stage, "return")
    rules.version_life(product.tier).check("return", stage, actor, owner=product.organisation_id)
    organisation = may_decide(session, actor, product, version, stage)
    note = _note(note)
    if not note:
        raise ProblemError(COMMENT_REQUIRED, field="note")
    session.add(VersionReview(id=new_id("prv"), version_id=version.id, round=version.round, stage=stage, organisation_id=organisation,
                              decision="returned", decided_by=actor.label, checks=automatic_checks(session, product, version), note=note))
    version.status, version.stage_since = "returned", utc_now()
    session.add(version)
    notices.tell(session, product.organisation_id, texts.VERSION_RETURNED, product.id, title_zh=product.title_zh,
                 title_en=product.title_en, number=version.number)
    trust.append(session, Tag.VERSION_RETURNED, actor, version.id, related=[product_id, organisation],
                 data={"stage": stage, "round": version.round})
    return version


def _under_review(session: Session, actor: Actor, product_id: str, number: int, meant: str | None, action: str
                  ) -> tuple[Product, ProductVersion, str]:
    product = session.exec(select(Product).where(Product.id == product_id).with_for_update()
                           .execution_options(populate_existing=True)).first()
    if product is None or (product.listed_at is None and not may_review(session, actor, product)):
        raise ProblemError("not_found", what="product")
    version = locked_version(session, product_id, number)
    if meant is not None and version.status != meant:
        raise ProblemError("wrong_state", state=version.status, action=stages.PASSES[meant] if action != "return" else action)
    return product, version, version.status


def may_review(session: Session, actor: Actor, product: Product) -> bool:
    """Whether a product that is not public is this actor's business: its own, or one to oversee or review."""
    return actor.party in ("system", "operator", *computing.EGRESS_PARTIES, "security_supervisor") or (
        actor.organisation_id is not None and actor.organisation_id == product.organisation_id)


def may_decide(session: Session, actor: Actor, product: Product, version: ProductVersion, stage: str, found: Known | None = None) -> str:
    """The organisation that decides, having made sure that it may here and has not yet; of several versions what is ``found`` already."""
    organisation, found = actor.organisation_id, found or known(session, actor, [version])
    if organisation is None or organisation == product.organisation_id or version.id in found.own:
        raise ProblemError(OWN_VERSION)
    if stage == "egress_review":
        found.seats[version.id].require(actor)
    if any(row.stage == stage and row.organisation_id == organisation for row in found.reviews.get(version.id, ())):
        raise ProblemError(ALREADY_SAID)
    return organisation


def _everybody_agreed(session: Session, version: ProductVersion) -> bool:
    agreed = _agreed(_reviews(session, version))
    return seats_of(session, version).complete({key: row.kind for key, row in parties.organisations_by_id(session, agreed).items()})


def _agreed(reviews: Iterable[VersionReview]) -> list[str]:
    """The organisations that have agreed to the egress, by what was decided on the present submission."""
    return [row.organisation_id for row in reviews if row.stage == "egress_review" and row.decision == "passed" and row.organisation_id]


def _reviews(session: Session, version: ProductVersion) -> list[VersionReview]:
    """What was decided on the present submission."""
    return list(session.exec(select(VersionReview).where(VersionReview.version_id == version.id, VersionReview.round == version.round)
                             .order_by(col(VersionReview.id))))


def reviews_of(session: Session, version_ids: Sequence[str]) -> dict[str, list[VersionReview]]:
    """Every decision on these versions by version, newest first."""
    out: dict[str, list[VersionReview]] = {}
    for row in session.exec(select(VersionReview).where(col(VersionReview.version_id).in_(version_ids))
                            .order_by(col(VersionReview.id).desc())):
        out.setdefault(row.version_id, []).append(row)
    return out


def _note(note: str) -> str:
    note = note.strip()
    if len(note) > MAX_NOTE or not storable(note):
        raise ProblemError(BAD_TEXT, field="note", minimum=0, maximum=MAX_NOTE)
    return note


def register_version(session: Session, actor: Actor, product_id: str, number: int) -> ProductVersion:
    """Issue the registration code of a cleared version: the operator for the second tier, the data authority for the first.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``own_version``.
    """
    product = locked_product(session, actor, product_id)
    version = locked_version(session, product_id, number)
    step = rules.version_life(product.tier).check("register", version.status, actor, owner=product.organisation_id)
    if actor.organisation_id == product.organisation_id:
        raise ProblemError(OWN_VERSION)
    computing.approved_output(session, version.job_id)  # still approved, or it raises
    now = utc_now()
    version.registration_code = _next_code(session, product.tier, now)
    version.status, version.registered_at, version.stage_since = step.target, now, now
    session.add(version)
    notices.tell(session, product.organisation_id, texts.VERSION_REGISTERED, product_id, title_zh=product.title_zh,
                 title_en=product.title_en, number=version.number, code=version.registration_code)
    trust.append(session, Tag.VERSION_REGISTERED, actor, version.id, related=[product_id, version.job_id],
                 data={"registration_code": version.registration_code, "manifest_digest": version.manifest_digest})
    return version


def _next_code(session: Session, tier: int, now: dt.datetime) -> str:
    year, city = rules.year_of(now), settings().city_code
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SELECT pg_advisory_xact_lock({_REGISTRATION_LOCK})"))
    last = session.exec(select(func.max(col(ProductVersion.registration_code)))
                        .where(col(ProductVersion.registration_code).like(f"{city}-{year}-{tier}-%"))).one()
    return rules.registration_code(city, year, tier, rules.serial_of(last) + 1)
