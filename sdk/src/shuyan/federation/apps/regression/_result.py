"""A fitted regression as content: coefficients on both scales, inference, what to be warned of. Coordinator side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shuyan.federation import problems
from shuyan.federation.apps.regression._params import RegressionParams
from shuyan.federation.learning import inference, preprocess
from shuyan.federation.learning.notices import notice
from shuyan.federation.learning.optimiser import Optimiser
from shuyan.federation.learning.preprocess import Described, Fitted
from shuyan.federation.ring import Floats
from shuyan.problems import ProblemError

INTERCEPT = "(intercept)"
_SCALARS = ("log_loss", "brier", "accuracy", "rmse", "mae", "r2", "deviance", "d2")


def content(
    params: RegressionParams, described: Described, fitted: Fitted, optimisers: Sequence[Optimiser], found: dict[str, Any],
    rounds: int, sole: Mapping[str, frozenset[str]],
) -> dict[str, Any]:
    """The result.

    Args:
        described, fitted: of the model that is released.
        found: the evaluation.
        sole: by column, values taken for undeclared ones because one department alone declares them.
    """
    first = optimisers[0]
    in_sample = found["in_sample"]
    if in_sample is None:
        raise ProblemError(problems.TRAINING_TOO_SMALL, minimum=1)
    terms = [term.name for term in params.terms()]
    weights = first.weights.reshape(params.blocks(), -1)
    described_weights = _weights(params, described, terms, weights, fitted)
    return {
        "kind": "model", "family": params.family, "target": params.target, "features": preprocess.features(params, fitted),
        **described_weights, "l1": params.l1, "l2": params.l2, "standardise": params.standardise,
        "offset": params.offset, "exposure": params.exposure,
        "threshold": params.threshold if params.family == "logistic" else None,
        "rows": in_sample["rows"], "departments": found["participants"], "rounds": rounds, "converged": first.converged,
        "metrics": _metrics(params, in_sample, int(first.active.sum())),
        "inference": _inference(params, described, fitted, first, terms, in_sample),
        "evaluation": {
            "split": params.split.model_dump() if params.split is not None else None, "in_sample": in_sample,
            "held_out": found["held_out"], "folds": found["folds"], "departments": found["departments"],
        },
        "warnings": _warnings(params, described, fitted, optimisers, terms, sole),
    }


def _weights(
    params: RegressionParams, described: Described, terms: list[str], weights: Floats, fitted: Fitted
) -> dict[str, Any]:
    """Coefficients and intercepts, on standardised inputs and on inputs as they are."""
    original = weights @ inference.to_original(fitted.mean, fitted.sd).T if params.standardise != "department" else None
    if params.family != "multinomial":
        return {
            "terms": terms, "coefficients": weights[0, :-1].tolist(), "intercept": float(weights[0, -1]), "intercepts": None,
            "classes": params.classes() or None,
            "original": None if original is None else {
                "coefficients": original[0, :-1].tolist(), "intercept": float(original[0, -1]), "intercepts": None},
        }
    # A class without rows is never predicted, so the model does not know it.
    present = [place for place, count in enumerate(described.classes) if count > 0]

    def of_classes(found: Floats) -> Floats:
        reference = np.zeros((len(described.classes) - len(found), found.shape[1]))
        full = np.concatenate([reference, found])[present]
        if len(found) == len(described.classes):  # without a reference, intercepts are told up to a shift: they sum to nought
            full[:, -1] -= full[:, -1].mean()
        return np.asarray(full)

    names = [params.classes()[place] for place in present]
    full = of_classes(weights)
    return {
        "terms": [f"{name}:{term}" for name in names for term in terms], "coefficients": full[:, :-1].ravel().tolist(),
        "intercept": None, "intercepts": full[:, -1].tolist(), "classes": names,
        "original": None if original is None else {
            "coefficients": of_classes(original)[:, :-1].ravel().tolist(), "intercept": None,
            "intercepts": of_classes(original)[:, -1].tolist()},
    }


def _metrics(params: RegressionParams, in_sample: dict[str, Any], estimated: int) -> dict[str, float]:
    """The figures worth a line, in sample."""
    metrics = {name: in_sample[name] for name in _SCALARS if name in in_sample}
    rows = in_sample["rows"]
    if params.family == "logistic":
        metrics |= {name: in_sample[name]["value"] for name in ("auc", "ks") if in_sample[name] is not None}
    likelihood = None
    if params.family in ("logistic", "multinomial"):
        likelihood = -rows * in_sample["log_loss"]
    elif params.family == "linear" and in_sample["rmse"] > 0:
        likelihood = -rows / 2 * (math.log(2 * math.pi * in_sample["rmse"] ** 2) + 1)
    if likelihood is not None:
        metrics["log_likelihood"] = likelihood
        if not params.penalised:
            metrics["aic"] = 2 * (estimated - likelihood)
    return metrics


def _inference(
    params: RegressionParams, described: Described, fitted: Fitted, first: Optimiser, terms: list[str],
    in_sample: dict[str, Any],
) -> dict[str, Any]:
    """Standard errors, tests and intervals; or why there are none."""
    degrees = in_sample["rows"] - int(first.active.sum())
    reason = None
    if params.penalised:
        reason = "inference_penalised"
    elif not first.converged:
        reason = "inference_not_converged"
    elif degrees <= 0:
        reason = "inference_no_degrees"
    linear = params.family == "linear"
    reference = inference.Reference(float(degrees) if linear else None)
    outcome: dict[str, Any] = {
        "available": False, "reason": None, "confidence": params.confidence, "distribution": reference.name,
        "degrees": degrees if linear else None, "dispersion": None, "standardised": None, "original": None,
    }
    if reason is None:
        dispersion = in_sample["rmse"] ** 2 * in_sample["rows"] / degrees if linear else 1.0
        try:
            covariance = inference.covariance(first.hessian, first.active, dispersion)
        except np.linalg.LinAlgError:
            reason = "inference_not_converged"
        else:
            outcome |= _tables(params, described, fitted, first.weights, terms, covariance, reference)
            outcome |= {"available": True, "dispersion": dispersion}
    if reason is not None:
        outcome["reason"] = notice(reason)
    return outcome


def _tables(
    params: RegressionParams, described: Described, fitted: Fitted, weights: Floats, terms: list[str], covariance: Floats,
    reference: inference.Reference,
) -> dict[str, Any]:
    blocks, size = params.blocks(), len(terms) + 1
    skipped = len(described.classes) - blocks
    back = inference.to_original(fitted.mean, fitted.sd)
    standardised: list[dict[str, Any]] = []
    original: list[dict[str, Any]] = []
    for block in range(blocks):
        place = slice(block * size, (block + 1) * size)
        label = params.classes()[block + skipped] if params.family == "multinomial" else None
        own = covariance[place, place]
        if label is not None and described.classes[block + skipped] == 0:
            continue
        for rows, change in ((standardised, np.eye(size)), (original, back)):
            found = inference.table([*terms, INTERCEPT], change @ weights[place], np.diag(change @ own @ change.T), reference,
                                    params.confidence)
            rows += [{**row, "class": label} for row in found]
    return {"standardised": standardised, "original": None if params.standardise == "department" else original}


def _warnings(
    params: RegressionParams, described: Described, fitted: Fitted, optimisers: Sequence[Optimiser], terms: list[str],
    sole: Mapping[str, frozenset[str]],
) -> list[dict[str, Any]]:
    first = optimisers[0]
    warnings: list[dict[str, Any]] = []
    used = [*params.levelled(), params.target, *([params.split.column] if params.split and params.split.column else [])]
    alone = [f"{name}={value}" for name in used for value in sorted(sole.get(name, ()))]
    if alone:
        warnings.append(notice("sole_values", alone))
    constant = [name for name, flat, term in zip(terms, fitted.constant, params.terms(), strict=True)
                if flat and not term.missing and name not in alone]
    if constant:
        warnings.append(notice("constant_columns", constant))
    if first.aliased:
        names = [terms[term] for term in first.aliased]
        shown = [f"{terms[term]} ({' + '.join(terms[other] for other in others)})" if others else terms[term]
                 for term, others in first.aliased.items()]
        warnings.append(notice("collinear_penalised" if params.penalised else "collinear_columns", names, shown))
    if params.family == "multinomial" and 0 in described.classes:
        warnings.append(notice("classes_absent", [
            name for name, count in zip(params.classes(), described.classes, strict=True) if not count]))
    separated = _separated(params, described, fitted, first, terms)
    if separated:
        warnings.append(notice("separation" if params.classes() else "no_finite_estimate", separated))
    elif not first.converged:
        warnings.append(notice("not_converged"))
    unfinished = sum(not fit.converged for fit in optimisers[1:])
    if unfinished:
        warnings.append(notice("folds_not_converged", [], [str(unfinished)]))
    if params.standardise == "department":
        warnings.append(notice("departments_differ"))
    return warnings


def _separated(
    params: RegressionParams, described: Described, fitted: Fitted, first: Optimiser, terms: list[str]
) -> list[str]:
    """Terms without a finite maximum likelihood estimate.

    A level whose rows lack a class is one. For the rest, Newton's steps tell: they go on in the direction in which the
    likelihood keeps rising, each by about as much as the last.
    """
    if params.penalised or params.family == "linear" or first.converged:
        return []
    names: list[str] = []
    if params.classes():
        for name, levels in described.levels.items():
            for level, classes in zip(params.domains[name], levels[:-1].tolist(), strict=True):
                if sum(classes) and any(total and not here for here, total in zip(classes, described.classes, strict=True)):
                    names.append(f"{name}={level}")
    if first.runaway:
        # How far a step moves the linear predictor: for a dummy from 0 to 1, for a number by one standard deviation.
        step = np.abs(first.step.reshape(params.blocks(), -1)[:, :-1]).max(axis=0)
        dummies = np.array([term.level is not None or term.missing for term in params.terms()])
        effect = np.where(dummies, step / fitted.sd, step)
        largest = float(effect.max(initial=0.0))
        names += [name for name, moved in zip(terms, effect.tolist(), strict=True)
                  if largest > 0 and moved >= 0.05 * largest and name not in names]
    return names
