"""Whatever people try, in whatever order: no sale without a code, no code without every review, and the end is the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlmodel import Session, select
from tests.factories.market import City, make_city, make_product

from marketplace import db
from marketplace.actor import Actor
from marketplace.products import retirement
from marketplace.products import service as products
from marketplace.products.models import Product, ProductVersion, VersionReview
from marketplace.products.stages import CHECKLISTS
from shuyan.problems import ProblemError

STAGES = tuple(CHECKLISTS)
PEOPLE = ("developer", "operator", "data_authority", "consumer", "submitter_at_operator", "submitter_at_authority", "authority_of_seller")


class VersionLife(RuleBasedStateMachine):
    """One product of the developer's with one version; every act may be refused, and then changes nothing."""

    session: ClassVar[Session]
    city: ClassVar[City]
    product_id: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.attempt = self.session.begin_nested()
        seller = self.city["developer"]
        self.people = {**self.city.actors,
                       "submitter_at_operator": dataclasses.replace(self.city["operator"], member_id=seller.member_id),
                       "submitter_at_authority": dataclasses.replace(self.city["data_authority"], member_id=seller.member_id),
                       "authority_of_seller": Actor("data_authority", seller.organisation_id, "mem_of_seller")}
        self.code: str | None = None
        self.retired = False

    def teardown(self) -> None:
        self.attempt.rollback()
        self.session.expire_all()

    @contextmanager
    def tried(self) -> Iterator[None]:
        step = self.session.begin_nested()
        try:
            yield
            self.session.flush()
            step.commit()
        except ProblemError:
            step.rollback()
            self.session.expire_all()

    def act(self, who: str, do: Callable[..., object], *arguments: Any, **more: Any) -> None:
        with self.tried():
            do(self.session, self.people[who], self.product_id, *arguments, **more)

    @rule(who=st.sampled_from(PEOPLE))
    def test(self, who: str) -> None:
        self.act(who, products.run_tests, 1)

    @rule()
    def hand_in(self) -> None:
        self.act("developer", products.run_tests, 1)
        self.act("developer", products.submit_version, 1)

    @rule(who=st.sampled_from(PEOPLE), stage=st.sampled_from(STAGES), all_ticked=st.booleans())
    def judge(self, who: str, stage: str, all_ticked: bool) -> None:
        self.act(who, products.pass_stage, 1, ticked=CHECKLISTS[stage] if all_ticked else CHECKLISTS[stage][1:], stage=stage)

    @rule()
    def go_on(self) -> None:
        """What its reviewers would do, so that the far end is reached as well."""
        stage = self.version().status
        reviewer = {"security_test": "operator", "compliance_review": "operator", "egress_review": "data_authority"}.get(stage)
        if reviewer:
            self.act(reviewer, products.pass_stage, 1, ticked=CHECKLISTS[stage])
        elif stage in ("draft", "returned", "testing"):
            self.hand_in()
        elif stage == "cleared":
            self.act("operator", products.register_version, 1)

    @rule(who=st.sampled_from(PEOPLE))
    def send_back(self, who: str) -> None:
        self.act(who, products.return_version, 1, "请更正")

    @rule(who=st.sampled_from(PEOPLE), what=st.sampled_from(("register_version", "withdraw_version")))
    def end_review(self, who: str, what: str) -> None:
        if what == "register_version" or self.version().status != "draft":  # else most examples would be over at once
            self.act(who, getattr(products, what), 1)

    @rule(who=st.sampled_from(PEOPLE), what=st.sampled_from(("list_product", "resume_product", "keep_product")))
    def sell(self, who: str, what: str) -> None:
        self.act(who, getattr(products, what))

    @rule(who=st.sampled_from(PEOPLE), what=st.sampled_from(("suspend_product", "suspend_product", "retire_product")))
    def stop(self, who: str, what: str) -> None:
        if self.product().listed_at is not None or what == "suspend_product":
            self.act(who, getattr(products, what), "说明")

    @precondition(lambda self: self.product().status == "retiring")
    @rule()
    def notice_ends(self) -> None:
        with self.tried():
            retirement._dispose(self.session, self.product())

    def product(self) -> Product:
        return self.session.get_one(Product, self.product_id)

    def version(self) -> ProductVersion:
        return self.session.exec(select(ProductVersion).where(ProductVersion.product_id == self.product_id)).one()

    @invariant()
    def a_code_stands_on_tests_and_every_review(self) -> None:
        version = self.version()
        if version.registration_code is None:
            assert version.status not in ("registered", "listed", "superseded")
            return
        assert self.code in (None, version.registration_code)
        self.code = version.registration_code
        reviews = self.session.exec(select(VersionReview).where(VersionReview.version_id == version.id,
                                                                VersionReview.round == version.round)).all()
        assert {row.stage for row in reviews if row.decision in ("passed", "skipped")} == set(STAGES)
        assert not [row for row in reviews if row.decision == "returned"]
        run = products.test_runs(self.session, [version.id])[version.id][0]
        assert run.passed
        assert run.manifest_digest == version.manifest_digest

    @invariant()
    def nobody_judges_their_own(self) -> None:
        version, seller = self.version(), self.product().organisation_id
        for row in self.session.exec(select(VersionReview).where(VersionReview.version_id == version.id)):
            assert row.organisation_id != seller
            assert row.decided_by != self.people["developer"].label
            assert set(row.ticked) == set(CHECKLISTS[row.stage]) or row.decision != "passed"

    @invariant()
    def what_is_on_sale_has_a_code(self) -> None:
        product = self.product()
        if product.status == "listed":
            assert self.version().status == "listed"
            assert self.version().registration_code
            assert product.current_version_id == self.version().id

    @invariant()
    def the_end_is_the_end(self) -> None:
        status = self.product().status
        assert status == "retired" or not self.retired
        self.retired = self.retired or status == "retired"
        if self.retired:
            assert self.version().status in ("retired", "withdrawn")


@pytest.mark.usefixtures("sqlite_database")
def test_whatever_is_tried_in_whatever_order() -> None:
    with db.transaction() as session:
        VersionLife.session, VersionLife.city = session, make_city(session)
        VersionLife.product_id = make_product(session, VersionLife.city, listed=False)
        session.flush()
        run_state_machine_as_test(VersionLife, settings=settings(
            max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)))
