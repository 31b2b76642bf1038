"""A form for any app, made from the JSON schema of its parameters; pure, no I/O.

Fields are called by the parameter's dotted path. What a form cannot ask well (nested objects nobody has thought of) is
asked as JSON, so that every app can be run from a browser.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flask_babel import gettext as _

from marketplace.computing.submission import FILLED
from marketplace.web.labels import known, label
from marketplace.web.views._common import COLUMNS
from marketplace.web.views.granted import GrantedColumn, GrantedTable
from shuyan.problems import ProblemError

NUMBERS_ONLY = ("clustering", "components")
"""Apps whose features are numbers."""

SECTIONS = ("model", "features", "evaluation", "missing", "more")

_LEFT_OUT = frozenset({*FILLED, "resource", "edition", "rho_nano", "split"})
_SECTION = {
    **dict.fromkeys(("family", "objective", "task", "classes", "target", "time", "event", "times.lower", "times.upper", "times.step",
                     "clusters", "components"), "model"),
    "features": "features",
    **dict.fromkeys(("validation", "early_stopping_rounds", "audit"), "evaluation"),
    **dict.fromkeys(("impute.numbers", "impute.categories", "impute.indicators", "unknown_levels"), "missing"),
}
_SUGGESTED = {"clusters": "3", "times.step": "1", "validation": "0.2", "early_stopping_rounds": "10", "l2": "0"}


@dataclass(frozen=True)
class Field:
    """One parameter.

    Attributes:
        name: dotted path in the parameters, and the field's name.
        kind: ``column``, ``columns``, ``choice``, ``integer``, ``number``, ``flag``, ``text``, ``integers``, ``monotone``,
            ``categories``, ``json`` or ``group``: a box that says whether the parameters below it are sent at all.
        default: the app's own, as text; what is left so is not sent.
        least, most: bounds of a number.
        suggested: what a fresh form shows instead of the default.
    """

    name: str
    kind: str
    section: str = "more"
    default: str = ""
    options: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    required: bool = False
    suggested: str = ""

    @property
    def _splits_categories(self) -> bool:
        """Trees call by this name how a category is split."""
        return self.name == "categories" and self.kind == "choice"

    @property
    def title(self) -> str:
        """What the parameter is called."""
        return label("param", "category_splits" if self._splits_categories else self.name)

    @property
    def hint(self) -> str:
        """What it means, where that is written down, and its bounds."""
        told = label("param_hint", self.name) if self.name in known("param_hint") and not self._splits_categories else ""
        if self.kind in ("integer", "number") and not told and self.least is not None and self.most is not None and self.most < 1e6:
            return str(_("%(least)s to %(most)s", least=f"{self.least:g}", most=f"{self.most:g}"))
        return told

    def option_title(self, code: str) -> str:
        """What a choice is called."""
        return label("family", code) if self.name == "family" else label("option", code)


@dataclass
class AppForm:
    """The fields of one app over one table.

    Attributes:
        fixed: what the grant's way of releasing leaves no choice about; sent, and not asked.
    """

    app: str
    table: GrantedTable
    fields: list[Field] = field(default_factory=list)
    splits: bool = False
    fixed: dict[str, Any] = field(default_factory=dict)

    def of(self, section: str) -> list[Field]:
        """The fields of a section, in the schema's order."""
        return [one for one in self.fields if one.section == section]

    @property
    def features(self) -> list[GrantedColumn]:
        """Columns that can be features."""
        return self.table.numbers if self.app in NUMBERS_ONLY else self.table.features

    def defaults(self) -> dict[str, list[str]]:
        """What a fresh form shows, as a multi-value mapping like a submitted one."""
        return {one.name: [one.suggested or _SUGGESTED.get(one.name, "") or one.default or (one.options[0] if one.options else "")] for one in self.fields
                if one.kind not in ("columns", "categories")} | {
            "split": ["none"], "split.fraction": ["0.2"], "split.folds": ["5"], "split.test": ["1"]}


def make(app: str, schema: Mapping[str, Any], table: GrantedTable, release: str = "exact") -> AppForm:
    """The form of an app from its parameters' JSON schema, under a grant that releases ``exact`` answers or noisy ones (``dp``).

    What has no effect there, or would be refused, is not asked (:func:`shuyan.federation.privacy.under`).
    """
    form = AppForm(app, table)
    required = set(schema.get("required", ()))
    for name, spec in schema.get("properties", {}).items():
        if spec.get("x-release", release) != release:
            continue
        told = spec.get("x-under", {}).get(release, {})
        if name == "split":
            form.splits = True
        elif "const" in told:
            form.fixed[name] = told["const"]
        elif name not in _LEFT_OUT:
            made = _fields(name, {**spec, **told}, schema, required=name in required)
            form.fields += [replace(one, section="model", required=True, suggested=_text(told["examples"][0])) for one in made] \
                if "examples" in told else made
    return form


def _fields(name: str, spec: Mapping[str, Any], schema: Mapping[str, Any], *, required: bool) -> list[Field]:
    default = spec.get("default")
    spec, optional = _inner(spec, schema)
    required = required and not optional
    if spec.get("type") == "object" and "properties" in spec:
        inner_default = default if isinstance(default, dict) else {}
        needed = set(spec.get("required", ())) if required else set()
        group = [Field(name, "group", _SECTION.get(name, "more"))] if optional else []
        return group + [one for key, value in spec["properties"].items()
                for one in _fields(f"{name}.{key}", {**value, **({"default": inner_default[key]} if key in inner_default else {})},
                                   schema, required=key in needed)]
    kind, options = _kind(name, spec)
    if name == "impute.numbers" or name == "impute.categories":
        options = tuple(code for code in options if code != "constant")
    least = spec.get("minimum", spec.get("exclusiveMinimum"))
    most = spec.get("maximum", spec.get("exclusiveMaximum"))
    return [Field(name, kind, _SECTION.get(name, "model" if kind == "column" and required else "more"), _text(default), options,
                  least, most, required)]


def _inner(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """A property without its reference or its alternative of null; and whether there was one."""
    optional = False
    if "anyOf" in spec:
        others = [one for one in spec["anyOf"] if one.get("type") != "null"]
        optional = len(others) < len(spec["anyOf"])
        spec = others[0] if len(others) == 1 else {}
    if "$ref" in spec:
        spec = schema.get("$defs", {}).get(str(spec["$ref"]).rsplit("/", 1)[-1], {})
    return spec, optional


def _kind(name: str, spec: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    if name in COLUMNS:
        return "column", ()
    if name == "features":
        return "columns", ()
    if name == "monotone":
        return "monotone", ()
    kind, items = spec.get("type"), spec.get("items", {})
    if "enum" in spec:
        return "choice", tuple(str(code) for code in spec["enum"])
    if kind == "array" and name == "categories":
        return "categories", ()
    if kind == "array" and items.get("type") == "integer":
        return "integers", ()
    simple = {"integer": "integer", "number": "number", "boolean": "flag", "string": "text"}
    return simple.get(str(kind), "json"), ()


def _text(default: Any) -> str:
    if default is None or default in ([], {}):
        return ""
    if isinstance(default, bool):
        return "1" if default else ""
    if isinstance(default, list):
        return ", ".join(str(item) for item in default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def params(form: AppForm, data: Any) -> dict[str, Any]:
    """The app's parameters from a submitted form; what is left at the app's own default is not among them.

    Raises:
        ProblemError: ``invalid_input`` with ``field`` naming the field at fault.
    """
    out: dict[str, Any] = {"resource": form.table.name, **form.fixed}
    left = {one.name for one in form.fields if one.kind == "group" and not data.get(one.name)}
    for one in form.fields:
        value = _value(form, one, data)
        if value is not None and one.name.rpartition(".")[0] not in left:
            _put(out, one.name, value)
    if form.splits and (split := _split(form, data)):
        out["split"] = split
    return out


def _value(form: AppForm, one: Field, data: Any) -> Any:
    if one.kind == "columns":
        return _features(form, one, data)
    if one.kind == "categories":
        chosen = set(data.getlist("features"))
        return [column.name for column in form.table.columns if column.name in data.getlist(one.name) and column.name in chosen] or None
    if one.kind == "monotone":
        signs = {column.name: data.get(f"monotone.{column.name}", "") for column in form.features}
        return {name: int(sign) for name, sign in signs.items() if sign in ("1", "-1")} or None
    if one.kind == "group":
        return {} if data.get(one.name) else None
    if one.kind == "flag":
        return bool(data.get(one.name)) if bool(data.get(one.name)) != bool(one.default) else None
    raw = data.get(one.name, "").strip()
    if one.kind == "column" and raw and raw not in {column.name for column in form.table.columns}:
        raise _wrong(one, _("choose one column"))
    if not raw:
        if one.required:
            raise _wrong(one, _("choose one column") if one.kind == "column" else _("a value is needed"))
        return None
    if raw == one.default:
        return None
    return _typed(one, raw)


def _features(form: AppForm, one: Field, data: Any) -> list[str]:
    taken = {data.get(name, "") for name in COLUMNS}
    chosen = data.getlist(one.name)
    features = [column.name for column in form.features if column.name in chosen and column.name not in taken]
    if not features:
        raise _wrong(one, _("choose at least one column"))
    return features


def _typed(one: Field, raw: str) -> Any:
    if one.kind == "choice" and raw not in one.options:
        raise _wrong(one, _("choose one of the list"))
    if one.kind == "integer":
        return _whole(one, raw)
    if one.kind == "number":
        try:
            value = float(raw)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise _wrong(one, _("a number"))
        return value
    if one.kind == "integers":
        return [_whole(one, part) for part in raw.replace("，", ",").split(",") if part.strip()]
    if one.kind == "json":
        try:
            return json.loads(raw)
        except ValueError:
            raise _wrong(one, _("JSON, such as %(example)s", example='{"age": "median"}')) from None
    return raw


def _whole(one: Field, raw: str) -> int:
    digits = raw.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15):
        raise _wrong(one, _("a whole number"))
    return int(raw)


def _split(form: AppForm, data: Any) -> dict[str, Any] | None:
    how = data.get("split", "none")
    if how == "fraction":
        return {"fraction": _typed(Field("split.fraction", "number"), data.get("split.fraction", "").strip() or "?")}
    if how == "folds":
        return {"folds": _typed(Field("split.folds", "integer"), data.get("split.folds", "").strip() or "?")}
    if how == "column":
        column = data.get("split.column", "")
        test = [value.strip() for value in data.get("split.test", "").replace("，", ",").split(",") if value.strip()]
        if column not in {one.name for one in form.table.columns}:
            raise _wrong(Field("split.column", "column"), _("choose one column"))
        if not test:
            raise _wrong(Field("split.test", "text"), _("a value is needed"))
        return {"column": column, "test": test}
    return None


def _put(out: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        out = out.setdefault(name, {})
    out[last] = value


def _wrong(one: Field, reason: str) -> ProblemError:
    problem = ProblemError("invalid_input", field=one.title, reason=reason)
    problem.args_["field"], problem.field = one.title, one.name  # told by its title, found by its name
    return problem


@dataclass(frozen=True)
class Line:
    """A parameter as documentation tells it.

    Attributes:
        release: the only way of releasing under which it has an effect; empty where it has one under both.
    """

    name: str
    title: str
    kind: str
    default: str
    required: bool
    hint: str
    options: list[str]
    release: str


def lines(schema: Mapping[str, Any]) -> list[Line]:
    """All parameters of an app, the resource included, for its page."""
    required = set(schema.get("required", ()))
    found = [(one, spec.get("x-release", "")) for name, spec in schema.get("properties", {}).items() if name not in FILLED
             for one in _fields(name, spec, schema, required=name in required)]
    kinds = {"column": "column", "columns": "columns", "categories": "columns", "monotone": "json", "group": "flag"}
    return [Line(one.name, one.title, label("field_kind", kinds.get(one.kind, one.kind)), one.default, one.required, one.hint,
                 [one.option_title(code) for code in one.options], release) for one, release in found]
