"""Whose figure a group is: what a node's verified grant says about groups that are one department's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shuyan.trust.grants import Grant


@dataclass(frozen=True)
class OwnFigures:
    """What a worker is told of its grant. It comes from the agent, never with a question.

    Attributes:
        allowed: results may show what is one department's own figure.
        sole: by resource and column, the values that fewer than two departments declare.
    """

    allowed: bool = False
    sole: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, grant: Grant) -> OwnFigures:
        """A grant's."""
        return cls(grant.own_figures, {(entry.resource, entry.column): frozenset(entry.values) for entry in grant.sole_values})

    def to_wire(self) -> dict[str, Any]:
        """For JSON."""
        return {"allowed": self.allowed, "sole": [[*key, sorted(values)] for key, values in sorted(self.sole.items())]}

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> OwnFigures:
        """What :meth:`to_wire` made; nothing at all is the strictest."""
        return cls(raw.get("allowed") is True, {(resource, column): frozenset(values)
                                                for resource, column, values in raw.get("sole", ())})
