"""Grammars as text: what a reply may say when tools are offered or a schema is to be satisfied.

Writes Lark in llguidance's dialect and knows no tokens, no tools and no model: schemas are plain
dicts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from smolchat.errors import UsageError

Schema = Mapping[str, Any]

_PROSE = r"""start: PROSE
PROSE: /(?s:.*)/ & ~TAGGED
TAGGED: /(?s:.*)<tool_call>(?s:.*)/"""

# The tag is text, not a token: quoted or in a regex. Lazy matching, which ends prose at the first
# tag, needs a rule of its own, in lower case. A reply that is nothing but JSON, fenced or not,
# would be read as a call, so prose does not begin with one.
_PROSE_OR_CALLS = r"""start: PROSE | opening "[" calls? "]</tool_call>"
opening[lazy]: OPENING
OPENING: /(?s:.*)<tool_call>/ & ~BARE
PROSE: /(?s:.*)/ & ~TAGGED & ~BARE
TAGGED: /(?s:.*)<tool_call>(?s:.*)/
BARE: /(?s:\s*(`+\w*\s*)?[\[{].*)/"""

_CALLS = 'start: "<tool_call>[" calls "]</tool_call>"'

_JSON_STYLE = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    # No \u: characters stand for themselves, and half a surrogate pair cannot be written.
    "json_allowed_escapes": 'nrbtf\\"',
    # What no grammar can hold is left to validation: uniqueItems, not, a key written twice.
    "lenient": True,
}

_DATE = (
    r"([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    r"|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    r"|([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29)"
)
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{3}([0-9]{3})?)?)?"
_FORMATS = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": rf"^{_DATE}T{_TIME}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?$",
}
"""As Python reads them. llguidance's own know no leap years and insist on an offset from UTC,
which a model would have to invent."""

_NOT_REGULAR = re.compile(r"\(\?(=|!|<=|<!|P=)|\\[1-9]")
"""Looking around and back references in a pattern."""


def tool_grammar(schemas: Sequence[Schema], choice: str = "auto", max_calls: int = 8) -> str | None:
    """What a reply may say when functions are offered; None where nothing needs to be ruled out.

    `choice` is `auto` (prose, or a block of at most `max_calls` calls with or without prose before
    it), `required` (a block of at least one call, nothing else), `none` (prose), or the name of
    the one function to call. A schema is `{"name", "description", "parameters"}`, also within
    `{"type": "function", "function": ...}`. Raises UsageError for a choice that is not offered.
    """
    functions = [schema.get("function", schema) for schema in schemas]
    if choice in ("auto", "none"):
        if not functions:
            return None
        if choice == "none":
            return _PROSE
    called = _chosen(functions, choice)
    lines = [
        _PROSE_OR_CALLS if choice == "auto" else _CALLS,
        f'calls: call (", " call){{0,{max_calls - 1}}}',
        "call: " + " | ".join(f"call_{index}" for index in range(len(called))),
    ]
    lines += [f"call_{index}: {_call(function)}" for index, function in enumerate(called)]
    return "\n".join(lines)


def schema_grammar(schema: Schema) -> str:
    """A reply that is one line of JSON, satisfies `schema` and says nothing else."""
    return f"start: {_json(schema)}"


def _chosen(functions: list[Schema], choice: str) -> list[Schema]:
    if choice in ("auto", "required"):
        chosen = functions
    else:
        chosen = [function for function in functions if function["name"] == choice]
    if not chosen:
        names = [function["name"] for function in functions]
        raise UsageError(
            "no tool is offered" if choice == "required" else f"no tool is called {choice}",
            f"Offered are: {', '.join(names)}." if names else "Offer some with -T.",
        )
    return chosen


def _call(function: Schema) -> str:
    opening = f'{{"name": {_quoted(function["name"])}, "arguments": '
    parameters = function.get("parameters") or {}
    arguments = _json({"type": "object", "properties": {}, **parameters})
    return f'{_quoted(opening)} {arguments} "}}"'


def _quoted(text: str) -> str:
    """A string, as JSON and Lark both write it."""
    return json.dumps(text, ensure_ascii=False)


def _json(schema: Schema) -> str:
    # What allOf joins may be described in parts anywhere, by reference even: nothing is closed.
    closes = '"allOf"' not in json.dumps(schema)
    return "%json " + json.dumps({"x-guidance": _JSON_STYLE, **_strict(schema, closes)})


def _strict(schema: Any, closes: bool) -> Any:
    """`schema` in words that llguidance knows.

    Where `closes`, objects take only the properties that they name; one that several parts
    describe together stays open.
    """
    if not isinstance(schema, Mapping):
        return schema
    if schema.get("nullable"):
        rest = {key: value for key, value in schema.items() if key != "nullable"}
        return _strict({"anyOf": [rest, {"type": "null"}]}, closes)
    is_shared = any(key in schema for key in ("anyOf", "oneOf", "$ref"))
    closes = closes and not ("properties" in schema and is_shared)
    parts = {key: _part(key, value, closes) for key, value in schema.items()}
    return {**_closing(schema, closes), **_regular(parts)}


def _part(key: str, value: Any, closes: bool) -> Any:
    """The value of a keyword, with the schemas in it made strict."""
    is_named = key in ("properties", "patternProperties", "$defs", "definitions")
    if is_named and isinstance(value, Mapping):
        return {name: _strict(part, closes) for name, part in value.items()}
    if key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, list):
        return [_strict(part, closes) for part in value]
    return _strict(value, closes) if key in ("items", "additionalProperties") else value


def _closing(schema: Schema, closes: bool) -> dict[str, Any]:
    """No property and no item beyond those that have a schema."""
    closing: dict[str, Any] = {}
    if closes and "properties" in schema:
        closing["additionalProperties"] = False
    if "prefixItems" in schema:
        closing |= {"items": False, "minItems": len(schema["prefixItems"])}
    return closing


def _regular(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` with its pattern or format as a regular expression, where it has one."""
    if "pattern" in schema:
        unwanted = "pattern" if _NOT_REGULAR.search(str(schema["pattern"])) else None
        return {key: value for key, value in schema.items() if key != unwanted}
    if schema.get("format") not in _FORMATS:
        return schema
    rest = {key: value for key, value in schema.items() if key != "format"}
    return {**rest, "pattern": _FORMATS[schema["format"]]}
