"""Decisions of the audit log, without I/O: what a leaf looks like and what the log is called."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any

import rfc8785

from marketplace.actor import Actor
from marketplace.events import Tag
from marketplace.trust.errors import EVENT_TOO_LARGE
from shuyan.problems import ProblemError

MAX_LEAF_BYTES = 16 * 1024  # ids and digests fit many times over; contents do not belong here


def origin(city_code: str) -> str:
    """The name of a city's log, as in its checkpoints: ``shuyan.<city>/log``."""
    return f"shuyan.{city_code.lower()}/log"


def leaf(at: dt.datetime, tag: Tag, actor: Actor, subject: str, related: Iterable[str],
         data: dict[str, Any] | None) -> str:
    """The canonical JSON (RFC 8785) of one event: ``{actor, at, data, related, subject, tag}``.

    ``at`` is ISO 8601 UTC with microseconds; ``related`` is sorted, without repetition and without the subject.

    Raises:
        ProblemError: ``event_too_large``.
        rfc8785.CanonicalizationError: ``data`` holds something JSON has no one form for.
    """
    body = {
        "at": at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "tag": tag.value,
        "actor": {"party": actor.party, "id": actor.label},
        "subject": subject,
        "related": sorted(set(related) - {subject}),
        "data": data or {},
    }
    text = rfc8785.dumps(body)
    if len(text) > MAX_LEAF_BYTES:
        raise ProblemError(EVENT_TOO_LARGE, maximum=MAX_LEAF_BYTES)
    return text.decode("utf-8")


def subjects(leaf_text: str) -> list[str]:
    """Everything the event speaks of: its subject first, then what it is related to."""
    body = json.loads(leaf_text)
    return [body["subject"], *body["related"]]
