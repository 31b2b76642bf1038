"""The department's part of a regression: sums over its usable rows."""

from __future__ import annotations

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from shuyan.federation import _flower, problems
from shuyan.federation.apps.regression import _losses
from shuyan.federation.apps.regression._evaluators import evaluator
from shuyan.federation.apps.regression._params import RegressionParams
from shuyan.federation.learning import evaluation, frame, medians, profile
from shuyan.federation.learning import split as splits
from shuyan.federation.learning.design import Design, Scaling
from shuyan.federation.learning.evaluation import Binary, Classes, Numbers, Tally
from shuyan.federation.learning.frame import Frame
from shuyan.federation.ring import Floats
from shuyan.problems import ProblemError

client_app = ClientApp()


def layout(params: RegressionParams) -> profile.Layout:
    """The shape of the profile; a binary target is also described as the number it is."""
    return profile.Layout(params, len(params.classes()) or 1, params.family != "multinomial", params.offset_column is not None)


@client_app.query("profile")  # type: ignore[untyped-decorator,unused-ignore]
def query_profile(message: Message, context: Context) -> Message:
    """Counts and moments of every column; about all rows, usable or not."""
    params: RegressionParams = context.params
    rows = _frame(context)
    exposure = rows.offset
    if params.offset is not None and exposure is not None:
        exposure = np.exp(np.minimum(exposure, _losses.LARGEST_LOG_MEAN))
    return _flower.reply(message, profile.tally(rows, layout(params), exposure), rows.total,
                         rows.among_all(context.inputs, params.resource))


@client_app.query("medians")  # type: ignore[untyped-decorator,unused-ignore]
def query_medians(message: Message, context: Context) -> Message:
    """How many values are at most each edge."""
    params: RegressionParams = context.params
    rows = usable(context)
    below = medians.at_most(rows, params, _flower.arrays_of(message)["edges"])
    parts = splits.training(params.split)[0]
    return _flower.reply(message, {"below": below}, int(rows.among(parts).sum()),
                         rows.among_all(context.inputs, params.resource, parts))


@client_app.train("newton")  # type: ignore[untyped-decorator,unused-ignore]
def train_newton(message: Message, context: Context) -> Message:
    """Gradient, Hessian (upper triangle by rows) and loss at the given weights, fit after fit; intercepts come last."""
    params: RegressionParams = context.params
    arrays = _flower.arrays_of(message)
    rows = usable(context)
    design = Design.cached(context.inputs, rows, params, Scaling.of(params, arrays))
    gradients, hessians, losses = [], [], []
    for fit, weights in enumerate(weights_of(params, arrays)):
        chosen, matrix = design.training(fit)
        gradient, hessian, loss = _losses.derivatives(
            params.family, matrix, rows.target[chosen], offset_of(rows, params, chosen), weights, _allowed(params, arrays, fit))
        gradients.append(gradient)
        hessians.append(hessian)
        losses.append(loss)
    parts = splits.training(params.split)[0]
    cohort = int(rows.among(parts).sum())
    vectors = {"gradient": np.concatenate(gradients), "hessian": np.concatenate(hessians), "loss": np.array(losses)}
    return _flower.reply(message, vectors, cohort, rows.among_all(context.inputs, params.resource, parts))


@client_app.evaluate("fit")  # type: ignore[untyped-decorator,unused-ignore]
def evaluate_fit(message: Message, context: Context) -> Message:
    """Tallies of every group of rows: in sample, held out, folds; and whether this department has rows in it."""
    groups = splits.groups(context.params.split)
    rows, tally = _evaluate(message, context, groups, evaluator(context.params, len(groups)))
    present = np.array([float(rows.among(parts).any()) for _, parts in groups])
    return _flower.reply(message, {"counts": tally.counts, "sums": tally.sums, "present": present}, len(rows),
                         rows.among_all(context.inputs, context.params.resource))


@client_app.evaluate("own")  # type: ignore[untyped-decorator,unused-ignore]
def evaluate_own(message: Message, context: Context) -> Message:
    """The tally of the rows held out (of all, where none are), in this department's own place among the others."""
    if not context.own.allowed:  # by the grant, as this node's agent has verified it
        raise ProblemError(problems.GRANT_WIDENED, what="own_figures")
    groups = splits.groups(context.params.split)
    slots = int(message.content[_flower.CONFIG]["departments"])
    slot = message.metadata.dst_node_id - 2  # the grid numbers the participants from 2 on
    if not 0 <= slot < slots:
        raise ProblemError(problems.BAD_PARAMS, field="departments", where="departments")
    one = evaluator(context.params, slots)
    rows, tally = _evaluate(message, context, groups[1:] or groups, one)
    counts = tally.counts.reshape(-1, one.counts).sum(axis=0)
    sums = tally.sums.reshape(-1, one.sums).sum(axis=0)
    vectors = {"counts": evaluation.own_slot(counts, slot, slots), "sums": evaluation.own_slot(sums, slot, slots)}
    return _flower.reply(message, vectors, len(rows), rows.among_all(context.inputs, context.params.resource))


def _evaluate(
    message: Message, context: Context, groups: list[tuple[int, list[int]]], one: Binary | Classes | Numbers
) -> tuple[Frame, Tally]:
    params: RegressionParams = context.params
    arrays = _flower.arrays_of(message)
    rows = usable(context)
    design = Design.cached(context.inputs, rows, params, Scaling.of(params, arrays))
    tallies = []
    for fit, parts in groups:
        chosen, matrix = design.rows(fit, parts)
        weights, target = weights_of(params, arrays)[fit], rows.target[chosen]
        if isinstance(one, Classes):
            tallies.append(one.tally(_losses.probabilities(matrix, weights, _allowed(params, arrays, fit)), target))
            continue
        linear = matrix @ weights[0]
        if isinstance(one, Binary):
            tallies.append(one.tally(linear, target))
        elif isinstance(one, Numbers) and one.poisson:
            offset = offset_of(rows, params, chosen)
            shift = np.zeros(len(target)) if offset is None else offset
            limit = _losses.LARGEST_LOG_MEAN
            tallies.append(one.tally(np.exp(np.minimum(linear + shift, limit)), target,
                                     np.exp(np.minimum(arrays["centre"][0] + shift, limit))))
        else:
            tallies.append(one.tally(linear, target, float(arrays["centre"][0])))
    return rows, Tally.joined(tallies)


def weights_of(params: RegressionParams, arrays: dict[str, Floats]) -> Floats:
    """Shape (fits, blocks, p + 1)."""
    return arrays["weights"].reshape(splits.fits(params.split), params.blocks(), -1)


def _allowed(params: RegressionParams, arrays: dict[str, Floats], fit: int) -> Floats | None:
    return arrays["classes"].reshape(splits.fits(params.split), -1)[fit] if params.family == "multinomial" else None


def offset_of(rows: Frame, params: RegressionParams, chosen: np.ndarray | slice) -> Floats | None:
    if rows.offset is None:
        return None
    offset = rows.offset[chosen]
    return offset if params.exposure is None else np.log(offset)


def _frame(context: Context) -> Frame:
    """The usable rows, their target checked."""
    params: RegressionParams = context.params
    rows = frame.read(context.inputs, params, context.own, target="class" if params.family == "multinomial" else "number",
                      offset=params.offset_column)
    if params.family == "logistic" and not np.isin(rows.target, (0.0, 1.0)).all():
        raise ProblemError(problems.TARGET_NOT_BINARY)
    if params.family == "poisson" and len(rows) and rows.target.min() < 0:
        raise ProblemError(problems.TARGET_NOT_A_COUNT)
    if params.exposure is not None and rows.offset is not None and len(rows) and rows.offset.min() <= 0:
        raise ProblemError(problems.EXPOSURE_NOT_POSITIVE)
    return rows


def usable(context: Context) -> Frame:
    """The usable rows, of which there must be some."""
    rows = _frame(context)
    if not len(rows):
        raise ProblemError(problems.NO_USABLE_ROWS)
    return rows
