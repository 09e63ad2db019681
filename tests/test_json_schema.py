"""Foreign schemas: what is made of them, what is refused, and which answers satisfy them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from smolchat.errors import UsageError
from smolchat.json_schema import complaint, usable


@pytest.mark.parametrize(
    ("given", "usable_form"),
    [
        ({"minimum": 0, "exclusiveMinimum": True}, {"exclusiveMinimum": 0}),
        ({"maximum": 9, "exclusiveMaximum": False}, {"maximum": 9}),
        ({"exclusiveMaximum": 9}, {"exclusiveMaximum": 9}),
        (
            {"properties": {"a": {"minimum": 1, "exclusiveMinimum": True}}},
            {"properties": {"a": {"exclusiveMinimum": 1}}},
        ),
        ({"const": {"exclusiveMinimum": True}}, {"const": {"exclusiveMinimum": True}}),
    ],
)
def test_bounds_of_openapi_become_those_of_json_schema(
    given: dict[str, Any], usable_form: dict[str, Any]
) -> None:
    assert usable(given, "it") == usable_form


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": None}, "None is not"),
        ({"type": "text"}, "'text' is not"),
        ({"properties": []}, r"at properties: \[\] is not"),
        ({"properties": {"a": {"minimum": "5"}}}, "at properties/a/minimum: '5' is not"),
        ({"required": None}, "None is not"),
        ({"enum": 5}, "5 is not"),
    ],
)
def test_what_is_no_schema_is_refused_with_its_place(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=f"it: its JSON schema is none.*{words}"):
        usable(schema, "it")


@pytest.mark.parametrize(
    ("schema", "text", "words"),
    [
        ({"type": "array", "uniqueItems": True}, "[1, 2]", ""),
        ({"type": "array", "uniqueItems": True}, "[1, 1]", "non-unique"),
        ({"type": "string", "pattern": "^(?=a)a"}, '"b"', "does not match"),
        ({"type": "string", "pattern": "["}, '"b"', "could not be checked"),
        ({"type": "string", "nullable": True}, "null", ""),
        ({"type": "string"}, "null", "None is not of type 'string'"),
        ({"properties": {"a": {"type": "null"}}}, '{"a": 1}', r"at \['a'\]: 1 is not"),
        ({}, '{"a": ', "no whole JSON"),
        ({}, "[" * 100_000, "no whole JSON"),
        ({"$ref": "#/$defs/A"}, "1", "could not be checked"),
    ],
)
def test_an_answer_is_held_against_its_schema(
    schema: dict[str, Any], text: str, words: str
) -> None:
    told = complaint(schema, text)
    assert re.search(words, told) if words else told == ""
