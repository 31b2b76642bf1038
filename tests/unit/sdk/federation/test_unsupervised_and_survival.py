"""Components, clusters and survival equal the pooled computation, however the rows are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from statsmodels.duration.hazard_regression import PHReg

from shuyan.federation import problems
from shuyan.federation.apps.clustering import ClusteringParams
from shuyan.federation.apps.clustering._app import first_centres
from shuyan.federation.apps.components._params import ComponentsContent
from shuyan.federation.apps.survival._params import SurvivalContent, TimeGrid
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column
from shuyan.federation.transport import NodeFailure
from shuyan.problems import ProblemError
from shuyan.scoring import score

NAMES = ["a", "b", "c"]
COLUMNS = {name: Column(name, "number") for name in [*NAMES, "time", "event"]} | {
    "arm": Column("arm", "string", domain=("placebo", "drug"))}


def federation(table: dict[str, Any], cut: list[int], **grant: Any) -> LocalFederation:
    """The rows of ``table`` cut at three places over four departments."""
    pieces = {name: np.split(np.array(values), cut) for name, values in table.items()}
    return LocalFederation({
        f"node_{at}": {"t": LocalResource.arrays({name: list(parts[at]) for name, parts in pieces.items()}, COLUMNS)}
        for at in range(len(cut) + 1)
    }, grant=grant)


def table(rows: int = 400, seed: int = 1) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    base = random.normal(size=(rows, 3)) @ np.array([[3.0, 1, 0], [0, 1, 0.5], [0, 0, 0.2]]) + np.array([1000.0, 0, -5])
    base += np.array([8.0, 5.0, 2.0]) * random.integers(0, 3, size=(rows, 1))
    arm = random.choice(["placebo", "drug"], size=rows)
    hazard = np.exp(0.4 * base[:, 1] - 0.7 * (arm == "drug"))
    time = np.ceil(random.exponential(30 / hazard)).clip(1, 60)
    event = ((time < 60) & (random.random(rows) < 0.8)).astype(float)
    return {**{name: base[:, at] for at, name in enumerate(NAMES)}, "arm": arm, "time": time, "event": event}


CUTS = st.lists(st.integers(40, 360), min_size=3, max_size=3, unique=True).map(sorted).filter(
    lambda cut: min(np.diff([0, *cut, 400])) >= 15)


@settings(max_examples=8, deadline=None)
@given(cut=CUTS, standardise=st.booleans())
def test_components_are_the_pooled_ones(cut: list[int], standardise: bool) -> None:
    rows = table()
    pooled = np.column_stack([rows[name] for name in NAMES])
    with federation({name: rows[name] for name in NAMES}, cut) as departments:
        found = departments.run("components", {"resource": "t", "features": NAMES, "standardise": standardise})
    ComponentsContent.model_validate(found)
    scale = pooled.std(axis=0) if standardise else np.ones(3)
    expected = PCA().fit((pooled - pooled.mean(axis=0)) / scale)
    np.testing.assert_allclose([one["variance"] for one in found["components"]], expected.explained_variance_, rtol=1e-9)
    for mine, theirs in zip(found["components"], expected.components_, strict=True):
        assert abs(np.dot(mine["loadings"], theirs)) == pytest.approx(1.0, abs=1e-9)
    case = dict(zip(NAMES, pooled[0].tolist(), strict=True))
    own = expected.transform((pooled[:1] - pooled.mean(axis=0)) / scale)[0]
    np.testing.assert_allclose(np.abs(score(found, case)["components"]), np.abs(own), rtol=1e-6, atol=1e-9)


@settings(max_examples=5, deadline=None)
@given(cut=CUTS)
def test_clusters_are_those_of_pooled_rounds_from_the_same_start(cut: list[int]) -> None:
    rows = table()
    pooled = np.column_stack([rows[name] for name in NAMES])
    standardised = (pooled - pooled.mean(axis=0)) / pooled.std(axis=0)
    params = {"resource": "t", "features": NAMES, "clusters": 3, "starts": 2, "seed": 5, "tolerance": 1e-9}
    with federation({name: rows[name] for name in NAMES}, cut) as departments:
        found = departments.run("clustering", params)
    assert found["converged"]
    correlation = np.corrcoef(standardised.T)[np.triu_indices(3)]
    starts = first_centres(ClusteringParams(**params), correlation)
    fits = [KMeans(3, init=start, n_init=1, max_iter=300, tol=0, algorithm="lloyd").fit(standardised) for start in starts]
    best = min(fits, key=lambda fit: fit.inertia_)
    assert found["metrics"]["inertia"] == pytest.approx(best.inertia_ / len(pooled), rel=1e-9)
    expected = best.cluster_centers_ * pooled.std(axis=0) + pooled.mean(axis=0)
    for cluster in found["clusters"]:
        assert np.abs(expected - cluster["centre"]).max(axis=1).min() < 1e-6
    nearest = [score(found, dict(zip(NAMES, row, strict=True)))["label"] for row in pooled[:20].tolist()]
    for label, row in zip(nearest, standardised[:20], strict=True):
        own = np.argmin(((best.cluster_centers_ - row) ** 2).sum(axis=1))
        assert np.abs(expected[own] - found["clusters"][label]["centre"]).max() < 1e-6


def test_a_cluster_of_one_department_is_kept_back_with_another_one() -> None:
    random = np.random.default_rng(3)
    centres = np.repeat([[0.0, 0, 0], [9.0, 9, 0], [0, 9.0, 9]], 40, axis=0)
    rows = random.normal(size=(120, 3)) * 0.3 + centres
    order = np.concatenate([np.arange(0, 120, 2), np.arange(1, 120, 2)])
    spread = {name: rows[order, at] for at, name in enumerate(NAMES)}
    far = random.normal(size=(30, 3)) * 0.3 + np.array([40.0, -40, 40])
    alone = {name: np.concatenate([spread[name], far[:, at]]) for at, name in enumerate(NAMES)}
    params = {"resource": "t", "features": NAMES, "clusters": 4, "starts": 20}
    with federation(alone, [30, 60, 90]) as departments:
        kept_back = departments.run("clustering", params)
    with federation(alone, [30, 60, 90], own_figures=True) as departments:
        shown = departments.run("clustering", params)
    assert (len(shown["clusters"]), shown["suppressed"]) == (4, 0)
    assert (len(kept_back["clusters"]), kept_back["suppressed"]) == (2, 2)
    assert not any(cluster["centre"][0] > 20 for cluster in kept_back["clusters"])


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("cut", [[90, 180, 300], [20, 40, 380]])
def test_hazards_are_the_pooled_ones(ties: str, cut: list[int]) -> None:
    rows = table()
    params = {"resource": "t", "time": "time", "event": "event", "features": ["b", "arm"], "ties": ties,
              "times": {"lower": 0.0, "upper": 60.0, "step": 1.0}, "domains": {"arm": ["placebo", "drug"]}}
    with federation(rows, cut) as departments:
        found = departments.run("survival", params)
    SurvivalContent.model_validate(found)
    inputs = np.column_stack([rows["b"], rows["arm"] == "drug"])
    expected = PHReg(rows["time"], inputs, status=rows["event"], ties=ties).fit()
    np.testing.assert_allclose([row["estimate"] for row in found["effects"]], expected.params, rtol=1e-6)
    np.testing.assert_allclose([row["standard_error"] for row in found["effects"]], expected.bse, rtol=1e-6)
    np.testing.assert_allclose([row["p_value"] for row in found["effects"]], expected.pvalues, rtol=1e-5)
    assert found["metrics"]["log_likelihood"] == pytest.approx(expected.llf, rel=1e-9)
    assert found["rounds"] <= 10
    answer = score(found, {"b": float(rows["b"].mean()), "arm": "drug"})
    assert 0 < answer["score"] < 1.5
    assert all(0 <= point["probability"] <= 1 for point in answer["survival"])
    # a point of the baseline for no fewer events than the cohort
    assert len(found["baseline"]) <= found["events"] / 10


def test_what_does_not_vary_or_fit_is_named() -> None:
    rows = table()
    rows["c"] = np.full(400, 7.0)
    with federation(rows, [100, 200, 300]) as departments:
        for app, more in (("components", {}), ("clustering", {"clusters": 2})):
            with pytest.raises(ProblemError) as refused:
                departments.run(app, {"resource": "t", "features": ["a", "c"], **more})
            assert (refused.value.code, refused.value.args_["column"]) == ("column_constant", "c")
        times = {"lower": 0.0, "upper": 10.0, "step": 1.0}
        with pytest.raises(Exception, match="times_off_grid"):
            departments.run("survival", {"resource": "t", "time": "time", "event": "event", "features": ["b"], "times": times})


@settings(max_examples=50)
@given(step=st.sampled_from([0.1, 0.25, 1.0, 7.0]), place=st.integers(0, 400))
def test_a_time_that_ends_a_step_belongs_to_it(step: float, place: int) -> None:
    from shuyan.federation.apps.survival._app import places

    grid = TimeGrid(lower=0.0, upper=401 * step, step=step)
    assert places(grid, np.array([(place + 1) * step])).tolist() == [place]
    assert grid.steps == 401


@pytest.mark.parametrize(("app", "more"), [
    ("components", {}), ("clustering", {"clusters": 2, "starts": 1, "max_rounds": 2}),
    ("survival", {"time": "time", "event": "event", "times": {"upper": 60.0, "step": 1.0}})])
def test_rows_left_out_for_a_missing_value_are_the_guard_s_affair(app: str, more: dict[str, Any]) -> None:
    """A second model without the three rows that lack a value is the first one's difference."""
    rows = table()
    rows["c"] = [None if at < 3 else value for at, value in enumerate(rows["c"].tolist())]
    with federation(rows, [100, 200, 300]) as departments:
        departments.run(app, {"resource": "t", "features": ["a", "b"], **more})
        with pytest.raises(NodeFailure) as caught:
            departments.run(app, {"resource": "t", "features": ["a", "b", "c"], **more})
    assert caught.value.code == problems.DIFFERENCING_REFUSED
