"""OAuth 2.0, on Authlib's protocol classes: the authorisation server for programs, apps and command lines, and bearer tokens."""

from __future__ import annotations

from marketplace.api.oauth.bearer import authenticate, forget
from marketplace.api.oauth.endpoints import register

__all__ = ["authenticate", "forget", "register"]
