"""The source rules: what may not stand in an app, each with file, line and a sentence in both languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from shuyan.appkit.rules import check_sources, imports_of

HEAD = "from __future__ import annotations\nimport numpy as np\n"

BAD = {
    "import os": "import", "import socket": "import", "import subprocess": "import", "import ctypes": "import", "import pickle": "import",
    "import importlib": "import", "import sys": "import", "import random": "import", "import time": "import", "import threading": "import",
    "import duckdb": "import", "from shuyan.federation import _flower": "import", "from shuyan.federation._flower import reply": "import",
    "import shuyan.federation.masking": "import", "from shuyan.federation import local": "import", "from shuyan.trust import keys": "import",
    "from math import *": "import", "from ...x import y": "import", "import node_agent.keys": "import", "import marketplace": "import",
    "def f():\n    return eval('1')": "builtin", "def f():\n    exec('1')": "builtin", "def f():\n    return open('x')": "builtin",
    "def f(x):\n    return getattr(x, 'y')": "builtin", "def f():\n    return globals()": "builtin", "def f():\n    return __import__('os')": "builtin",
    "def f():\n    print(1)": "builtin", "def f(x):\n    return x.__class__": "dunder", "def f(x):\n    return x.__subclasses__()": "dunder",
    "def f(x):\n    return '{0.__class__}'.format(x)": "dunder", "class A:\n    def __getattr__(self, x):\n        return 1": "dunder",
    "def f(x):\n    return x.gi_frame.f_globals": "attribute", "def f():\n    return np.load('x')": "attribute",
    "def f(x):\n    x.tofile('y')": "attribute", "def f():\n    return np.lib.format": "attribute", "def f():\n    return np.ctypeslib": "attribute",
    "from numpy import load": "attribute", "def f():\n    return np.random.rand()": "determinism", "def f():\n    return hash('x')": "determinism",
    "def f(x):\n    return id(x)": "determinism", "from datetime import datetime\ndef f():\n    return datetime.now()": "determinism",
    "def f(c):\n    c.execute(\"SELECT * FROM read_csv('x')\")": "sql", "def f(c):\n    c.execute(\"COPY data TO 'x'\")": "sql",
    "def f(c):\n    c.execute(\"ATTACH 'x'\")": "sql", "def f(c):\n    c.execute('SET threads = 4')": "sql", "def f(c):\n    c.execute('INSTALL x')": "sql",
    "def f(c):\n    c.execute('SELECT random()')": "sql", "f = open": "builtin", "np.zeros(3).tofile('x')": "effect", "for i in range(3):\n    pass": "effect",
    "if True:\n    x = 1": "effect", "def f():\n    pass\nf()": "effect", "x = f()": "effect", "with a:\n    pass": "effect",
    "@decorate\ndef f():\n    pass": "effect", "class A(metaclass=B):\n    pass": "metaclass", "def f():\n    return type('A', (), {})": "dynamic",
    "def f():\n    try:\n        pass\n    except:\n        pass": "except", "def f():\n    try:\n        pass\n    except BaseException:\n        pass": "except",
    "async def f():\n    pass": "async", "def f(:": "syntax", "class A:\n    x = open('y')": "builtin",
}


@pytest.mark.parametrize("code", BAD)
def test_what_is_found(code):
    found = check_sources("visit", {"visit/__init__.py": HEAD + code + "\n"})
    assert BAD[code] in {finding.rule for finding in found}
    for finding in found:
        assert finding.line >= 3
        assert finding.text("en").startswith(f"visit/__init__.py:{finding.line}: ")
        assert any("\u4e00" <= letter <= "\u9fff" for letter in finding.text("zh"))
        assert not any("\u4e00" <= letter <= "\u9fff" for letter in finding.text("en"))


GOOD = '''"""An app."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, field_validator

from shuyan.federation import moments
from shuyan.federation.kit import ClientApp, Params, quote
from visit._other import helper

if TYPE_CHECKING:
    from shuyan.federation.inputs import Inputs

LIMIT = 2.0**40
NAMES = frozenset({"load", "copy"})
EDGES = np.array([1.0, 2.0])
client_app = ClientApp()


@dataclass(frozen=True)
class Sums:
    """Some sums."""

    count: float = 0.0

    def __post_init__(self) -> None:
        super().__init__()


class Mine(Params):
    load: str = "x"

    @field_validator("load")
    @classmethod
    def _check(cls, value: str) -> str:
        return value


@client_app.query("sums")
def sums(message, context):
    random = np.random.default_rng(7)
    sql = f"SELECT sum({quote(context.params.load)}) FROM data WHERE copy > 1 AND load = 3"
    found = context.inputs.connection.execute(sql).fetchnumpy()
    if not found:
        raise ValueError("nothing to load from a set of rows")
    return Counter(found), math.pi, random.normal(), moments, helper, BaseModel
'''


def test_what_honest_apps_do():
    assert [finding.text("en") for finding in check_sources("visit", {"visit/__init__.py": GOOD})] == []
    assert imports_of("visit", {"visit/__init__.py": GOOD}) == [
        "__future__", "collections", "dataclasses", "math", "numpy", "pydantic", "shuyan.federation", "shuyan.federation.inputs",
        "shuyan.federation.kit", "typing"]


def test_the_hostile_app_would_not_pass():
    source = (Path(__file__).parents[2] / "node_agent" / "hostile" / "__init__.py").read_text()
    found = check_sources("hostile", {"hostile/__init__.py": source})
    assert {"import", "builtin", "sql", "effect"} <= {finding.rule for finding in found}
    assert len(found) > 40
