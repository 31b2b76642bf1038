"""Decisions about developers' apps, without I/O: their life, who sees what, which name and version may come next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from marketplace.actor import Actor
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, power, transition
from marketplace.programs import errors
from shuyan.problems import ProblemError

DEVELOPERS = ("developer", "operator")
REVIEWERS = frozenset({"operator"})
OVERSEERS = frozenset({"operator", "data_authority", "security_supervisor", "system"})
"""See every submission with its source."""
INSTALLERS = frozenset({"source_department"})
"""See and download what was accepted, to install it on their nodes."""

SUBMISSION = Lifecycle("app_submission", "submitted", (
    transition("withdraw", "submitted", "withdrawn", DEVELOPERS, Tag.APP_WITHDRAWN, own=True, scope="products"),
    transition("return", "submitted", "returned", "operator", Tag.APP_RETURNED, scope="operate", roles="reviewer"),
    transition("reject", "submitted", "rejected", "operator", Tag.APP_REJECTED, scope="operate", roles="reviewer"),
    transition("accept", "submitted", "accepted", "operator", Tag.APP_ACCEPTED, scope="operate", roles="reviewer"),
    transition("retire", "accepted", "retired", DEVELOPERS, Tag.APP_RETIRED, own=True, scope="products"),
    transition("retire", "accepted", "retired", "operator", Tag.APP_RETIRED, scope="operate"),
), final=frozenset({"withdrawn", "returned", "rejected", "retired"}), way=("submitted", "accepted"))

SUBMIT = power("app.submit", DEVELOPERS, scope="products", roles="handler")

REVIEWS = ("return", "reject", "accept")
"""What the person who submitted may not do."""
EVER_ACCEPTED = ("accepted", "retired")


@dataclass(frozen=True)
class Earlier:
    """A package submitted before under the same name."""

    version: str
    digest: str
    status: str


def version_key(version: str) -> tuple[int, ...]:
    """Versions in their order; 1.0 and 1.0.0 are the same one.

    >>> version_key("1.10") > version_key("1.9.3"), version_key("1.0") == version_key("1.0.0")
    (True, True)
    """
    parts = [int(part) for part in version.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def check_next(name: str, version: str, digest: str, earlier: Iterable[Earlier]) -> None:
    """Whether a package may come after those submitted before.

    What was once accepted is never replaced: the next version is higher. What was returned may come again under its
    version, but not the very same package.

    Raises:
        ProblemError: ``app_in_review``, ``app_unchanged``, ``app_version_not_higher``, ``app_version_lower``.
    """
    known = list(earlier)
    for one in known:
        if one.status == "submitted":
            raise ProblemError(errors.APP_IN_REVIEW, field="package", name=name, version=one.version)
        if one.digest == digest and one.status in ("returned", "rejected"):
            raise ProblemError(errors.APP_UNCHANGED, field="package")
    for one in sorted(known, key=lambda one: version_key(one.version), reverse=True):
        if one.status in EVER_ACCEPTED and version_key(version) <= version_key(one.version):
            raise ProblemError(errors.APP_VERSION_NOT_HIGHER, field="package", version=version, latest=one.version)
        if version_key(version) < version_key(one.version):
            raise ProblemError(errors.APP_VERSION_LOWER, field="package", version=version, latest=one.version)


def may_see(actor: Actor, owner: str, status: str) -> bool:
    """Whether a submission shows itself, source included: to its developer, to overseers, and to departments once accepted."""
    if actor.party in OVERSEERS or (actor.organisation_id is not None and actor.organisation_id == owner):
        return True
    return actor.party in INSTALLERS and status in EVER_ACCEPTED


def check_reviewer(actor: Actor, submitted_by: str) -> None:
    """Raises ``own_submission`` for the person or program that submitted."""
    if actor.party != "system" and actor.label == submitted_by:
        raise ProblemError(errors.OWN_SUBMISSION)
