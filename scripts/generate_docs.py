"""Writes the reference pages of ``docs/`` from the code: commands, settings, error codes, powers.

``python scripts/generate_docs.py`` writes them, ``--check`` only says which are stale. A test does the latter.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NOTE = "<!-- Written by scripts/generate_docs.py; change the code instead. 由脚本生成，请改代码。 -->\n"

# command -> module with its Typer application `app`
COMMANDS = {
    "shuyan": "shuyan.cli",
    "shuyan-market": "marketplace.cli",
    "shuyan-coordinator": "marketplace.rpc.cli",
    "shuyan-authority": "marketplace.authorisation.authority_cli",
    "shuyan-node": "node_agent.cli.main",
}
CLIENT_VARIABLES = (
    ("SHUYAN_URL", "Address of the market for `shuyan` and the SDK.", "`shuyan` 和 SDK 使用的市场地址。"),
    ("SHUYAN_PROFILE", "Name of the saved profile to use.", "使用的登录配置名称。"),
    ("SHUYAN_CLIENT_ID", "API client to act as.", "客户端编号。"),
    ("SHUYAN_CLIENT_SECRET_FILE", "File with its secret.", "客户端密钥所在文件。"),
    ("SHUYAN_LANG", "`zh` or `en`: language of every command.", "所有命令的界面语言。"),
    ("XDG_CONFIG_HOME", "Where profiles are kept (`~/.config` by default).", "登录配置所在目录。"),
)
EXIT_CODES = (
    (0, "done", "完成"), (1, "refused or failed", "被拒绝或失败"), (2, "wrong usage", "用法错误"),
    (3, "cannot connect", "无法连接"), (4, "not enrolled, not signed in", "未注册或未登录"),
)


def describe_command(command: Any, path: str) -> dict[str, Any]:
    """A command and its subcommands as plain data, in the language of this process."""
    import click

    context = click.Context(command, info_name=path)
    parameters = []
    for parameter in command.get_params(context):
        record = parameter.to_info_dict()
        if "--help" in record.get("opts", ()):
            continue
        names = ", ".join(f"`{name}`" for name in [*record["opts"], *record.get("secondary_opts", ())])
        if record["param_type_name"] == "argument":
            names = f"`{parameter.make_metavar(context)}`"
        parameters.append({"names": names, "required": parameter.required, "help": getattr(parameter, "help", "") or ""})
    children = getattr(command, "commands", {})
    return {
        "path": path, "help": " ".join((command.help or "").split()), "parameters": parameters,
        "children": [describe_command(child, f"{path} {name}") for name, child in children.items()],
    }


def dump() -> list[dict[str, Any]]:
    """Every command, in the language of this process."""
    from typer.main import get_command

    return [describe_command(get_command(importlib.import_module(module).app), name) for name, module in COMMANDS.items()]


def dump_in(language: str) -> list[dict[str, Any]]:
    """:func:`dump` in a process of that language: texts are made when a command's module is imported."""
    done = subprocess.run([sys.executable, str(Path(__file__).resolve()), "--dump"], check=True, capture_output=True,
                          text=True, env={**os.environ, "SHUYAN_LANG": language, "COLUMNS": "200"})
    commands: list[dict[str, Any]] = json.loads(done.stdout)
    return commands


def commands_page() -> str:
    lines = [NOTE, "# Commands · 命令参考\n",
             "Every command takes `--help`, and `--lang zh|en` before the subcommand. Exit codes · 退出码：\n",
             "| code | meaning | 含义 |", "| --- | --- | --- |",
             *(f"| {code} | {en} | {zh} |" for code, en, zh in EXIT_CODES), ""]

    def write(english: dict[str, Any], chinese: dict[str, Any], level: int) -> None:
        lines.append(f"{'#' * level} `{english['path']}`\n")
        lines.append(f"{english['help']}  \n{chinese['help']}\n")
        if english["parameters"]:
            lines.extend(["| | | |", "| --- | --- | --- |"])
            for here, there in zip(english["parameters"], chinese["parameters"], strict=True):
                required = " (required · 必填)" if here["required"] else ""
                lines.append(f"| {_cell(here['names'])} | {_cell(here['help'])}{required} | {_cell(there['help'])} |")
            lines.append("")
        for here, there in zip(english["children"], chinese["children"], strict=True):
            write(here, there, min(level + 1, 4))

    for english, chinese in zip(dump_in("en"), dump_in("zh"), strict=True):
        write(english, chinese, 2)
    return "\n".join(lines).rstrip() + "\n"


def settings_page() -> str:
    from marketplace.settings import Settings
    from node_agent import config

    lines = [NOTE, "# Settings · 配置参考\n", "## Marketplace and coordinator · 市场与协调服务\n",
             "Environment variables. Secrets are read from files, never from variables. 以环境变量给出；密钥只从文件读取。\n",
             "| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `SHUYAN_{name.upper()}` | {_default(field.default)} | {_cell(field.description or '')} |")
    lines += ["", "## Node agent · 节点\n", "`config.toml` in the node's directory. 节点目录中的 `config.toml`。\n",
              "| section | setting | default | meaning |", "| --- | --- | --- | --- |"]
    for section, holder in config.Config.model_fields.items():
        for name, field in getattr(holder.annotation, "model_fields", {}).items():
            lines.append(f"| `[{section}]` | `{name}` | {_default(field.default)} | {_cell(field.description or '')} |")
    lines += ["", "## SDK and command line · SDK 与命令行\n", "| variable | meaning | 含义 |", "| --- | --- | --- |",
              *(f"| `{name}` | {en} | {zh} |" for name, en, zh in CLIENT_VARIABLES)]
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    lines = [NOTE, "# Error codes · 错误码参考\n",
             "Every error that crosses a boundary has a code: in `code` of a problem document (RFC 9457), in a job's",
             "`error`, in a failure on the node link. 跨越边界的每个错误都有编码。\n",
             "| code | HTTP | English | 中文 |", "| --- | --- | --- | --- |",
             *(f"| `{problem.code}` | {problem.status} | {_cell(problem.en)} | {_cell(problem.zh)} |"
               for problem in all_problems())]
    return "\n".join(lines) + "\n"


def powers_page() -> str:
    """The table that services check by, with each lifecycle's diagram (Mermaid)."""
    from marketplace.powers import LIFECYCLES, POWERS
    from marketplace.web.labels import LABELS

    def words(kind: str, code: str) -> str:
        text = LABELS.get(kind, {}).get(code)
        return str(text._args[0]) if text is not None else code

    def who(step: Any) -> tuple[str, str, str, str]:
        return (", ".join(f"`{party}`" for party in sorted(step.parties)), ", ".join(f"`{role}`" for role in sorted(step.roles)),
                "own" if step.own else "any", f"`{step.scope}`" if step.scope else "–")

    lines = [NOTE, "# Who may do what · 职权表\n",
             "The one table of parties, roles and states. The services check by it, the pages draw from it, and a test tries every",
             "combination against it. A *role* is a person's in the organisation, a *scope* a program's token's; *own* is what belongs to",
             "one's own organisation. 单位、岗位与状态的唯一一张表：服务按它鉴权，页面按它绘图，测试逐一核对。\n",
             "## Acts without a state · 不依赖状态的操作\n",
             "| act | parties | roles | whose | scope |", "| --- | --- | --- | --- | --- |"]
    for name, one in sorted(POWERS.items()):
        lines.append("| `" + name + "` | " + " | ".join(who(one)) + " |")
    for name, life in sorted(LIFECYCLES.items()):
        lines += ["", f"## `{name}`\n", "```mermaid", "stateDiagram-v2", f"  [*] --> {life.initial}"]
        drawn: dict[tuple[str, str], list[str]] = {}
        for step in life.transitions:
            for source in sorted(step.sources):
                actions = drawn.setdefault((source, step.target), [])
                if step.action not in actions:
                    actions.append(step.action)
        lines += [f"  {source} --> {target}: {', '.join(actions)}" for (source, target), actions in sorted(drawn.items())]
        lines += [f"  {state} --> [*]" for state in sorted(life.final)]
        lines += ["```", "", "| act | from | to | parties | roles | whose | scope |", "| --- | --- | --- | --- | --- | --- | --- |"]
        for step in life.transitions:
            lines.append(f"| {words('action', step.action)} (`{step.action}`) | {', '.join(f'`{one}`' for one in sorted(step.sources))} "
                         f"| `{step.target}` | " + " | ".join(who(step)) + " |")
    return "\n".join(lines) + "\n"


def all_problems() -> list[Any]:
    """The whole catalogue, after importing every module that defines problems."""
    for package_name in ("shuyan", "node_agent", "marketplace"):
        package = importlib.import_module(package_name)
        for module in pkgutil.walk_packages(package.__path__, f"{package_name}."):
            path = module.module_finder.find_spec(module.name, None)  # type: ignore[union-attr, call-arg]
            source = Path(path.origin).read_text(encoding="utf-8") if path and path.origin else ""
            if re.search(r"\bdefine\(", source):
                importlib.import_module(module.name)
    from shuyan.problems import all_problems as collected

    return collected()


def _default(value: object) -> str:
    return "" if value in (None, "") else f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"commands.md": commands_page, "settings.md": settings_page, "errors.md": errors_page, "powers.md": powers_page}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is stale")
    parser.add_argument("--dump", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.dump:
        print(json.dumps(dump()))
        return 0
    stale = []
    for name, render in PAGES.items():
        path, content = DOCS / name, render()
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            stale.append(name)
            if not options.check:
                DOCS.mkdir(exist_ok=True)
                path.write_text(content, encoding="utf-8")
    print("stale: " + ", ".join(stale) if options.check and stale else "written: " + (", ".join(stale) or "nothing new"))
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
