"""``python -m shuyan.appkit._probe FD``: imports a project's app in a process that is shut in, and says what it saw.

Two orders, one after the other or the second alone: ``declare`` returns the static manifest; ``try`` runs the mock cases and
returns, for every answer of every department, what it was: names, lengths, digests. Two such processes with other hash seeds must
say the same.
"""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha256
from typing import Any

from shuyan import confinement
from shuyan.confinement.frames import Channel

_SECONDS = 300
_MEMORY_MB = 2048


def main(descriptor: int) -> None:
    """Serve orders about one project until nobody asks any more."""
    channel = Channel(descriptor)
    frame = channel.receive()
    if frame is None:
        return
    walls = confinement.Confinement()
    layers = [*confinement.shut_in(walls)]

    from shuyan.appkit import allowed, testing  # noqa: F401
    from shuyan.federation._foreign_child import limit, where

    allowed.preload()
    if sys.platform.startswith("linux"):
        limit(_MEMORY_MB, _SECONDS)
    layers += confinement.seal(walls)
    channel.send({"layers": layers})
    while frame is not None:
        order, body = frame
        sources = json.loads(body)
        try:
            said = _declare(order, sources) if order["op"] == "declare" else _try(order, sources)
        except Exception as error:
            said = {"failed": where(error, order["name"]), "code": getattr(error, "code", "")}
        channel.send({}, json.dumps(said).encode())
        frame = channel.receive()


def _declare(order: dict[str, Any], sources: dict[str, str]) -> dict[str, Any]:
    from shuyan.appkit.loader import NotAnAppError, import_app, static_manifest
    from shuyan.appkit.schema import SchemaError

    try:
        app = import_app(order["name"], sources)
        return {"manifest": static_manifest(app, order["modules"]).model_dump(mode="json")}
    except NotAnAppError:
        return {"not_an_app": True}
    except SchemaError as error:
        return {"schema": str(error)[:200]}


def _try(order: dict[str, Any], sources: dict[str, str]) -> dict[str, Any]:
    from shuyan.appkit import testing
    from shuyan.appkit.loader import import_app
    from shuyan.appkit.mock import Mock
    from shuyan.federation import _flower

    app = import_app(order["name"], sources)
    seen: list[dict[str, Any]] = []
    original = _flower.answer

    def twice(*arguments: Any, **options: Any) -> Any:
        first, second = original(*arguments, **options), original(*arguments, **options)
        action = _flower.read_question(arguments[1])
        seen.append({
            "action": action.message_type, "steady": _same(first, second), "digest": sha256(first.to_bytes()).hexdigest(),
            "expected": action.expect, "answered": {name: list(vector.shape) for name, vector in first.vectors.items()},
            "largest": {name: float(abs(vector).max()) if vector.size else 0.0 for name, vector in first.vectors.items()}})
        return first

    _flower.answer = twice
    cases = []
    mock = Mock.model_validate_json(order["mock"])
    for case in mock.cases:
        seen.clear()
        with testing.MockFederation(app, mock) as federation:
            result = _outcome(federation, case.params, order["name"])
        # Departments answer side by side: their order says nothing.
        cases.append({**result, "answers": sorted(seen, key=lambda item: (item["action"], item["digest"]))})
    return {"cases": cases}


def _outcome(federation: Any, params: dict[str, Any], name: str) -> dict[str, Any]:
    from pydantic import ValidationError

    from shuyan.federation._foreign_child import where

    try:
        content = federation.try_out(params)
        return {"content": sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}
    except ValidationError as error:
        return {"undeclared": ".".join(str(part) for part in error.errors()[0]["loc"])[:100]}
    except Exception as error:
        cause: BaseException = error
        while (deeper := cause.__cause__ or cause.__context__) is not None:
            cause = deeper
        return {"code": str(getattr(error, "code", "")), "failed": where(cause, name)}


def _same(first: Any, second: Any) -> bool:
    return bool(first.to_bytes() == second.to_bytes())


if __name__ == "__main__":
    at = int(sys.argv[1])
    os.closerange(3, at)
    os.closerange(at + 1, 1024)
    main(at)
