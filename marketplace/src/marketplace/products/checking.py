"""What a machine can say of a version, for reviewers of every stage."""

from __future__ import annotations

from typing import Any, Final

from sqlmodel import Session

from marketplace.actor import SYSTEM
from marketplace.authorisation import service as authorisation
from marketplace.computing import service as computing
from marketplace.db import utc_now
from marketplace.products import rules, stages
from marketplace.products.models import Product, ProductVersion
from marketplace.products.testing import latest_run
from shuyan import detect
from shuyan.problems import ProblemError


def automatic_checks(session: Session, product: Product, version: ProductVersion) -> list[dict[str, Any]]:
    """What a machine can say of a version at any stage: ``{code, passed, args}`` each."""
    def check(code: str, passed: bool, **args: Any) -> dict[str, Any]:
        return {"code": code, "passed": passed, "args": args}

    try:
        output = computing.approved_output(session, version.job_id)
    except ProblemError:
        return [check("egress_approved", False)]
    run = latest_run(session, version.id)
    grant = authorisation.get_grant(session, SYSTEM, version.grant_id)
    smallest, minimum = stages.smallest_cell(output.content), int(output.content.get("minimum_cohort") or 0)
    told = {kind for name in ("title", "summary", "description", "terms") for tongue in ("zh", "en")
            for kind in _identifiers(getattr(product, f"{name}_{tongue}"))}
    refusals = [case for case in run.cases if case["expected"] == "refusal"] if run else []
    return [
        check("egress_approved", True),
        check("output_intact", computing.output_digest(session, version.job_id) == version.manifest["output_digest"]),
        check("manifest_intact", rules.manifest_digest(version.manifest) == version.manifest_digest),
        check("grant_active", authorisation.grant_state(grant, utc_now()) == "active"),
        check("tests_passed", run is not None and run.passed and run.manifest_digest == version.manifest_digest,
              cases=len(run.cases) if run else 0),
        check("foreign_input_refused", bool(refusals) and all(case["ok"] for case in refusals), cases=len(refusals)),
        check("inputs_closed", stages.closed(version.manifest["input_schema"])),
        check("cohort_kept", smallest is None or smallest >= minimum, smallest=smallest or 0, minimum=minimum),
        check("no_identifiers_in_texts", not told, kinds=", ".join(sorted(told))),
    ]


_NEVER_TOLD: Final = frozenset({"resident_id", "bank_card", "mobile", "passport"})


def _identifiers(told: str) -> set[str]:
    return {str(found.kind) for found in detect.find(told)} & _NEVER_TOLD
