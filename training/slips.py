"""Calls that begin with the wrong tool's name: how they go on as that tool wants it.

A small model picks the wrong tool now and then, and then gives it the keys that the question
suggests. Here the wrong name is given, not learnt; what follows it is learnt: the rest of the
name, and the keys that this tool requires, with what the question states as far as it fits.

Knows schemas and calls; not wordings, nor how many calls are to slip.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from training.tool_task import Schema, Task, fits_type


def slipped(task: Task, schema: Schema) -> Task:
    """The task with a call of another tool: its required arguments and no others."""
    parameters = schema["function"]["parameters"]
    left = list(task.arguments.values())
    arguments = {}
    for key in parameters.get("required", ()):
        part = parameters["properties"][key]
        place = next((i for i, value in enumerate(left) if fits(value, part)), None)
        arguments[key] = makeshift(task, part) if place is None else left.pop(place)
    return Task(schema, task.wish, task.is_question, arguments, task.result, task.answer)


def fits(value: Any, schema: Schema) -> bool:
    """Whether a value, and each item of a list, is what a parameter's schema asks for."""
    items = value if isinstance(value, list) and "items" in schema else []
    return fits_type(value, schema) and all(fits(each, schema["items"]) for each in items)


def makeshift(task: Task, schema: Schema) -> Any:
    """A value where the question has none that fits: what a reader of it would come upon first."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema["type"]
    if kind == "array":
        return [makeshift(task, schema["items"])]
    if kind == "string":
        stated = (each for value in task.arguments.values() for each in _flat(value))
        return str(next(stated, _last_word(task.wish)))
    return kind == "boolean" or 1


def own_opening(name: str, names: Sequence[str]) -> int:
    """How many characters of a quoted name tell it from all the others."""
    quoted = name + '"'
    others = [f'{each}"' for each in names if each != name]
    lengths = range(1, len(quoted) + 1)
    return next(n for n in lengths if not any(each.startswith(quoted[:n]) for each in others))


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if isinstance(value, bool) else [value]


def _last_word(text: str) -> str:
    return next(reversed(re.findall(r"\w+", text)), "")
