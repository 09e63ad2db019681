"""Grammars as text: what a reply may say when tools are offered or a schema is to be satisfied.

Writes Lark in llguidance's dialect and knows no tokens, no tools and no model: schemas are plain
dicts. JSON is written as SmolLM2 was trained to write it, on one line with `", "` and `": "`;
objects have only the properties that their schema names, in its order. What no grammar can hold is
left to validation, such as `uniqueItems`, `not` and a key of an open object that comes twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smolchat.errors import UsageError

Schema = Mapping[str, Any]

_PROSE = r"""start: PROSE
PROSE: /(?s:.*)/ & ~TAGGED
TAGGED: /(?s:.*)<tool_call>(?s:.*)/"""

# The tag is text, not a token: quoted or in a regex. Lazy matching, which ends prose at the first
# tag, needs a rule of its own, in lower case. A reply that is nothing but JSON, in a code block or
# not, would be read as calls, so prose does not begin with it.
# In a code block, and right behind a backtick, the tag is not one: there it opens nothing.
_PROSE_OR_CALLS = r"""start: PROSE | opening "[" calls "]</tool_call>"
opening[lazy]: OPENING
OPENING: /UNCODED<tool_call>/ & ~BARE
PROSE: /(?s:.*)/ & ~TAGGED & ~BARE
TAGGED: /UNCODED<tool_call>(?s:.*)/
BARE: /(?s:\s*(`+\w*\s*)?[\[{].*)/""".replace(
    "UNCODED",
    r"([^`]|`{1,2}[^`]|`{3}[^`]([^`]|`{1,2}[^`])*`{3,}|`{4}[^`]([^`]|`{1,3}[^`])*`{4,}"
    r"|`{5,}[^`]([^`]|`{1,4}[^`])*`{5,})*",
)

_CALLS = 'start: "<tool_call>[" calls "]</tool_call>"'

# No \u in strings: characters stand for themselves, and half a surrogate pair cannot be written.
# Numbers are short enough to stay finite.
_JSON = r"""STRING: /"([^"\\\x00-\x1f]|\\["\\bfnrt])*"/
INTEGER: /-?(0|[1-9][0-9]{0,99})/
NUMBER: /-?(0|[1-9][0-9]{0,99})(\.[0-9]{1,100})?([eE][+-]?[0-9]{1,2})?/
any: STRING | NUMBER | "true" | "false" | "null" | list | object
list: "[" (any (", " any)*)? "]"
object: "{" (member (", " member)*)? "}"
member: STRING ": " any"""

_LLGUIDANCE_STYLE = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": 'nrbtf\\"',
    "lenient": True,
}

_NUMBER_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_TEXT_BOUNDS = ("minLength", "maxLength", "pattern", "format")
_IMPLIED_TYPES = {
    **dict.fromkeys(("properties", "required", "additionalProperties"), "object"),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems"), "array"),
    **dict.fromkeys(_TEXT_BOUNDS, "string"),
    **dict.fromkeys(_NUMBER_BOUNDS, "number"),
}
_DEFINITIONS = ("$defs", "definitions")
_CONSTRAINTS = {"type", "enum", "const", "anyOf", "oneOf", "allOf", *_IMPLIED_TYPES}

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

_IRREGULAR = re.compile(r"\(\?(=|!|<=|<!|P=)|\\[1-9]")
"""Looking around and back references, which no automaton can follow."""


def tool_grammar(schemas: Sequence[Schema], choice: str = "auto", max_calls: int = 8) -> str | None:
    """What a reply may say when functions are offered; None where nothing needs to be ruled out.

    `choice` is `auto` (prose, or a block of at most `max_calls` calls with or without prose before
    it), `required` (a block of at least one call, nothing else), `none` (prose), or the name of
    the one function to call. A schema is `{"name", "description", "parameters"}`, also within
    `{"type": "function", "function": ...}`. Raises UsageError for a choice that is not offered, and
    for parameters that are no JSON schema.
    """
    functions = [schema.get("function", schema) for schema in schemas]
    if not functions and choice in ("auto", "none"):
        return None
    if choice == "none":
        return _PROSE
    called = _called(functions, choice)
    rules = [f"call_{index}" for index in range(len(called))]
    least = 0 if choice == "auto" else 1
    return "\n".join(
        [
            _PROSE_OR_CALLS if choice == "auto" else _CALLS,
            f"calls: {_listed('call', least, max_calls)}",
            f"call: {' | '.join(rules)}",
            *(_call(rule, function) for rule, function in zip(rules, called, strict=True)),
            _JSON,
        ]
    )


def schema_grammar(schema: Schema) -> str:
    """A reply that is one line of JSON, satisfies `schema` and says nothing else.

    Raises UsageError for what is no JSON schema.
    """
    answer = _SchemaRules("the answer", "answer", schema)
    return "\n".join([f"start: {answer.start}", *answer.lines, _JSON])


def _called(functions: list[Schema], choice: str) -> list[Schema]:
    """The functions that may be called."""
    if choice in ("auto", "required"):
        called = functions
    else:
        called = [function for function in functions if function["name"] == choice]
    if not called:
        names = ", ".join(function["name"] for function in functions)
        raise UsageError(
            f"no tool is called {choice}" if names else "there is no tool to call",
            f"Offered are: {names}." if names else "Offer some with --tool.",
        )
    return called


def _call(rule: str, function: Schema) -> str:
    name = function["name"]
    parameters = {"type": "object", "properties": {}, **(function.get("parameters") or {})}
    # So that a complaint about a rule tells the function.
    prefix = f"{rule}_{re.sub(r'[^a-z0-9]', '_', name.lower())}"
    arguments = _SchemaRules(f"the tool {name}", prefix, parameters)
    opening = f'{{"name": {_json(name)}, "arguments": '
    call = f'{rule}: {_quoted(opening)} {arguments.start} "}}"'
    return "\n".join([call, *arguments.lines])


class _SchemaRules:
    """A schema as grammar: the expression `start`, and in `lines` the rules that it refers to."""

    def __init__(self, owner: str, prefix: str, schema: Schema) -> None:
        self.lines: list[str] = []
        self._owner = owner
        self._prefix = prefix
        self._root = schema
        self._rule_of_reference: dict[str, str] = {}
        try:
            self.start = self._value(schema)
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise self._problem(f"is none ({error})") from error

    def _value(self, schema: Any) -> str:
        """An expression for the values that satisfy `schema`."""
        if schema is False:
            raise self._problem("allows no value at all")
        if not isinstance(schema, Mapping):  # `true` is a schema too
            return "any"
        if schema.get("nullable"):
            return f'({self._value(_without(schema, "nullable"))} | "null")'
        if _is_intricate(schema):
            definitions = {key: self._root[key] for key in _DEFINITIONS if key in self._root}
            return _by_llguidance({**definitions, **schema})
        if "$ref" in schema:
            return self._reference(schema["$ref"])
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else schema["enum"]
            fitting = (value for value in values if _has_type(value, schema))
            return self._either(_quoted(_json(value)) for value in fitting)
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                shared = _without(schema, key)
                return self._either(self._value({**shared, **part}) for part in schema[key])
        return self._either(self._typed(name, schema) for name in _types(schema))

    def _typed(self, name: str | None, schema: Schema) -> str:
        match name:
            case None:
                return "any"
            case "null":
                return '"null"'
            case "boolean":
                return '("true" | "false")'
            case "string" | "integer" | "number":
                bounds = _text_bounds(schema) if name == "string" else _number_bounds(schema)
                return _by_llguidance({"type": name, **bounds}) if bounds else name.upper()
            case "array":
                return self._array(schema)
            case "object":
                return self._object(schema)
        raise self._problem(f"has the unknown type {name!r}")

    def _array(self, schema: Schema) -> str:
        first = [self._value(item) for item in schema.get("prefixItems", ())]
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if most is not None and least > most:
            raise self._problem("allows no value at all")
        items = ' ", " '.join(first)
        if not first:
            items = _listed(self._rule(self._value(schema.get("items"))), least, most)
        elif isinstance(schema.get("items"), Mapping):
            more = self._rule(f'", " {self._value(schema["items"])}')
            end = "" if most is None else max(0, most - len(first))
            items += f" {more}{{{max(0, least - len(first))},{end}}}"
        return self._rule(f'"[" {items} "]"')

    def _object(self, schema: Schema) -> str:
        required = schema.get("required", [])
        values = schema.get("additionalProperties")
        if "properties" in schema or required or values is False:
            properties = dict(schema.get("properties", {}))
            for name in required:
                properties.setdefault(name, values)
            for name in [name for name, part in properties.items() if part is False]:
                if name not in required:
                    del properties[name]
            members = self._members(
                [(self._member(name, part), name in required) for name, part in properties.items()]
            )
        else:
            members = _listed(self._rule(f'STRING ": " {self._value(values)}'))
        return self._rule(f'"{{" {members} "}}"')

    def _member(self, name: str, schema: Any) -> str:
        return self._rule(f"{_quoted(_json(name) + ': ')} {self._value(schema)}")

    def _members(self, members: list[tuple[str, bool]]) -> str:
        """Members in their order, with the word whether each is required, and commas between."""
        first = rest = ""
        for member, is_required in reversed(members):
            alone = f"{member} {rest}"
            first = alone if is_required else f"({alone} | {first})" if first else f"({alone})?"
            rest = self._rule(f'", " {alone}' if is_required else f'(", " {member})? {rest}')
        return first

    def _reference(self, pointer: str) -> str:
        if pointer not in self._rule_of_reference:
            rule = f"{self._prefix}_definition_{len(self._rule_of_reference)}"
            self._rule_of_reference[pointer] = rule
            self.lines.append(f"{rule}: {self._value(self._target(pointer))}")
        return self._rule_of_reference[pointer]

    def _target(self, pointer: str) -> Any:
        """What a JSON pointer points to; source: RFC 6901."""
        target: Any = self._root
        root, *keys = pointer.split("/")
        for key in (key.replace("~1", "/").replace("~0", "~") for key in keys):
            target = target.get(key) if isinstance(target, Mapping) else None
        if root != "#" or target is None:
            raise self._problem(f"refers to {pointer}, which it does not hold")
        return target

    def _rule(self, body: str) -> str:
        name = f"{self._prefix}_{len(self.lines)}"
        self.lines.append(f"{name}: {body}")
        return name

    def _either(self, expressions: Iterable[str]) -> str:
        options = list(dict.fromkeys(expressions))
        if not options:
            raise self._problem("allows no value at all")
        return options[0] if len(options) == 1 else f"({' | '.join(options)})"

    def _problem(self, what: str) -> UsageError:
        return UsageError(f"{self._owner}: its JSON schema {what}", "Correct the schema.")


def _types(schema: Schema) -> Sequence[str | None]:
    """The types a value may have; None is any."""
    implied = (name for key, name in _IMPLIED_TYPES.items() if key in schema)
    declared = schema["type"] if "type" in schema else next(implied, None)
    return declared if isinstance(declared, list) else [declared]


def _has_type(value: Any, schema: Schema) -> bool:
    """Whether an option of an `enum` is of the type that stands beside it."""
    declared = schema.get("type")
    if declared is None:
        return True
    names = {_TYPE_NAMES[type(value)]}
    if isinstance(value, int) and not isinstance(value, bool):
        names.add("number")
    if isinstance(value, float) and value.is_integer():
        names.add("integer")
    return bool(names & {*([declared] if isinstance(declared, str) else declared)})


_TYPE_NAMES: dict[type, str] = {
    **{bool: "boolean", int: "integer", float: "number", str: "string"},
    **{list: "array", dict: "object", type(None): "null"},
}


def _is_intricate(schema: Schema) -> bool:
    """Whether parts of it that say different things hold for one value."""
    keys = schema.keys()
    return bool(
        len(schema.get("allOf", ())) > 1
        or keys & {"patternProperties", "minProperties", "maxProperties"}
        or ("$ref" in keys and keys & _CONSTRAINTS)
        or ("properties" in keys and keys & {"anyOf", "oneOf", "allOf"})
    )


def _number_bounds(schema: Schema) -> dict[str, Any]:
    return {key: schema[key] for key in _NUMBER_BOUNDS if key in schema}


def _text_bounds(schema: Schema) -> dict[str, Any]:
    bounds = {key: schema[key] for key in _TEXT_BOUNDS if key in schema}
    if bounds.get("format") in _FORMATS and "pattern" not in bounds:
        bounds["pattern"] = _FORMATS[bounds.pop("format")]
    if _IRREGULAR.search(bounds.get("pattern", "")):
        del bounds["pattern"]
    return bounds


def _by_llguidance(schema: Schema) -> str:
    """An expression that llguidance makes of a schema by itself."""
    return "%json " + json.dumps({"x-guidance": _LLGUIDANCE_STYLE, **schema})


def _without(schema: Schema, unwanted: str) -> Schema:
    return {key: value for key, value in schema.items() if key != unwanted}


def _listed(item: str, least: int = 0, most: int | None = None) -> str:
    """`item` from `least` to `most` times, with commas between."""
    if most == 0:
        return ""
    end = "" if most is None else most - 1
    several = item if end == 0 else f'{item} (", " {item}){{{max(least, 1) - 1},{end}}}'
    return several if least else f"({several})?"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _quoted(text: str) -> str:
    """A string in Lark, which writes them as JSON does."""
    return _json(text)
