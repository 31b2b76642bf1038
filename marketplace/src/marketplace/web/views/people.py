"""An organisation's people: its members, and whom its administrators invite."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.actor import ROLES
from marketplace.db import reading, transaction
from marketplace.parties import invitations, memberships, rules
from marketplace.web import session
from marketplace.web.blueprint import web
from marketplace.web.i18n import language
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import unstored


@web.get("/members")
@signed_in()
def members() -> Any:
    actor = current_actor()
    may_invite = rules.INVITE.held(actor, owner=actor.organisation_id)
    with reading() as db:
        rows = [(member, account, [action for action in rules.MEMBER.possible(member.status, actor, owner=member.organisation_id)
                                   if action == "change_roles" or (action == "leave") == (member.id == actor.member_id)])
                for member, account in memberships.colleagues(db, actor)]
        waiting = invitations.open_invitations(db, actor) if may_invite else []
    return render_template("web/members.html", rows=rows, waiting=waiting, may_invite=may_invite, roles=ROLES)


@web.post("/members/invite")
@signed_in()
def member_invite() -> Any:
    with transaction() as db:
        made = invitations.invite(db, current_actor(), email=request.form.get("email", ""), roles=request.form.getlist("roles"),
                                  locale=language())
    return unstored(render_template("web/invited.html", made=made))


@web.post("/members/invitations/<invitation_id>/withdraw")
@signed_in()
def invitation_withdraw(invitation_id: str) -> Any:
    with transaction() as db:
        invitations.withdraw(db, current_actor(), invitation_id)
    flash(_("The invitation is withdrawn."), "success")
    return redirect(url_for("web.members"), 303)


@web.post("/members/<member_id>/roles")
@signed_in()
def member_roles(member_id: str) -> Any:
    with transaction() as db:
        memberships.change_roles(db, current_actor(), member_id, request.form.getlist("roles"))
    flash(_("The roles are changed."), "success")
    return redirect(url_for("web.members"), 303)


@web.post("/members/<member_id>/suspend")
@signed_in()
def member_suspend(member_id: str) -> Any:
    with transaction() as db:
        memberships.suspend(db, current_actor(), member_id)
    flash(_("The member is suspended."), "success")
    return redirect(url_for("web.members"), 303)


@web.post("/members/<member_id>/resume")
@signed_in()
def member_resume(member_id: str) -> Any:
    with transaction() as db:
        memberships.resume(db, current_actor(), member_id)
    flash(_("The member is active again."), "success")
    return redirect(url_for("web.members"), 303)


@web.post("/members/<member_id>/end")
@signed_in()
def member_end(member_id: str) -> Any:
    own = member_id == current_actor().member_id
    with transaction() as db:
        memberships.end_membership(db, current_actor(), member_id)
    session.forget()
    flash(_("The membership is ended."), "success")
    return redirect(url_for("web.profile" if own else "web.members"), 303)
