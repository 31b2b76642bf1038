"""Handing in an app, its review and its download, on pages."""

from __future__ import annotations

import io
import re
from typing import Any

from tests.factories.programs import Signer, make_package

from marketplace.settings import settings


def test_an_app_is_handed_in_reviewed_and_downloaded(pages: Any) -> None:
    signer, package = Signer(settings()), make_package()
    developer, operator = pages.member("developer"), pages.member("operator", "zh")
    answer = pages.post(developer, "/submissions", "/submissions", package=(io.BytesIO(package.data), "x.shuyanapp"), note="first")
    where = answer.headers["Location"]
    assert re.fullmatch(r"/submissions/app_\w+", where)
    mine = developer.get(where)
    assert mine.status_code == 200
    assert "Withdraw" in mine.text
    assert 'value="accept"' not in mine.text
    assert "visit_costs" in developer.get("/submissions").text

    shown = operator.get(where).text
    for expected in (package.digest, "query.sums", "首个版本", "fsum", 'value="accept"', 'value="return"'):
        assert expected in shown
    wrong = pages.post(operator, where, where, decision="accept", signature=(io.BytesIO(Signer().sign(package).encode()), "x.sig"))
    assert "签名无效" in operator.get(wrong.headers["Location"]).text
    missing = pages.post(operator, where, where, decision="return", note="")
    assert "说明理由" in operator.get(missing.headers["Location"]).text
    assert "已提交" in operator.get(where).text  # nothing has happened yet
    done = pages.post(operator, where, where, decision="accept", signature=(io.BytesIO(signer.sign(package).encode()), "x.sig"))
    assert done.headers["Location"] == where
    assert operator.get(f"{where}/package").data == package.data
    assert operator.get(f"{where}/signature").text.strip() == signer.sign(package)
    assert "visit_costs" in developer.get("/apps/visit_costs").text
    assert pages.member("consumer").get(where).status_code == 404
    assert pages.visitor().get("/submissions").headers["Location"].startswith("/sign-in")


def test_no_package_on_a_page(pages: Any) -> None:
    developer = pages.member("developer")
    for more in ({}, {"package": (io.BytesIO(b"PK"), "x")}):
        answer = pages.post(developer, "/submissions", "/submissions", **more)
        assert "not valid" in developer.get(answer.headers["Location"]).text
    assert "No apps here" in developer.get("/submissions").text
