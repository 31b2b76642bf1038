"""Sends mail from a thread of the coordinator, so that a slow mail server delays nothing else."""

from __future__ import annotations

import smtplib
import ssl
import threading
from typing import Final

from marketplace.db import reading, transaction
from marketplace.logging import get_logger
from marketplace.notices import mail
from marketplace.settings import Settings
from shuyan.problems import ProblemError

log = get_logger("mail")

LOOK_SECONDS: Final = 2.0
TIMEOUT_SECONDS: Final = 20.0


class Mailer:
    """Looks for mail to send until stopped; without a mail server it stays queued."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mail", daemon=True)

    def start(self) -> None:
        if self._settings.smtp_host:
            self._thread.start()

    def stop(self) -> None:
        """Stop once the mail under way is handed over."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(TIMEOUT_SECONDS)

    def _work(self) -> None:
        started = False
        while not self._stopping.wait(LOOK_SECONDS if started else 0):
            try:
                if not started:
                    with transaction() as session:
                        mail.after_start(session)
                    started = True
                self.look()
            except Exception as error:  # the database or the mail server is away; it comes back
                started = True
                log.error("mail cannot be sent", error=type(error).__name__)

    def look(self) -> None:
        """Send what is due, over one connection."""
        with reading() as session:
            rows = mail.due(session)
        if not rows:
            return
        try:
            server = connect(self._settings)
        except (OSError, smtplib.SMTPException) as error:
            for row in rows:
                _mark(row, "queued", type(error).__name__)
            return
        with server:
            for row in rows:
                if self._stopping.is_set() or not hand_over(server, row):
                    return


def connect(settings: Settings) -> smtplib.SMTP:
    """A connection as the settings say: TLS from the start, STARTTLS, or (inside one machine or network) none."""
    context = ssl.create_default_context()
    server: smtplib.SMTP
    if settings.smtp_security == "tls":
        server = smtplib.SMTP_SSL(settings.smtp_host, settings.smtp_port, timeout=TIMEOUT_SECONDS, context=context)
    else:
        server = smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=TIMEOUT_SECONDS)
        if settings.smtp_security == "starttls":
            server.starttls(context=context)
    server.ehlo_or_helo_if_needed()
    if settings.smtp_user and settings.smtp_password_file is not None:
        server.login(settings.smtp_user, settings.smtp_password_file.read_text(encoding="utf-8").strip())
    return server


def hand_over(server: smtplib.SMTP, row: mail.Outgoing) -> bool:
    """Hand one mail over; whether the connection may be used on.

    It counts as under way only once the server has taken sender and recipient: what fails before can safely be tried again.
    """
    try:
        data = mail.compose(row).as_bytes()
        sender = mail.compose(row)["From"].addresses[0].addr_spec
    except (ValueError, IndexError, ProblemError) as error:  # no address, or sealed by a key that is gone
        _mark(row, "failed", type(error).__name__)
        return True
    under_way = False
    try:
        for code, _text in (server.mail(sender), server.rcpt(row.recipient)):
            if code >= 400:
                _mark(row, "failed" if code >= 500 else "queued", str(code))
                server.rset()
                return True
        _mark(row, "sending")
        under_way = True
        code, _text = server.data(data)
        _mark(row, "sent" if code < 400 else "failed" if code >= 500 else "queued", "" if code < 400 else str(code))
    except smtplib.SMTPDataError as error:
        _mark(row, "failed" if error.smtp_code >= 500 else "queued", str(error.smtp_code))
    except (OSError, smtplib.SMTPException) as error:
        _mark(row, "unsure" if under_way else "queued", type(error).__name__)
        return False
    return True


def _mark(row: mail.Outgoing, status: str, error: str = "") -> None:
    with transaction() as session:
        mail.mark(session, row.id, status, error)
