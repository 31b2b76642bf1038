"""The report on a candidate output that comes with its review: findings with figures and sentences, and where it is from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import rfc8785

from marketplace.computing.egress import cells, combined, identifiers, memory
from marketplace.computing.egress.texts import Finding, Severity, number
from shuyan.trust.grants import Grant

VERSION: Final = 1
_ORDER: Final[dict[Severity, int]] = {"fail": 0, "notice": 1, "pass": 2}
_PACKAGES: Final = ("shuyan", "shuyan-marketplace", "flwr", "numpy", "duckdb", "sqlglot", "opendp", "pydantic")


@dataclass(frozen=True)
class Origin:
    """Where a candidate output comes from; goes into the report as it is.

    Attributes:
        departments: ``{node_id, name, software_version}`` of each.
        resources: ``{name, columns}`` of each that was read.
    """

    job_id: str
    run_id: str
    grant_id: str
    grant_digest: str
    app: str
    app_version: str
    app_digest: str
    output_digest: str
    departments: Sequence[Mapping[str, str]] = field(default_factory=tuple)
    resources: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def software() -> dict[str, str]:
    """The versions of what computed it here."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def build(form: str, content: dict[str, Any], grant: Grant, origin: Origin, *, rows: int,
          params: Mapping[str, Any] | None = None, earlier: Sequence[combined.Released] = ()) -> dict[str, Any]:
    """The report, as JSON: ``{v, severity, findings, schema, cohorts, memory, membership, privacy, lineage}``.

    ``findings`` are ``{code, severity, zh, en, args}``, the gravest first; ``severity`` is the gravest of all. Nothing in it is a
    value of the content: findings say where and how many.

    Args:
        rows: the fewest rows any sum of the run was about, as the nodes counted them.
        params: of the job.
        earlier: results released to the same grantee about the same resource.
    """
    noisy = grant.release == "dp"
    size = memory.sizes(content, len(rfc8785.dumps(content)), rows)
    groups = cells.cohorts(content, grant.minimum_cohort)
    parts: dict[str, Callable[[], Iterable[Finding]]] = {
        "identifiers": lambda: identifiers.findings(content),
        "cohorts": lambda: cells.findings(content, groups, rows=rows, noisy=noisy),
        "combined": lambda: () if noisy else _combined(content, params or {}, earlier),
        "size": lambda: memory.of_size(content, size),
        "memory": lambda: memory.of_model(content, rows, grant.minimum_cohort, noisy=noisy) if form == "model" else (),
        "release": lambda: _released(content, grant, len(origin.departments)),
    }
    found = [one for part, make in parts.items() for one in _made(part, make)]
    found.sort(key=lambda one: _ORDER[one.severity])
    return {
        "v": VERSION, "severity": found[0].severity, "findings": [one.as_json() for one in found],
        "schema": {"form": form, **size},
        "cohorts": {**groups, "departments": len(origin.departments), "rows": rows, "noisy": noisy},
        "memory": memory.figures(content, noisy=noisy) if form == "model" else None,
        "membership": content.get("audit"), "privacy": content.get("privacy"),
        "lineage": {
            "job_id": origin.job_id, "run_id": origin.run_id,
            "grant": {"id": origin.grant_id, "digest": origin.grant_digest, "scenario": grant.scenario_title,
                      "purpose": grant.purpose, "grantee": grant.grantee_name},
            "app": {"name": origin.app, "version": origin.app_version, "digest": origin.app_digest},
            "departments": [dict(one) for one in origin.departments], "resources": [dict(one) for one in origin.resources],
            "software": software(), "output_digest": origin.output_digest,
        },
    }


def _made(part: str, make: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """A part of the report; who wrote the app decides what its content is like, but not whether there is a report."""
    try:
        return list(make())
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        return [Finding("not_understood", "fail", {"part": part})]


def _combined(
    content: dict[str, Any], params: Mapping[str, Any], earlier: Sequence[combined.Released],
) -> list[Finding]:
    if content.get("kind") not in ("statistics", "table") or not earlier:
        return []
    told = combined.newly_told(combined.Released(content, params), earlier)
    if told is None:
        return [Finding("cells_uncombined", "notice", {})]
    return [Finding("cells_combined", "fail", {"cells": told})] if told else []


def _released(content: dict[str, Any], grant: Grant, departments: int) -> list[Finding]:
    privacy = content.get("privacy")
    if grant.release == "dp" and isinstance(privacy, dict):
        found = [Finding("release_noisy", "pass", {
            "unit": privacy["unit"], "rho": number(privacy["rho_nano"] / 1e9), "epsilon": number(privacy["epsilon"]),
            "delta": number(privacy["delta"])})]
    else:
        found = [Finding("release_exact", "pass", {"minimum": grant.minimum_cohort})]
    own = (content.get("evaluation") or {}).get("departments") if isinstance(content.get("evaluation"), dict) else None
    if own:
        found.append(Finding("own_figures", "notice", {"count": len(own)}))
    elif not grant.own_figures:
        found.append(Finding("departments", "pass", {"departments": departments}))
    warned = sorted({str(one.get("code")) for one in content.get("warnings", []) if isinstance(one, dict)})
    if warned:
        found.append(Finding("warnings", "notice", {"count": len(warned), "codes": ", ".join(warned)}))
    return found


def blocking(report: Mapping[str, Any] | None) -> list[str]:
    """Codes of the findings that stand against an approval."""
    return [one["code"] for one in (report or {}).get("findings", []) if one["severity"] == "fail"]
