"""Cox regression (Cox, J. R. Stat. Soc. B 34, 1972) by Newton rounds on secure sums.

The partial likelihood needs, at every event time, sums over all who are still observed then. Those sums add up over
departments once times lie on a common grid: for each step of it a department sends the sums of its rows that leave
observation there, and the coordinator accumulates them from the end. Ties are treated after Efron (J. Am. Stat. Assoc.
72, 1977) or Breslow. What the coordinator sees are figures of all departments by time step, some of them small.

Progress codes: ``standardised``, ``round_loss``, ``converged`` or ``not_converged``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from shuyan.federation import _flower, moments, problems
from shuyan.federation.apps.base import AppManifest, FederatedApp, Progress, Question
from shuyan.federation.apps.survival._likelihood import StepSums, likelihood
from shuyan.federation.apps.survival._params import SurvivalContent, SurvivalParams, TimeGrid, needs
from shuyan.federation.grid import SecureGrid
from shuyan.federation.learning import inference, plain
from shuyan.federation.learning.notices import notice
from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec
from shuyan.problems import ProblemError

MOMENTS = "query.moments"
NEWTON = "train.newton"
_MAX_HALVINGS = 30

# A hazard is at most e^40 and 2^-60 is small beside the least of them.
_HAZARD = VectorSpec(limbs=3, fraction_bits=60, bound=2.0**110)
_STEEPEST = 40.0

client_app = ClientApp()

manifest = AppManifest(
    name="survival", version="1.0.0", title_zh="联邦生存分析（Cox 模型）", title_en="Federated survival analysis (Cox)",
    output_form="model",
    actions={
        MOMENTS: {"sum": moments.SUM, "square": moments.SQUARE, "events": moments.COUNT, "tied": moments.SUM},
        NEWTON: dict.fromkeys(("risk", "risk_x", "risk_xx", "event", "event_x", "event_xx"), _HAZARD),
    },
    questions={MOMENTS: Question(), NEWTON: Question(arrays=("weights", "mean", "sd"))},
)


# --- on a node ---------------------------------------------------------------------------------------------------


@client_app.query("moments")  # type: ignore[untyped-decorator,unused-ignore]
def query_moments(message: Message, context: Context) -> Message:
    """Sums and squares of every input, and the events and the sum of their inputs by time step."""
    params: SurvivalParams = context.params
    matrix, place, event = _rows(context)
    steps = params.times.steps
    vectors = plain.describe(matrix) | {
        "events": np.bincount(place[event], minlength=steps).astype(np.float64),
        "tied": matrix[event].sum(axis=0),
    }
    return _flower.reply(message, vectors, len(matrix), _read(context).sets)


@client_app.train("newton")  # type: ignore[untyped-decorator,unused-ignore]
def train_newton(message: Message, context: Context) -> Message:
    """By time step, over rows that leave there: the sums of hazards, of hazards times inputs and their products."""
    params, given = context.params, _flower.arrays_of(message)
    matrix, place, event = _rows(context)
    matrix = plain.scaled(matrix, given)
    hazard = np.exp(np.clip(matrix @ given["weights"], -_STEEPEST, _STEEPEST))
    vectors = _by_step("risk", matrix, hazard, place, params.times.steps)
    if params.ties == "efron":
        vectors |= _by_step("event", matrix[event], hazard[event], place[event], params.times.steps)
    return _flower.reply(message, vectors, len(matrix), _read(context).sets)


def _by_step(name: str, matrix: Floats, hazard: Floats, place: np.ndarray, steps: int) -> dict[str, Floats]:
    size = matrix.shape[1]
    upper = np.triu_indices(size)
    first, second = np.zeros((steps, size)), np.zeros((steps, len(upper[0])))
    for column in range(size):
        first[:, column] = np.bincount(place, weights=hazard * matrix[:, column], minlength=steps)
    for at, (one, other) in enumerate(zip(*upper, strict=True)):
        second[:, at] = np.bincount(place, weights=hazard * matrix[:, one] * matrix[:, other], minlength=steps)
    whole = np.asarray(np.bincount(place, weights=hazard, minlength=steps), dtype=np.float64)
    return {name: whole, f"{name}_x": first.ravel(), f"{name}_xx": second.ravel()}


def _rows(context: Context) -> tuple[Floats, np.ndarray, np.ndarray]:
    """Inputs, the step each row leaves in, and whether with an event."""
    params: SurvivalParams = context.params
    cached = context.inputs.cache.get("survival")
    if cached is None:
        rows = _read(context)
        event = rows.extra[params.event]
        cached = (rows.matrix, places(params.times, rows.extra[params.time]), event == 1)
        if not np.isin(event, (0.0, 1.0)).all():
            raise ProblemError(problems.TIMES_OFF_GRID)
        context.inputs.cache["survival"] = cached
    found: tuple[Floats, np.ndarray, np.ndarray] = cached
    return found


def _read(context: Context) -> plain.Rows:
    params: SurvivalParams = context.params
    return plain.read(context.inputs, params.features, params.domains, [params.time, params.event])


def places(times: TimeGrid, values: Floats) -> np.ndarray:
    """The step of each time; raises ``times_off_grid`` for one outside the grid. ``lower`` itself is in the first."""
    if not ((values >= times.lower) & (values <= times.upper)).all():
        raise ProblemError(problems.TIMES_OFF_GRID)
    # A time that is a multiple of the step but for rounding belongs to the step it ends.
    found = np.ceil((values - times.lower) / times.step - 1e-9).astype(np.int64) - 1
    return np.asarray(np.clip(found, 0, times.steps - 1))


# --- on the coordinator ------------------------------------------------------------------------------------------


def serve(grid: SecureGrid, params: SurvivalParams, progress: Progress) -> dict[str, Any]:
    """Standardise, then Newton steps with step halving.

    Raises:
        ProblemError: ``column_constant``: a term does not vary; ``training_too_small``: too few events.
    """
    names, size, steps = plain.term_names(params.features, params.domains), params.size(), params.times.steps
    grid.plan(params.max_rounds + 1)
    first = grid.secure_sum(MOMENTS, expect={"sum": size, "square": size, "events": steps, "tied": size})
    mean, sd = plain.pooled(first, size)
    if not sd.all():
        raise ProblemError(problems.COLUMN_CONSTANT, field="params.features", column=names[int(np.argmin(sd))])
    events = np.array(first.integers("events"))
    total_events = int(events.sum())
    if total_events < grid.minimum_cohort:
        raise ProblemError(problems.TRAINING_TOO_SMALL, minimum=grid.minimum_cohort)
    grid.tell("standardised")
    seen = (first["tied"] - total_events * mean) / sd
    weights, best, rounds, converged = np.zeros(size), None, 0, False
    start, start_value, halvings, null = weights, -np.inf, 0, 0.0
    sums = StepSums.empty(steps, size)
    departments = first.participants
    for rounds in range(1, params.max_rounds + 1):
        total = grid.secure_sum(NEWTON, expect=expect(params), arrays={"weights": weights, "mean": mean, "sd": sd})
        sums = StepSums.of(total, steps, size, efron=params.ties == "efron")
        value, gradient, hessian = likelihood(sums, events, seen, weights)
        if rounds == 1:
            null = value
        penalised = value - 0.5 * params.l2 * float(weights @ weights)
        grid.tell("round_loss", departments=len(total.participants), loss=float(f"{-value / total_events:.4g}"))
        if total.participants == departments and penalised < start_value - 1e-9 * abs(start_value) and halvings < _MAX_HALVINGS:
            weights, halvings = (start + weights) / 2, halvings + 1
            continue
        departments, halvings = total.participants, 0
        start, start_value = weights, penalised
        hessian = hessian + params.l2 * np.eye(size)
        step = np.linalg.lstsq(hessian, gradient - params.l2 * weights, rcond=None)[0]
        best = (weights, value, hessian, total)
        if float(np.abs(step).max()) <= params.tolerance:
            converged = True
            break
        weights = weights + step
    assert best is not None  # the first round is always taken
    weights, value, hessian, total = best
    grid.plan(grid.round)
    grid.tell("converged" if converged else "not_converged", rounds=rounds)
    effects, warnings = _effects(params, names, weights, hessian, sd, converged=converged)
    return {
        "kind": "model", "family": "cox", "target": params.time, "event": params.event,
        "features": _features(params, mean, sd), "terms": names, "coefficients": weights.tolist(), "effects": effects,
        "baseline": _baseline(params, sums, events, grid.minimum_cohort), "ties": params.ties, "l2": params.l2,
        "rows": total.cohort, "events": total_events, "departments": len(total.participants), "rounds": rounds,
        "converged": converged,
        "metrics": {"log_likelihood": value, "log_likelihood_null": null, "likelihood_ratio": 2 * (value - null)},
        "warnings": warnings,
    }


def expect(params: SurvivalParams) -> dict[str, int]:
    """The lengths of a Newton round's vectors."""
    size, steps = params.size(), params.times.steps
    names = ("risk", "event") if params.ties == "efron" else ("risk",)
    return {f"{name}{part}": steps * length for name in names
            for part, length in (("", 1), ("_x", size), ("_xx", size * (size + 1) // 2))}


def _effects(params: SurvivalParams, names: list[str], weights: Floats, hessian: Floats, sd: Floats, *,
             converged: bool) -> tuple[list[dict[str, Any]], list[dict[str, object]]]:
    """Log hazard ratios per unit of the inputs as they are."""
    warnings, variance = [], np.zeros(len(names))
    if not converged:
        warnings += [notice("not_converged"), notice("inference_not_converged")]
    elif params.l2:
        warnings.append(notice("inference_penalised"))
    else:
        try:
            variance = np.diag(inference.covariance(hessian, np.ones(len(names), dtype=bool), 1.0))
        except np.linalg.LinAlgError:
            warnings.append(notice("collinear_columns", names))
    rows = inference.table(names, weights / sd, variance / sd**2, inference.Reference(None), params.confidence)
    return [{"hazard_ratio": float(np.exp(row["estimate"])) if abs(row["estimate"]) < 700 else None, **row}
            for row in rows], warnings


def _features(params: SurvivalParams, mean: Floats, sd: Floats) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = []
    at = 0
    for name in params.features:
        levels = params.domains.get(name)
        if levels is None:
            features.append({"name": name, "type": "number", "mean": float(mean[at]), "sd": float(sd[at])})
            at += 1
        else:
            end = at + len(levels) - 1
            features.append({"name": name, "type": "category", "levels": list(levels), "mean": mean[at:end].tolist(),
                             "sd": sd[at:end].tolist()})
            at = end
    return features


def _baseline(params: SurvivalParams, sums: StepSums, events: np.ndarray, minimum: int) -> list[dict[str, float]]:
    """Breslow's cumulative hazard, one point for at least ``minimum`` further events each."""
    at_risk = np.cumsum(sums.risk[::-1])[::-1]
    points, hazard, since = [], 0.0, 0
    for place in np.flatnonzero(events).tolist():
        hazard += float(events[place] / at_risk[place])
        since += int(events[place])
        if since >= minimum:
            points.append({"time": params.times.end(place), "hazard": hazard})
            since = 0
    return points


def arrays(params: SurvivalParams, action: str) -> dict[str, int]:
    """The lengths of the arrays that come with an action."""
    size = params.size()
    return {} if action == MOMENTS else {"weights": size, "mean": size, "sd": size}


app = FederatedApp(manifest=manifest, client_app=client_app, serve=serve, params_model=SurvivalParams, needs=needs,
                   arrays=arrays, content_model=SurvivalContent)
