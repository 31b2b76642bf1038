"""Of two coordinators on one market, one runs."""

from __future__ import annotations

from typing import Any

import pytest

from marketplace.workflows.lock import single_coordinator
from shuyan.problems import ProblemError


def test_a_second_coordinator_is_refused_until_the_first_is_gone(database: Any, tmp_path: Any) -> None:
    elsewhere = database.settings.model_copy(update={"data_dir": tmp_path / "other"})
    second = database.settings if database.is_sqlite else elsewhere  # another machine, the same database
    held, refused = single_coordinator(database.settings), pytest.raises(ProblemError, match="coordinator_running")
    with held, refused, single_coordinator(second, patience_seconds=0):
        pass
    with single_coordinator(second, patience_seconds=0):
        pass
