"""From a demand to the claims of its grant, without I/O, and back: that what was signed is what was asked for, or less."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from marketplace.authorisation import errors
from marketplace.authorisation.asking import CLOCK_SKEW_SECONDS, ResourceFacts
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, GrantedResource, PrivacyTerms, SoleValues


def sole_values(resources: Iterable[GrantedResource], facts: Mapping[str, ResourceFacts]) -> tuple[SoleValues, ...]:
    """By granted resource and dimension, the values that fewer than two of its departments declare, sorted.

    A group of such a value is one department's own, however many departments take part.

    Args:
        facts: catalogue entries by id.
    """
    declared: dict[tuple[str, str], Counter[str]] = {}
    for item in resources:
        for column in item.columns:
            if values := facts[item.resource_id].domains.get(column):
                declared.setdefault((item.name, column), Counter()).update(set(values))
    out = []
    for (name, column), counts in sorted(declared.items()):
        if alone := sorted(value for value, count in counts.items() if count < 2):
            out.append(SoleValues(resource=name, column=column, values=tuple(alone)))
    return tuple(out)


def check_within(grant: Grant, draft: Grant, facts: Mapping[str, ResourceFacts], now: float, *,
                 term: int, latest: float | None = None) -> None:
    """Check that a signed ``grant`` is the ``draft`` of its demand or narrower.

    Args:
        facts: the granted resources' catalogue entries by id.
        now: Unix seconds.
        term: seconds that the grant may hold from its signing.
        latest: when the first of the agreements it rests on ends, Unix seconds.

    Raises:
        ProblemError: ``grant_other_demand`` or ``grant_too_wide``, naming the claim.
    """
    for name in ("iss", "jti", "scenario", "scenario_title", "purpose", "grantee", "grantee_name"):
        if getattr(grant, name) != getattr(draft, name):
            raise ProblemError(errors.GRANT_OTHER_DEMAND, name=name)
    resources = {item.resource_id: item for item in draft.resources}
    within = {
        "nodes": set(grant.nodes) <= set(draft.nodes),
        "apps": set(grant.apps) <= set(draft.apps),
        "output_forms": set(grant.output_forms) <= set(draft.output_forms),
        "resources": all(
            (asked := resources.get(item.resource_id)) is not None
            and (item.node_id, item.name) == (asked.node_id, asked.name) and set(item.columns) <= set(asked.columns)
            for item in grant.resources),
        "minimum_cohort": grant.minimum_cohort >= draft.minimum_cohort,
        "minimum_participants": grant.minimum_participants >= draft.minimum_participants,
        "max_output_values": grant.max_output_values <= draft.max_output_values,
        "release": grant.release == draft.release,
        "privacy": _privacy_within(grant.privacy, draft.privacy),
        "own_figures": draft.own_figures or not grant.own_figures,
        "iat": grant.iat <= now + CLOCK_SKEW_SECONDS,
        "exp": now < grant.exp <= min(grant.iat + term, latest or grant.exp),
    }
    for name, holds in within.items():
        if not holds:
            raise ProblemError(errors.GRANT_TOO_WIDE, name=name)
    named = {(entry.resource, entry.column): set(entry.values) for entry in grant.sole_values}
    for entry in sole_values(grant.resources, facts):  # fewer resources leave more values alone
        if not set(entry.values) <= named.get((entry.resource, entry.column), set()):
            raise ProblemError(errors.GRANT_TOO_WIDE, name="sole_values")


def _privacy_within(terms: PrivacyTerms | None, draft: PrivacyTerms | None) -> bool:
    if terms is None or draft is None:
        return terms is draft
    return (terms.unit == draft.unit and terms.unit_columns.items() <= draft.unit_columns.items()
            and terms.max_rows_per_unit <= draft.max_rows_per_unit
            and terms.max_groups_per_unit <= draft.max_groups_per_unit and terms.delta <= draft.delta
            and terms.rho_nano <= draft.rho_nano and terms.honest_fraction <= draft.honest_fraction)


def grant_id(demand_id: str) -> str:
    """The ``jti`` of a demand's grant: a demand has at most one, and signing it twice makes no second."""
    return "grant_" + demand_id.partition("_")[2]
