"""The node's checks of a task against its grant, the installed app and the resource's schema; pure decisions.

Signature, term and revocation of the grant are checked before (``shuyan.trust``); local policy comes after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shuyan.federation import egress, problems
from shuyan.federation.apps.base import FederatedApp, InstalledApp, Need
from shuyan.federation.apps.base import Question as Declared
from shuyan.federation.masking import question_digest
from shuyan.federation.privacy import noise, rho_of
from shuyan.federation.privacy.noise import VectorNoise
from shuyan.federation.schema import Column, Schema
from shuyan.federation.transport import TaskRequest
from shuyan.federation.vectors import COHORT, Segment, VectorSpec, layout
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, PrivacyTerms

NUMERIC: Final = frozenset({"integer", "number", "boolean"})


@dataclass(frozen=True)
class Question:
    """What a request's Flower message asks.

    Attributes:
        expect: the number of elements asked of each vector.
        config: the small values that came with it.
        arrays: the length of each array that came with it.
        content_digest: ``sha256:<hex>`` over the meaning of all that, so that another spelling is no other question.
    """

    message_type: str
    expect: dict[str, int]
    config: dict[str, bool | int | float | str]
    arrays: dict[str, int]
    content_digest: str


@dataclass(frozen=True)
class CheckedTask:
    """A task that may go on to local policy and the worker.

    Attributes:
        tables: by name of a resource on this node, the columns of it that the worker gets to see.
        segments: the mask layout.
        question: digest that masks and openings are bound to.
        units: by resource, the column that contributions are bounded by; empty where answers are exact.
        noise: by vector, what to add; None where answers are exact.
    """

    app: FederatedApp
    params: Any
    tables: Mapping[str, tuple[str, ...]]
    expect: dict[str, int]
    specs: Mapping[str, VectorSpec]
    segments: tuple[Segment, ...]
    question: str
    units: Mapping[str, Column] = field(default_factory=dict)
    noise: Mapping[str, VectorNoise] | None = None


def check_task(
    request: TaskRequest, question: Question, grant: Grant, node_id: str, apps: Mapping[str, InstalledApp],
    schemas: Mapping[str, Schema],
) -> CheckedTask:
    """Check one request; everything it names must be within the grant and known here.

    Args:
        apps: the apps installed on this node.
        schemas: the registered resources' schemas by resource name.

    Raises:
        ProblemError: with one of the codes of :mod:`shuyan.federation.problems`.
    """
    check_participants(request.participants, grant, node_id)
    if request.purpose != grant.purpose:
        raise ProblemError(problems.PURPOSE_MISMATCH)
    installed = check_app(request.app_name, request.app_digest, grant, apps)
    if installed.manifest.output_form not in grant.output_forms:
        raise ProblemError(problems.GRANT_WIDENED, what=installed.manifest.output_form)
    app = installed.load()
    params = app.params(request.params_json)
    domains = dict(getattr(params, "domains", {}))
    tables = {resource: check_columns(needs, domains, resource, grant, node_id, schemas)
              for resource, needs in app.tables(params).items()}
    specs = egress.check_question(
        installed.manifest, question.message_type, question.expect, max_values=grant.max_output_values,
        participants=len(request.participants))
    check_inputs(app, params, question)
    digest = question_digest(
        grant_digest=request.grant_digest, app_name=request.app_name, app_digest=request.app_digest,
        purpose=request.purpose, params_json=request.params_json, message_type=question.message_type,
        content_digest=question.content_digest)
    units, planned = {}, None
    if grant.privacy is not None:
        units = check_units(tables, grant.privacy, schemas)
        planned = plan_noise(app, params, question.message_type, question.expect, grant.privacy,
                             participants=len(request.participants), departments=holders(grant, tables))
    return CheckedTask(app, params, tables, dict(question.expect), specs, layout(specs, question.expect), digest, units,
                       planned)


def check_units(tables: Mapping[str, Sequence[str]], terms: PrivacyTerms, schemas: Mapping[str, Schema]) -> dict[str, Column]:
    """The column of each table that tells units of privacy apart. It need not be granted, and is not among the columns read.

    Raises:
        ProblemError: ``unit_column_unknown``.
    """
    units = {}
    for resource in tables:
        name = terms.unit_columns.get(resource, "")
        column = schemas[resource].get(name)
        if column is None:
            raise ProblemError(problems.UNIT_COLUMN_UNKNOWN, resource=resource, column=name)
        units[resource] = column
    return units


def holders(grant: Grant, resources: Iterable[str]) -> int:
    """How many of the grant's departments have one of these resources, and so may be asked about them."""
    names = set(resources)
    return len({entry.node_id for entry in grant.resources if entry.name in names})


def plan_noise(
    app: FederatedApp, params: Any, message_type: str, expect: Mapping[str, int], terms: PrivacyTerms, *, participants: int,
    departments: int | None = None,
) -> dict[str, VectorNoise]:
    """The noise of every vector of one question; the coordinator and every node come to the same.

    Args:
        departments: of the grant, as many as could take part (:func:`holders`); None: as many as do.

    Raises:
        ProblemError: ``noise_undeclared`` if the app does not say how far one unit can move each vector,
            ``budget_too_small``, ``output_out_of_bound``, and what the app says of its parameters.
    """
    asked = {name: length for name, length in expect.items() if length}
    sensitivities = app.privacy(params, message_type, terms) if app.privacy is not None else {}
    if set(asked) != set(expect) or set(sensitivities) - {COHORT} != set(asked):
        raise ProblemError(problems.NOISE_UNDECLARED, app=app.manifest.name, action=message_type)
    return noise.plan(sensitivities, app.manifest.actions[message_type], asked, terms, participants=participants,
                      rho_nano=rho_of(params, terms), resources=len(app.tables(params)), departments=departments)


_KINDS: Final = {"integer": int, "number": float, "text": str, "boolean": bool}


def check_inputs(app: FederatedApp, params: Any, question: Question) -> None:
    """Exactly what the action declares comes with the question: no more, no less, nothing of another kind or length.

    Raises:
        ProblemError: ``bad_params``.
    """
    declared = app.manifest.questions.get(question.message_type, Declared())
    kinds = {name: _KINDS[kind] for name, kind in declared.config.items()}
    if {name: type(value) for name, value in question.config.items()} != kinds:
        raise ProblemError(problems.BAD_PARAMS, field="config", where="config")
    lengths = dict(app.arrays(params, question.message_type))
    if not set(lengths) <= set(declared.arrays) or question.arrays != lengths:
        raise ProblemError(problems.BAD_PARAMS, field="arrays", where="arrays")


def check_participants(participants: tuple[str, ...], grant: Grant, node_id: str) -> None:
    """Raises ``participants_invalid`` or ``participants_too_few``."""
    granted = {node.node_id for node in grant.nodes}
    if list(participants) != sorted(set(participants)) or node_id not in participants or not granted.issuperset(participants):
        raise ProblemError(problems.PARTICIPANTS_INVALID)
    minimum = max(3, grant.minimum_participants)
    if len(participants) < minimum:
        raise ProblemError(problems.PARTICIPANTS_TOO_FEW, minimum=minimum)


def check_app(name: str, digest: str, grant: Grant, apps: Mapping[str, InstalledApp]) -> InstalledApp:
    """Raises ``grant_widened``, ``app_not_allowed`` or ``app_digest_mismatch``."""
    granted = {app.digest for app in grant.apps if app.name == name}
    if not granted:
        raise ProblemError(problems.GRANT_WIDENED, what=name)
    installed = apps.get(name)
    if installed is None:
        raise ProblemError(problems.APP_NOT_ALLOWED, app=name)
    if digest not in granted or installed.digest != digest:
        raise ProblemError(problems.APP_DIGEST_MISMATCH, app=name)
    return installed


def check_columns(
    needs: Sequence[tuple[str, Need]], domains: Mapping[str, Any], resource: str, grant: Grant, node_id: str,
    schemas: Mapping[str, Schema],
) -> tuple[str, ...]:
    """The columns to read, sorted.

    Raises:
        ProblemError: ``resource_unknown``, ``grant_widened``, ``unknown_column``, ``column_not_granted``,
            ``wrong_type``, ``not_a_dimension``, ``domain_mismatch``.
    """
    schema = schemas.get(resource)
    if schema is None:
        raise ProblemError(problems.RESOURCE_UNKNOWN, resource=resource)
    granted = [entry for entry in grant.resources if entry.node_id == node_id and entry.name == resource]
    if not granted:
        raise ProblemError(problems.GRANT_WIDENED, what=resource)
    allowed = {column for entry in granted for column in entry.columns}
    for name, need in needs:
        column = schema.get(name)
        if column is None:
            raise ProblemError(problems.UNKNOWN_COLUMN, column=name)
        if name not in allowed or column.identifier:
            raise ProblemError(problems.COLUMN_NOT_GRANTED, column=name)
        if need == "number" and column.type not in NUMERIC:
            raise ProblemError(problems.WRONG_TYPE, column=name, expected="number")
        if need in ("dimension", "category"):
            if not column.domain:
                raise ProblemError(problems.NOT_A_DIMENSION, column=name)
            # Departments may have seen different values; the question must cover all of this one's.
            if not set(column.domain) <= set(domains.get(name, ())):
                raise ProblemError(problems.DOMAIN_MISMATCH, column=name)
    return tuple(sorted({name for name, _ in needs}))
