"""The outgoing mail, for those who run the market."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.db import reading, transaction
from marketplace.notices import outbox as mails
from marketplace.web.blueprint import web
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import PAGE, cursor


@web.get("/mail")
@signed_in("operator", "data_authority")
def outbox() -> Any:
    actor, status = current_actor(), request.args.get("status")
    status = status if status in mails.STATES else None
    recipient = request.args.get("recipient", "").strip()[:254].replace("\x00", "")
    with reading() as db:
        state = mails.outbox(db, actor)
        page = mails.list_mail(db, actor, status=status, recipient=recipient, cursor=cursor(), limit=PAGE)
    return render_template("web/outbox.html", state=state, items=page.items, next=page.next, first_page=cursor() is None, status=status,
                           recipient=recipient, masked=mails.masked, may_retry={row.id: mails.may_retry(actor, row) for row in page.items},
                           why=why)


@web.post("/mail/<mail_id>/retry")
@signed_in("operator", "data_authority")
def retry_mail(mail_id: str) -> Any:
    with transaction() as db:
        mails.retry(db, current_actor(), mail_id)
    flash(_("It is sent once more."), "success")
    return redirect(url_for("web.outbox", status=request.form.get("status") or None), 303)


def why(error: str) -> str:
    """What stood against a mail, in words: the server's code, or what kind of failure it was."""
    if not error:
        return ""
    if error.isdigit():
        return str(_("The mail server answered %(code)s.", code=error))
    if error == "interrupted":
        return str(_("Sending was interrupted; it may have arrived."))
    if error in ("ValueError", "IndexError", "ProblemError"):
        return str(_("The mail cannot be written: its address, or the key that seals it."))
    if error == "SMTPAuthenticationError":
        return str(_("The mail server does not take the market's name and password."))
    return str(_("The mail server cannot be reached, or broke off (%(kind)s).", kind=error))
