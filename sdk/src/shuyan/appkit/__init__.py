"""The agent SDK's workshop: make, check, pack and verify a federated app of one's own.

What an app itself imports is :mod:`shuyan.federation.kit`. What runs it, shut in, is :mod:`shuyan.federation.foreign` on the
coordinator and the worker on a node; neither the marketplace nor a node's agent ever imports an app's code: all they need
stands in the package's static manifest.
"""

from __future__ import annotations

from shuyan.appkit.diff import PackageDiff, diff_packages
from shuyan.appkit.package import Package, pack, read_package
from shuyan.appkit.signature import sign_package, verify_signature

__all__ = ["Package", "PackageDiff", "diff_packages", "pack", "read_package", "sign_package", "verify_signature"]
