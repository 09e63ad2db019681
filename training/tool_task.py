"""A task: what a user wishes, the one call that fulfils it, its result and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.words import capitalized

Schema = dict[str, Any]


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


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them: `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
