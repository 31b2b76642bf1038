"""What a candidate output might remember of single rows: its size, and for models what they learnt by heart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from marketplace.computing.egress.checks import numbers
from marketplace.computing.egress.identifiers import columns_of
from marketplace.computing.egress.texts import Finding, number, percent

USUAL_LIMIT: Final = 0.05
"""Of rows recognised at 1 % false positives; a job that declares more is told of."""
_LONG_TEXT: Final = 200
_LONG_NUMBER: Final = 10**12
_FEW_ROWS: Final = 10
_WIDE: Final = 0.05
_TOO_WIDE: Final = 0.2
_ENOUGH: Final = 100


def sizes(content: dict[str, Any], encoded: int, rows: int) -> dict[str, Any]:
    """How much there is of the output."""
    texts = [text for column in columns_of(content) for text in column.texts]
    return {"kind": content.get("kind"), "family": content.get("family"), "bytes": encoded,
            "values": sum(1 for _ in numbers(content)), "texts": len(texts), "rows": rows}


def of_size(content: dict[str, Any], size: dict[str, Any]) -> Iterator[Finding]:
    """Whether it is large enough to hold rows."""
    rows = max(int(size["rows"]), 1)
    many = size["values"] > rows and content.get("kind") != "model"
    yield Finding("size_of_rows" if many else "size", "notice" if many else "pass",
                  {"values": size["values"], "bytes": size["bytes"], "rows": rows})
    long: list[int] = []
    for column in columns_of(content):
        if column.where != "sql":
            long += [len(text) for text in column.texts if len(text) > _LONG_TEXT]
        joined = sum(1 for text in column.whole if abs(int(text)) >= _LONG_NUMBER)
        if joined:
            yield Finding("long_numbers", "notice", {"where": column.where, "count": joined})
    if long:
        yield Finding("long_texts", "notice", {"count": len(long), "limit": _LONG_TEXT, "longest": max(long)})


def of_model(content: dict[str, Any], rows: int, minimum: int, *, noisy: bool) -> Iterator[Finding]:
    """What a model tells of the rows it was trained on; ``noisy`` as the grant says, not the model."""
    parameters = count_parameters(content)
    if parameters:
        ratio = max(int(content.get("rows", rows)), 0) / parameters
        few = ratio < _FEW_ROWS
        yield Finding("parameters_many" if few else "parameters", "notice" if few else "pass",
                      {"parameters": parameters, "ratio": number(ratio)})
    smallest = None if noisy else smallest_leaf(content)  # noise hides any one row, however few there are
    if smallest is not None:
        small = smallest < minimum
        yield Finding("leaves_small" if small else "leaves", "fail" if small else "pass",
                      {"smallest": smallest, "minimum": minimum})
    yield from _gap(content)
    yield from membership(content, noisy=noisy)


def figures(content: dict[str, Any], *, noisy: bool) -> dict[str, Any] | None:
    """A model's parameters and its smallest leaf; None where it is of a form of its own."""
    try:
        return {"parameters": count_parameters(content), "smallest_leaf": None if noisy else smallest_leaf(content)}
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def count_parameters(content: dict[str, Any]) -> int:
    """The numbers a model was fitted by; 0 where the family is not known."""
    if content.get("family") == "boosted_trees":
        trees = content["model"]["learner"]["gradient_booster"]["model"]["trees"]
        # A leaf is its value, a split its feature and its condition.
        return sum(1 if left < 0 else 2 for tree in trees for left in tree["left_children"])
    if content.get("family") == "neural_network":
        return sum(len(layer["biases"]) * (1 + len(layer["weights"])) for layer in content["layers"])
    if "coefficients" in content:
        return len(content["coefficients"]) + len(content.get("intercepts") or [content.get("intercept")])
    return sum(1 for name in ("centres", "components", "clusters") if name in content for _ in numbers(content[name]))


def smallest_leaf(content: dict[str, Any]) -> int | None:
    """The fewest rows that a leaf of trees is about: as counted where the loss counts rows, else as the training kept to it."""
    if content.get("family") != "boosted_trees":
        return None
    kept: int = int(content["minimum_rows"])
    if content["objective"] != "reg:squarederror":
        return kept
    trees = content["model"]["learner"]["gradient_booster"]["model"]["trees"]
    counted: list[float] = [weight for tree in trees for weight, left in zip(tree["sum_hessian"], tree["left_children"], strict=True)
               if left < 0 and len(tree["left_children"]) > 1]
    return min([kept, *(round(weight) for weight in counted)])


def _gap(content: dict[str, Any]) -> Iterator[Finding]:
    metrics, evaluation = content.get("metrics") or {}, content.get("evaluation") or {}
    train = evaluation.get("in_sample") or metrics.get("train")
    held = evaluation.get("held_out") or metrics.get("validation")
    if not isinstance(train, dict) or not isinstance(held, dict):
        if content.get("target") is not None:
            yield Finding("gap_unknown", "notice")
        return
    for name, shown in (("auc", "AUC"), ("accuracy", "准确率 / accuracy"), ("r2", "R²"), ("d2", "D²")):
        before, after = _value(train.get(name)), _value(held.get(name))
        if before is not None and after is not None:
            gap = before - after
            severity: Any = "fail" if gap > _TOO_WIDE and held.get("rows", 0) >= _ENOUGH else "notice" if gap > _WIDE else "pass"
            code = {"pass": "gap", "notice": "gap_wide", "fail": "gap_too_wide"}[severity]
            yield Finding(code, severity, {"measure": shown, "train": number(before), "held": number(after), "gap": number(gap)})
            return


def _value(metric: Any) -> float | None:
    if isinstance(metric, dict):
        metric = metric.get("value")
    return float(metric) if isinstance(metric, int | float) and not isinstance(metric, bool) else None


def membership(content: dict[str, Any], *, noisy: bool) -> Iterator[Finding]:
    """What the departments said of attacks on the model with their own rows."""
    privacy, audit = content.get("privacy"), content.get("audit")
    if noisy and isinstance(privacy, dict):
        yield Finding("membership_bounded", "pass", {"epsilon": number(privacy["epsilon"]), "delta": number(privacy["delta"])})
    elif not isinstance(audit, dict):
        yield Finding("membership_not_tried", "notice")
    if not isinstance(audit, dict):
        return
    args = {**{name: audit[name] for name in ("departments", "passed", "failed", "undecided")},
            "limit": percent(audit["limit"]), "confidence": percent(audit["confidence"]), "models": audit["shadow_models"]}
    if audit["failed"]:
        yield Finding("membership_failed", "fail", args)
    elif audit["undecided"]:
        yield Finding("membership_undecided", "notice", args)
    else:
        yield Finding("membership_passed", "pass", args)
    if audit["limit"] > USUAL_LIMIT:
        yield Finding("membership_lenient", "notice", {"limit": percent(audit["limit"]), "usual": percent(USUAL_LIMIT)})
