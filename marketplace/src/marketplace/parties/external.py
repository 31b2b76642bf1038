"""Use cases of the external OpenID provider: signing in as whom it vouches for, linking and unlinking an identity.

An identity (issuer and subject) is linked with an account by its signed-in person, or at the first sign-in by the e-mail
address, where both sides have proof of it: the provider says ``email_verified``, and here somebody has read its mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from marketplace import db
from marketplace.actor import PUBLIC, Actor
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import accounts, alerts, guessing, sign_in
from marketplace.parties.errors import EXTERNAL_UNKNOWN
from marketplace.parties.models import Account, ExternalIdentity
from marketplace.parties.organisations import insert
from marketplace.parties.sessions import SignedIn, as_actor
from marketplace.parties.sign_in import Place, Step
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class Vouched:
    """Who somebody is, as the provider's verified ID token says."""

    issuer: str
    subject: str
    email: str = ""
    email_verified: bool = False


def enter(who: Vouched, place: Place) -> Step:
    """A session for the person whom the provider vouches for; the second factor may still be owed.

    Raises:
        ProblemError: ``external_unknown`` where no account is linked and none can be by the address, ``too_many_attempts``.
    """
    guessing.reserve([("address", place.address)])
    with db.transaction() as session:
        linked = session.exec(select(ExternalIdentity).where(ExternalIdentity.issuer == who.issuer,
                                                             ExternalIdentity.subject == who.subject)).first()
        account = session.get(Account, linked.account_id) if linked else _by_address(session, who)
        if account is None:
            raise ProblemError(EXTERNAL_UNKNOWN)
        if linked is None:
            _link(session, PUBLIC, account.id, who)
        guessing.forgive(session, [("address", place.address)])
    return sign_in.for_external(account, place)


def _by_address(session: Session, who: Vouched) -> Account | None:
    found = accounts.account_by_email(session, who.email) if who.email_verified and who.email else None
    return found if found is not None and found.email_verified_at is not None else None


def link(session: Session, who: SignedIn, identity: Vouched) -> ExternalIdentity:
    """Let a signed-in person sign in by this identity, too. Raises ``already_taken`` for one that is linked."""
    return _link(session, as_actor(session, who), who.account.id, identity)


def _link(session: Session, actor: Actor, account_id: str, identity: Vouched) -> ExternalIdentity:
    row = ExternalIdentity(id=new_id("ext"), account_id=account_id, issuer=identity.issuer, subject=identity.subject)
    insert(session, row, "identity", identity.email or identity.subject)
    trust.append(session, Tag.IDENTITY_LINKED, actor, account_id, related=[row.id])
    alerts.tell(session, session.get_one(Account, account_id), "identity")
    return row


def identities(session: Session, account_id: str) -> Sequence[ExternalIdentity]:
    """The identities a person may sign in by, oldest first."""
    return session.exec(select(ExternalIdentity).where(ExternalIdentity.account_id == account_id).order_by(col(ExternalIdentity.id))).all()


def unlink(session: Session, who: SignedIn, identity_id: str) -> None:
    """Let an identity no longer sign in as this person. Raises ``not_found``."""
    row = session.get(ExternalIdentity, identity_id, with_for_update=True)
    if row is None or row.account_id != who.account.id:
        raise ProblemError("not_found", what="identity")
    session.delete(row)
    trust.append(session, Tag.IDENTITY_UNLINKED, as_actor(session, who), who.account.id, related=[identity_id])
