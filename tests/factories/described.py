"""A small sandbox description: three departments' enterprises, with marginals of some columns."""

from __future__ import annotations

from typing import Any

from shuyan.federation.apps.base import built_in
from shuyan.mockdata import Description
from shuyan.trust.grants import GrantedApp

SECTORS = ("commerce", "manufacturing", "transport")


def columns(**changes: Any) -> list[dict[str, Any]]:
    """The columns of ``enterprises``, as JSON."""
    made = [
        {"name": "sector", "type": "string", "domain": list(SECTORS)},
        {"name": "tax", "type": "number", "lower": 0, "upper": 500, "resolution": 0.01, "unit": "万元"},
        {"name": "employees", "type": "integer", "lower": 1, "upper": 900, "missing": 10},
        {"name": "founded", "type": "date"},
        {"name": "listed", "type": "boolean"},
        {"name": "code", "type": "string", "identifier": True, "kind": "credit_code", "granted": False},
    ]
    return [{**column, **changes.get(column["name"], {})} for column in made]


def description(*, release: str = "exact", sandbox: str = "sandbox_01testsandbox", seed: str = "seed of the test", **changes: Any) -> Description:
    """The description; ``changes`` are of columns, by name."""
    nodes = [f"node_{number}" for number in range(3)]
    privacy = {"unit": "enterprise", "unit_columns": {"enterprises": "code"}, "max_rows_per_unit": 3, "max_groups_per_unit": 3,
               "delta": 1e-6, "rho_nano": 500_000_000, "honest_fraction": 0.5}
    apps = [GrantedApp(name=name, digest=app.digest).model_dump() for name, app in sorted(built_in().items())]
    import json

    return Description.model_validate_json(json.dumps({
        "sandbox": sandbox, "scenario": "scenario_01testscenario", "title": "普惠金融", "basis": "grant", "basis_id": "grant_01test",
        "seed": seed, "until": "2025-12-31",
        "terms": {"purpose": "信贷", "grantee": "org_1", "apps": apps, "minimum_cohort": 10, "minimum_participants": 3,
                  "output_forms": ["statistics", "model"], "max_output_values": 100_000, "release": release,
                  "privacy": privacy if release == "dp" else None},
        "departments": [{"node_id": node, "name": f"部门{number}"} for number, node in enumerate(nodes)],
        "resources": [{"resource_id": f"res_{node}", "node_id": node, "name": "enterprises", "title": "企业", "columns": columns(**changes)}
                      for node in nodes],
        "quota": {"runs_a_day": 50, "rows": 5_000, "storage_mb": 5}}))
