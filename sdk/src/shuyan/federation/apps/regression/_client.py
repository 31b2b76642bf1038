"""The department's part of a regression: sums over its rows. Rows with a null or NaN in a used column are left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from shuyan.federation import _flower, moments, problems
from shuyan.federation.apps.regression._params import RegressionParams
from shuyan.federation.inputs import Inputs
from shuyan.federation.ring import Floats
from shuyan.federation.schema import dimension_sql, quote
from shuyan.problems import ProblemError

client_app = ClientApp()

_ROWS = "rows"
_STANDARDISED = "standardised"


@dataclass(frozen=True)
class Rows:
    """Complete rows: inputs of shape (n, p) and targets of shape (n,)."""

    inputs: Floats
    target: Floats


@client_app.query("moments")  # type: ignore[untyped-decorator,unused-ignore]
def query_moments(message: Message, context: Context) -> Message:
    """Sums and squares of every input."""
    rows = _rows(context.inputs, context.params)
    shift, rest, centred = _moments(rows.inputs)
    count = np.full(shift.size, float(len(rows.target)))
    vectors = {
        "sum": moments.sum_terms(count, shift, rest), "square": moments.square_terms(count, shift, rest, centred),
    }
    return _flower.reply(message, vectors, len(rows.target))


@client_app.train("newton")  # type: ignore[untyped-decorator,unused-ignore]
def train_newton(message: Message, context: Context) -> Message:
    """Gradient, Hessian (upper triangle by rows) and loss at the given weights; the intercept comes last."""
    params: RegressionParams = context.params
    arrays = _flower.arrays_of(message)
    rows = _standardised(context.inputs, params, arrays)
    linear = rows.inputs @ arrays["weights"]
    if params.family == "logistic":
        probability = _sigmoid(linear)
        residual = probability - rows.target
        weighted = rows.inputs * (probability * (1 - probability))[:, None]
        loss = _logistic_loss(linear, rows.target)
    else:
        residual = linear - rows.target
        weighted = rows.inputs
        loss = 0.5 * float(residual @ residual)
    hessian = rows.inputs.T @ weighted
    vectors = {
        "gradient": rows.inputs.T @ residual, "hessian": hessian[np.triu_indices(len(hessian))], "loss": np.array([loss]),
    }
    return _flower.reply(message, vectors, len(rows.target))


@client_app.evaluate("fit")  # type: ignore[untyped-decorator,unused-ignore]
def evaluate_fit(message: Message, context: Context) -> Message:
    """How the weights fit. Logistic: log-loss and hits; linear: squared error, and first two moments of the target."""
    params: RegressionParams = context.params
    arrays = _flower.arrays_of(message)
    rows = _standardised(context.inputs, params, arrays)
    linear = rows.inputs @ arrays["weights"]
    if params.family == "logistic":
        fit = [_logistic_loss(linear, rows.target), float(np.sum((linear >= 0) == (rows.target == 1)))]
    else:
        error, shifted = linear - rows.target, rows.target - arrays["centre"][0]
        fit = [float(error @ error), float(shifted.sum()), float(shifted @ shifted)]
    return _flower.reply(message, {"fit": np.array(fit)}, len(rows.target))


def _rows(inputs: Inputs, params: RegressionParams) -> Rows:
    cached = inputs.cache.get(_ROWS)
    if isinstance(cached, Rows):
        return cached
    selected, complete = [f"CAST({quote(params.target)} AS DOUBLE) AS t"], ["isfinite(t)"]
    arguments: list[list[str]] = []
    for place, name in enumerate(params.features):
        if name in params.domains:
            # 1-based place among the levels; 0, for a value that is not declared, and null are incomplete rows.
            selected.append(f"list_position(?, {dimension_sql(inputs.column(name))}) AS f{place}")
            arguments.append(params.domains[name])
            complete.append(f"f{place} > 0")
        else:
            selected.append(f"CAST({quote(name)} AS DOUBLE) AS f{place}")
            complete.append(f"isfinite(f{place})")
    sql = f"SELECT * FROM (SELECT {', '.join(selected)} FROM data) WHERE {' AND '.join(complete)}"  # noqa: S608
    found = inputs.connection.execute(sql, arguments).fetchnumpy()
    target = _plain(found["t"])
    if params.family == "logistic" and not np.isin(target, (0.0, 1.0)).all():
        raise ProblemError(problems.TARGET_NOT_BINARY)
    terms = params.terms()
    matrix = np.empty((len(target), len(terms)))
    for column, term in enumerate(terms):
        values = _plain(found[f"f{params.features.index(term.feature)}"])
        matrix[:, column] = values if term.level is None else values == 1 + params.domains[term.feature].index(term.level)
    rows = Rows(matrix, target)
    inputs.cache[_ROWS] = rows
    return rows


def _standardised(inputs: Inputs, params: RegressionParams, arrays: dict[str, Floats]) -> Rows:
    """Standardised inputs with a last column of ones."""
    own = params.standardise == "department"
    key = b"" if own else arrays["mean"].tobytes() + arrays["sd"].tobytes()
    cached = inputs.cache.get(_STANDARDISED)
    if cached is not None and cached[0] == key:
        found: Rows = cached[1]
        return found
    rows = _rows(inputs, params)
    if own:
        shift, rest, centred = _moments(rows.inputs)
        count = max(len(rows.target), 1)
        mean, sd = shift + rest / count, scale(centred / count)
    else:
        mean, sd = arrays["mean"], arrays["sd"]
    design = np.empty((len(rows.target), rows.inputs.shape[1] + 1))
    np.subtract(rows.inputs, mean, out=design[:, :-1])
    design[:, :-1] /= sd
    design[:, -1] = 1.0
    standardised = Rows(design, rows.target)
    inputs.cache[_STANDARDISED] = (key, standardised)
    return standardised


def scale(variance: Floats) -> Floats:
    """Standard deviations to divide by; 1 where an input does not vary."""
    sd = np.sqrt(variance)
    return np.where(sd > 0, sd, 1.0)


def _moments(matrix: Floats) -> tuple[Floats, Floats, Floats]:
    """By column: a shift near the mean, the sum of what exceeds it, and the sum of squared deviations from the mean."""
    count = max(len(matrix), 1)
    shift = np.array([moments.shift_of(mean) for mean in (matrix.sum(axis=0) / count).tolist()])
    deviation = matrix - shift
    rest = deviation.sum(axis=0)
    deviation -= rest / count
    return shift, rest, np.einsum("ij,ij->j", deviation, deviation)


def _plain(values: np.ndarray) -> Floats:
    return np.asarray(values.data if isinstance(values, np.ma.MaskedArray) else values, dtype=np.float64)


def _sigmoid(linear: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * linear)))


def _logistic_loss(linear: Floats, target: Floats) -> float:
    return float(np.sum(np.logaddexp(0, linear) - target * linear))
