"""Which texts the grammars admit, byte by byte."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, byte_tokenizer

from smolchat.chatml import read_reply, tool_calls_text
from smolchat.engine.grammar import Constraint, GrammarCompiler
from smolchat.errors import SmolchatError, UsageError
from smolchat.grammar_text import schema_grammar, tool_grammar
from smolchat.toolbox import load_tools

Schema = dict[str, Any]

TOKENIZER = byte_tokenizer()
STOP_ID = 2


@cache
def compiler() -> GrammarCompiler:
    return GrammarCompiler(TOKENIZER)


def constraint_after(grammar: str | None, text: str) -> Constraint | None:
    """The constraint behind `text`; None where the text is ruled out."""
    assert grammar is not None
    constraint = compiler().compile(grammar)
    try:
        for token_id in TOKENIZER.encode(text, add_special_tokens=False).ids:
            constraint.accept(token_id)
    except SmolchatError:
        return None
    return constraint


def begins(grammar: str | None, text: str) -> bool:
    return constraint_after(grammar, text) is not None


def admits(grammar: str | None, text: str) -> bool:
    """Whether a reply may begin with `text` and end there."""
    constraint = constraint_after(grammar, text)
    if constraint is None:
        return False
    logits = np.zeros(TOKENIZER.get_vocab_size(), dtype=np.float32)
    return bool(np.isfinite(constraint.mask(logits, [STOP_ID])[STOP_ID]))


def function(name: str, *required: str, **properties: Any) -> Schema:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": f"About {name}.", "parameters": parameters}


WEATHER = function(
    "get_weather",
    "city",
    city={"type": "string"},
    unit={"type": "string", "enum": ["celsius", "fahrenheit"]},
    days={"type": "integer"},
)
CLOCK = function("get_time")
TOOLS = [WEATHER, CLOCK]

TIME = '{"name": "get_time", "arguments": {}}'
OSLO = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'


def block(*calls: str) -> str:
    return f"<tool_call>[{', '.join(calls)}]</tool_call>"


# Calls

VALID = [
    block(TIME),
    block(OSLO),
    block(OSLO, TIME),
    block(TIME, TIME),
    block('{"name": "get_weather", "arguments": {"city": "x", "unit": "celsius", "days": -3}}'),
    block('{"name": "get_weather", "arguments": {"city": "x", "days": 0}}'),
    block(OSLO.replace("Oslo", "")),
    block(OSLO.replace("Oslo", "Zürich 東京 🎉 <b> [] {} </tool_call> <tool_call>")),
    block(OSLO.replace("Oslo", r"a \"b\" \\ \n\t\r\b\f")),
]

INVALID = [
    block(TIME).replace(": ", ":"),
    block(TIME).replace(", ", ","),
    block(TIME).replace("[", "[\n"),
    block(TIME).replace("[", "[ "),
    block(TIME).replace("{}", "{ }"),
    block(TIME).replace("]", "] "),
    block(TIME).replace("]", ",]"),
    block(TIME).replace("<tool_call>", "<tool_call> "),
    block(TIME) + "\n",
    block(TIME) + block(TIME),
    "<tool_call>" + TIME + "</tool_call>",
    block(TIME.replace("get_time", "get_tim")),
    block(TIME.replace("get_time", "get_times")),
    block(TIME.replace("get_time", "GET_TIME")),
    block('{"arguments": {}, "name": "get_time"}'),
    block('{"name": "get_time", "parameters": {}}'),
    block('{"name": "get_time"}'),
    block('{"name": "get_time", "arguments": {"zone": "UTC"}}'),
    block('{"name": "get_weather", "arguments": {}}'),
    block('{"name": "get_weather", "arguments": {"days": 1}}'),
    block('{"name": "get_weather", "arguments": {"days": 1, "city": "x"}}'),
    block('{"name": "get_weather", "arguments": {"city": "x", "city": "y"}}'),
    block('{"name": "get_weather", "arguments": {"city": "x", "unit": "kelvin"}}'),
    block('{"name": "get_weather", "arguments": {"city": "x", "days": "1"}}'),
    block('{"name": "get_weather", "arguments": {"city": "x", "days": 1.0}}'),
    block('{"name": "get_weather", "arguments": {"city": null}}'),
    block('{"name": "get_weather", "arguments": {"city": "x", "more": 1}}'),
    block(OSLO.replace("Oslo", "a\nb")),
    block(OSLO.replace("Oslo", 'a"b')),
    block(OSLO.replace("Oslo", r"\x")),
    block(OSLO.replace("Oslo", r"\u00e9")),
    block(OSLO.replace("Oslo", r"\ud83c")),
]


@pytest.mark.parametrize("choice", ["auto", "required"])
@pytest.mark.parametrize("text", VALID)
def test_valid_calls_are_admitted(text: str, choice: str) -> None:
    assert admits(tool_grammar(TOOLS, choice), text)
    assert len(read_reply(text).tool_calls) == text.count('"name"')


@pytest.mark.parametrize("choice", ["auto", "required"])
@pytest.mark.parametrize("text", INVALID)
def test_other_calls_are_not(text: str, choice: str) -> None:
    assert not admits(tool_grammar(TOOLS, choice), text)


def test_calls_are_admitted_as_they_are_rendered() -> None:
    calls = [
        {"name": "get_weather", "arguments": {"city": 'a "b"\\\n\té', "unit": "celsius"}},
        {"name": "get_time", "arguments": {}},
    ]
    assert admits(tool_grammar(TOOLS), tool_calls_text(calls))


@pytest.mark.parametrize("max_calls", [1, 2, 8])
def test_at_most_so_many_calls(max_calls: int) -> None:
    for choice in ("auto", "required"):
        grammar = tool_grammar(TOOLS, choice, max_calls)
        assert admits(grammar, block(*[TIME] * max_calls))
        assert not begins(grammar, block(*[TIME] * (max_calls + 1)))


@pytest.mark.parametrize("name", ['say "hi"', "back\\slash", "Grüße_東京_🎉", "a.b-c/d", "9", "#"])
def test_a_function_may_have_any_name(name: str) -> None:
    grammar = tool_grammar([function(name), CLOCK], "required")
    assert admits(grammar, tool_calls_text([{"name": name, "arguments": {}}]))
    assert not begins(grammar, block('{"name": "other'))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "function", "function": CLOCK},
        {"name": "get_time", "description": ""},
        {"name": "get_time", "parameters": None},
        {"name": "get_time", "parameters": {}},
        {"name": "get_time", "parameters": {"type": "object"}},
        {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
    ],
)
def test_a_function_without_parameters_takes_none(schema: Schema) -> None:
    grammar = tool_grammar([schema], "required")
    assert admits(grammar, block(TIME))
    assert not begins(grammar, block(TIME.replace("{}", '{"')))


def test_the_shipped_tools_can_be_called() -> None:
    tools = load_tools(REPOSITORY / "tools")
    grammar = tool_grammar([tool.schema for tool in tools])
    for tool in tools:
        assert begins(grammar, f'<tool_call>[{{"name": "{tool.name}", "arguments": {{')


# Prose

PROSE = [
    "",
    "Hello.",
    "The query cannot be answered with the provided tools.",
    " \n",
    "The list [1, 2] has {three} items.",
    "```python\nprint([1])\n```",
    "<tool_call",
    "a < b </tool_call>",
    "日本語 🎉",
]

BARE_JSON = ["[1, 2]", "{", ' \n{"name": "get_time"}', "```json\n[", "```\n\n{", "`[", "``` [{"]


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_admitted_unless_a_call_is_required(text: str) -> None:
    assert admits(tool_grammar(TOOLS), text)
    assert admits(tool_grammar(TOOLS, "none"), text)
    assert not admits(tool_grammar(TOOLS, "required"), text)


@pytest.mark.parametrize("text", BARE_JSON)
def test_prose_does_not_begin_like_calls_without_a_tag(text: str) -> None:
    assert not begins(tool_grammar(TOOLS), text)
    assert not begins(tool_grammar(TOOLS), f"{text}<tool_call>")


@pytest.mark.parametrize("prose", [*PROSE[:-1], "Let me see:\n", "a <tool_call <tool"])
def test_a_block_may_follow_prose(prose: str) -> None:
    grammar = tool_grammar(TOOLS)
    assert admits(grammar, prose + block(OSLO))
    assert admits(grammar, prose + block())
    assert not begins(grammar, f"{prose}<tool_call> ")
    assert not begins(grammar, f"{prose}<tool_call>x")
    assert not begins(grammar, f"{prose}{block(TIME)} ")
    assert not begins(tool_grammar(TOOLS, "required"), f"a{prose}{block(TIME)}")


def test_without_calls_no_block_begins() -> None:
    grammar = tool_grammar(TOOLS, "none")
    assert admits(grammar, "I say <tool_call")
    assert not begins(grammar, "I say <tool_call>")
    assert admits(grammar, "[1, 2]"), "an answer like any other"


# Choices


def test_a_required_block_is_not_empty() -> None:
    assert not begins(tool_grammar(TOOLS, "required"), "<tool_call>[]")


def test_a_named_function_is_the_only_one_to_call() -> None:
    grammar = tool_grammar(TOOLS, "get_time")
    assert admits(grammar, block(TIME))
    assert admits(grammar, block(TIME, TIME))
    assert not begins(grammar, block(OSLO)[:30])
    assert not begins(grammar, "I")


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_without_functions_nothing_is_ruled_out(choice: str) -> None:
    assert tool_grammar([], choice) is None


@pytest.mark.parametrize(
    ("schemas", "choice", "words"),
    [
        (TOOLS, "get_tim", "no tool is called get_tim"),
        ([], "required", "no tool to call"),
        ([], "get_time", "no tool to call"),
    ],
)
def test_a_choice_that_is_not_offered_is_an_error(
    schemas: list[Schema], choice: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        tool_grammar(schemas, choice)
    assert ("get_weather, get_time" in caught.value.hint) == bool(schemas)


# Schemas: what satisfies them, what does not

LIST_OF_WHOLE = {"type": "array", "items": {"type": "integer"}}
POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
    "required": ["x"],
}
TREE = {
    "$ref": "#/$defs/Tree",
    "$defs": {
        "Tree": {
            "type": "object",
            "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
            "required": ["kids"],
        }
    },
}
SHAPE = {
    "oneOf": [{"$ref": "#/$defs/Circle"}, {"$ref": "#/$defs/Box"}],
    "discriminator": {"propertyName": "kind"},
    "$defs": {
        "Circle": {"properties": {"kind": {"const": "circle"}, "r": {"type": "number"}}},
        "Box": {"properties": {"kind": {"const": "box"}}, "required": ["kind"]},
    },
}
LONG = "1" * 101

SCHEMAS: dict[str, tuple[Schema, list[str], list[str]]] = {
    "integer": (
        {"type": "integer"},
        ["0", "-7", "120", "12345678901234567890"],
        ["01", "1.0", "1e3", "+1", "-", "", '"1"', " 1", "1 ", LONG],
    ),
    "number": (
        {"type": "number"},
        ["0", "-0.5", "2", "1e5", "6.02e+23", "5E-05", "0.0001"],
        [".5", "1.", "1e", "1e400", "-", "NaN", "Infinity", "0x1", LONG, f"0.{LONG}"],
    ),
    "boolean": ({"type": "boolean"}, ["true", "false"], ["True", "1", '"true"', "null"]),
    "null": ({"type": "null"}, ["null"], ["None", '""']),
    "string": (
        {"type": "string"},
        ['""', '"a"', '"é\u20ac\U0001f389"', '"\x7f"', r'"\""'],
        ['"', "a", '"a" ', '"\t"', r'"\/"', r'"\u0041"'],
    ),
    "anything": (
        {},
        ["1", '"a"', "null", "[]", '[1, {"a": [true]}]', '{"a": 1, "b": {}}', "{}"],
        ["", "[1,2]", '{"a":1}', "{1: 2}", "[1 ]", "{'a': 1}"],
    ),
    "only notes": ({"description": "d", "title": "t"}, ["1", "{}"], ["x"]),
    "enum": (
        {"type": "string", "enum": ["a", "ab", "\u00fc \u2713", 'q"', "\x00"]},
        ['"a"', '"ab"', '"\u00fc \u2713"', r'"q\""', r'"\u0000"'],
        ['"b"', '"abc"', "a", '""'],
    ),
    "enum of several types": (
        {"enum": [1, "1", None, 2.5, [1, 2]]},
        ["1", '"1"', "null", "2.5", "[1, 2]"],
        ["2", "[1,2]"],
    ),
    "const": ({"const": {"a": 1}}, ['{"a": 1}'], ["{}", '{"a":1}']),
    "nullable": ({"type": "integer", "nullable": True}, ["1", "null"], ['"null"', ""]),
    "not nullable": ({"type": "integer", "nullable": False}, ["1"], ["null"]),
    "nullable enum": ({"type": "string", "enum": ["a"], "nullable": True}, ['"a"', "null"], ["1"]),
    "nullable union": (
        {"anyOf": [{"type": "integer"}, {"type": "boolean"}], "nullable": True},
        ["1", "true", "null"],
        ['""'],
    ),
    "types": ({"type": ["string", "integer"]}, ['"a"', "1"], ["null", "1.5"]),
    "whole and other numbers": ({"type": ["integer", "number"]}, ["1", "1.5"], ["a"]),
    "anyOf": ({"anyOf": [{"type": "boolean"}, LIST_OF_WHOLE]}, ["true", "[1]"], ["1", "[true]"]),
    "anyOf beside a type": (
        {"type": "string", "anyOf": [{"enum": ["a"]}, {"pattern": "^x+$"}]},
        ['"a"', '"xx"'],
        ['"b"', "1"],
    ),
    "oneOf by a tag": (
        SHAPE,
        ['{"kind": "circle", "r": 1.5}', '{"kind": "box"}', "{}"],
        ['{"kind": "box", "r": 1}', '{"kind": "line"}'],
    ),
    "allOf of one": ({"allOf": [POINT], "description": "d"}, ['{"x": 1}'], ['{"x": 1, "z": 1}']),
    "allOf": (
        {"allOf": [POINT, {"properties": {"z": {"type": "integer"}}, "required": ["z"]}]},
        ['{"x": 1, "z": 2}', '{"x": 1, "y": 3, "z": 2}'],
        ['{"x": 1}', '{"z": 2}', '{"x":1,"z":2}'],
    ),
    "a reference with bounds of its own": (
        {"properties": {"n": {"$ref": "#/$defs/N", "maximum": 5}}, "$defs": {"N": {"minimum": 3}}},
        ['{"n": 4}', "{}"],
        ['{"n": 2}', '{"n": 6}'],
    ),
    "recursive": (
        TREE,
        ['{"kids": []}', '{"kids": [{"kids": []}, {"kids": [{"kids": []}]}]}'],
        ["{}", '{"kids": [1]}', '{"kids": [{}]}'],
    ),
    "a reference to a property": (
        {"properties": {"a/b": {"type": "integer"}, "c": {"$ref": "#/properties/a~1b"}}},
        ['{"a/b": 1, "c": 2}'],
        ['{"c": "x"}'],
    ),
    "list": (LIST_OF_WHOLE, ["[]", "[1]", "[1, 2, 3]"], ["[1,2]", "[1, ]", '["1"]', "[", "1"]),
    "list of anything": ({"type": "array"}, ["[]", '[1, "a", []]'], ["{}"]),
    "bounded list": (
        {**LIST_OF_WHOLE, "minItems": 2, "maxItems": 3},
        ["[1, 2]", "[1, 2, 3]"],
        ["[]", "[1]", "[1, 2, 3, 4]"],
    ),
    "list of at least one": ({**LIST_OF_WHOLE, "minItems": 1}, ["[1]", "[1, 2, 3]"], ["[]"]),
    "list of at most one": ({**LIST_OF_WHOLE, "maxItems": 1}, ["[]", "[1]"], ["[1, 2]"]),
    "empty list": ({"type": "array", "maxItems": 0}, ["[]"], ["[1]"]),
    "tuple": (
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
        ['[1, "a"]'],
        ["[]", "[1]", '["a", 1]', '[1, "a", 2]'],
    ),
    "uniqueItems is left to validation": (
        {**LIST_OF_WHOLE, "uniqueItems": True},
        ["[1, 2]"],
        ["[a]"],
    ),
    "object": (
        POINT,
        ['{"x": 1}', '{"x": 1, "y": 2}'],
        ["{}", '{"y": 2}', '{"y": 2, "x": 1}', '{"x": 1, "z": 3}', '{"x": 1,}', '{"x": 1 }'],
    ),
    "optional first": (
        {"properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}}},
        ["{}", '{"a": null}', '{"b": null}', '{"a": null, "c": null}', '{"b": null, "c": null}'],
        ['{"c": null, "a": null}', '{, "a": null}', '{"a": null "b": null}', '{"a": null, }'],
    ),
    "optional around a required one": (
        {
            "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}},
            "required": ["b"],
        },
        ['{"b": 2}', '{"a": 1, "b": 2}', '{"b": 2, "c": 3}', '{"a": 1, "b": 2, "c": 3}'],
        ["{}", '{"a": 1}', '{"a": 1, "c": 3}'],
    ),
    "properties named like keywords": (
        {"properties": {"enum": {"type": "integer"}, "nullable": {}, "$ref": {"type": "string"}}},
        ['{"enum": 1, "nullable": [], "$ref": "x"}', "{}"],
        ['{"enum": "1"}', "null"],
    ),
    "keys of any text": (
        {"properties": {'a "b"\\': {"const": 1}, "\u00e9\u2713": {"const": 2}}},
        [json.dumps({'a "b"\\': 1, "\u00e9\u2713": 2}, ensure_ascii=False)],
        [],
    ),
    "required but not described": (
        {"type": "object", "required": ["a"]},
        ['{"a": 1}', '{"a": []}'],
        ["{}", '{"b": 1}'],
    ),
    "a mapping": (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        ["{}", '{"a": 1}', '{"a": 1, "b c": 2}'],
        ['{"a": "x"}', "{a: 1}"],
    ),
    "open object": ({"type": "object"}, ["{}", '{"a": {"b": [1]}}'], ["[]", "1"]),
    "empty object": ({"type": "object", "additionalProperties": False}, ["{}"], ['{"a": 1}']),
    "nested": (
        {"type": "array", "items": {**POINT, "nullable": True}},
        ['[{"x": 1}, null]'],
        ['[{"y": 1}]'],
    ),
    "keys by a pattern": (
        {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
        ['{"xa": 1}', "{}"],
        ['{"a": 1}', '{"xa": "1"}', '{"xa":1}'],
    ),
    "range": (
        {"type": "integer", "minimum": -3, "exclusiveMaximum": 12},
        ["-3", "0", "11"],
        ["-4", "12", "100"],
    ),
    "range of fractions": (
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        ["0.25", "1"],
        ["0", "1.5", "-0.1"],
    ),
    "multipleOf": ({"type": "integer", "multipleOf": 5}, ["0", "25"], ["7"]),
    "length": (
        {"type": "string", "minLength": 2, "maxLength": 3},
        ['"ab"', '"\u00e9\U0001f389\u00e9"', r'"\n\n"'],
        ['"a"', '"abcd"', r'"\u0041\u0041"'],
    ),
    "pattern": (
        {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
        ['"AB-12"'],
        ['"ab-12"', '"AB-"', '"xAB-1"'],
    ),
    "pattern anywhere": ({"pattern": "b"}, ['"abc"'], ['"ac"', "1"]),
    "pattern that looks ahead": ({"type": "string", "pattern": "^(?!a)b"}, ['"b"', '"a"'], ["1"]),
    "pattern that refers back": ({"type": "string", "pattern": r"(a)\1"}, ['"x"'], ["1"]),
    "date": (
        {"type": "string", "format": "date"},
        ['"2024-02-29"', '"2000-02-29"', '"2023-12-31"', '"2023-04-30"'],
        ['"2023-02-29"', '"1900-02-29"', '"2023-13-01"', '"2023-04-31"', '"23-01-01"', '""'],
    ),
    "date of a pattern": (
        {"type": "string", "format": "date", "pattern": "^2024"},
        ['"2024-05-01"'],
        ['"2023-05-01"', '"2024"'],
    ),
    "time": (
        {"type": "string", "format": "time"},
        ['"09:30"', '"23:59:59"', '"10:00:00.125"'],
        ['"24:00"', '"9:30"', '"10:60"', '"10:00:60"', '"10"'],
    ),
    "date and time": (
        {"type": "string", "format": "date-time"},
        ['"2024-05-01T10:00"', '"2024-05-01T10:00:00Z"', '"2024-05-01T10:00:00+02:00"'],
        ['"2024-05-01"', '"2024-02-30T10:00:00Z"', '"2024-05-01T10:00:00+2"'],
    ),
    "email": ({"type": "string", "format": "email"}, ['"a@example.org"'], ['"a"', '"a@"']),
    "only options of the type": (
        {"type": ["integer", "boolean"], "enum": [1, "1", True, None, 2.5]},
        ["1", "true"],
        ['"1"', "null", "2.5"],
    ),
    "first items and more": (
        {"prefixItems": [{"type": "integer"}], "items": {"type": "boolean"}, "minItems": 2},
        ["[1, true]", "[1, true, false]"],
        ["[1]", "[1, 2]", "[true, true]"],
    ),
    "a property that must not be": (
        {"properties": {"a": False, "b": {"type": "null"}}},
        ["{}", '{"b": null}'],
        ['{"a": 1}'],
    ),
    "format of one's own": ({"type": "string", "format": "password"}, ['"a"'], ["1"]),
}


@pytest.mark.parametrize(("schema", "satisfying", "other"), SCHEMAS.values(), ids=SCHEMAS)
def test_what_satisfies_a_schema(schema: Schema, satisfying: list[str], other: list[str]) -> None:
    grammar = schema_grammar(schema)
    assert {text: admits(grammar, text) for text in satisfying} == dict.fromkeys(satisfying, True)
    assert {text: admits(grammar, text) for text in other} == dict.fromkeys(other, False)


# References start from the root of the parameters.
PARAMETERS = {name: row for name, row in SCHEMAS.items() if "#/" not in str(row[0])}


@pytest.mark.parametrize(("schema", "satisfying", "other"), PARAMETERS.values(), ids=PARAMETERS)
def test_what_satisfies_a_parameter(
    schema: Schema, satisfying: list[str], other: list[str]
) -> None:
    grammar = tool_grammar([function("f", "p", p=schema)], "required")
    opening = '{"name": "f", "arguments": {"p": '
    assert all(admits(grammar, block(f"{opening}{text}}}}}")) for text in satisfying)
    assert not any(admits(grammar, block(f"{opening}{text}}}}}")) for text in other)


def test_references_in_parameters_start_from_their_root() -> None:
    parameters = {"type": "object", "properties": {"tree": {"$ref": "#/$defs/Tree"}}}
    grammar = tool_grammar([{"name": "f", "parameters": parameters | {"$defs": TREE["$defs"]}}])
    assert admits(grammar, block('{"name": "f", "arguments": {"tree": {"kids": [{"kids": []}]}}}'))
    assert not admits(grammar, block('{"name": "f", "arguments": {"tree": {}}}'))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "dict"}, "unknown type 'dict'"),
        ({"properties": {"a": {"type": ["string", "any"]}}}, "unknown type 'any'"),
        ({"type": []}, "no value"),
        ({"enum": []}, "no value"),
        ({"type": "string", "enum": [1, 2]}, "no value"),
        ({"type": "array", "minItems": 3, "maxItems": 1}, "no value"),
        ({"properties": {"a": False}, "required": ["a"]}, "no value"),
        ({"anyOf": []}, "no value"),
        ({"$ref": "#/$defs/Missing"}, "#/\\$defs/Missing"),
        ({"$ref": "https://example.org/schema.json"}, "example.org"),
        ({"$ref": "#/$defs/A", "$defs": []}, "#/\\$defs/A"),
        ({"properties": [1]}, "is none"),
        ({"enum": 5}, "is none"),
        ({"anyOf": [True]}, "is none"),
        ({"type": "string", "pattern": 1}, "is none"),
    ],
)
def test_what_is_no_schema_is_an_error_that_names_the_owner(schema: Schema, words: str) -> None:
    with pytest.raises(UsageError, match=f"the answer.*{words}"):
        schema_grammar(schema)
    if "$ref" not in schema:
        broken = function("broken", p=schema)
        with pytest.raises(UsageError, match=f"the tool broken.*{words}"):
            tool_grammar([CLOCK, broken])


def test_the_text_is_the_same_every_time() -> None:
    schema = {"minimum": 1, "maximum": 5, "multipleOf": 2, "type": "integer"}
    texts = {schema_grammar(dict(reversed(schema.items()))), schema_grammar(schema)}
    assert len(texts) == 1


@pytest.mark.parametrize(
    "prose",
    ["```\n", "~ ```json\n{} ", "````\n```\n", "Say `", "```\na\n``` and ```\n", "`````x\n````"],
)
def test_where_code_is_open_the_tag_is_text_as_it_is_for_the_reader(prose: str) -> None:
    grammar = tool_grammar(TOOLS)
    assert admits(grammar, f"{prose}<tool_call>[5]</tool_call> and so on")
    assert not read_reply(f"{prose}{block(OSLO)} and so on").tool_calls


@pytest.mark.parametrize(
    "prose", ["```\na\n```\n", "Use `a` and ``b``: ", "````\n```\n`````\n", "`` ` "]
)
def test_behind_code_calls_are_held_to_their_schemas(prose: str) -> None:
    grammar = tool_grammar(TOOLS)
    assert admits(grammar, prose + block(OSLO))
    assert not begins(grammar, f"{prose}<tool_call>[5]")
    assert len(read_reply(prose + block(OSLO)).tool_calls) == 1
