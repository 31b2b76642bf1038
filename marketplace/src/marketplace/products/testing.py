"""Use cases of testing: a version answers its declared inputs, and refuses all others, exactly as buyers will call it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.computing import service as computing
from marketplace.db import utc_now
from marketplace.delivery import rules as delivery
from marketplace.digests import digest
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.products import reports, rules
from marketplace.products.errors import BAD_CASE
from marketplace.products.models import Product, ProductVersion, TestRun
from marketplace.products.reading import locked_product, locked_version
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

MAX_CASES: Final = 20
MAX_CASE_BYTES: Final = 16_384
_MAX_VALUES: Final = 8  # of one dimension or category that are tried


def run_tests(session: Session, actor: Actor, product_id: str, number: int,
              cases: Sequence[Mapping[str, Any]] = ()) -> TestRun:
    """Try a version with inputs of its own schema, with forbidden ones, and with ``cases``, all of which must be answered.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``test_case_invalid``, ``result_not_released``.
    """
    product = locked_product(session, actor, product_id)
    version = locked_version(session, product_id, number)
    step = rules.version_life(product.tier).check("test", version.status, actor, owner=product.organisation_id)
    if len(cases) > MAX_CASES or any(not isinstance(case, Mapping) or _size(case) > MAX_CASE_BYTES for case in cases):
        raise ProblemError(BAD_CASE, field="cases", maximum=MAX_CASES, bytes=MAX_CASE_BYTES)
    content = computing.approved_output(session, version.job_id).content
    wanted = [*declared_cases(version.manifest["input_schema"], content),
              *({"name": "given", "body": dict(case), "expected": "answer"} for case in cases)]
    done = [run_case(content, case) for case in wanted]
    if product.delivery_form == "report":
        done.append(_report_case(session, product, version, content))
    last = latest_run(session, version.id)
    run = TestRun(id=new_id("test"), version_id=version.id, number=last.number + 1 if last else 1,
                  manifest_digest=version.manifest_digest, cases=done, passed=all(case["ok"] for case in done), run_by=actor.label)
    version.status, version.stage_since = step.target, utc_now()
    session.add_all([version, run])
    session.flush()
    trust.append(session, Tag.VERSION_TESTED, actor, version.id, related=[product_id],
                 data={"run": run.number, "passed": run.passed, "cases": len(done), "digest": digest(done)})
    return run


def declared_cases(schema: Mapping[str, Any], content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Cases that follow from an input schema: ``{name, body, expected}`` each, expected ``answer`` or ``refusal``."""
    out: list[dict[str, Any]] = []
    if content.get("kind") == "model":
        request = rules.sample(content)["request"]
        out.append({"name": "sample", "body": request, "expected": "answer"})
        features = schema["properties"]["features"]["properties"]
        for name, field in features.items():
            out += [{"name": "category", "body": {"features": {**request["features"], name: level}}, "expected": "answer"}
                    for level in field.get("enum", ())[:_MAX_VALUES]]
        first = next(iter(features), None)
        if first is not None:
            rest = {name: value for name, value in request["features"].items() if name != first}
            out.append({"name": "missing", "body": {"features": rest}, "expected": "refusal"})
        out.append({"name": "undeclared", "body": {"features": {**request["features"], "undeclared_field": 1}}, "expected": "refusal"})
    else:
        out.append({"name": "everything", "body": {}, "expected": "answer"})
        for name, field in schema.get("properties", {}).get("group", {}).get("properties", {}).items():
            out += [{"name": "group", "body": {"group": {name: value}}, "expected": "answer"} for value in field.get("enum", ())[:_MAX_VALUES]]
        out.append({"name": "undeclared", "body": {"group": {"undeclared_dimension": "x"}}, "expected": "refusal"})
    out.append({"name": "foreign", "body": {"undeclared_input": {}}, "expected": "refusal"})
    return out


def run_case(content: Mapping[str, Any], case: Mapping[str, Any]) -> dict[str, Any]:
    """A case with what came of it: ``outcome`` ``answer`` or ``refusal``, ``code`` of a refusal, ``digest`` of an answer, ``ok``."""
    out = {"name": case["name"], "body": case["body"], "expected": case["expected"], "outcome": "answer", "code": "", "digest": ""}
    try:
        first, second = (delivery.answer(content, case["body"]) for _ in range(2))
        json.dumps(first, allow_nan=False)
        out["digest"] = digest(first)
        repeatable = out["digest"] == digest(second)
    except ProblemError as problem:
        out |= {"outcome": "refusal", "code": problem.code}
        repeatable = True
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError):  # what a buyer would see as a broken product
        out |= {"outcome": "failure", "code": "internal"}
        repeatable = True
    return {**out, "ok": repeatable and out["outcome"] == case["expected"]}


def _report_case(session: Session, product: Product, version: ProductVersion, content: Mapping[str, Any]) -> dict[str, Any]:
    case = {"name": "report", "body": {}, "expected": "answer", "outcome": "answer", "code": "", "digest": ""}
    try:
        first, second = (reports.render(session, product, version, content) for _ in range(2))
    except ProblemError as problem:
        return {**case, "outcome": "refusal", "code": problem.code, "ok": False}
    return {**case, "digest": reports.digest_of(first), "ok": first == second}


def latest_run(session: Session, version_id: str) -> TestRun | None:
    """The newest test run of a version."""
    return session.exec(select(TestRun).where(TestRun.version_id == version_id).order_by(col(TestRun.number).desc()).limit(1)).first()


def test_runs(session: Session, version_ids: Sequence[str]) -> dict[str, list[TestRun]]:
    """Test runs by version, newest first."""
    out: dict[str, list[TestRun]] = {}
    for run in session.exec(select(TestRun).where(col(TestRun.version_id).in_(version_ids)).order_by(col(TestRun.number).desc())):
        out.setdefault(run.version_id, []).append(run)
    return out


def _size(case: Mapping[str, Any]) -> int:
    try:
        return len(json.dumps(case, allow_nan=False).encode())
    except (ValueError, TypeError, RecursionError):
        return MAX_CASE_BYTES + 1
