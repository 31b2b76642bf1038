"""A version's way to its code and a product's end: who may take each step, and what stands in the way."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from sqlmodel import select
from tests.factories.market import STATISTICS, City, make_city, make_output, make_product, register

from marketplace import clock, db
from marketplace.actor import Actor
from marketplace.authorisation.models import DataDemand, GrantRecord, Opinion
from marketplace.computing.models import Job, JobOutput
from marketplace.deadlines import service as deadlines
from marketplace.ids import new_id
from marketplace.products import service as products
from marketplace.products.models import Product, ProductVersion
from marketplace.products.stages import CHECKLISTS
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


@pytest.fixture
def drafted(database: Any) -> tuple[City, str]:
    with db.transaction() as session:
        city = make_city(session)
        return city, make_product(session, city, listed=False)


def step(name: str, actor: Actor, product: str, *arguments: Any, **more: Any) -> str:
    with db.transaction() as session:
        found = getattr(products, name)(session, actor, product, *arguments, **more)
        return str(getattr(found, "status", ""))


def refused(code: str, name: str, actor: Actor, product: str, *arguments: Any, **more: Any) -> None:
    with pytest.raises(ProblemError) as caught:
        step(name, actor, product, *arguments, **more)
    assert caught.value.code == code


def passed(city: City, product: str, stage: str, party: str) -> str:
    return step("pass_stage", city[party], product, 1, ticked=CHECKLISTS[stage], stage=stage)


def test_no_code_without_tests_and_every_review(drafted: tuple[City, str]) -> None:
    city, product = drafted
    seller, operator, authority = city["developer"], city["operator"], city["data_authority"]
    refused("wrong_state", "submit_version", seller, product, 1)
    step("run_tests", seller, product, 1)
    refused("wrong_state", "register_version", operator, product, 1)
    assert step("submit_version", seller, product, 1) == "security_test"
    refused("checklist_incomplete", "pass_stage", operator, product, 1, ticked=())
    assert passed(city, product, "security_test", "operator") == "compliance_review"
    refused("not_allowed", "pass_stage", authority, product, 1, ticked=CHECKLISTS["compliance_review"])
    assert passed(city, product, "compliance_review", "operator") == "egress_review"
    refused("not_allowed", "pass_stage", operator, product, 1, ticked=CHECKLISTS["egress_review"])
    refused("version_not_registered", "list_product", seller, product)
    assert passed(city, product, "egress_review", "data_authority") == "cleared"
    assert step("register_version", operator, product, 1) == "registered"
    assert step("list_product", seller, product) == "listed"


@pytest.mark.parametrize("authority_first", [True, False])
def test_the_authority_decides_on_a_version_in_the_place_of_a_department_that_does_not(drafted: tuple[City, str], authority_first: bool) -> None:
    city, product = drafted
    with db.transaction() as session:
        job = session.get_one(Job, session.exec(select(ProductVersion.job_id).where(ProductVersion.product_id == product)).one())
        demand = session.get_one(DataDemand, session.get_one(GrantRecord, job.grant_id).demand_id)
        session.add(Opinion(id=new_id("opinion"), kind="demand", subject=demand.id, version=demand.version, stage="review",
                            organisation_id=city.departments[0], party="source_department", status="approved", due_at=db.utc_now()))
    step("run_tests", city["developer"], product, 1)
    step("submit_version", city["developer"], product, 1)
    passed(city, product, "security_test", "operator")
    passed(city, product, "compliance_review", "operator")
    if authority_first:
        assert passed(city, product, "egress_review", "data_authority") == "egress_review"
    with clock.shifted(dt.timedelta(days=20)):
        deadlines.fire_due()
        if not authority_first:
            department = Actor("source_department", city.departments[0], "mem_department")
            refused("not_reviewer_of_grant", "pass_stage", department, product, 1, ticked=CHECKLISTS["egress_review"])
            assert passed(city, product, "egress_review", "data_authority") == "cleared"
        assert step("register_version", city["operator"], product, 1) == "registered"
    with db.reading() as session:
        assert trust.check_database(session).ok


def test_a_returned_version_says_why_and_is_tested_anew(drafted: tuple[City, str]) -> None:
    city, product = drafted
    step("run_tests", city["developer"], product, 1)
    step("submit_version", city["developer"], product, 1)
    refused("version_comment_required", "return_version", city["operator"], product, 1, " ")
    assert step("return_version", city["operator"], product, 1, "样例与说明不符") == "returned"
    refused("wrong_state", "submit_version", city["developer"], product, 1)
    step("run_tests", city["developer"], product, 1)
    assert step("submit_version", city["developer"], product, 1) == "security_test"


def test_nobody_passes_what_they_submitted_in_another_post(drafted: tuple[City, str]) -> None:
    city, product = drafted
    step("run_tests", city["developer"], product, 1)
    step("submit_version", city["developer"], product, 1)
    same = dataclasses.replace(city["operator"], member_id=city["developer"].member_id)
    refused("own_version", "pass_stage", same, product, 1, ticked=CHECKLISTS["security_test"])


def test_retirement_runs_a_notice_and_leaves_a_certificate_and_no_results(drafted: tuple[City, str]) -> None:
    city, product = drafted
    with db.transaction() as session:
        register(session, city, product)
        products.list_product(session, city["developer"], product)
    assert step("retire_product", city["developer"], product, "业务终止") == "retiring"
    refused("product_not_retired", "disposal", city["developer"], product)
    assert step("keep_product", city["developer"], product) == "suspended"
    assert step("retire_product", city["developer"], product, "业务终止") == "retiring"
    with clock.shifted(dt.timedelta(days=400)):
        deadlines.fire_due()
        with db.reading() as session:
            assert session.get_one(Product, product).status == "retired"
            version = session.exec(select(ProductVersion).where(ProductVersion.product_id == product)).one()
            assert version.status == "retired"
            assert session.get_one(JobOutput, version.output_id).content == {}
            assert products.disposal(session, city["consumer"], product) is not None


def test_a_result_that_another_product_sells_is_kept(drafted: tuple[City, str]) -> None:
    city, _product = drafted
    with db.transaction() as session:
        job = make_output(session, city, STATISTICS)
        first, second = (products.draft_product(session, city["developer"], sector="finance", title_zh=name, title_en=name,
                                                delivery_form="api").id for name in ("甲", "乙"))
        for one in (first, second):
            products.create_version(session, city["developer"], one, job_id=job)
        products.retire_product(session, city["developer"], first, "业务终止")
    with clock.shifted(dt.timedelta(days=400)):
        deadlines.fire_due()
    with db.reading() as session:
        version = session.exec(select(ProductVersion).where(ProductVersion.product_id == second)).one()
        assert session.get_one(JobOutput, version.output_id).content != {}
