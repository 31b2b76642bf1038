"""The use cases of the parties, for other domains and the faces; each idea stands in a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlmodel import Session

from marketplace.parties.accounts import account_by_email, authenticate, get_account
from marketplace.parties.clients import (
    TOKEN_SECONDS,
    Bearer,
    actor_for_client,
    bearer,
    create_client,
    find_client,
    issue_token,
    list_clients,
    replace_secret,
    revoke_client,
)
from marketplace.parties.memberships import (
    Recipient,
    actor_for_member,
    add_member,
    get_member,
    memberships_of,
    name_of,
    persons,
    recipients,
    same_person,
)
from marketplace.parties.organisations import (
    get_organisation,
    list_organisations,
    lock_organisation,
    of_kinds,
    organisations_by_id,
    organisations_of_kind,
    register_organisation,
    set_credit_code,
    set_status,
)

if TYPE_CHECKING:
    from marketplace.parties.seed import SeedReport

__all__ = [
    "TOKEN_SECONDS", "Bearer", "Recipient", "account_by_email", "actor_for_client", "actor_for_member", "add_member", "authenticate",
    "bearer", "create_client", "find_client", "get_account", "get_member", "get_organisation", "issue_token", "list_clients",
    "list_organisations", "lock_organisation", "memberships_of", "name_of", "of_kinds", "organisations_by_id", "organisations_of_kind",
    "persons", "recipients", "register_organisation", "replace_secret", "revoke_client", "same_person", "seed", "set_credit_code", "set_status",
]


def seed(session: Session, data: dict[str, Any]) -> SeedReport:
    """Add the organisations, members and clients of a seed file that are not there yet; see :mod:`.seed`."""
    from marketplace.parties.seed import seed as run

    return run(session, data)
