"""What a boosting job's result consists of, strictly."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shuyan.federation.apps.boosting._params import Objective
from shuyan.federation.audit import AuditContent
from shuyan.federation.learning.content import Spent

Number = Annotated[float, Field(allow_inf_nan=False)]
Digits = Annotated[str, Field(max_length=24, pattern=r"^[0-9.E+-]+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class TreeParam(_Strict):
    """Sizes of a tree."""

    num_deleted: Literal["0"]
    num_feature: Digits
    num_nodes: Digits
    size_leaf_vector: Literal["1"]


class Tree(_Strict):
    """One tree, as XGBoost writes it."""

    base_weights: list[Number]
    categories: list[int]
    categories_nodes: list[int]
    categories_segments: list[int]
    categories_sizes: list[int]
    default_left: list[Literal[0, 1]]
    id: int
    left_children: list[int]
    loss_changes: list[Number]
    parents: list[int]
    right_children: list[int]
    split_conditions: list[Number]
    split_indices: list[int]
    split_type: list[Literal[0, 1]]
    sum_hessian: list[Number]
    tree_param: TreeParam


class Categories(_Strict):
    """XGBoost's own encoding of categories, of which this has none."""

    enc: list[int] = Field(max_length=0)
    feature_segments: list[int] = Field(max_length=0)
    sorted_idx: list[int] = Field(max_length=0)


class TreeCounts(_Strict):
    """How many trees there are."""

    num_parallel_tree: Literal["1"]
    num_trees: Digits


class Trees(_Strict):
    """All trees."""

    cats: Categories
    gbtree_model_param: TreeCounts
    iteration_indptr: list[int]
    tree_info: list[int]
    trees: list[Tree]


class Booster(_Strict):
    """The gradient booster."""

    model: Trees
    name: Literal["gbtree"]


class LearnerParam(_Strict):
    """Sizes of the learner and its score before the first tree."""

    base_score: Annotated[str, Field(max_length=2048, pattern=r"^\[[0-9.E,+-]+\]$")]
    boost_from_average: Literal["1"]
    num_class: Digits
    num_feature: Digits
    num_target: Literal["1"]


class Loss(_Strict):
    """The objective and its settings."""

    name: Objective
    reg_loss_param: dict[Literal["scale_pos_weight"], Literal["1"]] | None = None
    softmax_multiclass_param: dict[Literal["num_class"], Digits] | None = None
    poisson_regression_param: dict[Literal["max_delta_step"], Digits] | None = None


class NoAttributes(_Strict):
    """XGBoost keeps free texts here; this keeps none."""


class Learner(_Strict):
    """The learner."""

    attributes: NoAttributes
    feature_names: list[str]
    feature_types: list[Literal["q", "c"]]
    gradient_booster: Booster
    learner_model_param: LearnerParam
    objective: Loss


class XGBoostModel(_Strict):
    """A model as ``xgboost.Booster.load_model`` reads it."""

    learner: Learner
    version: list[int]


class Feature(_Strict):
    """A feature: a number with the bins it was cut into, or a category with its values.

    Attributes:
        rank_error: the share of rows by which a cut point may be off the quantile it stands for; 0 where exact.
    """

    name: str
    type: Literal["number", "category"]
    levels: list[str] | None = None
    bins: int | None = None
    rank_error: Number | None = None


class Importance(_Strict):
    """How much the trees use a feature; names as in XGBoost's ``get_score``."""

    feature: str
    weight: int
    gain: Number
    cover: Number


class Measured(_Strict):
    """What the model does on some rows; the names say what, by objective.

    Attributes:
        auc_error: AUC is counted over cells of scores; this is the most it can be off.
    """

    rows: int
    log_loss: Number | None = None
    squared_error: Number | None = None
    poisson_loss: Number | None = None
    accuracy: Number | None = None
    auc: Number | None = None
    auc_error: Number | None = None
    ks: Number | None = None
    rmse: Number | None = None
    r2: Number | None = None


class Metrics(_Strict):
    """On the rows trained on, and on those kept apart; neither with differential privacy."""

    train: Measured | None = None
    validation: Measured | None = None


class Step(_Strict):
    """Mean losses after a round."""

    train: Number
    validation: Number | None = None


class LeafNoise(_Strict):
    """The standard deviation of the noise on a leaf's sums, with differential privacy."""

    gradient: Number
    hessian: Number


class BoostingContent(_Strict):
    """The content of a boosting result.

    Attributes:
        rounds: boosting rounds in the model.
        converged: whether early stopping ended the training before its last round.
        minimum_rows: no leaf is about fewer rows.
        unused: features without two values to tell apart.
    """

    kind: Literal["model"]
    family: Literal["boosted_trees"]
    objective: Objective
    target: str
    classes: list[str] | None = None
    features: list[Feature]
    rows: int
    departments: int
    rounds: int
    converged: bool
    minimum_rows: int
    unused: list[str]
    metrics: Metrics
    history: list[Step]
    importance: list[Importance]
    model: XGBoostModel
    noise: LeafNoise | None = None
    privacy: Spent | None = None
    audit: AuditContent | None = None
