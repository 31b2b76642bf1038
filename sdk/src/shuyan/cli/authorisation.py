"""``shuyan scenarios``, ``demands``, ``demand``, ``opinion``: where an application stands, what is against it, and deciding."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from shuyan._text import t
from shuyan.cli._common import (
    AsJson,
    Limit,
    console,
    market,
    print_fields,
    print_json,
    print_table,
    usage_error,
    word,
)

Status = Annotated[str | None, typer.Option(help=t("只列此状态。", "Only those in this state."))]


class Decision(StrEnum):
    """What an organisation that is asked may say."""

    approve = "approve"
    send_back = "return"
    refuse = "refuse"


def add_to(app: typer.Typer) -> None:
    """Attach the commands."""
    app.command("scenarios", help=t("列出应用场景及其状态。", "List scenarios and where they stand."))(scenarios)
    app.command("demands", help=t("列出数据需求及其状态。", "List data demands and where they stand."))(demands)
    app.command("demand", help=t("查看一项数据需求：不予受理的内容、审核意见、与上一版的差异。",
                                 "Look at a data demand: what is against it, opinions, changes since the last version."))(demand)
    app.command("opinion", help=t("对场景或数据需求提出审核意见。", "Give your organisation's opinion on a scenario or demand."))(opinion)


def scenarios(context: typer.Context, status: Status = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    with market(context) as connected:
        rows = list(connected.scenarios.list(status=status, limit=limit))
    if as_json:
        return print_json(rows)
    return print_table([t("编号", "id"), t("名称", "title"), t("领域", "sector"), t("版本", "version"), t("状态", "state")],
                       [[one.id, one.title, word("sector", one.sector), one.version, word("state", one.status)] for one in rows], numeric=[3])


def demands(context: typer.Context, status: Status = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    with market(context) as connected:
        rows = list(connected.demands.list(status=status, limit=limit))
    if as_json:
        return print_json(rows)
    return print_table([t("编号", "id"), t("场景", "scenario"), t("资源数", "resources"), t("版本", "version"), t("状态", "state")],
                       [[one.id, one.scenario_id, len(one.body.get("resources", [])), one.version, word("state", one.status)]
                        for one in rows], numeric=[2, 3])


def demand(context: typer.Context, id: Annotated[str, typer.Argument(help=t("数据需求编号。", "The demand's id."))],
           as_json: AsJson = False) -> None:
    with market(context) as connected:
        row = connected.demands.get(id)
        against = connected.demands.check(id) if row.status in ("draft", "returned") else []
        given, changed = connected.demands.opinions(id), connected.demands.changes(id)
    if as_json:
        return print_json({"demand": row, "findings": against, "opinions": given, "changes": changed})
    print_fields([(t("编号", "id"), row.id), (t("状态", "state"), word("state", row.status)), (t("版本", "version"), row.version),
                  (t("剔除", "struck"), ", ".join(row.struck)), (t("原因", "reason"), row.reason)])
    for finding in against:
        console.print(f"✗ {finding.text}", markup=False)
    print_table([t("编号", "id"), t("单位", "organisation"), t("意见", "opinion"), t("说明", "note")],
                [[one.id, one.organisation_id, word("state", one.status), one.note] for one in given])
    return None


def opinion(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help=t("意见编号，见 shuyan demand。", "The opinion's id; see shuyan demand."))],
    decision: Annotated[Decision, typer.Argument(help=t("通过、退回或不予批准。", "Approve, return or refuse."))],
    note: Annotated[str, typer.Option(help=t("说明；退回和不予批准时必填。", "A note; needed to return or refuse."))] = "",
    strike: Annotated[list[str] | None, typer.Option(help=t("剔除的数据资源编号，可多次给出。", "A resource left out; may be repeated."))] = None,
    as_json: AsJson = False,
) -> None:
    if strike and decision is not Decision.approve:
        raise usage_error(t("只有通过时才能剔除。", "Lines are struck with an approval only."))
    with market(context) as connected:
        match decision:
            case Decision.approve:
                given = connected.opinions.approve(id, note, struck=strike or [])
            case Decision.send_back:
                given = connected.opinions.send_back(id, note)
            case Decision.refuse:
                given = connected.opinions.refuse(id, note)
    if as_json:
        return print_json(given)
    return print_fields([(t("编号", "id"), given.id), (t("意见", "opinion"), word("state", given.status))])
