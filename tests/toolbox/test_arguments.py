"""Coercion by schema: the shared cases, and the rules they stand for."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolchat.toolbox import ArgumentError, changes, coerce

SHARED_CASES = Path(__file__).parents[3] / "shared" / "data" / "toolcalls" / "coerce.jsonl"
CASES = (
    [json.loads(line) for line in SHARED_CASES.read_text(encoding="utf-8").splitlines()]
    if SHARED_CASES.is_file()
    else []
)


def outcome(schema: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"arguments": coerce(schema, arguments)}
    except ArgumentError as error:
        return {"error": error.kind}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['id']} {case['note']}")
def test_shared_cases(case: dict[str, Any]) -> None:
    found = outcome(case["schema"], case["arguments"])
    assert json.dumps(found) == json.dumps(case["expect"])


INTEGER, NUMBER, STRING = {"type": "integer"}, {"type": "number"}, {"type": "string"}
BOOLEAN, ARRAY, OBJECT = {"type": "boolean"}, {"type": "array"}, {"type": "object"}
UNIT = {"type": "string", "enum": ["celsius", "fahrenheit"]}
MANY_NINES = "9" * 5_000


VALUES: list[tuple[dict[str, Any], Any, Any]] = [
    (INTEGER, "42", 42),
    (INTEGER, " 42 ", 42),
    (INTEGER, "+7", 7),
    (INTEGER, "1e3", 1000),
    (INTEGER, True, "type"),
    (INTEGER, "True", "type"),
    (INTEGER, "1_000", "type"),
    (INTEGER, "٣", "type"),
    (INTEGER, MANY_NINES, "type"),
    (INTEGER, float("inf"), "type"),
    (INTEGER, [1], "type"),
    (NUMBER, "2.5", 2.5),
    (NUMBER, "2", 2),
    (NUMBER, ".5", 0.5),
    (NUMBER, "-1.5e-3", -0.0015),
    (NUMBER, "NaN", "type"),
    (NUMBER, "inf", "type"),
    (NUMBER, "1e999", "type"),
    (NUMBER, "0x10", "type"),
    (NUMBER, "5 km", "type"),
    (NUMBER, False, "type"),
    (NUMBER, float("nan"), "type"),
    (BOOLEAN, "true", True),
    (BOOLEAN, "False", False),
    (BOOLEAN, "yes", "type"),
    (BOOLEAN, "1", "type"),
    (BOOLEAN, 1, "type"),
    (STRING, "", ""),
    (STRING, "42", "42"),
    (STRING, 42, "42"),
    (STRING, 2.5, "2.5"),
    (STRING, True, "true"),
    (STRING, ["a"], "type"),
    (STRING, None, "type"),
    (STRING, "null", "null"),
    (ARRAY, "[1, 2]", [1, 2]),
    (ARRAY, "(1, 'b')", [1, "b"]),
    (ARRAY, "a, b", "type"),
    (ARRAY, "a", "type"),
    (ARRAY, 3, "type"),
    (ARRAY, "{'a': 1}", "type"),
    (ARRAY, "[" * 100_000, "type"),
    (ARRAY, "[b'x']", "type"),
    (ARRAY, "[NaN]", "type"),
    (ARRAY, "[__import__('os')]", "type"),
    (OBJECT, "{'a': True, 'b': None}", {"a": True, "b": None}),
    (OBJECT, [], "type"),
    (UNIT, "Celsius", "celsius"),
    (UNIT, " fahrenheit ", "fahrenheit"),
    (UNIT, {"a": 1}, "type"),
    (UNIT, 5, "enum"),
    ({"type": "string", "enum": ["a", "A"]}, "A", "A"),
    ({"type": "string", "enum": ["aa", "AA"]}, "Aa", "enum"),
    ({"type": "integer", "enum": [1, 2]}, "2", 2),
    ({"type": "integer", "enum": [1, 2]}, "3", "enum"),
    ({"type": "integer", "enum": [0, 1]}, True, "type"),
    ({"type": ["integer", "string"], "enum": [1, "auto"]}, "1", 1),
    ({"enum": ["a", 1]}, "a", "a"),
    ({"const": 3}, 4, "enum"),
    ({"type": ["integer", "string"]}, "42", "42"),
    ({"type": ["integer", "null"]}, "42", 42),
    ({"type": ["integer", "null"]}, "None", None),
    ({"type": "integer", "nullable": True}, "null", None),
    ({"type": "string", "enum": ["a"], "nullable": True}, None, None),
    ({"anyOf": [INTEGER, {"type": "array", "items": INTEGER}]}, ["1"], [1]),
    ({"anyOf": [INTEGER, {"type": "array", "items": INTEGER}]}, "7", 7),
    ({"anyOf": [INTEGER, STRING]}, "7", "7"),
    ({"anyOf": [INTEGER, BOOLEAN]}, "x", "type"),
    ({"anyOf": [UNIT, INTEGER]}, "kelvin", "enum"),
    ({"type": "array", "items": {"type": "object", "properties": {"x": INTEGER}}},
     [{"x": "1"}], [{"x": 1}]),
    ({"type": "array", "prefixItems": [INTEGER, STRING]}, ["1", 2], [1, "2"]),
    ({"type": "array", "prefixItems": [INTEGER, STRING]}, [1], "length"),
    ({"type": "array", "prefixItems": [INTEGER]}, [1, 2], "length"),
    ({"type": "object", "properties": {"a": INTEGER}, "required": ["a"]}, {}, "missing"),
    ({"type": "object", "properties": {"a": INTEGER}}, {"b": 1}, "unexpected"),
    ({"type": "object", "additionalProperties": INTEGER}, {"b": "1"}, {"b": 1}),
    ({"type": "object", "additionalProperties": INTEGER}, {"b": None}, "type"),
    ({"type": "integer", "minimum": 1}, "0", "range"),
    ({"type": "number", "exclusiveMaximum": 1}, 1.0, "range"),
    ({"type": "number", "multipleOf": 0.1}, 0.3, 0.3),
    ({"type": "integer", "multipleOf": 2}, 3, "range"),
    ({"type": "string", "maxLength": 2}, "abc", "length"),
    ({"type": "array", "uniqueItems": True}, [1, 1], "length"),
    ({"type": "array", "uniqueItems": True}, [1, True], [1, True]),
    ({"type": "array", "minItems": 1}, "[]", "length"),
    ({"type": "string", "pattern": "^a+$"}, "ab", "pattern"),
    ({"type": "string", "pattern": "(?<broken"}, "ab", "ab"),
    ({"type": "string", "format": "date"}, "2024-02-30", "format"),
    ({"type": "string", "format": "date"}, "2024-02-29", "2024-02-29"),
    ({"type": "string", "format": "date-time"}, "2024-02-29T10:00:00Z", "2024-02-29T10:00:00Z"),
    ({"type": "string", "format": "date-time"}, "soon", "format"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "expected"), VALUES, ids=lambda v: str(v)[:40])
def test_values(schema: dict[str, Any], value: Any, expected: Any) -> None:
    found = outcome(
        {"type": "object", "properties": {"v": schema}, "required": ["v"]}, {"v": value}
    )
    kinds = {"type", "enum", "missing", "unexpected", "range", "length", "pattern", "format"}
    if isinstance(expected, str) and expected in kinds:
        assert found == {"error": expected}
    else:
        assert json.dumps(found) == json.dumps({"arguments": {"v": expected}})


def test_null_for_an_optional_argument_is_its_absence() -> None:
    schema = {"type": "object", "properties": {"n": INTEGER, "s": STRING}}
    assert coerce(schema, {"n": None, "s": None}) == {}
    assert coerce(schema, {"n": "None", "s": "None"}) == {"s": "None"}


def test_references_are_followed() -> None:
    schema = {
        "type": "object",
        "properties": {"p": {"$ref": "#/$defs/Point"}},
        "$defs": {"Point": {"type": "object", "properties": {"x": INTEGER}}},
    }
    assert coerce(schema, {"p": "{'x': '3'}"}) == {"p": {"x": 3}}
    circular = {"properties": {"p": {"$ref": "#/properties/p"}}}
    assert coerce(circular, {"p": 1}) == {"p": 1}


def test_the_path_names_the_place() -> None:
    point = {"type": "object", "properties": {"x": INTEGER}}
    schema = {"properties": {"points": {"type": "array", "items": point}}}
    with pytest.raises(ArgumentError) as caught:
        coerce(schema, {"points": [{"x": 1}, {"x": "one"}]})
    assert caught.value.path == "points[1].x"
    assert str(caught.value) == 'points[1].x must be a whole number, not "one"'


def test_deep_nesting_is_an_argument_error() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    assert outcome({"properties": {"v": schema}}, {"v": deep}) == {"error": "type"}


def test_changes_tell_what_coercion_did() -> None:
    schema = {"properties": {"n": INTEGER, "m": INTEGER, "s": STRING}}
    before = {"n": "3", "m": None, "s": "same"}
    assert changes(before, coerce(schema, before)) == ['n: "3" -> 3', "m: null -> left out"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
SCHEMAS = st.sampled_from([schema for schema, _, _ in VALUES] + [{}])


@given(SCHEMAS, JSON_VALUES)
def test_coercion_is_settled_after_once_and_never_changes_its_input(
    schema: dict[str, Any], value: Any
) -> None:
    parameters = {"properties": {"v": schema}, "required": ["v"]}
    before = copy.deepcopy(value)
    try:
        once = coerce(parameters, {"v": value})
    except ArgumentError:
        return
    finally:
        assert repr(value) == repr(before)
    assert repr(coerce(parameters, once)) == repr(once)


@pytest.mark.parametrize(
    ("schema", "arguments", "expected"),
    [
        ({"anyOf": [{"properties": {"a": INTEGER}}, {"properties": {"b": STRING}}]}, {"a": "1"}, 1),
        ({"$ref": "#/$defs/P", "$defs": {"P": {"properties": {"a": INTEGER}}}}, {"a": "1"}, 1),
        ({"properties": {"a": {"allOf": [INTEGER, {"minimum": 1}]}}}, {"a": "1"}, 1),
        ({"properties": {"a": {"allOf": [INTEGER, {"minimum": 2}]}}}, {"a": 1}, "range"),
        ({"properties": {"a": {"allOf": [INTEGER]}}}, {"a": "x"}, "type"),
        ({"properties": {}, "patternProperties": {"^a": INTEGER}}, {"a": "1"}, 1),
        (
            {"properties": {"a": INTEGER}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {"a": "1"},
            1,
        ),
    ],
)
def test_what_a_schema_says_in_several_places_holds_together(
    schema: dict[str, Any], arguments: dict[str, Any], expected: Any
) -> None:
    found = outcome(schema, arguments)
    assert found == ({"arguments": {"a": 1}} if expected == 1 else {"error": expected})


@pytest.mark.parametrize(
    "schema",
    [
        *({"type": None}, {"minimum": "5"}, {"multipleOf": 0}, {"enum": 5}, {"anyOf": 5}),
        *({"pattern": 5}, {"minItems": "x", "type": "array"}, {"required": None}),
    ],
    ids=str,
)
def test_a_schema_that_is_none_raises_nothing_foreign(schema: dict[str, Any]) -> None:
    for value in (1, "1", [], {}):
        outcome({"properties": {"a": schema}}, {"a": value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("9007199254740993.0", 9007199254740993), ("3.0000000000000001", None), ("1e3", 1000)],
)
def test_whole_numbers_in_text_are_never_rounded(text: str, expected: int | None) -> None:
    found = outcome({"properties": {"a": INTEGER}}, {"a": text})
    assert found == ({"error": "type"} if expected is None else {"arguments": {"a": expected}})
