from __future__ import annotations

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from shuyan.federation import sketch

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def sketched(departments: list[list[np.ndarray]], capacity: int, limit: int = 100_000, least: int = 1) -> sketch.Sketch:
    """The sketch of columns that departments hold parts of."""
    keys = [[np.sort(sketch.keys_of(column.astype(np.float32))) for column in columns] for columns in departments]
    columns = len(departments[0])
    first = sum(np.array([sketch.first_counts(column) for column in own]) for own in keys)
    made = sketch.Sketch(first, capacity, least)
    for bits in sketch.LEVELS:
        answers = []
        for batch in made.batches(bits, limit):
            asked = sketch.sketch_arguments(batch.array(columns, capacity), columns)
            counts = sum(np.concatenate([sketch.child_counts(own[place], cells, bits) for place, cells in asked.items()])
                         for own in keys)
            assert len(counts) == batch.length <= max(limit, sketch.CHILDREN)
            answers.append((batch, counts))
        made.take(bits, answers)
    return made


@given(st.lists(FLOATS, min_size=1))
def test_keys_keep_the_order_and_the_values(values: list[float]) -> None:
    numbers = np.array(values, dtype=np.float32)
    keys = sketch.keys_of(numbers)

    assert (sketch.values_of(keys) == numbers).all()
    assert ((keys[:, None] < keys[None, :]) == (numbers[:, None] < numbers[None, :])).all()


@given(st.lists(FLOATS, min_size=1, max_size=60), st.integers(0, 2**32 - 1), st.sampled_from([16, 48, 100_000]))
def test_few_values_are_found_exactly_however_rows_are_cut(values: list[float], seed: int, limit: int) -> None:
    random = np.random.default_rng(seed)
    column = random.choice(np.array(values, dtype=np.float32), 200)
    which = random.integers(0, 3, 200)

    made = sketched([[column[which == part]] for part in range(3)], capacity=64, limit=limit)

    found, counts = np.unique(column, return_counts=True)
    assert made.rank_error(0) == 0
    assert made.distinct(0) == len(found)
    assert made.rows(0) == 200
    assert made.cuts(0, 255).tolist() == found[1:].tolist()
    assert counts.sum() == 200


@given(st.integers(0, 2**32 - 1), st.sampled_from(["normal", "lognormal", "uniform", "zeros"]), st.integers(2, 40))
def test_cuts_are_within_the_stated_rank_error(seed: int, kind: str, bins: int) -> None:
    random = np.random.default_rng(seed)
    column = {"normal": random.normal(1e6, 1, 3000), "lognormal": random.lognormal(0, 4, 3000),
              "uniform": random.random(3000), "zeros": np.where(random.random(3000) < 0.9, 0, random.normal(size=3000))}[kind]
    column = column.astype(np.float32)

    made = sketched([[column[part::3]] for part in range(3)], capacity=128)

    error = made.rank_error(0)
    assert error < 1 / 129
    cuts = made.cuts(0, bins)
    assert len(cuts) < bins
    assert (np.diff(cuts) > 0).all()
    # No bin is larger than its share, one value's rows, and what the sketch and the choice among its cells may add.
    heaviest = np.unique(column, return_counts=True)[1].max()
    sizes = np.bincount(np.searchsorted(cuts, column, side="right"))
    assert sizes.max() <= 3000 * (2 / bins + 2 * error + 1 / (8 * bins)) + 2 * heaviest + 2


@pytest.mark.parametrize("bins", [64, 128, 255])
def test_cuts_are_xgboosts(bins: int) -> None:
    random = np.random.default_rng(bins)
    columns = [random.integers(17, 90, 4000), np.where(random.random(4000) < 0.8, 0, random.lognormal(8, 1, 4000).round(-1)),
               random.normal(size=4000).round(2), random.integers(0, 2, 4000), np.full(4000, 3)]

    made = sketched([[column[part::2] for column in columns] for part in range(2)], capacity=4096)

    starts, values = xgboost.QuantileDMatrix(np.column_stack(columns).astype(np.float32), max_bin=bins, nthread=1).get_quantile_cut()
    for place in range(len(columns)):
        theirs = values[starts[place] : starts[place + 1]]
        # Theirs begin with what is below all values and end with what is above.
        assert made.cuts(place, bins).tolist() == theirs[1:-1].tolist()


def test_what_are_no_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="not cells"):
        sketch.sketch_arguments(np.array([0.5, -1.0]), 1)
    with pytest.raises(ValueError, match="not cells"):
        sketch.sketch_arguments(np.array([2.0**32, -1.0]), 1)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_what_few_rows_have_is_not_looked_into(seed: int, least: int) -> None:
    random = np.random.default_rng(seed)
    column = np.concatenate([random.integers(0, 20, 1000), [87_654_321.0], random.lognormal(3, 1, 300)]).astype(np.float32)
    made = sketched([[column[part::3]] for part in range(3)], capacity=512, least=least)
    edges = made.cuts(0, 255)

    assert np.float32(87_654_321.0) not in edges
    assert made.rank_error(0) < max(least / len(column), 1 / 513)
    for value in range(1, 20):  # what many have is exact
        assert np.float32(value) in edges or (column == value).sum() < least
