"""The query app. What travels are sums of states; what each node works out it works out in one pass."""

from __future__ import annotations

from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from shuyan.federation import _flower, moments, problems
from shuyan.federation.apps.base import AppManifest, FederatedApp, Limits, Progress, Question
from shuyan.federation.apps.query._content import TableContent
from shuyan.federation.apps.query._params import QueryParams, check_declared, prepare, relations
from shuyan.federation.grid import SecureGrid
from shuyan.federation.inputs import Inputs
from shuyan.federation.privacy import Sensitivity
from shuyan.federation.privacy.bounding import UNIT_SUM
from shuyan.federation.sql import discovery, node, noisy, rows, serve
from shuyan.federation.sql.node import sole_cells
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

_NOISY = {"count": moments.COUNT, "sum": UNIT_SUM, "square": UNIT_SUM, "bins": moments.COUNT, "ranks": moments.COUNT}

manifest = AppManifest(
    name="query", version="1.2.0", title_zh="联邦查询", title_en="Federated SQL", output_form="statistics",
    actions={
        serve.PRESENCE: {"present": moments.COUNT},
        serve.TALLY: {"count": moments.COUNT, "sum": moments.SUM, "product": moments.SQUARE, "bins": moments.COUNT},
        serve.REFINE: {"below": moments.COUNT},
        noisy.NOISY_TALLY: _NOISY, noisy.NOISY_GROUPS: _NOISY, noisy.NOISY_KEYS: {"sketch": discovery.SKETCH},
    },
    questions={serve.TALLY: Question(arrays=("cells",)), serve.REFINE: Question(arrays=("cells", "thresholds")),
               noisy.NOISY_GROUPS: Question(config={"keys": "text"})},
    limits=Limits(seconds=600, memory_mb=4096),
)

client_app = ClientApp()


def arrays(params: QueryParams, action: str) -> dict[str, int]:
    """``cells``: 1 for each figure that may leave; ``thresholds``: places in the grids of order statistics."""
    plan = params.plan()
    lengths: dict[str, int] = {}
    if action in (serve.TALLY, serve.REFINE):
        lengths["cells"] = plan.supports()
    if action == serve.REFINE:
        lengths["thresholds"] = plan.rank_count() * plan.thresholds()
    return lengths


@client_app.query("presence")  # type: ignore[untyped-decorator,unused-ignore]
def presence(message: Message, context: Context) -> Message:
    """In which cells this department has rows at all."""
    inputs, params = _checked(context)
    return _reply(message, inputs, params, {"present": node.present(inputs, params.plan(), context.own)})


@client_app.query("tally")  # type: ignore[untyped-decorator,unused-ignore]
def tally(message: Message, context: Context) -> Message:
    """This department's states in the cells asked for."""
    inputs, params = _checked(context)
    cells = _flower.arrays_of(message)["cells"]
    return _reply(message, inputs, params, node.tally(inputs, params.plan(), cells, context.own))


@client_app.query("refine")  # type: ignore[untyped-decorator,unused-ignore]
def refine(message: Message, context: Context) -> Message:
    """How many of this department's values lie at or below given places."""
    inputs, params = _checked(context)
    found = _flower.arrays_of(message)
    below = node.below(inputs, params.plan(), found["cells"], found["thresholds"], context.own)
    return _reply(message, inputs, params, {"below": below})


@client_app.query("noisy_tally")  # type: ignore[untyped-decorator,unused-ignore]
def noisy_tally(message: Message, context: Context) -> Message:
    """This department's sums of bounded rows and clamped values, for the node to add its noise to."""
    inputs, asked = _noisy(context, noisy.NOISY_TALLY)
    return _flower.reply(message, noisy.tally(inputs, asked.plan, context.own), inputs.row_count())


@client_app.query("noisy_keys")  # type: ignore[untyped-decorator,unused-ignore]
def noisy_keys(message: Message, context: Context) -> Message:
    """This department's sketch of a key whose values nobody declared, for the node to add its noise to."""
    inputs, asked = _noisy(context, noisy.NOISY_KEYS)
    sole_cells(asked.plan.cores[0], context.own)
    return _flower.reply(message, {"sketch": discovery.sketched(inputs, asked.plan, asked.sketch())}, inputs.row_count())


@client_app.query("noisy_groups")  # type: ignore[untyped-decorator,unused-ignore]
def noisy_groups(message: Message, context: Context) -> Message:
    """As ``noisy_tally``, of the groups of the keys that came with the question."""
    inputs, asked = _noisy(context, noisy.NOISY_GROUPS)
    plan = noisy.named_keys(asked, str(message.content[_flower.CONFIG]["keys"]))
    return _flower.reply(message, noisy.tally(inputs, plan, context.own), inputs.row_count())


def _sensitivities(params: QueryParams, action: str, terms: PrivacyTerms) -> dict[str, Sensitivity]:
    return noisy.sensitivities(params.asked(), action, terms)


def _noisy(context: Any, action: str) -> tuple[Inputs, noisy.Asked]:
    """What a question with noise is answered from; without noise, and of another query, there is no such question."""
    inputs, params = context.inputs, context.params
    check_declared(params, inputs.schemas)
    asked = params.asked()
    if not inputs.bounded or action not in noisy.questions(asked):
        raise ProblemError(problems.UNKNOWN_ACTION, action=action)
    return inputs, asked


def _checked(context: Any) -> tuple[Inputs, QueryParams]:
    inputs, params = context.inputs, context.params
    check_declared(params, inputs.schemas)
    serve.exactly(params.plan())
    return inputs, params


def _reply(message: Message, inputs: Inputs, params: QueryParams, vectors: dict[str, Any]) -> Message:
    plan = params.plan()
    # Rows that were read: cells are told apart by presence and by the cohort over all departments.
    return _flower.reply(message, vectors, inputs.count(plan.main), rows.encoded(inputs, plan))


def answer(grid: SecureGrid, params: QueryParams, progress: Progress) -> dict[str, Any]:
    """Ask, and release what may be released."""
    if grid.noisy:
        return noisy.answer(grid, params.asked())
    return serve.answer(grid, params.plan())


app = FederatedApp(
    manifest=manifest, client_app=client_app, serve=answer, params_model=QueryParams,
    needs=lambda params: [], arrays=arrays, relations=relations, content_model=TableContent, in_place=True,
    prepare=prepare, privacy=_sensitivities,
)
