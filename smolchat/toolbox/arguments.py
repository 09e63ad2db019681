"""Arguments as a model wrote them, repaired and checked by a JSON schema. Knows no functions.

A value is changed only where the schema leaves one reading of it: `"3"` for an integer is 3, but
`"three"`, `"1,000"` and 3.5 are errors. A value that already satisfies its schema stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smolchat.toolbox.bounds import violation
from smolchat.toolbox.readings import NULL_TEXTS, has_type, readings, same
from smolchat.toolbox.tool import Schema

_COMBINED = {"$ref", "anyOf", "oneOf", "allOf"}
"""Where a schema may say elsewhere what it wants."""


class ArgumentError(ValueError):
    """Arguments that the schema refuses and that no repair saves.

    `kind` is one of `missing`, `unexpected`, `type`, `enum`, `range`, `length`, `pattern` and
    `format`; `path` names the argument, and within it the item or field: `points[2].x`.
    """

    def __init__(self, kind: str, path: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.path = path


def coerce(schema: Schema, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` as the parameters schema wants them; the mapping given stays as it was.

    Raises ArgumentError.
    """
    if not isinstance(arguments, Mapping):
        raise ArgumentError("type", "", f"the arguments are {_shown(arguments)}, not an object")
    try:
        closed = {"type": "object", **schema}
        if not _COMBINED & schema.keys():
            closed.setdefault("properties", {})
        found: dict[str, Any] = _Coercion(schema).value(closed, dict(arguments), "")
    except ArgumentError:
        raise
    except RecursionError:
        raise ArgumentError("type", "", "the arguments are nested too deeply") from None
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        problem = f"the schema of the arguments cannot be used ({error})"
        raise ArgumentError("type", "", problem) from error
    return found


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What coercion did, one line for each argument: `count: "3" -> 3`."""
    lines = []
    for name, value in before.items():
        if name not in after:
            lines.append(f"{name}: {_shown(value)} -> left out")
        elif not same(value, after[name]):
            lines.append(f"{name}: {_shown(value)} -> {_shown(after[name])}")
    added = (name for name in after if name not in before)
    return lines + [f"{name}: not given -> {_shown(after[name])}" for name in added]


@dataclass(frozen=True)
class _Coercion:
    root: Schema
    """Where `$ref` starts from."""

    def value(self, schema: Schema, value: Any, path: str) -> Any:
        if not isinstance(schema, dict):  # `true` is a schema too
            return value
        schema = self._combined(self._resolved(schema))
        if value is None and schema.get("nullable"):
            return None
        if _options(schema):
            return self._any_of(schema, value, path)
        return self._one(schema, value, path)

    def fields(self, schema: Schema, value: Mapping[str, Any], path: str) -> dict[str, Any]:
        """An object's fields: all that are required, none that are unknown, each coerced."""
        known: Schema = schema.get("properties", {})
        required = schema.get("required", [])
        others = schema.get("additionalProperties", "properties" not in schema)
        patterns = schema.get("patternProperties", {})
        rules: dict[str, Any] = {}
        for name in value:
            fitting = (patterns[each] for each in patterns if re.search(each, name))
            rules[name] = known[name] if name in known else next(fitting, others)
        _check_names(required, rules, path)
        optional = known.keys() - set(required)
        return {
            name: self.value(rules[name], item, _under(path, name))
            for name, item in value.items()
            if name not in optional or not self._is_absence(rules[name], item)
        }

    def _is_absence(self, schema: Schema, value: Any) -> bool:
        """Whether null was written for an argument that is optional but takes no null."""
        if value is not None and value not in NULL_TEXTS:
            return False
        try:
            self.value(schema, value, "")
        except ArgumentError:
            return True
        return False

    def _resolved(self, schema: Schema) -> Schema:
        seen = set()
        while "$ref" in schema and schema["$ref"] not in seen:
            seen.add(schema["$ref"])
            target: Any = self.root
            for part in schema["$ref"].lstrip("#/").split("/"):
                target = target.get(part, {}) if isinstance(target, dict) else {}
            schema = target if isinstance(target, dict) else {}
        return schema

    def _combined(self, schema: Schema) -> Schema:
        """A schema with all that it says by `allOf`."""
        parts = schema.get("allOf", [])
        found = {key: part for key, part in schema.items() if key != "allOf"}
        for part in parts:
            if isinstance(part, dict):
                found = _merged(found, self._combined(self._resolved(part)))
        return found

    def _any_of(self, schema: Schema, value: Any, path: str) -> Any:
        """The option that takes the value as it is, else the first that can repair it."""
        repaired: list[Any] = []
        refusals: list[ArgumentError] = []
        shared = {key: part for key, part in schema.items() if key not in _COMBINED | {"nullable"}}
        for option in _options(schema):
            try:
                found = self.value(self._option(shared, option), value, path)
            except ArgumentError as refusal:
                refusals.append(refusal)
                continue
            if same(found, value):
                return found
            repaired.append(found)
        if repaired:
            return repaired[0]
        # A complaint about the value tells more than one about its type.
        close = [refusal for refusal in refusals if refusal.kind != "type"]
        raise close[0] if close else _mismatch(schema, value, path)

    def _option(self, shared: Schema, option: Any) -> Any:
        return _merged(shared, self._resolved(option)) if isinstance(option, dict) else option

    def _one(self, schema: Schema, value: Any, path: str) -> Any:
        types = _types(schema)
        candidates = list(readings(types, value)) if types else [value]
        if not candidates:
            raise _mismatch(schema, value, path)
        found = _chosen(schema, candidates, value, path)
        if isinstance(found, dict):
            found = self.fields(schema, found, path)
        elif isinstance(found, list):
            found = self._items(schema, found, path)
        broken = violation(schema, found)
        if broken:
            kind, words = broken
            raise ArgumentError(kind, path, f"{_named(path)} must {words}, not {_shown(found)}")
        return found

    def _items(self, schema: Schema, values: list[Any], path: str) -> list[Any]:
        first = schema.get("prefixItems", [])
        if len(values) < len(first) or (len(values) > len(first) > 0 and "items" not in schema):
            raise ArgumentError("length", path, f"{path} needs {len(first)} items")
        rest = schema.get("items")
        rules = [*first, *[rest if isinstance(rest, dict) else {}] * (len(values) - len(first))]
        return [
            self.value(rule, item, f"{path}[{index}]")
            for index, (rule, item) in enumerate(zip(rules, values, strict=True))
        ]


def _types(schema: Schema) -> list[str]:
    declared = schema.get("type", [])
    types = [declared] if isinstance(declared, str) else list(declared)
    return [*types, "null"] if types and schema.get("nullable") else types


def _options(schema: Schema) -> list[Schema]:
    options: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or []
    return [*options, {"type": "null"}] if options and schema.get("nullable") else options


def _check_names(required: list[str], rules: Mapping[str, Any], path: str) -> None:
    for name in required:
        if name not in rules:
            where = _under(path, name)
            raise ArgumentError("missing", where, f"the argument {where} is missing")
    for name, rule in rules.items():
        if rule is False:
            where = _under(path, name)
            raise ArgumentError("unexpected", where, f"there is no argument {where}")


def _chosen(schema: Schema, candidates: list[Any], value: Any, path: str) -> Any:
    """The first candidate; under `enum` or `const` the member that one of them names."""
    members = [schema["const"]] if "const" in schema else schema.get("enum")
    if members is None:
        return candidates[0]
    if schema.get("nullable"):
        members = [*members, None]
    for is_named in (_equals, _differs_in_case):
        named = [m for m in members if any(is_named(candidate, m) for candidate in candidates)]
        if len(named) == 1:
            return named[0]
    listed = ", ".join(map(_shown, members))
    wanted = f"{_named(path)} must be one of {listed}"
    raise ArgumentError("enum", path, f"{wanted}, not {_shown(value)}")


def _equals(one: Any, other: Any) -> bool:
    numbers = has_type("number", one) and has_type("number", other)
    return bool(one == other) if numbers else same(one, other)


def _differs_in_case(one: Any, other: Any) -> bool:
    texts = isinstance(one, str) and isinstance(other, str)
    return texts and one.strip().casefold() == other.casefold()


def _mismatch(schema: Schema, value: Any, path: str) -> ArgumentError:
    names = [
        name for option in _options(schema) or [schema] for name in _types(option) or ["value"]
    ]
    wanted = " or ".join(_NOUNS.get(name, name) for name in dict.fromkeys(names))
    return ArgumentError("type", path, f"{_named(path)} must be {wanted}, not {_shown(value)}")


_NOUNS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "an object",
    "value": "another value",
}


def _shown(value: Any) -> str:
    """A value in a message: JSON, and short."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."


def _merged(one: Schema, other: Schema) -> Schema:
    """A schema that says what two say; where they differ, what the second says."""
    found = one | other
    for key in ("properties", "patternProperties"):
        if key in one and key in other:
            found[key] = one[key] | other[key]
    if "required" in one and "required" in other:
        found["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return found


def _named(path: str) -> str:
    return path or "the value of the arguments"


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
