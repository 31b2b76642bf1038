"""What an extra is needed for says which."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from shuyan import ExtraMissing
from shuyan._results import Model


def test_a_network_becomes_a_module_only_with_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    job: Any = object()
    model = Model(job, {"content": {"kind": "model", "family": "neural_network"}, "digest": "sha256:00", "participants": []})
    with pytest.raises(ExtraMissing, match=r"shuyan\[torch\]"):
        model.to_torch()
