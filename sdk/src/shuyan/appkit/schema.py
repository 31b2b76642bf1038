"""Between pydantic models and JSON Schema, for the part of it that an app's parameters and results are described in.

A node checks a job's parameters without running any of the app's code, so the models of a package are rebuilt from the
schemas in its manifest: strict, nothing extra, no recursion, no pattern that could be slow (pydantic's are linear).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, create_model

_ANNOTATIONS: Final = frozenset({"title", "description", "default", "examples"})
_DEPTH: Final = 8
_FIELDS: Final = 64
_CONSTRAINTS: Final[dict[str, dict[str, str]]] = {
    "string": {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"},
    "integer": {"minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt", "multipleOf": "multiple_of"},
    "number": {"minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt"},
    "array": {"minItems": "min_length", "maxItems": "max_length"},
    "boolean": {}, "null": {}, "object": {},
}
_PLAIN: Final[dict[str, Any]] = {"string": str, "integer": int, "boolean": bool, "null": type(None)}
_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class SchemaError(ValueError):
    """A schema uses something an app's may not use; the text names the place."""


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON Schema, checked to be one that :func:`model_of` can read back.

    Raises:
        SchemaError: the model says something a schema cannot, or may not here.
    """
    schema = model.model_json_schema()
    model_of(schema, model.__name__)
    return schema


def model_of(schema: Mapping[str, Any], name: str) -> type[BaseModel]:
    """A strict model that accepts what the schema describes.

    Raises:
        SchemaError: the schema is not one this module reads.
    """
    definitions = schema.get("$defs", {})
    if not isinstance(definitions, Mapping):
        raise SchemaError("$defs")
    plain = {key: value for key, value in schema.items() if key != "$defs"}
    return _object(plain, definitions, name, name, 0)


def _object(schema: Mapping[str, Any], definitions: Mapping[str, Any], name: str, where: str, depth: int) -> type[BaseModel]:
    _only(schema, {"type", "properties", "required", "additionalProperties"}, where)
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
        raise SchemaError(f"{where}: extra fields must be forbidden")
    if not isinstance(properties, Mapping) or not isinstance(required, list) or len(properties) > _FIELDS:
        raise SchemaError(f"{where}: properties")
    fields: dict[str, Any] = {}
    for field, inner in properties.items():
        if not _IDENTIFIER.fullmatch(str(field)) or not isinstance(inner, Mapping):
            raise SchemaError(f"{where}.{field}")
        annotation = _type(inner, definitions, f"{where}.{field}", depth + 1)
        if field in required:
            fields[field] = (annotation, ...)
        elif "default" in inner:
            fields[field] = (annotation, Field(default_factory=_Copy(inner["default"])))
        else:
            raise SchemaError(f"{where}.{field}: neither required nor with a default")
    config = ConfigDict(strict=True, extra="forbid", frozen=True, protected_namespaces=())
    model: type[BaseModel] = create_model(name, __config__=config, **fields)
    return model


class _Copy:
    """A default that nobody can change for the others."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __call__(self) -> Any:
        import copy

        return copy.deepcopy(self._value)


def _only(schema: Mapping[str, Any], allowed: set[str], where: str) -> None:
    if unknown := set(schema) - allowed - _ANNOTATIONS:
        raise SchemaError(f"{where}: {sorted(map(str, unknown))[0]}")


def _type(schema: Mapping[str, Any], definitions: Mapping[str, Any], where: str, depth: int) -> Any:
    if depth > _DEPTH:
        raise SchemaError(f"{where}: nested too deeply")
    if "$ref" in schema:
        _only(schema, {"$ref"}, where)
        prefix, _, target = str(schema["$ref"]).rpartition("/")
        if prefix != "#/$defs" or not isinstance(definitions.get(target), Mapping):
            raise SchemaError(f"{where}: $ref")
        return _type(definitions[target], definitions, where, depth + 1)
    if "enum" in schema or "const" in schema:
        return _choice(schema, where)
    if "anyOf" in schema:
        _only(schema, {"anyOf"}, where)
        options = schema["anyOf"]
        if not isinstance(options, list) or not 1 <= len(options) <= 4 or not all(isinstance(one, Mapping) for one in options):
            raise SchemaError(f"{where}: anyOf")
        return Union[tuple(_type(option, definitions, where, depth + 1) for option in options)]  # noqa: UP007
    return _of_kind(schema, definitions, where, depth)


def _choice(schema: Mapping[str, Any], where: str) -> Any:
    _only(schema, {"enum", "const", "type"}, where)
    values = schema["enum"] if "enum" in schema else [schema["const"]]
    if not isinstance(values, list) or not values or not all(isinstance(value, (str, int, bool)) for value in values):
        raise SchemaError(f"{where}: enum")
    return Literal[tuple(values)]


def _of_kind(schema: Mapping[str, Any], definitions: Mapping[str, Any], where: str, depth: int) -> Any:
    kind = schema.get("type")
    if not isinstance(kind, str) or kind not in _CONSTRAINTS:
        raise SchemaError(f"{where}: type")
    if kind == "object":
        inner = schema.get("additionalProperties")
        if not isinstance(inner, Mapping):
            return _object(schema, definitions, "Inner", where, depth)
        _only(schema, {"type", "additionalProperties"}, where)
        return dict[str, _type(inner, definitions, where, depth + 1)]  # type: ignore[misc]
    known = _CONSTRAINTS[kind]
    _only(schema, {"type", *known} | ({"items"} if kind == "array" else set()), where)
    limits = {ours: schema[theirs] for theirs, ours in known.items() if theirs in schema}
    try:
        if kind == "array":
            items = schema.get("items")
            if not isinstance(items, Mapping):
                raise SchemaError(f"{where}: items")
            return Annotated[list[_type(items, definitions, where, depth + 1)], Field(**limits)]  # type: ignore[misc]
        if kind == "number":
            return Annotated[float, Field(allow_inf_nan=False, **limits)]
        return Annotated[_PLAIN[kind], Field(**limits)] if limits else _PLAIN[kind]
    except TypeError as error:
        raise SchemaError(where) from error
