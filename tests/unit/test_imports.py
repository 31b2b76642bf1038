"""The import contracts of pyproject.toml hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_import_contracts() -> None:
    done = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout


def test_the_authoritys_command_loads_no_database() -> None:
    """It runs apart from the market, and once for every node and grant."""
    done = subprocess.run([sys.executable, "-c", "import sys, marketplace.authorisation.authority_cli; print([*sys.modules])"],
                          cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"sqlalchemy", "flask", "flwr", "numpy"} & set(done.stdout.replace("'", "").strip("[]\n").split(", "))
