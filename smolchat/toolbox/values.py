"""JSON values as the Python values that a function's type hints promise it."""

from __future__ import annotations

import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from smolchat.toolbox.arguments import ArgumentError, coerce
from smolchat.toolbox.hints import (
    LISTS,
    MAPPINGS,
    TEXTS,
    bounds_schema,
    fields_of,
    is_class,
    is_pydantic,
    literal_value,
    members,
    schema_of,
    unwrapped,
)
from smolchat.toolbox.readings import same
from smolchat.toolbox.tool import Schema


def value_of(hint: Any, value: Any) -> Any:
    """The Python value that JSON `value` stands for: the Enum's member, the dataclass, the Path.

    `value` satisfies the hint's schema except for its bounds: those are checked here.
    Raises ArgumentError.
    """
    bare, rules = unwrapped(hint)
    if bounds_schema({}, rules):
        value = _checked(schema_of(hint), value)
    origin, args = get_origin(bare), get_args(bare)
    if origin in (Union, types.UnionType):
        return value_of(_fitting(args, value), value)
    if origin is Literal:
        return next((arg for arg in args if same(literal_value(arg), value)), value)
    if bare is float:
        return float(value)
    if bare in TEXTS:
        return TEXTS[bare][1](value)
    if is_class(bare, Enum):
        return members(bare)[value]
    if (origin or bare) in (*LISTS, tuple):
        return _list_value(origin or bare, args, value)
    if (origin or bare) in MAPPINGS:
        return _mapping_value(args, value) if args else value
    return _object_value(bare, value)


def _checked(schema: Schema, value: Any) -> Any:
    return coerce({"properties": {"value": schema}, "required": ["value"]}, {"value": value})[
        "value"
    ]


def _fitting(args: tuple[Any, ...], value: Any) -> Any:
    """The first arm of a union that takes the value as it is."""
    for arg in args:
        try:
            found = _checked(schema_of(arg), value)
        except ArgumentError:
            continue
        if same(found, value):
            return arg
    return type(None) if value is None else Any


def _list_value(kind: Any, args: tuple[Any, ...], values: list[Any]) -> Any:
    if kind is tuple and args and ... not in args:
        return tuple(value_of(arg, value) for arg, value in zip(args, values, strict=True))
    item = args[0] if args else Any
    return LISTS.get(kind, tuple)(value_of(item, value) for value in values)


def _mapping_value(args: tuple[Any, ...], value: dict[str, Any]) -> dict[Any, Any]:
    """Keys are text in JSON: they stand for what the hint says, as values do."""
    key_hint, item_hint = args
    keys = {key: _checked(schema_of(key_hint), key) for key in value}
    return {value_of(key_hint, keys[key]): value_of(item_hint, value[key]) for key in value}


def _object_value(hint: Any, value: Any) -> Any:
    if is_pydantic(hint):
        return hint.model_validate(value)
    fields = fields_of(hint)
    if fields is None:
        return value
    known = {field.name: field.hint for field in fields}
    return hint(**{name: value_of(known[name], item) for name, item in value.items()})
