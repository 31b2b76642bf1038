"""Decisions about parties, without I/O: who may hold which scope, what a credit code is, how secrets are kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Final, get_args
from urllib.parse import urlsplit

from stdnum.cn import uscc
from stdnum.exceptions import ValidationError

from marketplace.actor import ROLES, Actor, Party
from marketplace.db import storable
from marketplace.errors import SCOPE_MISSING
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, Transition, power, transition
from marketplace.parties.errors import (
    BAD_CREDIT_CODE,
    BAD_EMAIL,
    BAD_NAME,
    BAD_PARTY,
    BAD_REDIRECT,
    BAD_ROLE,
    BAD_SCOPE,
)
from shuyan.problems import ProblemError

KINDS: frozenset[str] = frozenset(get_args(Party)) - {"public", "system"}

SCOPES: dict[str, str] = {
    "read": "Read what the organisation may see.",
    "jobs": "Propose scenarios, ask for data, submit and cancel jobs.",
    "products": "Draft, price, version, list and suspend own products.",
    "orders": "Place and cancel orders.",
    "deliver": "Call bought products; calls are metered.",
    "operate": "Run the market: nodes, registrations, credit lists, registration codes, payments, objections.",
    "grants": "The data authority's own work: demands, grants, revocations.",
    "egress": "Decide what leaves the domain.",
    "agreements": "Negotiate, approve and sign agreements for the organisation.",
    "review": "Review scenarios and data demands, withdraw grants, limit the use of resources.",
    "people": "See the organisation's members, invite people and change roles; only for apps that act for a person.",
    "register": "Complete and submit the organisation's own registration.",
    "objections": "Object to the quality of data, and pursue one's objections.",
}

_COMMON = frozenset({"read", "orders", "deliver", "register", "objections"})
_BY_KIND: dict[str, frozenset[str]] = {
    "operator": _COMMON | {"operate", "products", "jobs", "agreements", "review"},
    "developer": _COMMON | {"jobs", "products", "agreements"},
    "data_authority": _COMMON | {"operate", "grants", "egress", "agreements", "review"},
    "security_supervisor": _COMMON | {"egress"},
    "source_department": _COMMON | {"egress", "review"},
    "industry_department": _COMMON | {"egress", "review"},
}

EVERYTHING = ("admin", "finance", "handler", "reviewer")
"""The roles of a member who does all of an organisation's work."""

SET_UP: Final = power("organisation.set_up", "system")
"""Adding people without asking them: how a market begins."""

INVITE: Final = power("member.invite", KINDS, own=True, scope="people", roles="admin", before_active=True)
SEE_MEMBERS: Final = power("member.see", KINDS, own=True, scope="people", roles=ROLES, before_active=True)
MANAGE_CLIENTS: Final = power("client.manage", KINDS, own=True, scope="read", roles="admin", before_active=True)
"""A program may make and revoke others, none of which can do more than itself."""

def _people(action: str, sources: str | Iterable[str], target: str, event: Tag, roles: str | Iterable[str] = "admin") -> Transition:
    return transition(action, sources, target, KINDS, event, own=True, scope="people", roles=roles, before_active=True)


MEMBER: Final = Lifecycle("member", "active", (
    _people("change_roles", "active", "active", Tag.ROLES_CHANGED),
    _people("change_roles", "suspended", "suspended", Tag.ROLES_CHANGED),
    _people("suspend", "active", "suspended", Tag.MEMBER_SUSPENDED),
    _people("resume", "suspended", "active", Tag.MEMBER_RESUMED),
    _people("end", ("active", "suspended"), "ended", Tag.MEMBERSHIP_ENDED),
    _people("leave", "active", "ended", Tag.MEMBERSHIP_ENDED, ROLES),
), final=frozenset({"ended"}), way=("active", "ended"))

INVITATION: Final = Lifecycle("invitation", "open", (
    _people("withdraw", "open", "withdrawn", Tag.INVITATION_WITHDRAWN),
    transition("accept", "open", "accepted", "system", Tag.MEMBER_JOINED),
), final=frozenset({"accepted", "withdrawn"}), way=("open", "accepted"))

DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
"""RFC 8628."""

_REDIRECT = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/[!$-;=?-\[\]_a-z~]*)?")
"""Printable ASCII but what no URI has unescaped; no user, no fragment, a plain host: it also stands in a header (CSP)."""
_LOOPBACK = re.compile(r"http://(?P<host>127\.0\.0\.1|\[::1\])(:(?P<port>[0-9]{1,5}))?(?P<rest>(/.*)?)")

_EMAIL = re.compile(r"[^\s@<>\"(),:;\\[\]]{1,64}@[^\s@<>\"(),:;\\[\]]+(\.[^\s@<>\"(),:;\\[\]]+)*")


def check_kind(kind: str) -> str:
    """Raises ``unknown_party`` unless ``kind`` is one of domain.md's organisations."""
    if kind not in KINDS:
        raise ProblemError(BAD_PARTY, field="kind", value=kind)
    return kind


def check_credit_code(code: str) -> str:
    """The normalised 18-character unified social credit code (GB 32100-2015, MOD 31 check character).

    Raises:
        ProblemError: ``bad_credit_code``.
    """
    try:
        return str(uscc.validate(code))
    except ValidationError:
        raise ProblemError(BAD_CREDIT_CODE, field="credit_code", value=code) from None


def normal_email(email: str) -> str:
    """The form in which addresses are compared and kept: trimmed, case folded."""
    return email.strip().casefold()


def check_email(email: str) -> str:
    """The normal form of something that can be a mail address (RFC 5321: up to 254 characters).

    Raises:
        ProblemError: ``invalid_email``.
    """
    found = normal_email(email)
    if len(found) > 254 or not found.isprintable() or not storable(found) or not _EMAIL.fullmatch(found):
        raise ProblemError(BAD_EMAIL, field="email")
    return found


def check_name(name: str) -> str:
    """A person's or program's name, trimmed: 1 to 100 printable characters. Raises ``invalid_name``."""
    found = name.strip()
    if not 1 <= len(found) <= 100 or not found.isprintable() or not storable(found):
        raise ProblemError(BAD_NAME, field="name")
    return found


def check_roles(roles: Iterable[str]) -> list[str]:
    """The roles of a membership, sorted, at least one. Raises ``unknown_role``."""
    found = sorted(set(roles))
    if not found or set(found) - set(ROLES):
        raise ProblemError(BAD_ROLE, field="roles", value=", ".join(sorted(set(found) - set(ROLES))) or "–")
    return found


def allowed_scopes(kind: str) -> frozenset[str]:
    """Every scope a program of an organisation of this kind may hold."""
    return _BY_KIND.get(kind, _COMMON)


def person_scopes(kind: str) -> frozenset[str]:
    """Every scope an app may have that acts for a member of an organisation of this kind; roles limit it further."""
    return allowed_scopes(kind) | {"people"}


def check_redirect(uri: str) -> str:
    """Where an app may ask codes to be sent: https, or http to this very machine (RFC 8252, section 7.3); no fragment.

    Raises:
        ProblemError: ``invalid_redirect``.
    """
    try:
        parts = urlsplit(uri)
        local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        good = (len(uri) <= 500 and _REDIRECT.fullmatch(uri) is not None and parts.port != 0
                and (local or parts.scheme == "https"))
    except ValueError:  # a port above 65535, half an IPv6 address
        good = False
    if not good:
        raise ProblemError(BAD_REDIRECT, field="redirect_uris", value=uri[:100])
    return uri


def redirect_matches(registered: str, asked: str) -> bool:
    """Whether an app that registered one address may have codes sent to the other: character for character the same.

    The one exception is RFC 8252, section 7.3: an app on a person's own machine listens on whatever port is free, so at a
    loopback address (not at a name) the port is its own to choose.
    """
    ours, theirs = _LOOPBACK.fullmatch(registered), _LOOPBACK.fullmatch(asked)
    if ours is None or theirs is None:
        return registered == asked
    port = int(theirs["port"] or 80)
    return (ours["host"], ours["rest"]) == (theirs["host"], theirs["rest"]) and 0 < port < 65536


def check_scope(kind: str, scope: str | Iterable[str], *, for_people: bool = False) -> str:
    """The scopes sorted and space separated (RFC 6749, section 3.3).

    Raises:
        ProblemError: ``scope_not_allowed`` naming the first one this kind may not have.
    """
    wanted = sorted(set(scope.split() if isinstance(scope, str) else scope))
    for name in wanted:
        if name not in (person_scopes(kind) if for_people else allowed_scopes(kind)):
            raise ProblemError(BAD_SCOPE, field="scope", scope=name)
    return " ".join(wanted)


def new_secret() -> str:
    """A client secret or token: 256 random bits, base64url."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """SHA-256 in hex. Secrets are random and long, so a slow hash would add nothing but load."""
    return hashlib.sha256(secret.encode()).hexdigest()


def secret_matches(secret: str, stored_hash: str) -> bool:
    """Constant-time comparison of a presented secret with the stored hash."""
    return hmac.compare_digest(hash_secret(secret), stored_hash)


def check_delegation(actor: Actor, scope: str) -> None:
    """A program may make and revoke others, but none that can do more than itself; an app that acts for a person may only
    if it was allowed to manage people, for what it makes outlives its own connection.

    Raises:
        ProblemError: ``scope_not_allowed``, ``scope_missing``.
    """
    if actor.scopes is None:
        return
    if actor.member_id is not None and "people" not in actor.scopes:
        raise ProblemError(SCOPE_MISSING, scope="people")
    for name in scope.split():
        if name not in actor.scopes:
            raise ProblemError(BAD_SCOPE, field="scope", scope=name)
