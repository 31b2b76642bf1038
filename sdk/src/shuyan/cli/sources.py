"""``shuyan elements``, ``negative-list`` and ``quality``: who is the source of an element, what is barred, what is wrong with data."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from shuyan._text import language, t
from shuyan.cli._common import (
    AsJson,
    Limit,
    console,
    local_time,
    market,
    print_fields,
    print_json,
    print_table,
    usage_error,
    word,
)

elements = typer.Typer(no_args_is_help=True, help=t("数据元及其权威来源（一数一源）。", "Data elements and the one authoritative source of each."))
negative = typer.Typer(no_args_is_help=True, help=t("负面清单：不得授权的数据。", "The negative list: what can be authorised to nobody."))
quality = typer.Typer(no_args_is_help=True, help=t("数据质量异议：提出、答复与查询。", "Objections to the quality of data: raise, answer, look up."))

Status = Annotated[str | None, typer.Option(help=t("只列此状态。", "Only those in this state."))]
ResourceId = Annotated[str, typer.Argument(help=t("资源编号。", "Resource id."), metavar="RESOURCE")]
EntryId = Annotated[str, typer.Argument(help=t("条目编号。", "The entry's id."), metavar="ID")]
ObjectionId = Annotated[str, typer.Argument(help=t("异议编号。", "The objection's id."), metavar="ID")]
Reason = Annotated[str, typer.Option(help=t("理由，公开。", "The reason; it is public."))]

_MEASURES: Final = {"completeness": "完整性", "validity": "有效性", "uniqueness": "唯一性", "timeliness": "及时性"}
_KINDS: Final = {"resource": "整个资源", "column": "单个字段", "pattern": "符合模式的一切"}


class Measure(StrEnum):
    """What may be wrong with data."""

    completeness = "completeness"
    validity = "validity"
    uniqueness = "uniqueness"
    timeliness = "timeliness"


class Step(StrEnum):
    """What may be done with an objection, by whom it is for."""

    accept = "accept"
    decline = "decline"
    fix = "fix"
    confirm = "confirm"
    reopen = "reopen"
    dispute = "dispute"
    withdraw = "withdraw"
    order = "order"
    dismiss = "dismiss"


def add_to(app: typer.Typer) -> None:
    """Attach the groups."""
    app.add_typer(elements, name="elements")
    app.add_typer(negative, name="negative-list")
    app.add_typer(quality, name="quality")


# --- data elements ---


@elements.command("list", help=t("列出数据元；--status conflict 只列有争议的。", "List elements; --status conflict gives the contested ones."))
def list_elements(context: typer.Context, status: Status = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    with market(context) as connected:
        rows = list(connected.elements.list(status=status, limit=limit))
    if as_json:
        return print_json(rows)
    return print_table([t("数据元", "element"), t("状态", "state"), t("权威来源", "authoritative source"), t("争议起", "contested since")],
                       [(row["name"], word("state", row["status"]), _place(row), local_time(row["conflict_since"])) for row in rows])


@elements.command("show", help=t("查看一个数据元：哪些字段包含它、哪些部门主张、如何裁定。",
                                 "Look at an element: the columns that hold it, who claims it, what was decided."))
def show_element(context: typer.Context, name: Annotated[str, typer.Argument(help=t("数据元名称。", "The element's name."))],
                 as_json: AsJson = False) -> None:
    with market(context) as connected:
        row = connected.elements.get(name)
    if as_json:
        return print_json(row)
    print_fields([(t("数据元", "element"), row["name"]), (t("状态", "state"), word("state", row["status"])),
                  (t("权威来源", "authoritative source"), _place(row)), (t("争议起", "contested since"), local_time(row["conflict_since"]))])
    console.print()
    print_table([t("资源", "resource"), t("字段", "column"), t("单位", "organisation"), t("主张为权威来源", "claims to be the source")],
                [(one["resource_id"], one["column"], one["organisation_id"], t("是", "yes") if one["source"] else "")
                 for one in row["claims"]])
    for decision in row["decisions"]:
        console.print(t("{when} 裁定 {place}：{reason}", "{when} decided for {place}: {reason}", when=local_time(decision["created_at"]),
                        place=_place(decision), reason=decision["reason"]), markup=False)
    return None


@elements.command(help=t("裁定数据元的权威来源（数据主管部门）。", "Decide which column is an element's authoritative source (data authority)."))
def settle(context: typer.Context, name: Annotated[str, typer.Argument(help=t("数据元名称。", "The element's name."))],
           resource: Annotated[str, typer.Option(help=t("资源编号。", "Resource id."))],
           column: Annotated[str, typer.Option(help=t("字段。", "Column."))], reason: Reason, as_json: AsJson = False) -> None:
    with market(context) as connected:
        row = connected.elements.settle(name, resource_id=resource, column=column, reason=reason)
    if as_json:
        return print_json(row)
    return print_fields([(t("数据元", "element"), row["name"]), (t("状态", "state"), word("state", row["status"])),
                         (t("权威来源", "authoritative source"), _place(row))])


def _place(row: dict[str, Any]) -> str:
    return f"{row['resource_id']}.{row['column']}" if row["resource_id"] else "–"


# --- the negative list ---


@negative.command("list", help=t("列出负面清单。", "List the entries."))
def list_negative(context: typer.Context,
                  status: Annotated[str | None, typer.Option(help=t("active（有效）或 withdrawn（已撤回）。", "active or withdrawn."))] = None,
                  resource: Annotated[str | None, typer.Option(help=t("只列此资源的条目。", "Only those about this resource."))] = None,
                  limit: Limit = 50, as_json: AsJson = False) -> None:
    with market(context) as connected:
        rows = list(connected.negative_list.list(status=status, resource_id=resource, limit=limit))
    if as_json:
        return print_json(rows)
    return print_table([t("编号", "id"), t("类型", "kind"), t("禁止授权", "barred"), t("理由", "reason"), t("生效", "effective"), t("状态", "state")],
                       [(row["id"], _kind(row), _barred(row), row["reason"], local_time(row["effective_from"]), word("state", row["status"]))
                        for row in rows])


@negative.command("show", help=t("查看一个条目及其历次版本。", "Look at an entry with its versions."))
def show_negative(context: typer.Context, id: EntryId, as_json: AsJson = False) -> None:
    with market(context) as connected:
        row = connected.negative_list.get(id)
    if as_json:
        return print_json(row)
    _print_entry(row)
    console.print()
    return print_table([t("版本", "version"), t("时间", "when"), t("禁止授权", "barred"), t("理由", "reason"), t("状态", "state")],
                       [(one["version"], local_time(one["created_at"]), _barred(one["body"]), one["body"]["reason"],
                         word("state", one["body"]["status"])) for one in row["versions"]], numeric=(0,))


@negative.command("check", help=t("核对资源的若干字段是否在负面清单中；命中时以 1 退出。",
                                  "Ask what the list bars of a resource's columns; leaves with 1 if anything."))
def check_negative(context: typer.Context, resource: ResourceId,
                   columns: Annotated[list[str], typer.Argument(help=t("字段。", "Columns."), metavar="COLUMN...")],
                   as_json: AsJson = False) -> None:
    with market(context) as connected:
        hits = connected.negative_list.check({resource: columns})
    if as_json:
        print_json(hits)
    elif hits:
        print_table([t("字段", "column"), t("条目", "entry"), t("理由", "reason")],
                    [(hit["column"] or t("整个资源", "the whole resource"), hit["entry_id"], hit["reason"]) for hit in hits])
    else:
        console.print(t("均不在负面清单中。", "None of it is on the negative list."))
    if hits:
        raise typer.Exit(1)


@negative.command("enter", help=t("列入负面清单（数据主管部门）：整个资源、字段或模式。",
                                  "Put a resource, a column or a pattern on the list (data authority)."))
def enter_negative(
    context: typer.Context, reason: Reason,
    resource: Annotated[str | None, typer.Option(help=t("资源编号。", "Resource id."))] = None,
    column: Annotated[str | None, typer.Option(help=t("该资源的字段；省略则为整个资源。", "Of that resource; left out, all of it."))] = None,
    pattern: Annotated[str | None, typer.Option(help=t("模式，* 代表任意内容；与 --field 同用。", "Pattern, * for anything; with --field."))] = None,
    field: Annotated[str | None, typer.Option(help=t("模式比对的内容：name、title、element、classification、resource_name、resource_title。",
                                                     "What the pattern is held against: name, title, element, classification, "
                                                     "resource_name, resource_title."))] = None,
    effective: Annotated[dt.datetime | None, typer.Option(help=t("生效时间（本机时区）；省略则立即生效。",
                                                                 "When it takes effect, in this machine's zone; left out, at once."))] = None,
    as_json: AsJson = False,
) -> None:
    if (resource is None) == (pattern is None) or (pattern is None) != (field is None) or (column is not None and resource is None):
        raise usage_error(t("请给出 --resource（可加 --column），或 --field 与 --pattern。",
                            "Give --resource (and --column), or --field with --pattern."))
    body: dict[str, Any] = ({"resource_id": resource, **({"column": column} if column is not None else {})} if resource is not None
                            else {"field": field, "pattern": pattern})
    if effective is not None:
        body["effective_from"] = effective.astimezone(dt.UTC).isoformat()
    kind = "pattern" if pattern is not None else "column" if column is not None else "resource"
    with market(context) as connected:
        row = connected.negative_list.enter(kind, reason, **body)
    return print_json(row) if as_json else _print_entry(row)


@negative.command("revise", help=t("修订一个条目，成为其下一版本（数据主管部门）。", "Decide an entry anew, as its next version (data authority)."))
def revise_negative(
    context: typer.Context, id: EntryId,
    reason: Annotated[str | None, typer.Option(help=t("新的理由，公开。", "The new reason; it is public."))] = None,
    pattern: Annotated[str | None, typer.Option(help=t("新的模式。", "The new pattern."))] = None,
    column: Annotated[str | None, typer.Option(help=t("新的字段。", "The new column."))] = None,
    effective: Annotated[dt.datetime | None, typer.Option(help=t("新的生效时间（本机时区）。", "New time of effect, in this machine's zone."))] = None,
    as_json: AsJson = False,
) -> None:
    body: dict[str, Any] = {name: value for name, value in (("reason", reason), ("pattern", pattern), ("column", column)) if value is not None}
    if effective is not None:
        body["effective_from"] = effective.astimezone(dt.UTC).isoformat()
    if not body:
        raise usage_error(t("请给出要修订的内容。", "Say what is to change."))
    with market(context) as connected:
        row = connected.negative_list.revise(id, **body)
    return print_json(row) if as_json else _print_entry(row)


@negative.command("withdraw", help=t("把一个条目移出负面清单（数据主管部门）。", "Take an entry off the list (data authority)."))
def withdraw_negative(context: typer.Context, id: EntryId, reason: Reason, as_json: AsJson = False) -> None:
    with market(context) as connected:
        row = connected.negative_list.withdraw(id, reason)
    return print_json(row) if as_json else _print_entry(row)


def _print_entry(row: dict[str, Any]) -> None:
    print_fields([(t("编号", "id"), row["id"]), (t("版本", "version"), row["version"]), (t("类型", "kind"), _kind(row)),
                  (t("禁止授权", "barred"), _barred(row)), (t("理由", "reason"), row["reason"]),
                  (t("生效", "effective"), local_time(row["effective_from"])), (t("状态", "state"), word("state", row["status"]))])


def _kind(row: dict[str, Any]) -> str:
    return _KINDS.get(row["kind"], row["kind"]) if language() == "zh" else str(row["kind"])


def _barred(row: dict[str, Any]) -> str:
    if row["kind"] == "pattern":
        return f"{row['field']} = {row['pattern']}"
    return f"{row['resource_id']}.{row['column']}" if row["column"] else str(row["resource_id"])


# --- objections to quality ---


@quality.command("list", help=t("列出本单位提出、应答复或监督的异议。", "List the objections your organisation raised, answers or oversees."))
def list_objections(context: typer.Context, status: Status = None,
                    resource: Annotated[str | None, typer.Option(help=t("只列此资源的异议。", "Only those about this resource."))] = None,
                    limit: Limit = 50, as_json: AsJson = False) -> None:
    with market(context) as connected:
        rows = list(connected.quality_objections.list(status=status, resource_id=resource, limit=limit))
    if as_json:
        return print_json(rows)
    return print_table([t("编号", "id"), t("资源", "resource"), t("字段", "column"), t("问题", "what is wrong"), t("状态", "state"), t("期限", "due")],
                       [(row["id"], row["resource_id"], row["column"] or "–", _measure(row), word("state", row["status"]), local_time(row["due_at"]))
                        for row in rows])


@quality.command("show", help=t("查看一项异议的经过，以及您可办理的步骤。", "Look at an objection's history, and what you may do."))
def show_objection(context: typer.Context, id: ObjectionId, as_json: AsJson = False) -> None:
    with market(context) as connected:
        row = connected.quality_objections.get(id)
    if as_json:
        return print_json(row)
    _print_objection(row)
    print_fields([(t("您可办理", "you may"), ", ".join(row["actions"]))])
    console.print()
    return print_table([t("时间", "when"), t("步骤", "step"), t("单位", "organisation"), t("说明", "text")],
                       [(local_time(one["created_at"]), word("action", one["action"]), one["organisation_id"] or "–", one["text"])
                        for one in row["steps"]])


@quality.command("object", help=t("对一个资源的数据质量提出异议；由数源部门限期答复。",
                                  "Object to a resource's quality; its department answers by a day."))
def raise_objection(
    context: typer.Context, resource: ResourceId,
    measure: Annotated[Measure, typer.Argument(help=t("问题：completeness（完整性）、validity（有效性）、uniqueness（唯一性）、timeliness（及时性）。",
                                                      "What is wrong."))],
    text: Annotated[str, typer.Argument(help=t("问题说明。", "What you found."))],
    column: Annotated[str, typer.Option(help=t("所涉字段。", "The column it is about."))] = "", as_json: AsJson = False,
) -> None:
    with market(context) as connected:
        row = connected.quality_objections.object(resource, measure.value, text, column=column)
    return print_json(row) if as_json else _print_objection(row)


@quality.command("act", help=t("办理一项异议的下一步。数源部门：accept、decline、fix；提出方：confirm、reopen、dispute、withdraw；数据主管部门：order、dismiss。",
                               "Take an objection's next step. The department: accept, decline, fix; who objected: confirm, reopen, "
                               "dispute, withdraw; the data authority: order, dismiss."))
def act(context: typer.Context, id: ObjectionId, step: Annotated[Step, typer.Argument(help=t("步骤。", "The step."))],
        text: Annotated[str, typer.Option(help=t("说明；除 confirm 外必填。", "A word on it; needed for all but confirm."))] = "",
        as_json: AsJson = False) -> None:
    with market(context) as connected:
        row = connected.quality_objections.act(id, step.value, text)
    return print_json(row) if as_json else _print_objection(row)


def _print_objection(row: dict[str, Any]) -> None:
    print_fields([(t("编号", "id"), row["id"]), (t("资源", "resource"), row["resource_id"]), (t("字段", "column"), row["column"]),
                  (t("问题", "what is wrong"), _measure(row)), (t("说明", "text"), row["text"]),
                  (t("责任部门", "who answers"), row["department_id"]), (t("状态", "state"), word("state", row["status"])),
                  (t("期限", "due"), local_time(row["due_at"]))])


def _measure(row: dict[str, Any]) -> str:
    return _MEASURES.get(row["measure"], row["measure"]) if language() == "zh" else str(row["measure"])

