"""What the codes of accounts, memberships and apps are called."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _l

LABELS: dict[str, dict[str, Any]] = {
    "role": {
        "admin": _l("Administrator"),
        "handler": _l("Handler"),
        "reviewer": _l("Reviewer"),
        "finance": _l("Finance"),
        "auditor": _l("Auditor"),
    },
    "role_task": {
        "admin": _l("manages people and programs, signs for the organisation"),
        "handler": _l("prepares and submits"),
        "reviewer": _l("decides"),
        "finance": _l("orders and pays"),
        "auditor": _l("reads, changes nothing"),
    },
    "permission": {
        "read": _l("read what the organisation may see"),
        "jobs": _l("propose scenarios, ask for data, run jobs"),
        "products": _l("make and sell products"),
        "orders": _l("place and cancel orders"),
        "deliver": _l("call bought products"),
        "operate": _l("do the operator's work"),
        "grants": _l("decide demands and grants"),
        "egress": _l("decide what leaves the domain"),
        "agreements": _l("negotiate and sign agreements"),
        "review": _l("review scenarios and data demands"),
        "register": _l("complete the organisation's registration"),
        "people": _l("see members, invite people, change roles"),
    },
    "state": {
        "active": _l("Active"),
        "ended": _l("Ended"),
        "withdrawn": _l("Withdrawn"),
        "accepted": _l("Accepted"),
    },
    "action": {
        "change_roles": _l("Change roles"),
        "end": _l("End"),
        "leave": _l("Leave"),
        "withdraw": _l("Withdraw"),
        "accept": _l("Accept"),
    },
    "event": {
        "parties:member:invited": _l("Member invited"),
        "parties:member:joined": _l("Member joined"),
        "parties:member:roles_changed": _l("Member's roles changed"),
        "parties:member:suspended": _l("Membership suspended"),
        "parties:member:resumed": _l("Membership resumed"),
        "parties:member:ended": _l("Membership ended"),
        "parties:invitation:withdrawn": _l("Invitation withdrawn"),
        "parties:account:password_changed": _l("Password changed"),
        "parties:account:password_reset": _l("Password reset by mail"),
        "parties:account:email_changed": _l("E-mail address changed"),
        "parties:account:second_factor_added": _l("Second factor added"),
        "parties:account:second_factor_removed": _l("Second factor removed"),
        "parties:account:identity_linked": _l("External identity linked"),
        "parties:account:identity_unlinked": _l("External identity unlinked"),
        "parties:connection:made": _l("App connected"),
        "parties:connection:ended": _l("App disconnected"),
    },
    "what": {
        "account": _l("account"),
        "member": _l("member"),
        "membership": _l("membership"),
        "invitation": _l("invitation"),
        "session": _l("session"),
        "connection": _l("connected app"),
        "identity": _l("external identity"),
    },
}
