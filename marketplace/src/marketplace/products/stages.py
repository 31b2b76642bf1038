"""What each stage of a version's review asks, and when it may be skipped, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

CHECKLISTS: Final[dict[str, tuple[str, ...]]] = {
    "security_test": ("no_reverse", "inputs_limited", "access_controlled", "emergency_plan"),
    "compliance_review": ("purpose_kept", "personal_protected", "description_true", "terms_lawful"),
    "egress_review": ("within_grant", "not_reversible", "form_granted"),
}
"""What the reviewer confirms at each stage, by code; a stage is passed only with all of its own ticked."""

PASSES: Final = {"security_test": "pass_security", "compliance_review": "pass_compliance", "egress_review": "pass_egress"}
ORDER: Final = ("security_test", "compliance_review", "egress_review", "cleared")

SKIPPABLE: Final[dict[str, tuple[str, ...]]] = {
    "security_test": ("app", "input_schema", "form"),
    "compliance_review": ("app", "input_schema", "form", "grant", "texts"),
    "egress_review": ("app", "input_schema", "form", "grant", "output"),
}
"""The rule table of new versions: a stage is skipped when all of these parts are as in the last registered version.

Tests are never skipped, and neither is egress for a result that has not left before.
"""


def parts(manifest: Mapping[str, Any], texts_digest: str) -> dict[str, Any]:
    """What a version is made of, as far as reviews look at it."""
    return {"app": manifest["app"]["digest"], "grant": manifest["grant"]["digest"], "form": manifest["form"],
            "input_schema": manifest["input_schema"], "output": manifest["output_digest"],
            "texts": texts_digest}


def unchanged(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> frozenset[str]:
    """The parts in which a version is as the one before it; none without one."""
    return frozenset() if old is None else frozenset(name for name, value in new.items() if old.get(name) == value)


def skipped(same: frozenset[str]) -> list[str]:
    """The stages that need not be gone through again, in order."""
    return [stage for stage in ORDER if stage in SKIPPABLE and same.issuperset(SKIPPABLE[stage])]


def next_stage(after: str | None, skip: list[str]) -> str:
    """The next stage after ``after`` (None: from the start) that is not skipped; ``cleared`` at the end."""
    start = 0 if after is None else ORDER.index(after) + 1
    return next(stage for stage in ORDER[start:] if stage not in skip)


def closed(schema: Mapping[str, Any]) -> bool:
    """Whether a call of this input schema can carry nothing that is not declared."""
    if schema.get("type") != "object":
        return True
    return schema.get("additionalProperties") is False and all(closed(item) for item in schema.get("properties", {}).values())


def smallest_cell(content: Mapping[str, Any]) -> int | None:
    """Records behind the smallest published cell; None where the content has none that say."""
    return min((cell["rows"] for table in content.get("tables", ()) for cell in table.get("cells", ())
                if isinstance(cell.get("rows"), int)), default=None)
