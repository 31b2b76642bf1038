"""What a network job's result consists of, strictly."""

from __future__ import annotations

from typing import Literal

from shuyan.federation.audit import AuditContent
from shuyan.federation.learning.content import (
    BinaryMetrics,
    ClassesMetrics,
    Number,
    NumbersMetrics,
    Shape,
    Spent,
)


class Input(Shape):
    """A feature: a number with what is subtracted and divided by, or a category with its values, the first without input.

    Attributes:
        lower, upper: what a number is clamped to, where it is standardised by bounds.
    """

    name: str
    type: Literal["number", "category"]
    levels: list[str] | None = None
    mean: Number | None = None
    sd: Number | None = None
    lower: Number | None = None
    upper: Number | None = None


class Scale(Shape):
    """What a predicted number is multiplied by, and what is added then."""

    mean: Number
    sd: Number


class Layer(Shape):
    """Weights by input and unit, and biases by unit."""

    weights: list[list[Number]]
    biases: list[Number]


class Metrics(Shape):
    """On the rows trained on, and on those kept apart."""

    train: BinaryMetrics | ClassesMetrics | NumbersMetrics | None = None
    validation: BinaryMetrics | ClassesMetrics | NumbersMetrics | None = None


class Step(Shape):
    """Mean losses after a round."""

    train: Number
    validation: Number | None = None


class NetworkContent(Shape):
    """The content of a network result."""

    kind: Literal["model"]
    family: Literal["neural_network"]
    task: Literal["binary", "classes", "number"]
    target: str
    classes: list[str] | None = None
    features: list[Input]
    activation: Literal["relu", "tanh"]
    layers: list[Layer]
    scale: Scale | None = None
    strategy: Literal["fedavg", "fedprox", "fedadam"]
    rows: int
    departments: int
    rounds: int
    converged: bool
    metrics: Metrics
    history: list[Step]
    privacy: Spent | None = None
    audit: AuditContent | None = None
