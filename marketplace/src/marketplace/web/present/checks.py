"""The automatic egress checks in plain words."""

from __future__ import annotations

from typing import Any

from flask_babel import gettext as _

from marketplace.web.i18n import number
from marketplace.web.present.base import Section


def check_sentence(check: dict[str, Any]) -> str:
    """What one automatic egress check looked at, in the reader's language."""
    sentences = {
        "form_allowed": _("The output form is one the grant allows"),
        "shape": _("The result has exactly the declared form"),
        "finite": _("All figures are finite numbers"),
        "size": _("The result is no larger than the grant allows"),
        "participants": _("Enough departments took part"),
        "rows": _("Enough records are behind the result"),
        "cells": _("No figure rests on too few records"),
        "stated_facts": _("Departments and records are stated truthfully"),
    }
    code = str(check.get("code", ""))
    return str(sentences.get(code, code))


def check_figures(check: dict[str, Any]) -> str:
    """The figures behind a check, where it keeps any: what was found, and what is asked for."""
    args, code = check.get("args") or {}, check.get("code")
    if code in ("participants", "rows") and code in args:
        return str(_("%(found)s, at least %(minimum)s", found=number(args[code]), minimum=number(args.get("minimum"))))
    if code == "size" and "values" in args:
        return str(_("%(found)s figures, at most %(maximum)s", found=number(args["values"]), maximum=number(args.get("maximum"))))
    if code == "cells" and "cells" in args:
        return str(_("%(found)s below %(minimum)s records", found=number(args["cells"]), minimum=number(args.get("minimum"))))
    return ""


def audited(found: dict[str, Any] | None) -> list[Section]:
    """How a model withstood the departments' attack on who it was trained on; nothing where none was asked for."""
    if not found:
        return []
    return [Section(_("Does the model betray who it was trained on?"), [_("Departments' own attack"), _("Departments")], [False, True], [
        [_("passed"), number(found["passed"])], [_("not passed"), number(found["failed"])],
        [_("too few records to say"), number(found["undecided"])]],
        note=_("Passed: with %(confidence)s %% confidence no attack recognises more than %(limit)s %% of the records it was trained on while "
               "taking %(rate)s %% of others for such.", confidence=number(100 * found["confidence"]), limit=number(100 * found["limit"]),
               rate=number(100 * found["false_positive_rate"])))]
