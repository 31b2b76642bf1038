"""Uploaded files are what their bytes say, belong to whoever brought them, and to one subject."""

from __future__ import annotations

import pytest
from tests.factories.market import make_city

from marketplace import db
from marketplace.attachments import service as attachments
from shuyan.problems import ProblemError

PDF = b"%PDF-1.7\n..."


@pytest.mark.usefixtures("database")
def test_files_are_kept_and_belong_to_one_subject_of_their_owner() -> None:
    with db.transaction() as session:
        city = make_city(session)
        kept = attachments.store(session, city["developer"], name="C:\\docs\\资质.pdf", data=PDF)
        assert (kept.name, kept.media_type, kept.size) == ("资质.pdf", "application/pdf", len(PDF))
        attachments.attach(session, city["developer"], [kept.id], "thing_1")
        for actor, subject in ((city["consumer"], "thing_1"), (city["developer"], "thing_2")):
            with pytest.raises(ProblemError, match="not_found"):
                attachments.attach(session, actor, [kept.id], subject)
    with db.reading() as session:
        assert [row.name for row in attachments.of_subject(session, "thing_1")] == ["资质.pdf"]
        assert attachments.read(session, kept.id).data == PDF


@pytest.mark.usefixtures("sqlite_database")
@pytest.mark.parametrize(("name", "data", "code"), [
    ("a.pdf", b"", "file_empty"), ("a.pdf", b"MZ\x90", "file_kind_not_allowed"), ("a.pdf", b"<script>", "file_kind_not_allowed"),
    ("", PDF, "file_name_invalid"), ("a\x00.pdf", PDF, "file_name_invalid"), ("x" * 121, PDF, "file_name_invalid"),
    ("a.pdf", PDF + b"0" * attachments.MAX_BYTES, "file_too_large"),
], ids=["empty", "a program", "a script", "no name", "a control character", "a long name", "too large"])
def test_other_files_are_refused(name: str, data: bytes, code: str) -> None:
    with db.transaction() as session:
        developer = make_city(session)["developer"]
        with pytest.raises(ProblemError, match=code):
            attachments.store(session, developer, name=name, data=data)
