"""The node agent: one per department. Raw data stays here; only what passed every stage of one pipeline leaves."""

from __future__ import annotations

__version__ = "0.1.0"
