"""The error catalogue: every error that may cross a boundary, by code, with its public sentence in both languages.

A problem is raised as a :class:`ProblemError` carrying a code and named arguments, never free text. Each face
(REST, gRPC, page, command line) turns it into its own form, so nothing internal can leak by accident. Codes are
defined next to the code that raises them and collected here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shuyan._terms import TERMS

Language = Literal["zh", "en"]


@dataclass(frozen=True)
class Problem:
    """One catalogue entry; ``zh`` and ``en`` are :meth:`str.format` templates over the error's arguments."""

    code: str
    status: int  # HTTP status (RFC 9110)
    zh: str
    en: str


_catalogue: dict[str, Problem] = {}


def define(code: str, status: int, *, zh: str, en: str) -> str:
    """Add one problem to the catalogue and return its code.

    Raises:
        ValueError: the code exists already with another meaning.
    """
    problem = Problem(code, status, zh, en)
    if _catalogue.setdefault(code, problem) != problem:
        raise ValueError(f"problem code defined twice: {code}")
    return code


def get(code: str) -> Problem:
    """The catalogue entry of ``code``; an unknown code reads as ``internal_error`` so that nothing leaks."""
    return _catalogue.get(code) or _catalogue["internal_error"]


def all_problems() -> list[Problem]:
    """Every defined problem, by code."""
    return [_catalogue[code] for code in sorted(_catalogue)]


_CODED: dict[str, tuple[str, ...]] = {
    "not_found": ("what",), "wrong_state": ("state", "action"), "result_not_released": ("state",),
    "form_not_granted": ("form",), "identifier_undeclared": ("kind",),
}
"""Arguments that are words of the product and not data, by the code whose sentence holds them."""

class _Arguments(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"


def describe(code: str, args: dict[str, object] | None = None, language: Language = "zh") -> str:
    """The public sentence of a problem in ``language`` ("zh" or "en"); lists among ``args`` are told as lists of names."""
    problem = get(code)
    told = _Arguments({name: _listed(value, language) for name, value in (args or {}).items()})
    if language == "zh":
        for name in _CODED.get(problem.code, ()):
            told[name] = TERMS[name].get(str(told[name]), told[name])
    return (problem.zh if language == "zh" else problem.en).format_map(told)


def _listed(value: object, language: Language) -> object:
    return ("、" if language == "zh" else ", ").join(map(str, value)) if isinstance(value, (list, tuple)) else value


class ProblemError(Exception):
    """An error that may be told to the other side: a catalogue code and its arguments.

    Attributes:
        code: the catalogue code.
        args_: named arguments of the public sentence; must hold nothing the other side may not see.
        field: the input field at fault, if there is one.
    """

    def __init__(self, code: str, *, field: str | None = None, **args: object) -> None:
        self.code = code
        self.field = field
        self.args_ = args
        super().__init__(f"{code}: {describe(code, {'field': field, **args}, 'en')}")

    @property
    def problem(self) -> Problem:
        return get(self.code)

    def text(self, language: Language = "zh") -> str:
        """The public sentence in ``language``."""
        return describe(self.code, {"field": self.field, **self.args_}, language)


define("internal_error", 500, zh="系统内部出错，已记录编号 {reference}。请稍后重试，或把编号告知运营机构。",
       en="Something went wrong on our side; it is recorded as {reference}. Try again later, or tell the operator this number.")
define("invalid_input", 422, zh="输入有误：{field}：{reason}。", en="Invalid input: {field}: {reason}.")
define("not_found", 404, zh="没有找到{what}。请检查编号是否正确，或您是否有权查看。",
       en="No such {what}. Check the identifier, and that you may see it.")
define("not_signed_in", 401, zh="请先登录。", en="Please sign in first.")
define("not_allowed", 403, zh="您的单位或角色无权执行此操作。", en="Your organisation or role may not do this.")
define("wrong_state", 409, zh="当前状态“{state}”下不能执行“{action}”。", en="“{action}” is not possible in state “{state}”.")
define("idempotency_mismatch", 409, zh="同一个 Idempotency-Key 已用于另一个内容不同的请求。",
       en="This Idempotency-Key was already used for a different request.")
define("unavailable", 503, zh="服务暂时不可用，请稍后重试。", en="The service is unavailable for the moment; try again shortly.")
