"""The guide names every setting and every command of the node."""

from __future__ import annotations

import typer

from node_agent.cli.main import app
from node_agent.config import Config


def test_every_setting_and_command_is_in_the_guide(repository):
    guide = (repository / "docs" / "node.md").read_text()
    for section, field in Config.model_fields.items():
        for name, setting in field.annotation.model_fields.items():
            default = str(setting.default).lower() if isinstance(setting.default, str | bool) else f"{setting.default:g}"
            assert f"| `{section}.{name}` | {default} | " in guide
    for name in typer.main.get_command(app).commands:
        assert f"shuyan-node {name}" in guide or f"shuyan-node --dir /srv/shuyan {name}" in guide
