from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import structlog

structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])

_HERE = str(Path(__file__).parent)
if _HERE not in sys.path:
    sys.path.insert(0, _HERE)


@pytest.fixture(autouse=True)
def _workers_find_the_toy_app(monkeypatch):
    """Workers are processes of their own: this is how a test's app is installed for them."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [_HERE, os.environ.get("PYTHONPATH")])))


@pytest.fixture
def place(tmp_path_factory):
    """A short folder: a Unix socket's path may be 100 bytes long."""
    return tmp_path_factory.mktemp("n")
