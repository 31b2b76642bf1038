"""What an unexpected error leaves in the log: where it happened, and nothing it was about."""

from __future__ import annotations

import pytest
import sqlalchemy.exc
from sqlalchemy import text

from marketplace.db import make_engine
from marketplace.logging import configure, get_logger


@pytest.mark.parametrize("json", [False, True])
def test_a_traceback_shows_no_local_variables(capsys: pytest.CaptureFixture[str], json: bool) -> None:
    configure(json=json)

    def sign_in() -> None:
        password = "".join(["open", "sesame"])
        raise RuntimeError(f"{len(password)} characters")

    try:
        sign_in()
    except RuntimeError:
        get_logger("test").exception("request failed")
    shown = capsys.readouterr().err
    assert "10 characters" in shown
    assert "opensesame" not in shown


def test_a_database_error_shows_no_parameters() -> None:
    with make_engine("sqlite://", writer=True).connect() as connection, pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
        connection.execute(text("SELECT * FROM nowhere WHERE secret = :secret"), {"secret": "opensesame"})
    assert "opensesame" not in str(caught.value)
