"""The one table of who may do what: every lifecycle and every power of every domain.

The services check by these very objects, ``docs/powers.md`` is written from them, and the matrix test tries every party,
role, action, state and ownership against them.
"""

from __future__ import annotations

from typing import Final

from marketplace.agreements import rules as agreements
from marketplace.authorisation import rules as authorisation
from marketplace.catalogue import rules as catalogue
from marketplace.commerce import rules as commerce
from marketplace.computing import rules as computing
from marketplace.lifecycle import Lifecycle, Power
from marketplace.notices import rules as notices
from marketplace.parties import rules as parties
from marketplace.products import rules as products
from marketplace.programs import rules as programs
from marketplace.registration import rules as registration
from marketplace.sandboxes import rules as sandboxes
from marketplace.selection import rules as selection

_DOMAINS: Final = (
    agreements,
    authorisation,
    catalogue,
    commerce,
    computing,
    notices,
    parties,
    products,
    programs,
    sandboxes,
    selection,
    registration,
)
"""The rules of every domain that has a lifecycle or a power: what they declare at their top is in the table."""

LIFECYCLES: Final[dict[str, Lifecycle]] = {
    value.name: value for module in _DOMAINS for value in vars(module).values() if isinstance(value, Lifecycle)}
POWERS: Final[dict[str, Power]] = {
    value.name: value for module in _DOMAINS for value in vars(module).values() if isinstance(value, Power)}
