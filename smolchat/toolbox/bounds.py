"""The bounds a schema puts on a value beyond its type: range, length, pattern, format."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any

from smolchat.toolbox.readings import has_type
from smolchat.toolbox.tool import Schema


def violation(schema: Schema, value: Any) -> tuple[str, str] | None:
    """The kind of the first bound that does not hold, and in words what must hold."""
    for keyword, (kind, applies, holds, words) in _BOUNDS.items():
        bound = schema.get(keyword)
        if bound is not None and applies(value) and not holds(value, bound):
            return kind, words.format(bound)
    return None


def _is_number(value: Any) -> bool:
    return has_type("number", value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_multiple(value: Any, bound: Any) -> bool:
    if isinstance(value, int) and isinstance(bound, int):
        return value % bound == 0
    quotient = value / bound
    return bool(math.isclose(quotient, round(quotient), rel_tol=1e-9, abs_tol=1e-9))


def _matches(value: str, pattern: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:  # a dialect that Python does not read forbids nothing
        return True


def _has_format(value: str, name: str) -> bool:
    read = {"date": date.fromisoformat, "date-time": _instant, "time": time.fromisoformat}.get(name)
    try:
        return read is None or read(value) is not None
    except ValueError:
        return False


def _instant(text: str) -> datetime:
    # Python reads a final Z from 3.11 on.
    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)


def _are_distinct(values: list[Any], wanted: bool) -> bool:
    texts = [json.dumps(value, sort_keys=True) for value in values]
    return not wanted or len(set(texts)) == len(texts)


_Bound = tuple[str, Callable[[Any], bool], Callable[[Any, Any], bool], str]
_BOUNDS: dict[str, _Bound] = {
    "minimum": ("range", _is_number, lambda value, bound: value >= bound, "be at least {}"),
    "maximum": ("range", _is_number, lambda value, bound: value <= bound, "be at most {}"),
    "exclusiveMinimum": ("range", _is_number, lambda value, bound: value > bound, "be above {}"),
    "exclusiveMaximum": ("range", _is_number, lambda value, bound: value < bound, "be below {}"),
    "multipleOf": ("range", _is_number, _is_multiple, "be a multiple of {}"),
    "minLength": (
        "length",
        _is_text,
        lambda value, n: len(value) >= n,
        "have {} or more characters",
    ),
    "maxLength": (
        "length",
        _is_text,
        lambda value, n: len(value) <= n,
        "have {} characters at most",
    ),
    "minItems": ("length", _is_list, lambda value, n: len(value) >= n, "have {} or more items"),
    "maxItems": ("length", _is_list, lambda value, n: len(value) <= n, "have {} items at most"),
    "uniqueItems": ("length", _is_list, _are_distinct, "have no item twice"),
    "pattern": ("pattern", _is_text, _matches, "match {}"),
    "format": ("format", _is_text, _has_format, "be a {} in ISO format"),
}
