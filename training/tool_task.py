"""A task: what a user wishes, the one call that fulfils it, its result and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.words import capitalized

Schema = dict[str, Any]

JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One wish for one tool. The wish and the answer are clauses in lower case without an end."""

    schema: Schema
    wish: str
    is_question: bool
    arguments: dict[str, Any]
    result: str
    answer: str
    keep: tuple[str, ...] = ()
    """What the answer must contain verbatim."""

    @property
    def name(self) -> str:
        name: str = self.schema["function"]["name"]
        return name

    @property
    def call(self) -> dict[str, Any]:
        return {"name": self.name, "arguments": self.arguments}

    @property
    def question(self) -> str:
        """The wish as a sentence of its own."""
        return capitalized(self.wish) + ("?" if self.is_question else ".")

    @property
    def sentence(self) -> str:
        """The answer as a sentence of its own."""
        return capitalized(self.answer) + "."


def function_schema(
    name: str,
    description: str,
    properties: dict[str, Schema],
    required: list[str],
    returns: str | None = None,
) -> Schema:
    """A schema as `transformers.utils.get_json_schema` writes it, key by key."""
    parameters: Schema = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    function: Schema = {"name": name, "description": description, "parameters": parameters}
    if returns:
        function["return"] = {"type": returns}
    return {"type": "function", "function": function}


def fits_type(value: Any, schema: Schema) -> bool:
    """The value has the schema's type and is one of its choices, where it has them.

    What a list or an object holds is not looked at.
    """
    names = schema.get("type", list(JSON_TYPES))
    types = [JSON_TYPES.get(name, ()) for name in ([names] if isinstance(names, str) else names)]
    is_flag = isinstance(value, bool)
    right = any(isinstance(value, t) and (not is_flag or bool in t) for t in types)
    return right and ("enum" not in schema or value in schema["enum"])


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them: `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
