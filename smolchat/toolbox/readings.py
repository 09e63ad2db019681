"""What a JSON value can be read as, for each type that a schema names: `"3"` as the integer 3."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
NULL_TEXTS = ("null", "None")


def readings(types: list[str], value: Any) -> Iterator[Any]:
    """The value itself where its type is right, then what else it can be read as."""
    if any(has_type(name, value) for name in types):
        yield value
    for name in types:
        read = _READERS.get(name)
        found = _UNREADABLE if read is None else read(value)
        if found is not _UNREADABLE:
            yield found


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: unlike in Python, 1, 1.0 and true are three values."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def has_type(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, float):
        return name == "number" and math.isfinite(value)
    return isinstance(value, _PYTHON_TYPES.get(name, ()))


_PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": int,
    "string": str,
    "array": list,
    "object": dict,
    "null": type(None),
}

_UNREADABLE = object()


def _integer(value: Any) -> Any:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        try:
            return int(value)
        except ValueError:  # more digits than Python converts
            return _UNREADABLE
    number = _number(value)
    if isinstance(value, str) and isinstance(number, float):
        exact = Decimal(value.strip())  # a float may have rounded it to a whole number
        return int(exact) if exact == exact.to_integral_value() else _UNREADABLE
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number if isinstance(number, int) else _UNREADABLE


def _number(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        text = value.strip()
        if _INTEGER.fullmatch(text):
            return _integer(text)
        value = float(text)
    return value if has_type("number", value) else _UNREADABLE


def _boolean(value: Any) -> Any:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), _UNREADABLE)
    return _UNREADABLE


def _string(value: Any) -> Any:
    """A number or truth value where text is wanted: as JSON writes it."""
    if isinstance(value, bool) or has_type("number", value):
        try:
            return json.dumps(value)
        except ValueError:  # more digits than Python converts
            return _UNREADABLE
    return _UNREADABLE


def _array(value: Any) -> Any:
    return _container(value, list)


def _object(value: Any) -> Any:
    return _container(value, dict)


def _null(value: Any) -> Any:
    is_null = isinstance(value, str) and value.strip() in NULL_TEXTS
    return None if is_null else _UNREADABLE


def _container(value: Any, kind: type) -> Any:
    """A list or an object that was written as text, in JSON or as Python shows it."""
    if not isinstance(value, str):
        return _UNREADABLE
    for parse in (_from_json, _from_python):
        try:
            found = parse(value)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, kind):
            return found
    return _UNREADABLE


def _from_json(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _from_python(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        found = ast.literal_eval(text.strip())
    # The way through JSON turns tuples into lists and refuses what JSON cannot say.
    return json.loads(json.dumps(found, allow_nan=False))


_READERS: dict[str, Callable[[Any], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _string,
    "array": _array,
    "object": _object,
    "null": _null,
}
