"""Every message and every piece of waiting work leads to a page that exists and that whoever gets it may open."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import url_for
from sqlmodel import select
from tests.browser import scene
from tests.factories.apps import shared_app

import marketplace
from marketplace import work
from marketplace.authorisation import texts as authorisation_texts
from marketplace.computing import service as computing
from marketplace.db import reading, transaction, utc_now
from marketplace.notices.models import Message
from marketplace.notices.texts import KINDS
from marketplace.products import service as products
from marketplace.products.stages import CHECKLISTS

SOURCE = Path(marketplace.__file__).parent


def _written() -> Iterator[tuple[str, str]]:
    """(where, page) of every work item and kind of message in the source."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("WorkItem") and len(node.args) > 3:
                where, page = f"{path.name}:{node.lineno}", node.args[3]
                if isinstance(page, ast.Constant):
                    yield where, str(page.value)
                else:
                    assert ast.unparse(page).startswith("texts.PAGES["), f"{where}: {ast.unparse(page)} is not read by this test"
    yield from (("authorisation/texts.py", page) for page in authorisation_texts.PAGES.values())
    yield from ((f"message {kind.name}", kind.page) for kind in KINDS.values() if kind.page)


@pytest.mark.usefixtures("sqlite_database")
def test_every_link_leads_to_a_page_that_exists() -> None:
    app, wrong = shared_app(), []
    found = list(_written())
    assert len(found) > 40
    with app.test_request_context():
        for where, page in found:
            endpoint, _colon, argument = page.partition(":")
            rules = list(app.url_map.iter_rules(f"web.{endpoint}")) if f"web.{endpoint}" in app.view_functions else []
            if not any("GET" in (rule.methods or ()) and rule.arguments == ({argument} if argument else set()) for rule in rules):
                wrong.append(f"{where}: {page}")
            else:
                url_for(f"web.{endpoint}", **({argument: "x"} if argument else {}))
    assert wrong == []


@pytest.mark.usefixtures("sqlite_database")
def test_whoever_is_told_or_has_to_act_may_open_the_page() -> None:
    made = scene.build()
    with transaction() as session:  # a version at each desk in turn, and one sent back
        developer, draft = made.actors["developer"], made.products["draft"]
        products.run_tests(session, developer, draft, 1)
        products.submit_version(session, developer, draft, 1)
    app = shared_app()
    opened: set[tuple[str, str]] = set()
    for stage, role in (("security_test", "operator"), ("compliance_review", "operator"), ("egress_review", "")):
        _walk(app, made, opened)
        if role:
            with transaction() as session:
                products.pass_stage(session, made.actors[role], draft, 1, ticked=CHECKLISTS[stage], stage=stage)
    with transaction() as session:
        products.return_version(session, made.actors["authority"], draft, 1, "请更正")
        products.suspend_product(session, made.actors["operator"], made.products["model"], "核查")
        computing.decide_review(session, made.actors["first"], made.reviews["waiting"], False, "分组过细")
    _walk(app, made, opened)
    assert {"review_version", "review", "my_product", "product", "job", "order", "demand", "grant"} <= {page for _role, page in opened}


def _walk(app: Any, made: scene.Scene, opened: set[tuple[str, str]]) -> None:
    for role, actor in made.actors.items():
        with reading() as session:
            told = session.exec(select(Message.kind, Message.subject).where(Message.organisation_id == actor.organisation_id)).all()
            asked = {(item.page, item.subject) for item in work.waiting(session, actor, utc_now())}
        asked |= {(KINDS[kind].page, subject) for kind, subject in told if KINDS[kind].page}
        client = app.test_client()
        client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"
        _sign_in(client, role)
        with app.test_request_context():
            places = {(page.partition(":")[0], url_for(f"web.{page.partition(':')[0]}", **(
                {page.partition(":")[2]: subject} if ":" in page else {}))) for page, subject in asked}
        for endpoint, place in sorted(places):
            if (role, place) not in opened:
                assert client.get(place).status_code == 200, f"{role}: {place}"
                opened |= {(role, place), (role, endpoint)}


def _sign_in(client: Any, role: str) -> None:
    form = client.get("/sign-in").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', form)
    assert token is not None
    answer = client.post("/sign-in", data={"csrf_token": token.group(1), "email": scene.email(role), "password": scene.PASSWORD},
                         headers={"Referer": "http://localhost/sign-in"})
    assert answer.status_code == 303
