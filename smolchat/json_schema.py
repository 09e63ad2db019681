"""JSON schemas that others wrote: brought to one dialect, checked, and answers checked by them.

Knows no model and no grammar. What a schema means is left to the package `jsonschema`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from smolchat.errors import UsageError

Schema = dict[str, Any]

_BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_LITERAL = {"const", "enum", "default", "example", "examples"}
"""Keywords whose values are no schemas."""


def usable(schema: Schema, owner: str) -> Schema:
    """The schema in the dialect of 2020-12, where OpenAPI 3.0 made a bound exclusive by a boolean.

    Raises UsageError, which names the `owner`, for what is no JSON schema.
    """
    from jsonschema import Draft202012Validator, SchemaError

    try:
        found: Schema = _modern(schema)
        Draft202012Validator.check_schema(found)
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path))
        at = f" at {where}" if where else ""
        raise UsageError(
            f"{owner}: its JSON schema is none{at}: {error.message}", "Correct the schema."
        ) from error
    except RecursionError as error:
        raise UsageError(
            f"{owner}: its JSON schema nests too deeply", "Correct the schema."
        ) from error
    return found


def complaint(schema: Schema, text: str) -> str:
    """Why a text is not JSON that satisfies a usable schema; empty where it is."""
    from jsonschema import Draft202012Validator
    from referencing.exceptions import Unresolvable

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "the answer is no whole JSON"
    try:
        error = next(Draft202012Validator(_with_null(schema)).iter_errors(value), None)
    except (Unresolvable, re.error, RecursionError, ValueError, ArithmeticError) as problem:
        return f"the answer could not be checked: {problem}"
    if error is None:
        return ""
    at = "".join(f"[{part!r}]" for part in error.absolute_path)
    return f"the answer does not satisfy the schema{' at ' if at else ''}{at}: {error.message}"


def _modern(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_modern(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {
        key: part if key in _LITERAL else _modern(part)
        for key, part in schema.items()
        if not (key in _BOUNDS and isinstance(part, bool))
    }
    for exclusive, inclusive in _BOUNDS.items():
        if schema.get(exclusive) is True and inclusive in found:
            found[exclusive] = found.pop(inclusive)
    return found


def _with_null(schema: Any) -> Any:
    """`nullable`, which is OpenAPI's, in JSON Schema's words."""
    if isinstance(schema, list):
        return [_with_null(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: part if key in _LITERAL else _with_null(part) for key, part in schema.items()}
    return {"anyOf": [found, {"type": "null"}]} if found.pop("nullable", None) is True else found
