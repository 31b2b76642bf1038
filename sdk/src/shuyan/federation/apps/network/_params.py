"""A network job's parameters, and the shapes both sides derive from them."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal

from pydantic import Field, model_validator

from shuyan.federation.apps.base import Need
from shuyan.federation.audit.params import MembershipAudit
from shuyan.federation.privacy import EXACT_ONLY, NoisyParams, need_bounds, under

_MAX_WEIGHTS: Final = 90_000


class NetworkParams(NoisyParams):
    """Parameters of a network job.

    Attributes:
        target: 0 and 1 for ``binary``, 0 to ``classes`` - 1 for ``classes``, any number for ``number``.
        features: numeric columns and dimensions; one with an entry in ``domains`` is a category, its first value being the
            reference. Rows with a null or NaN in a used column are left out.
        hidden: widths of the hidden layers; none makes a linear model.
        strategy: Flower's, run on secure sums.
        update: ``weights``: each department trains ``local_epochs`` by itself, and the changes are averaged by rows;
            ``gradient``: one step along all departments' mean gradient. Differential privacy needs the latter.
        clip: no department's change of the weights is longer (Euclidean norm), so its influence is bounded.
        row_clip: no row's gradient is longer. Differential privacy needs it.
        standardise: numbers (and a ``number`` target) by ``pooled`` mean and standard deviation, or by the declared
            ``bounds``, which tell nothing of the data; differential privacy needs the latter.
        validation: the share of rows kept apart to measure on, chosen by a hash of their number in the source.
        seed: of the first weights, the order of rows and the validation rows.
        audit: every department attacks the network with its own rows, of which a share is kept apart where ``validation`` keeps
            none. Not with differential privacy, which bounds by itself what an attack can tell.
    """

    resource: str = Field(min_length=1)
    target: str = Field(min_length=1)
    task: Literal["binary", "classes", "number"] = "binary"
    classes: int | None = Field(default=None, ge=3, le=100)
    features: list[str] = Field(min_length=1, max_length=200)
    hidden: list[int] = Field(default=[16], max_length=4)
    activation: Literal["relu", "tanh"] = "relu"
    strategy: Literal["fedavg", "fedprox", "fedadam"] = Field(default="fedavg", json_schema_extra=under(dp={"enum": ["fedavg", "fedadam"]}))
    update: Literal["weights", "gradient"] = Field(default="weights", json_schema_extra=under(dp={"const": "gradient"}))
    rounds: int = Field(default=30, ge=1, le=1000)
    local_epochs: int = Field(default=1, ge=1, le=100, json_schema_extra=EXACT_ONLY)
    batch_size: int = Field(default=32, ge=1, le=65_536, json_schema_extra=EXACT_ONLY)
    learning_rate: float = Field(default=0.05, gt=0, le=10, allow_inf_nan=False)
    momentum: float = Field(default=0.0, ge=0, lt=1, allow_inf_nan=False, json_schema_extra=EXACT_ONLY)
    weight_decay: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    proximal_mu: float = Field(default=0.01, gt=0, le=100, allow_inf_nan=False, json_schema_extra=EXACT_ONLY)
    server_learning_rate: float = Field(default=0.01, gt=0, le=10, allow_inf_nan=False)
    beta_1: float = Field(default=0.9, ge=0, lt=1, allow_inf_nan=False)
    beta_2: float = Field(default=0.99, ge=0, lt=1, allow_inf_nan=False)
    tau: float = Field(default=1e-3, gt=0, le=1, allow_inf_nan=False)
    clip: float = Field(default=10.0, gt=0, le=1e4, allow_inf_nan=False)
    row_clip: float | None = Field(default=None, gt=0, le=1e4, allow_inf_nan=False, json_schema_extra=under(dp={"examples": [1.0]}))
    standardise: Literal["pooled", "bounds"] = Field(default="pooled", json_schema_extra=under(dp={"const": "bounds"}))
    validation: float = Field(default=0.0, ge=0, le=0.5, allow_inf_nan=False, json_schema_extra=EXACT_ONLY)
    seed: int = Field(default=0, ge=0, lt=2**53)
    audit: MembershipAudit | None = Field(default=None, json_schema_extra=EXACT_ONLY)
    domains: dict[str, list[str]] = Field(default={})

    @model_validator(mode="after")
    def _consistent(self) -> NetworkParams:
        if len(set(self.features)) != len(self.features) or self.target in self.features:
            raise ValueError("features must be distinct and must not hold the target")
        if any(not values or len(set(values)) != len(values) for values in self.domains.values()):
            raise ValueError("a domain is empty or names a value twice")
        if (self.task == "classes") != (self.classes is not None):
            raise ValueError("classes are for the task of that name, which needs their number")
        if any(not 1 <= width <= 512 for width in self.hidden):
            raise ValueError("a hidden layer has 1 to 512 units")
        if self.audit is not None and self.validation == 0:
            object.__setattr__(self, "validation", self.audit.holdout)
        if self.standardise == "bounds":
            need_bounds(self.scaled(), self.bounds)
        if self.weights() > _MAX_WEIGHTS:
            raise ValueError("the network has too many weights")
        return self

    def scaled(self) -> list[str]:
        """The columns that are standardised."""
        return [name for name in self.features if name not in self.domains] + ([self.target] if self.task == "number" else [])

    def terms(self) -> list[tuple[str, str | None]]:
        """The network's inputs in order: feature and level, which is None for a number."""
        return [(name, level) for name in self.features
                for level in (self.domains[name][1:] if name in self.domains else (None,))]

    def outputs(self) -> int:
        """Units of the last layer."""
        return self.classes or 1

    def widths(self) -> list[int]:
        """Units by layer, inputs and outputs included."""
        return [len(self.terms()), *self.hidden, self.outputs()]

    def weights(self) -> int:
        """Weights and biases in all."""
        return sum((before + 1) * after for before, after in pairwise(self.widths()))


def needs(params: NetworkParams) -> list[tuple[str, Need]]:
    """The columns a job touches."""
    features: list[tuple[str, Need]] = [
        (name, "category" if name in params.domains else "number") for name in params.features
    ]
    return [(params.target, "number"), *features]
