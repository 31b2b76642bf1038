from __future__ import annotations

import duckdb
import numpy as np
import pytest

from shuyan.federation import problems
from shuyan.federation.failures import code_for
from shuyan.federation.inputs import Inputs
from shuyan.federation.schema import Column
from shuyan.problems import ProblemError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProblemError(problems.TARGET_NOT_BINARY), problems.TARGET_NOT_BINARY),
        (ProblemError(problems.GRANT_REVOKED), problems.APP_FAILED),
        (ProblemError("made_up"), problems.APP_FAILED),
        (ValueError("row 7 holds 4711"), problems.APP_FAILED),
        (MemoryError(), problems.WORKER_MEMORY),
        (duckdb.OutOfMemoryException("x"), problems.WORKER_MEMORY),
        (KeyboardInterrupt(), problems.APP_FAILED),
    ],
)
def test_only_a_code_is_left_of_an_exception(error: BaseException, code: str) -> None:
    assert code_for(error) == code


def test_data_beyond_the_memory_limit_ends_as_such() -> None:
    with pytest.raises(Exception, match=r".*") as caught:
        Inputs.from_arrays({"x": np.random.default_rng(0).normal(size=4_000_000)}, {"x": Column("x", "number")}, ["x"], memory_mb=4)
    assert code_for(caught.value) == problems.WORKER_MEMORY
