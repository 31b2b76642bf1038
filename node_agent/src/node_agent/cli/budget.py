"""``budget``: what answers with differential privacy may cost, and have cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from node_agent import errors
from node_agent.budget import RENEWALS, SHOWN_DELTA
from node_agent.cli.output import Json, moment, plain, print_json, print_table, problems_told
from node_agent.local import reach
from shuyan._text import t
from shuyan.federation.privacy.accounting import NANO, epsilon, rho_for
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

budgets = typer.Typer(no_args_is_help=True, help=t(
    "隐私预算：差分隐私作答可以花多少、已经花了多少。", "Privacy budgets: what answers with differential privacy may cost, and have cost."))

_RENEWAL = {"never": ("不更新", "never"), "monthly": ("每月", "monthly"), "quarterly": ("每季度", "quarterly"),
            "yearly": ("每年", "yearly")}
_SCOPE = {"resource": ("资源", "resource"), "grantee": ("使用单位", "grantee"), "grant": ("授权", "grant")}

Resource = Annotated[str, typer.Argument(help=t("资源名称。", "The resource's name."))]
Delta = Annotated[float | None, typer.Option(min=1e-15, max=0.01, help=t(
    "以此 δ 显示 ε；默认用授权的 δ。", "Show ε at this δ; the grants' own if not given."))]


@budgets.command("list", help=t("列出各资源、使用单位和授权的预算。", "List the budgets of resources, grantees and grants."))
def budget_list(context: typer.Context, delta: Delta = None, json_: Json = False) -> None:
    """List the budgets."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = list(node.ListBudgets(local_pb2.ListBudgetsRequest()).budgets)
    _print(found, delta, json_)


@budgets.command("show", help=t("查看一个资源的预算。", "Show the budgets of one resource."))
def budget_show(context: typer.Context, resource: Resource, delta: Delta = None, json_: Json = False) -> None:
    """Show one resource's budgets."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = list(node.ListBudgets(local_pb2.ListBudgetsRequest(resource=resource)).budgets)
    _print(found, delta, json_)


@budgets.command("history", help=t("列出已记的每一笔花费。", "List every charge."))
def budget_history(
    context: typer.Context,
    resource: Annotated[str, typer.Option(help=t("只看此资源。", "Only of this resource."))] = "",
    grantee: Annotated[str, typer.Option(help=t("只看此使用单位（单位编号）。", "Only of this grantee (organisation id)."))] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help=t("最多显示条数。", "At most so many."))] = 100,
    json_: Json = False,
) -> None:
    """List charges, newest first."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = list(node.BudgetHistory(local_pb2.BudgetHistoryRequest(
            resource=resource, grantee=grantee, limit=limit)).charges)
    if json_:
        print_json([{**plain(charge), "rho": charge.rho_nano / NANO, "epsilon": epsilon(charge.rho_nano, charge.delta)}
                    for charge in found])
        return
    print_table((t("时间", "Time"), t("资源", "Resource"), t("使用单位", "Grantee"), t("授权", "Grant"), t("应用", "App"), "ρ",
                 "ε", t("重复作答", "Given again")),
                ((moment(c.at_ms), c.resource, c.grantee_name, c.grant_id, c.app, _rho(c.rho_nano),
                  _epsilon(c.rho_nano, c.delta), c.repeats) for c in found),
                empty=t("没有花费。", "Nothing was charged."), numeric=(5, 6, 7))


@budgets.command("set", help=t("设定资源的预算上限，或某一使用单位在该资源上的上限。",
                               "Set the cap of a resource, or of one grantee on it."))
def budget_set(
    context: typer.Context, resource: Resource,
    grantee: Annotated[str, typer.Option(help=t("只限此使用单位（单位编号）。", "Of this grantee only (organisation id)."))] = "",
    cap_epsilon: Annotated[float | None, typer.Option(min=0.0, help=t(
        "上限，以 ε 给出（与 --delta 同用）。", "The cap as ε (at --delta)."))] = None,
    cap_rho: Annotated[float | None, typer.Option(min=0.0, help=t("上限，以 ρ 给出。", "The cap as ρ."))] = None,
    delta: Annotated[float, typer.Option(min=1e-15, max=0.01, help=t("ε 所对应的 δ。", "The δ of that ε."))] = SHOWN_DELTA,
    renew: Annotated[str, typer.Option(help=t(
        "更新周期：never、monthly、quarterly、yearly（按北京时间）。", "never, monthly, quarterly or yearly (Beijing time)."))] = "",
    remove: Annotated[bool, typer.Option("--remove", help=t(
        "撤销所设上限，恢复默认。", "Take the cap back; the default holds again."))] = False,
    json_: Json = False,
) -> None:
    """Set a cap."""
    given = [value for value in (cap_epsilon, cap_rho) if value is not None]
    if renew not in ("", *RENEWALS) or len(given) > 1 or (remove and (given or renew)) or not (given or renew or remove):
        raise typer.BadParameter(t("--cap-epsilon 与 --cap-rho 二选一；--renew 可单独使用；--remove 不与其他选项同用。",
                                   "Give --cap-epsilon or --cap-rho, --renew with or without them, or --remove alone."))
    request = local_pb2.SetBudgetRequest(resource=resource, grantee=grantee, renewal=renew, remove=remove)
    with problems_told(), reach(context.obj.node_dir) as node:
        try:
            if cap_epsilon is not None:
                request.cap_nano = rho_for(cap_epsilon, delta)
            elif cap_rho is not None:
                request.cap_nano = round(cap_rho * NANO)
        except (ValueError, OverflowError):
            raise ProblemError(errors.BUDGET_INVALID) from None
        budget = node.SetBudget(request)
    _print([budget], delta if cap_epsilon is not None else None, json_)


def _print(found: Iterable[link_pb2.Budget], delta: float | None, json_: bool) -> None:
    if json_:
        print_json([_plain(budget, delta) for budget in found])
        return
    print_table(
        (t("范围", "Scope"), t("资源", "Resource"), t("使用单位", "Grantee"), t("授权", "Grant"), t("上限 ρ", "Cap ρ"),
         t("已用 ρ", "Spent ρ"), t("剩余 ρ", "Left ρ"), t("上限 ε", "Cap ε"), t("已用 ε", "Spent ε"), "δ", t("更新", "Renews")),
        ((t(*_SCOPE[b.scope]), b.resource or "-", b.grantee_name or b.grantee or "-", b.grant_id or "-", _rho(b.cap_nano),
          _rho(b.spent_nano), _rho(max(b.cap_nano - b.spent_nano, 0)), _epsilon(b.cap_nano, delta or b.delta),
          _epsilon(b.spent_nano, delta or b.delta), f"{delta or b.delta:.0e}", _renews(b)) for b in found),
        empty=t("没有登记资源。", "No resources."), numeric=(4, 5, 6, 7, 8, 9))


def _plain(budget: link_pb2.Budget, delta: float | None) -> dict[str, Any]:
    at = delta or budget.delta
    left = max(budget.cap_nano - budget.spent_nano, 0)
    return {**plain(budget), "delta": at, "left_nano": left, "epsilon_cap": epsilon(budget.cap_nano, at),
            "epsilon_spent": epsilon(budget.spent_nano, at)}


def _renews(budget: link_pb2.Budget) -> str:
    often = t(*_RENEWAL.get(budget.renewal, (budget.renewal, budget.renewal)))
    return f"{often} {moment(budget.renews_at_ms)}" if budget.renews_at_ms else often


def _rho(nano: int) -> str:
    from shuyan.federation.privacy.ledger import rho_text

    return rho_text(nano)


def _epsilon(nano: int, delta: float) -> str:
    return f"{epsilon(nano, delta):.3g}"
