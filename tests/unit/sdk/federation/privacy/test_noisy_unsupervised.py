"""Components and clusters with differential privacy: right up to the announced noise, and no unit weighs more than it is said to."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from shuyan.federation import _flower, problems
from shuyan.federation.apps.clustering import ClusteringParams, _noisy
from shuyan.federation.apps.clustering._params import ClusteringContent
from shuyan.federation.apps.components import ComponentsParams
from shuyan.federation.apps.components import _noisy as _products
from shuyan.federation.apps.components._params import ComponentsContent
from shuyan.federation.inputs import Inputs, TableSource
from shuyan.federation.learning import bounded
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.privacy.bounding import STEP_BITS, Bounding
from shuyan.federation.rounds import MemoryRounds
from shuyan.federation.schema import Column
from shuyan.federation.transport import NodeFailure
from shuyan.problems import ProblemError
from shuyan.scoring import score
from shuyan.trust.grants import PrivacyTerms

NAMES = ["a", "b", "c", "d"]
BOUNDS = {"a": (-10.0, 10.0), "b": (0.0, 100.0), "c": (-1.0, 1.0), "d": (-50.0, 50.0)}
HALF = np.array([(upper - lower) / 2 for lower, upper in BOUNDS.values()])
MIDDLE = np.array([(upper + lower) / 2 for lower, upper in BOUNDS.values()])
SCHEMA = {"pid": Column("pid", "string", identifier=True)} | {
    name: Column(name, "number", lower=lower, upper=upper) for name, (lower, upper) in BOUNDS.items()}
TERMS: dict[str, Any] = {"unit": "person", "unit_columns": {"t": "pid"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1,
                         "delta": 1e-6, "rho_nano": 10**12, "honest_fraction": 1.0}


def _federation(matrix: np.ndarray, *, departments: int = 3, **terms: Any) -> LocalFederation:
    """The rows of a matrix, in units of half the bounds around their middle, dealt out to departments."""
    values = matrix * HALF + MIDDLE
    return LocalFederation({
        f"d{place}": {"t": LocalResource.arrays(
            {"pid": np.array([f"p{number}" for number in range(place, len(matrix), departments)]),
             **{name: values[place::departments, at] for at, name in enumerate(NAMES)}}, SCHEMA)}
        for place in range(departments)}, grant={"release": "dp", "privacy": PrivacyTerms.model_validate({**TERMS, **terms})})


def _spread(rows: int = 6000, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(rows, 4)) * [0.3, 0.2, 0.12, 0.06] @ np.linalg.qr(random.normal(size=(4, 4)))[0]
    return np.clip(mixed + np.array([0.3, -0.2, 0.0, 0.1]), -1, 1)


def _blobs(rows: int = 6000, seed: int = 0, sd: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    centres = np.array([[-0.6, -0.6, 0.5, 0.0], [0.6, -0.5, -0.5, 0.3], [0.0, 0.7, 0.0, -0.6]])
    labels = random.choice(3, rows, p=[0.5, 0.3, 0.2])
    return np.clip(centres[labels] + random.normal(size=(rows, 4)) * sd, -1, 1), labels


def _ratio(errors: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def _doubt(figures: int) -> float:
    """As many standard errors of a root mean square as leave one false alarm in a million runs, and something for what is to first order."""
    return 0.1 + 5 / math.sqrt(2 * figures)


# --- components ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("standardise", [True, False])
def test_components_have_the_announced_error(standardise: bool) -> None:
    matrix = _spread()
    own = matrix * HALF
    centred = (own - own.mean(axis=0)) / (own.std(axis=0) if standardise else 1.0)
    exact, vectors = np.linalg.eigh(centred.T @ centred / (len(matrix) - 1))
    exact, vectors = exact[::-1], vectors[:, ::-1]
    found: dict[str, list[float]] = {"variance": [], "angle": [], "loadings": [], "mean": [], "sd": []}
    with _federation(matrix) as departments:
        for edition in range(40):
            content = departments.run("components", {"resource": "t", "features": NAMES, "standardise": standardise,
                                                     "rho_nano": 10**9, "edition": str(edition)})
            for at, (one, noise) in enumerate(zip(content["components"], content["noise"]["components"], strict=True)):
                found["variance"].append((one["variance"] - exact[at]) / noise["sd"])
                if noise["apart"]:
                    along = np.array(one["loadings"]) * np.sign(np.dot(one["loadings"], vectors[:, at]))
                    found["angle"].append(math.degrees(math.acos(min(float(along @ vectors[:, at]), 1.0))) / noise["angle"])
                    found["loadings"] += ((along - vectors[:, at]) / noise["loadings"]).tolist()
            for at, (feature, noise) in enumerate(zip(content["features"], content["noise"]["features"], strict=True)):
                found["mean"].append((feature["mean"] - MIDDLE[at] - own[:, at].mean()) / noise["mean"])
                if standardise:
                    found["sd"].append((feature["sd"] - own[:, at].std()) / noise["sd"])
    ComponentsContent.model_validate(content)
    assert content["privacy"]["rho_nano"] <= 10**9
    assert content["rows"] == pytest.approx(6000, abs=5 * content["noise"]["rows"])
    assert all(noise["apart"] for noise in content["noise"]["components"][:2])
    for name, of in found.items():
        if of:
            print(f"[figure] components, standardised {standardise}: {name} errs by {_ratio(of):.2f} times what is announced")
            # A component's loadings are of one piece.
            assert _ratio(of) == pytest.approx(1.0, abs=_doubt(len(of) // (4 if name == "loadings" else 1))), name
    row = dict(zip(NAMES, (matrix[0] * HALF + MIDDLE).tolist(), strict=True))
    # A row's score is along the component that was found, about the means that were.
    where = [(row[one["name"]] - one["mean"]) / (one["sd"] if standardise else 1.0) for one in content["features"]]
    assert score(content, row)["score"] == pytest.approx(float(np.dot(where, content["components"][0]["loadings"])))


def test_components_that_noise_mixes_are_marked() -> None:
    random = np.random.default_rng(2)
    matrix = np.clip(random.normal(size=(3000, 4)) * 0.25, -1, 1)
    with _federation(matrix) as departments:
        alone, wrong = 0, 0
        for edition in range(20):
            content = departments.run("components", {"resource": "t", "features": NAMES, "standardise": True, "rho_nano": 10**8,
                                                     "edition": str(edition)})
            told = content["noise"]["components"]
            wrong += sum(one["apart"] for one in told)
            alone += all((one["angle"] is None) == (one["loadings"] is None) == (not one["apart"]) for one in told)
    # All four variances are one: a component said to be apart would be made of noise.
    assert alone == 20
    assert wrong <= 4


def test_what_is_below_the_noise_is_refused_by_name() -> None:
    matrix = _blobs(3000)[0]
    matrix[:, 2] = 0.001 * matrix[:, 2]
    with _federation(matrix) as departments:
        for app, more in (("components", {}), ("clustering", {"clusters": 2})):
            # So little is spent that seldom a sum, and never all of them, looks like more than noise.
            with pytest.raises(ProblemError, match="rows_below_noise" if more else "rows_below_noise|variance_below_noise"):
                departments.run(app, {"resource": "t", "features": NAMES, "rho_nano": 10**2, **more})
            with pytest.raises(ProblemError) as refused:
                departments.run(app, {"resource": "t", "features": NAMES, "bounds": {"a": [0.0, 1.0]}, **more})
            assert (refused.value.code, refused.value.args_["column"]) == ("bounds_missing", "b")
        # What is nothing but noise exceeds three of its standard deviations once in 740 runs, and two of them in one of 44.
        refusals = []
        for edition in range(3):
            try:
                departments.run("components", {"resource": "t", "features": NAMES, "rho_nano": 10**8, "edition": str(edition)})
            except ProblemError as problem:
                refusals.append((problem.code, problem.args_["column"]))
        assert len(refusals) >= 2
        assert set(refusals) == {("variance_below_noise", "c")}
        # Without standardising nothing is divided by the small variance, and clusters only need to know how much it counts.
        told = [departments.run("clustering", {"resource": "t", "features": NAMES, "rho_nano": 10**8, "clusters": 2,
                                               "edition": str(edition)})["warnings"] for edition in range(6)]
        warned = [[(one["code"], one["terms"]) for one in warnings] for warnings in told if warnings]
        assert len(warned) >= 3
        assert all(one == [("variance_below_noise", ["c"])] for one in warned)
        found = departments.run("components", {"resource": "t", "features": NAMES, "standardise": False, "rho_nano": 10**8})
        assert len(found["components"]) == 4


# --- clusters ------------------------------------------------------------------------------------------------------------


def test_centres_have_the_announced_error() -> None:
    matrix, labels = _blobs()
    exact = np.array([matrix[labels == label].mean(axis=0) for label in range(3)])
    counts = np.bincount(labels)
    found: dict[str, list[float]] = {"centres": [], "rows": [], "inertia": []}
    settled = 0
    with _federation(matrix) as departments:
        for edition in range(24):
            content = departments.run("clustering", {"resource": "t", "features": NAMES, "clusters": 3, "rho_nano": 2 * 10**8,
                                                     "edition": str(edition), "seed": edition})
            assert content["suppressed"] == 0
            settled += content["converged"]
            for label, (cluster, noise) in enumerate(zip(content["clusters"], content["noise"]["centres"], strict=True)):
                found["centres"] += ((np.array(cluster["centre"]) - (exact[label] * HALF + MIDDLE)) / noise).tolist()
                found["rows"].append((cluster["rows"] - counts[label]) / content["noise"]["rows"])
            sd = np.array([feature["sd"] for feature in content["features"]]) / HALF
            inertia = float((((matrix - exact[labels]) / sd) ** 2).sum(axis=1).mean())
            found["inertia"].append((content["metrics"]["inertia"] - inertia) / content["noise"]["inertia"])
    ClusteringContent.model_validate(content)
    assert content["privacy"]["rho_nano"] <= 2 * 10**8
    assert settled >= 21  # one of twelve figures beyond four standard deviations: in one run of a thousand
    for name, of in found.items():
        print(f"[figure] clusters: {name} err by {_ratio(of):.2f} times what is announced")
        assert _ratio(of) == pytest.approx(1.0, abs=_doubt(len(of))), name
    nearest = [score(content, dict(zip(NAMES, row, strict=True)))["label"] for row in (matrix[:50] * HALF + MIDDLE).tolist()]
    assert nearest == labels[:50].tolist()  # both are in order of size


def test_clusters_are_about_as_good_as_exact_ones() -> None:
    random = np.random.default_rng(5)
    matrix = np.clip(random.uniform(-0.6, 0.6, (5, 4))[random.integers(0, 5, 5000)] + random.normal(size=(5000, 4)) * 0.15, -1, 1)
    scaled = matrix / matrix.std(axis=0)
    best = KMeans(5, n_init=10, random_state=0).fit(scaled).inertia_ / len(matrix)
    with _federation(matrix) as departments:
        worse = []
        for seed in range(6):
            content = departments.run("clustering", {"resource": "t", "features": NAMES, "clusters": 5, "rho_nano": 3 * 10**8, "seed": seed})
            centres = (np.array([one["centre"] for one in content["clusters"]]) - MIDDLE) / HALF / matrix.std(axis=0)
            worse.append(float(((scaled[:, None] - centres[None]) ** 2).sum(axis=2).min(axis=1).mean()) / best)
    print(f"[figure] clusters: inertia {np.mean(worse):.3f} times that of exact k-means")
    assert np.mean(worse) < 1.1


def test_a_cluster_of_no_more_rows_than_noise_is_left_out() -> None:
    matrix, _ = _blobs(1500)
    with _federation(matrix) as departments:
        content = departments.run("clustering", {"resource": "t", "features": NAMES, "clusters": 25, "rho_nano": 5 * 10**7})
    assert content["suppressed"] > 0
    assert len(content["clusters"]) + content["suppressed"] == 25
    assert all(one["rows"] > 3.9 * content["noise"]["rows"] for one in content["clusters"])


def test_a_run_costs_what_it_may_and_nothing_when_repeated() -> None:
    matrix, _ = _blobs(900)
    for app, more, rounds in (("clustering", {"clusters": 2, "noisy_rounds": 4}, 6), ("components", {}, 1)):
        with _federation(matrix) as departments:
            job = {"resource": "t", "features": NAMES, "rho_nano": 10**8, **more}
            first = departments.run(app, job)
            spent = departments.nodes["d0"].ledger.spent()
            assert first["privacy"]["rho_nano"] == spent
            assert 10**8 - 10 * rounds <= spent <= 10**8
            assert departments.run(app, job) == first
            assert departments.nodes["d0"].ledger.spent() == spent
    terms, params = PrivacyTerms.model_validate(TERMS), _clustering(noisy_rounds=7)
    share = {action: next(iter(_noisy.sensitivities(params, action, terms).values())).share for action in _noisy.ACTIONS}
    assert share[_noisy.MOMENTS] + share[_noisy.SURVEY] + 6 * share[_noisy.ASSIGN] + share[_noisy.LAST] == 1


def test_the_largest_job_s_questions_are_within_what_a_grant_allows() -> None:
    params = ClusteringParams(resource="t", features=[f"f{at}" for at in range(200)], clusters=100)
    asked = _noisy.questions(params)
    assert max(length for lengths in asked.values() for length in lengths.values()) <= 100_000
    assert _noisy.arrays(params, _noisy.SURVEY)["centres"] >= 2 * 100 * 200


# --- what one unit can do ------------------------------------------------------------------------------------------------


def _clustering(**more: Any) -> ClusteringParams:
    return ClusteringParams(resource="t", features=NAMES, clusters=3, bounds=BOUNDS, **more)


def _answers(table: dict[str, Any], most: int, centres: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """By action, what a department with these rows would answer without noise; two terms of an element are exact multiples of 2^-20."""
    inputs = Inputs.from_tables([TableSource.of_arrays("t", table, SCHEMA, NAMES, bounding=Bounding(SCHEMA["pid"], most, "00"))])
    given = {"centres": centres.ravel(), "weights": weights}
    kept = _flower.arrays_of, _flower.reply
    _flower.arrays_of, _flower.reply = lambda _message: given, lambda _message, vectors, _count: next(iter(vectors.values()))  # type: ignore[assignment]
    try:
        clustering = SimpleNamespace(inputs=inputs, params=_clustering())
        return {_noisy.MOMENTS: _noisy.answer_moments(SimpleNamespace(), clustering), _noisy.LAST: _noisy.answer_last(SimpleNamespace(), clustering),
                _products.NOISY_PRODUCTS: _products.answer(SimpleNamespace(), SimpleNamespace(inputs=inputs, params=_components()))}
    finally:
        _flower.arrays_of, _flower.reply = kept
        inputs.close()


def _components() -> ComponentsParams:
    return ComponentsParams(resource="t", features=NAMES, bounds=BOUNDS)


_WILD = st.sampled_from([-1e308, -3.0, 0.0, 1e-300, 0.5, 99.0, 1e308, math.nan, math.inf])


@given(seed=st.integers(0, 2**32), most=st.integers(1, 4), rows=st.integers(1, 6), others=st.integers(0, 40), size=st.sampled_from([1e-300, 1.0, 1e200, 1e307]),
       wild=st.lists(_WILD, min_size=4, max_size=4))
def test_one_unit_moves_no_sum_further_than_declared(seed: int, most: int, rows: int, others: int, size: float, wild: list[float]) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (others + rows, 4)) * HALF + MIDDLE
    values[others:][random.random((rows, 4)) < 0.5] = random.choice(wild)
    pids = np.array([f"p{number}" for number in range(others)] + ["x"] * rows)
    centres, weights = random.normal(0, 1, (3, 4)) * size, random.normal(0, 1, 4) * size  # whatever a coordinator sends
    order = random.permutation(len(pids))

    def table(kept: np.ndarray) -> dict[str, Any]:
        return {"pid": pids[kept], **{name: values[kept, at] for at, name in enumerate(NAMES)}}

    with_unit = _answers(table(order), most, centres, weights)
    without = _answers(table(order[pids[order] != "x"]), most, centres, weights)
    terms = PrivacyTerms.model_validate(TERMS | {"max_rows_per_unit": most})
    for action, vector in with_unit.items():
        declare = _products.sensitivities if action == _products.NOISY_PRODUCTS else _noisy.sensitivities
        (sensitivity,) = declare(_components() if action == _products.NOISY_PRODUCTS else _clustering(), action, terms).values()  # type: ignore[arg-type]
        difference = vector - without[action]
        moved = difference.sum(axis=0) if difference.ndim == 2 else difference
        assert float(np.linalg.norm(moved)) <= sensitivity.l2 * (1 + 1e-12)
        assert sensitivity.cells is None or np.count_nonzero(moved) <= sensitivity.cells
        # Declared as integral: on the vector's grid, whatever is sent.
        assert np.array_equal(np.rint(np.ldexp(vector, 2 * STEP_BITS)), np.ldexp(vector, 2 * STEP_BITS))


@given(seed=st.integers(0, 2**32), rows=st.integers(0, 9000))
def test_sums_of_products_are_exact_over_many_blocks(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    steps = random.integers(-(1 << STEP_BITS), (1 << STEP_BITS) + 1, (rows, 2)).astype(np.float64)
    whole = np.column_stack([steps, np.full(rows, 1 << STEP_BITS)]).astype(np.int64).astype(object)
    expected = [sum(whole[:, i] * whole[:, j]) for i in range(3) for j in range(i, 3)]
    assert [int(math.ldexp(high, 40)) + int(math.ldexp(low, 40)) for high, low in bounded.gram(steps).T] == expected
    assert [int(math.ldexp(high, 40)) + int(math.ldexp(low, 40)) for high, low in bounded.moments(steps).T] == [
        expected[2], expected[4], expected[0], expected[3], expected[5]]


@given(seed=st.integers(0, 2**32), size=st.integers(1, 60), kinds=st.integers(1, 9), cut=st.integers(0, 20))
def test_a_row_s_predictor_does_not_depend_on_the_rows_before_it(seed: int, size: int, kinds: int, cut: int) -> None:
    random = np.random.default_rng(seed)
    rows, weights = random.uniform(-1, 1, (200, size)), random.normal(size=(kinds, size))
    assert np.array_equal(bounded.times(rows, weights.T)[cut:], bounded.times(rows[cut:], weights.T))
    np.testing.assert_allclose(bounded.times(rows, weights.T), rows @ weights.T, atol=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_centres_that_are_no_numbers_are_refused(bad: float) -> None:
    matrix, _ = _blobs(300)
    with _federation(matrix) as departments:
        grid = departments.grid("clustering", {"resource": "t", "features": NAMES, "clusters": 3, "rho_nano": 10**8})
        with pytest.raises(NodeFailure) as refused:
            grid.secure_sum(_noisy.ASSIGN, expect={"totals": 15}, arrays={"centres": np.full(12, bad), "weights": np.ones(4)})
        assert refused.value.code == problems.BAD_PARAMS


@pytest.mark.parametrize(("app", "action", "length", "arrays"), [
    ("components", "query.products", 10, {"mean": np.zeros(4), "sd": np.ones(4)}),
    ("clustering", "train.assign", 12, {"mean": np.zeros(4), "sd": np.ones(4), "centres": np.zeros(96)})])
def test_exact_questions_have_no_answer_with_noise(app: str, action: str, length: int, arrays: dict[str, np.ndarray]) -> None:
    matrix, _ = _blobs(300)
    more = {"clusters": 3} if app == "clustering" else {}
    with _federation(matrix) as departments:
        grid = departments.grid(app, {"resource": "t", "features": NAMES, **more})
        name = "products" if app == "components" else "inertia"
        with pytest.raises(ProblemError, match="noise_undeclared"):
            grid.secure_sum(action, expect={name: length}, arrays=arrays)
    with LocalFederation({f"d{at}": {"t": LocalResource.arrays(
            {"pid": np.array(["x"] * 50), **{name: matrix[:50, at] for at, name in enumerate(NAMES)}}, SCHEMA)} for at in range(3)}) as exact:
        noisy, size = (_products.NOISY_PRODUCTS, 15) if app == "components" else (_noisy.MOMENTS, 9)
        grid = exact.grid(app, {"resource": "t", "features": NAMES, "bounds": BOUNDS, **more})
        with pytest.raises(NodeFailure, match="unknown_action"):
            grid.secure_sum(noisy, expect={"products" if app == "components" else "moments": size})


# --- runs that do not go through at once ---------------------------------------------------------------------------------


class _Died(BaseException):
    """The coordinator was killed."""


@pytest.mark.parametrize("code", ["round_started", "round_opening", "round_finished"])
@pytest.mark.parametrize("lost", [False, True])
def test_a_run_that_is_taken_up_again_costs_no_more(code: str, lost: bool) -> None:
    matrix, _ = _blobs(2000)
    job = {"resource": "t", "features": NAMES, "clusters": 3, "rho_nano": 2 * 10**8}
    with _federation(matrix, departments=4) as departments:
        app, rounds = departments.apps["clustering"].load(), MemoryRounds()

        def watch(number: int, _rounds: int, told: str, /, **_args: object) -> None:
            if (number, told) == (4, code):
                raise _Died

        with pytest.raises(_Died):
            app.run(departments.grid("clustering", job, rounds=rounds, progress=watch))
        if lost:
            departments.transport.offline.add("d3")
        content = app.run(departments.grid("clustering", job, rounds=rounds))
        assert content["departments"] == (3 if lost else 4)
        assert len(content["clusters"]) == 3
        spent = {name: departments.nodes[name].ledger.spent() for name in ("d0", "d1", "d2")}
        assert set(spent.values()) == {content["privacy"]["rho_nano"]}
        assert max(spent.values()) <= 2 * 10**8
        if not lost:  # not one question was another one
            assert app.run(departments.grid("clustering", job)) == content
            assert departments.nodes["d0"].ledger.spent() == spent["d0"]
