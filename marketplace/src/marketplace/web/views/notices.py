"""Public notices and objections to them, and the messages to a member."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from sqlmodel import Session

from marketplace.api.limits import OBJECTION_LIMIT, limiter
from marketplace.db import reading, transaction, utc_now
from marketplace.notices import inbox, mail, rules
from marketplace.notices import service as notices
from marketplace.parties import service as parties
from marketplace.web.blueprint import web
from marketplace.web.i18n import language
from marketplace.web.labels import choices, label
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import PAGE, cursor, organisation_names
from shuyan.problems import ProblemError


@web.get("/notices")
def notices_list() -> Any:
    kind, status = request.args.get("kind") or None, request.args.get("status") or None
    with reading() as db:
        page = notices.list_notices(db, kind=kind, status=status, q=request.args.get("q"), cursor=cursor(), limit=PAGE)
        names = organisation_names(db, {row.organisation_id for row in page.items})
    return render_template("web/notices.html", items=page.items, names=names, next=page.next, first_page=cursor() is None,
                           kinds=[("", _("All")), *choices("notice_kind")],
                           states=[("", _("All")), *((state, label("state", state)) for state in rules.NOTICE.states)])


@web.get("/notices/<notice_id>")
def notice(notice_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        row = notices.get_notice(db, notice_id)
        names = organisation_names(db, {row.organisation_id})
        objections = notices.objections(db, actor, notice_id) if rules.ANSWER.held(actor) else []
        answered = notices.answers(db, notice_id)
    left = row.closes_at - utc_now()
    return render_template(
        "web/notice.html", row=row, organisation=names.get(row.organisation_id, "–"), objections=objections, answered=answered,
        open=rules.still_open(row.status, row.closes_at, utc_now()), may_object=notices.may_object(actor, row), days=max(0, left.days), hours=max(0, left.seconds // 3600),
        actions={one.id: rules.OBJECTION.possible(one.status, actor, owner=row.organisation_id) for one in objections})


@web.post("/notices/<notice_id>/objections")
@limiter.limit(OBJECTION_LIMIT)  # type: ignore[untyped-decorator]
def object_to_notice(notice_id: str) -> Any:
    with transaction() as db:
        notices.object_to(db, current_actor(), notice_id, request.form.get("text", ""), contact=request.form.get("contact", ""))
    flash(_("Your objection is recorded and will be answered."), "success")
    return redirect(url_for("web.notice", notice_id=notice_id), 303)


@web.post("/objections/<objection_id>")
@signed_in("operator", "data_authority")
def answer_objection(objection_id: str) -> Any:
    decision = request.form.get("decision")
    if decision not in ("uphold", "dismiss"):
        raise ProblemError("bad_request")
    with transaction() as db:
        row = notices.answer(db, current_actor(), objection_id, decision, request.form.get("answer", ""))  # type: ignore[arg-type]
    flash(_("Answered."), "success")
    return redirect(url_for("web.notice", notice_id=row.notice_id), 303)


@web.get("/messages")
@signed_in()
def messages() -> Any:
    with reading() as db:
        page = inbox.messages(db, current_actor(), unread=request.args.get("unread") == "yes", cursor=cursor(), limit=PAGE)
        count = inbox.unread(db, current_actor())
        wants = mail.wants(db, _account_id(db))
    return render_template("web/messages.html", next=page.next, first_page=cursor() is None, unread=count, wants=wants,
                           items=[(one, inbox.sentence(one.row, language())) for one in page.items])


@web.post("/messages/mail")
@signed_in()
def messages_mail() -> Any:
    with transaction() as db:
        mail.wish(db, _account_id(db), request.form.get("wanted") == "yes")
    flash(_("Saved."), "success")
    return redirect(url_for("web.messages"), 303)


def _account_id(db: Session) -> str:
    member = parties.get_member(db, current_actor().member_id or "")
    if member is None:
        raise ProblemError("not_signed_in")
    return member.account_id


@web.post("/messages")
@signed_in()
def messages_read() -> Any:
    with transaction() as db:
        inbox.mark_all_read(db, current_actor())
    return redirect(url_for("web.messages"), 303)


@web.get("/messages/<message_id>")
@signed_in()
def message(message_id: str) -> Any:
    """Mark a message as read and go to what it is about; links in mail lead here."""
    from werkzeug.routing import BuildError

    with transaction() as db:
        row = inbox.read(db, current_actor(), message_id)
    endpoint, _colon, argument = inbox.page_of(row).partition(":")
    try:
        values: dict[str, Any] = {argument: row.subject} if argument else {}
        return redirect(url_for(f"web.{endpoint}", **values) if endpoint else url_for("web.messages"))
    except BuildError:
        return redirect(url_for("web.messages"))
