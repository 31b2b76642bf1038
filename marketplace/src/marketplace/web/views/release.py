"""How answers under a demand or grant are released, in words."""

from __future__ import annotations

from typing import Any

from flask_babel import gettext as _
from flask_babel import ngettext

from marketplace.web.i18n import number

Lines = list[tuple[str, str]]


def terms(privacy: Any) -> Lines:
    """The privacy terms of a grant; empty for exact answers."""
    if privacy is None:
        return []
    from marketplace.computing.budgets import epsilon

    return [
        (_("What is protected"), _unit(privacy.unit)),
        (_("Told apart by"), _columns(privacy.unit_columns)),
        (_("Privacy budget"), _("ε %(epsilon)s at δ %(delta)s", epsilon=number(epsilon(privacy.rho_nano, privacy.delta), 3),
                                delta=f"{privacy.delta:g}") + f" (ρ {number(privacy.rho_nano / 1e9, 6)})"),
        *_limits(privacy.max_rows_per_unit, privacy.max_groups_per_unit, privacy.honest_fraction)]


def demanded(privacy: dict[str, Any] | None) -> Lines:
    """The privacy terms that a demand asks for."""
    if not privacy:
        return []
    budget = f"ε {number(privacy['epsilon'], 3)}" if privacy.get("epsilon") else f"ρ {number((privacy.get('rho_nano') or 0) / 1e9, 6)}"
    return [
        (_("What is protected"), _unit(str(privacy.get("unit", "")))),
        (_("Told apart by"), _columns(privacy.get("unit_columns") or {})),
        (_("Privacy budget"), _("%(budget)s at δ %(delta)s", budget=budget, delta=f"{privacy.get('delta') or 1e-6:g}")),
        *_limits(privacy.get("max_rows_per_unit") or 1, privacy.get("max_groups_per_unit") or 1, privacy.get("honest_fraction") or 0.5)]


def _unit(unit: str) -> str:
    return str({"person": _("each person"), "enterprise": _("each enterprise")}.get(unit, unit))


def _columns(columns: dict[str, str]) -> str:
    return str(_(", ")).join(f"{resource}.{column}" for resource, column in columns.items())


def _limits(rows: int, groups: int, honest: float) -> Lines:
    return [(_("Counted of each at most"), _("%(rows)s, in %(groups)s", rows=ngettext("%(num)d record", "%(num)d records", rows),
                                           groups=ngettext("%(num)d group", "%(num)d groups", groups))),
            (_("Noise suffices with"), _("%(share)s %% honest departments", share=number(100 * honest)))]
