"""Federated apps: the base classes, the registry of installed ones, and the two that come with the product."""

from __future__ import annotations

from shuyan.federation.apps.base import (
    AppManifest,
    FederatedApp,
    InstalledApp,
    Limits,
    Need,
    Progress,
    Question,
    installed,
)
from shuyan.federation.vectors import VectorSpec

__all__ = ["AppManifest", "FederatedApp", "InstalledApp", "Limits", "Need", "Progress", "Question", "VectorSpec", "installed"]
