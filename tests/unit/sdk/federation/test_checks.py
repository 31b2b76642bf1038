from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shuyan.federation import _flower, problems
from shuyan.federation.apps import installed
from shuyan.federation.apps.base import Question as Declared
from shuyan.federation.checks import Question, check_inputs
from shuyan.federation.local import LocalFederation
from shuyan.federation.masking import AgreementKey
from shuyan.federation.transport import TaskRequest
from shuyan.problems import ProblemError
from shuyan.trust.grants import GrantedApp, GrantedResource, grant_digest, sign_grant
from shuyan.trust.keys import b64url

from .conftest import department

Federate = Callable[..., LocalFederation]


@pytest.fixture
def federation(federate: Federate) -> LocalFederation:
    return federate([department(seed) for seed in range(3)], record=True)


@pytest.fixture
def request_(federation: LocalFederation) -> TaskRequest:
    """A good request to node-0, unanswered so far."""
    federation.run("statistics", {"resource": "cases", "columns": ["amount"], "group_by": [["district"]]})
    found = next(item for item in federation.transport.carried if isinstance(item, TaskRequest) and item.node_id == "node-0")
    return replace(found, task_id="fresh", run_id="fresh")


def refusal(federation: LocalFederation, request: TaskRequest) -> tuple[str, dict[str, object]]:
    with pytest.raises(ProblemError) as caught:
        federation.nodes["node-0"].answer(request)
    return caught.value.code, caught.value.args_


def respelt(request: TaskRequest, *, config: dict[str, Any] | None = None, arrays: dict[str, Any] | None = None) -> TaskRequest:
    """The same question with something more."""
    question = _flower.read_question(request.flower_message)
    content = _flower.question_content(config, arrays, question.expect)
    return replace(request, flower_message=_flower.Outgoing(content, question.message_type, "fresh", 1).to_node(1, "fresh"))


@pytest.mark.parametrize(("extra", "field"), [
    ({"config": {"nonce": 1}}, "config"), ({"config": {"": ""}}, "config"), ({"arrays": {"nonce": np.zeros(1)}}, "arrays"),
    ({"arrays": {"": np.zeros(0)}}, "arrays")])
def test_what_the_app_does_not_read_is_refused(federation: LocalFederation, request_: TaskRequest, extra: dict[str, Any],
                                               field: str) -> None:
    assert federation.nodes["node-0"].answer(replace(respelt(request_), task_id="plain", run_id="plain"))
    assert refusal(federation, respelt(request_, **extra)) == (problems.BAD_PARAMS, {"where": field})


REGRESSION = {"resource": "cases", "target": "paid", "features": ["age", "amount"], "domains": {}}
LENGTHS = {"weights": 3, "mean": 2, "sd": 2}


@pytest.mark.parametrize(("family", "standardise", "action", "exact"), [
    ("logistic", "pooled", "query.profile", {}), ("logistic", "pooled", "train.newton", LENGTHS),
    ("logistic", "pooled", "evaluate.fit", LENGTHS), ("linear", "pooled", "evaluate.fit", {**LENGTHS, "centre": 1}),
    ("logistic", "department", "train.newton", {"weights": 3}), ("logistic", "department", "evaluate.fit", {"weights": 3}),
    ("linear", "department", "evaluate.fit", {"weights": 3, "centre": 1})])
def test_regression_takes_exactly_the_arrays_it_reads(family: str, standardise: str, action: str, exact: dict[str, int]) -> None:
    app = installed()["regression"].load()
    params = app.params({**REGRESSION, "family": family, "standardise": standardise})
    check_inputs(app, params, Question(action, {}, {}, exact, ""))
    wrong = [{**exact, "nonce": 1}, *({**exact, name: length + 1} for name, length in exact.items()),
             *({other: exact[other] for other in exact if other != name} for name in exact)]
    wrong += [{**exact, name: 1} for name in ("mean", "sd", "centre") if name not in exact]
    for arrays in wrong:
        with pytest.raises(ProblemError, match="arrays"):
            check_inputs(app, params, Question(action, {}, {}, arrays, ""))


@pytest.mark.parametrize("config", [{}, {"a": 1, "b": "x"}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"b": 1}])
def test_config_is_what_the_manifest_declares(config: dict[str, Any]) -> None:
    app = installed()["statistics"].load()
    manifest = app.manifest.model_copy(update={"questions": {"query.tally": Declared(config={"a": "integer"})}})
    asking = replace(app, manifest=manifest)
    params = app.params({"resource": "t", "columns": ["x"]})
    check_inputs(asking, params, Question("query.tally", {}, {"a": 1}, {}, ""))
    with pytest.raises(ProblemError, match="config"):
        check_inputs(asking, params, Question("query.tally", {}, config, {}, ""))


def test_a_good_request_is_answered(federation: LocalFederation, request_: TaskRequest) -> None:
    assert federation.nodes["node-0"].answer(request_).task_id == "fresh"


@pytest.mark.parametrize(
    ("participants", "code"),
    [
        (("node-0", "node-1"), problems.PARTICIPANTS_TOO_FEW),
        (("node-1", "node-0", "node-2"), problems.PARTICIPANTS_INVALID),
        (("node-0", "node-0", "node-1", "node-2"), problems.PARTICIPANTS_INVALID),
        (("node-0", "node-1", "node-9"), problems.PARTICIPANTS_INVALID),
        (("node-1", "node-2"), problems.PARTICIPANTS_INVALID),
        ((), problems.PARTICIPANTS_INVALID),
    ],
)
def test_participants(federation: LocalFederation, request_: TaskRequest, participants: tuple[str, ...], code: str) -> None:
    assert refusal(federation, replace(request_, participants=participants))[0] == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"purpose": "other"}, problems.PURPOSE_MISMATCH),
        ({"app_name": "nope"}, problems.GRANT_WIDENED),
        ({"app_digest": "sha256:" + "0" * 64}, problems.APP_DIGEST_MISMATCH),
        ({"params_json": "[]"}, problems.BAD_PARAMS),
        ({"params_json": "{"}, problems.BAD_PARAMS),
        ({"params_json": "{}"}, problems.BAD_PARAMS),
        ({"flower_message": b"\xff\xff"}, problems.BAD_PARAMS),
        ({"flower_message": b""}, problems.BAD_PARAMS),
        ({"grant": "a.b.c"}, problems.GRANT_INVALID),
    ],
)
def test_requests_that_do_not_match_their_grant(
    federation: LocalFederation, request_: TaskRequest, change: dict[str, Any], code: str
) -> None:
    assert refusal(federation, replace(request_, **change))[0] == code


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"resource": "other"}, (problems.RESOURCE_UNKNOWN, {"resource": "other"})),
        ({"columns": ["nope"]}, (problems.UNKNOWN_COLUMN, {"column": "nope"})),
        ({"columns": ["owner"]}, (problems.COLUMN_NOT_GRANTED, {"column": "owner"})),
        ({"columns": ["note"]}, (problems.WRONG_TYPE, {"column": "note", "expected": "number"})),
        ({"group_by": [["age"]]}, (problems.NOT_A_DIMENSION, {"column": "age"})),
        ({"domains": {"district": ["east"]}}, (problems.DOMAIN_MISMATCH, {"column": "district"})),
    ],
)
def test_columns(
    federation: LocalFederation, request_: TaskRequest, change: dict[str, Any], expected: tuple[str, dict[str, object]]
) -> None:
    params = {**json.loads(request_.params_json), **change}
    assert refusal(federation, replace(request_, params_json=json.dumps(params))) == expected


def test_a_column_outside_the_grant(federate: Federate) -> None:
    whole = federate([department(seed) for seed in range(3)])
    narrow = tuple(
        entry.model_copy(update={"columns": ("age",)}) if entry.node_id == "node-0" else entry
        for entry in whole.grant.resources
    )
    federation = federate([department(seed) for seed in range(3)], resources=narrow)

    with pytest.raises(Exception, match="column_not_granted"):
        federation.run("statistics", {"resource": "cases", "columns": ["amount"]})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"nbf": -600, "exp": -1}, problems.GRANT_EXPIRED),
        ({"nbf": 600}, problems.GRANT_NOT_YET_VALID),
        ({"output_forms": ("model",)}, problems.GRANT_WIDENED),
        ({"max_output_values": 5}, problems.OUTPUT_TOO_LARGE),
        ({"minimum_cohort": 201}, problems.COHORT_TOO_SMALL),
        ({"purpose": "another"}, problems.PURPOSE_MISMATCH),
        ({"apps": (GrantedApp(name="other", digest="sha256:" + "0" * 64),)}, problems.GRANT_WIDENED),
        ({"resources": (GrantedResource(resource_id="r", node_id="node-1", name="cases", columns=("age",)),)},
         problems.GRANT_WIDENED),
    ],
)
def test_the_grant_decides(federation: LocalFederation, request_: TaskRequest, change: dict[str, Any], code: str) -> None:
    now = int(time.time())  # when the test runs, which may be long after it was collected
    timed = {name: now + value if name in ("nbf", "exp") else value for name, value in change.items()}
    jws = federation.sign(federation.grant.model_copy(update=timed))
    assert refusal(federation, replace(request_, grant=jws, grant_digest=grant_digest(jws)))[0] == code


def test_a_grant_with_another_key_for_this_node_is_refused(federation: LocalFederation, request_: TaskRequest) -> None:
    first, *others = federation.grant.nodes
    swapped = first.model_copy(update={"agreement_key": b64url(AgreementKey.generate().public)})
    jws = federation.sign(federation.grant.model_copy(update={"nodes": (swapped, *others)}))
    assert refusal(federation, replace(request_, grant=jws))[0] == problems.GRANT_OTHER_NODE


def test_a_grant_signed_by_someone_else_is_refused(federation: LocalFederation, request_: TaskRequest) -> None:
    forged = sign_grant(federation.grant, Ed25519PrivateKey.generate())
    assert refusal(federation, replace(request_, grant=forged))[0] == problems.GRANT_INVALID
