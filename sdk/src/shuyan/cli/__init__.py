"""``shuyan``: the market from a terminal. Every command speaks Chinese and English; reading ones also JSON."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from shuyan._text import t
from shuyan.cli import (
    account,
    apps,
    authorisation,
    catalogue,
    computing,
    jobs,
    orders,
    products,
    sandbox,
    sources,
    taking_part,
    verify,
)
from shuyan.cli._common import Connection, told

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
    help=t("数堰：查找公共数据、运行联邦计算、购买和调用数据产品，并核验市场的存证。",
           "Shuyan: find public data, run federated jobs, buy and call data products, and check the market's evidence."),
)


@app.callback()
def _common(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help=t("市场地址。", "Address of the market."), metavar="URL")] = None,
    profile: Annotated[str | None, typer.Option(help=t("登录配置的名称。", "Name of a saved profile."), metavar="NAME")] = None,
    lang: Annotated[str | None, typer.Option(help=t("界面语言：zh 或 en。", "Language: zh or en."), metavar="LANG")] = None,
) -> None:
    context.obj = Connection(url, profile)


account.add_to(app)
taking_part.add_to(app)
catalogue.add_to(app)
sources.add_to(app)
authorisation.add_to(app)
computing.add_to(app)
app.add_typer(jobs.app, name="jobs")
app.add_typer(apps.app, name="app")
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(products.app, name="products")
orders.add_to(app)
verify.add_to(app)


def main() -> None:
    """Entry point of ``shuyan``. Exit codes: 0 done, 1 refused, 2 usage, 3 cannot connect, 4 not signed in."""
    with told():
        app()
    sys.exit(0)
