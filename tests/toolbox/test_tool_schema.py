"""Schemas: equal to transformers' to the byte where it accepts a function, and further on."""

# ruff: noqa: UP006, UP007, UP035, UP037, UP045  old spellings of types are among the cases

from __future__ import annotations

import datetime
import enum
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Dict, List, Literal, NewType, Optional, TypedDict, Union

import pytest
from pydantic import BaseModel, Field
from transformers.utils import get_json_schema

from smolchat.errors import ToolLoadError
from smolchat.toolbox.schema import function_schema


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Mixed(enum.Enum):
    ONE = 1
    NAME = "name"
    NOTHING = None


def no_arguments() -> str:
    """Say hello."""
    return ""


def scalars(a: int, b: float, c: str, d: bool) -> None:
    """Take one of each.

    Args:
        a: A whole number.
        b: A number,
            described over
            three lines.
        c: Text: with a colon.
        d: A claim
    """


def containers(
    a: list, b: list[int], c: list[list[str]], d: dict, e: dict[str, float], f: tuple[int, str]
) -> dict[str, int]:
    """Take containers.

    Args:
        a: any list
        b: whole numbers
        c: lists of lists
        d: any object
        e: numbers by name
        f: a pair

    Returns:
        Counts by name.
    """


def unions(
    a: Union[int, str],
    b: Optional[int],
    c: int | None,
    d: list[int] | str,
    e: int | str | None = 2,
) -> Optional[str]:
    """Take unions.

    Args:
        a: one
        b: two
        c: three
        d: four
        e: five
    Returns:
        Text or nothing.
    Raises:
        ValueError: sometimes
    """


def enums(
    a: Literal["x", "y"],
    b: Literal[1, 2] = 1,
    c: Literal["auto", 3] = "auto",
    d: Colour = Colour.RED,
    e: Size = Size.SMALL,
    f: Mixed = Mixed.ONE,
    g: Optional[Literal["x"]] = None,
) -> Any:
    """Take one of several.

    Args:
        a: one
        b: two
        c: three
        d: four
        e: five
        f: six
        g: seven
    """


def old_spellings(a: List[int], b: Dict[str, Optional[int]], c: List, d: Dict, e: "List[str]"):
    """Take what older code says.

    Args:
        a: one
        b: two
        c: three
        d: four
        e: five
    """


def choices(a: str, b: int = 3) -> None:
    """Take one of the choices.

    Args:
        a: The drink. (choices: ["tea", " coffee "])
        b: The size (Choices: [1, 2, 3])
    """


def keyword_only(*, a: int, b: str = "x") -> None:
    """Take keywords.

    Second paragraph, which
    goes on.

    Args:
        a: one

        b: two
    """


def annotated(a: Annotated[int, Field(ge=1, description="not this")]) -> None:
    """Take what is annotated.

    Args:
        a: but this
    """


async def asynchronous(a: Any) -> str:
    """Wait.

    Args:
        a: anything
    """
    return ""


def text_annotations(a: int, b: list[Colour] | None = None) -> Path:
    """Read text annotations.

    Args:
        a: one
        b: two
    """


def example_section(a: int) -> int:
    """Compute.

    Example:
        example_section(2)

    Args:
        a: one

    Returns:
        int: the same
    """


def umlauts(größe: int) -> None:
    """Größe, “so”.

    Args:
        größe: in ½ m
    """


class Methods:
    def method(self, a: int) -> None:
        """Be a method.

        Args:
            a: one
        """


ACCEPTED: list[Callable[..., Any]] = [
    no_arguments, scalars, containers, unions, enums, choices, keyword_only, annotated,
    asynchronous, old_spellings, text_annotations, example_section, umlauts, Methods().method,
]  # fmt: skip


@pytest.mark.parametrize("function", ACCEPTED, ids=lambda function: function.__name__)
def test_schema_equals_that_of_transformers(function: Callable[..., Any]) -> None:
    assert json.dumps(function_schema(function)) == json.dumps(get_json_schema(function))


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """The properties, of a function that transformers gives up on."""
    with pytest.raises(Exception):  # noqa: B017, PT011 it has many
        get_json_schema(function)
    return function_schema(function)["function"]["parameters"]["properties"]


def test_numpy_docstrings_are_read() -> None:
    def search(query: str, limit: int = 10, exact: bool = False) -> None:
        """Search the index.

        It is long.

        Parameters
        ----------
        query : str
            What to search,
            in words.
        limit, exact : int, optional
            How much.

        Returns
        -------
        list
            Hits.
        """

    assert parameters(search) == {
        "query": {"type": "string", "description": "What to search, in words."},
        "limit": {"type": "integer", "description": "How much. (default: 10)"},
        "exact": {"type": "boolean", "description": "How much. (default: false)"},
    }
    assert function_schema(search)["function"]["description"] == "Search the index.\n\nIt is long."


def test_sphinx_docstrings_are_read() -> None:
    def search(query: str, limit: int = 10) -> None:
        """Search the index.

        :param query: What to search,
            in words.
        :param int limit: How much.
        :returns: Hits.
        """

    assert parameters(search) == {
        "query": {"type": "string", "description": "What to search, in words."},
        "limit": {"type": "integer", "description": "How much. (default: 10)"},
    }
    assert function_schema(search)["function"]["description"] == "Search the index."


def test_google_docstrings_with_types_are_read() -> None:
    def search(query: str, limit: int = 10) -> None:
        """Search the index.

        Args:
            query (str): What to search:
                in words.
            limit (int, optional): How much.
        """

    function = function_schema(search)["function"]
    assert function["description"] == "Search the index."
    assert function["parameters"]["properties"] == {
        "query": {"type": "string", "description": "What to search: in words."},
        "limit": {"type": "integer", "description": "How much."},
    }


def test_a_function_without_docstring_is_described_by_its_name() -> None:
    def add_numbers(a: int, b: int = 2) -> int:
        return a + b

    assert parameters(add_numbers) == {
        "a": {"type": "integer"},
        "b": {"type": "integer", "description": "(default: 2)"},
    }
    assert function_schema(add_numbers)["function"]["description"] == "add numbers"


@dataclass
class Point:
    x: float
    y: Annotated[float, "upwards"] = 0.0
    tags: list[str] = field(default_factory=list)


class Place(TypedDict, total=False):
    name: str
    point: Point


class Address(BaseModel):
    street: str = Field(description="with number", min_length=2)


class Person(BaseModel):
    title: str
    homes: list[Address] = []
    age: int = Field(3, ge=0, le=150)


UserId = NewType("UserId", int)


class Odd(enum.Enum):
    ORIGIN = (0, 0)
    UNIT = (1, 1)


FURTHER: list[tuple[Any, dict[str, Any]]] = [
    (datetime.datetime, {"type": "string", "format": "date-time"}),
    (datetime.date, {"type": "string", "format": "date"}),
    (Path, {"type": "string"}),
    (Path | None, {"type": "string", "nullable": True}),
    (set[int], {"type": "array", "items": {"type": "integer"}}),
    (Sequence[str], {"type": "array", "items": {"type": "string"}}),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    (tuple[int], {"type": "array", "prefixItems": [{"type": "integer"}]}),
    (UserId, {"type": "integer"}),
    (Odd, {"type": "string", "enum": ["ORIGIN", "UNIT"]}),
    (Literal[Colour.RED], {"type": "string", "enum": ["red"]}),
    (
        Annotated[int, Field(ge=1, lt=9, multiple_of=2, description="even")],
        {
            "type": "integer",
            "minimum": 1,
            "exclusiveMaximum": 9,
            "multipleOf": 2,
            "description": "even",
        },
    ),
    (
        Annotated[str, Field(min_length=1, pattern="^a")],
        {"type": "string", "minLength": 1, "pattern": "^a"},
    ),
    (Annotated[list[int], Field(max_length=3)], {
        "type": "array", "items": {"type": "integer"}, "maxItems": 3,
    }),
    (
        Point,
        {
            "type": "object",
            "properties": {
                "x": {"type": "number"},
                "y": {"type": "number", "description": "upwards (default: 0.0)"},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["x"],
            "additionalProperties": False,
        },
    ),
    (
        Address,
        {
            "properties": {
                "street": {"description": "with number", "minLength": 2, "type": "string"}
            },
            "required": ["street"],
            "type": "object",
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "expected"), FURTHER, ids=lambda each: str(each)[:40])
def test_types_beyond_those_of_transformers(hint: Any, expected: dict[str, Any]) -> None:
    def take(value: Any) -> None: ...

    take.__annotations__["value"] = hint
    assert parameters(take)["value"] == expected


def test_classes_within_classes_stand_in_place() -> None:
    def take(person: Person, place: Place) -> None: ...

    found = parameters(take)
    assert "$ref" not in json.dumps(found)
    assert "title" in found["person"]["properties"], "a field named title is no title"
    assert found["person"]["properties"]["homes"]["items"]["properties"]["street"]
    assert found["place"]["properties"]["point"]["properties"]["x"] == {"type": "number"}
    assert "required" not in found["place"]


def test_defaults_are_shown_where_json_can_say_them() -> None:
    def take(
        a: int | None = None,
        b: list[Colour] = [Colour.RED],  # noqa: B006
        c: Point = Point(1.0),  # noqa: B008
        d: Any = object(),  # noqa: B008
        e: Odd = Odd.UNIT,
        f: Person | None = None,
    ) -> None: ...

    found = parameters(take)
    assert "description" not in found["a"]
    assert found["b"]["description"] == '(default: ["red"])'
    assert found["c"]["description"] == '(default: {"x": 1.0, "y": 0.0, "tags": []})'
    assert found["d"] == {}
    assert found["e"]["description"] == "(default: UNIT)", "as the model is to write it"
    assert found["f"]["properties"]["age"]["description"] == "(default: 3)"


def test_a_field_description_goes_before_the_docstring() -> None:
    def take(a: Annotated[Path, Field(description="this")], b: Path = Path("x/y")) -> None:
        """Take.

        Args:
            a: not this
            b: a path
        """

    found = parameters(take)
    assert found["a"]["description"] == "this"
    assert found["b"]["description"] == "a path (default: x/y)"


class Tree(BaseModel):
    children: list[Tree] = []


@dataclass
class Chain:
    rest: Chain | None = None


def positional_only(a: int, /) -> None:
    """Bad."""


def variadic(a: int, *rest: int) -> None:
    """Bad."""


def open_ended(**names: int) -> None:
    """Bad."""


def bare(
    a: int,
    b,
) -> None:
    """Bad."""


def unknown_name(a: Missing) -> None:  # noqa: F821
    """Bad."""


def unknown_type(a: complex) -> None:
    """Bad."""


def recursive_model(a: Tree) -> None:
    """Bad."""


def recursive_dataclass(a: Chain) -> None:
    """Bad."""


def field_default(a: int = Field(description="d")) -> None:
    """Bad."""


PROBLEMS = [
    (positional_only, "a", "remove the /"),
    (variadic, "rest", "Take a list"),
    (open_ended, "names", "Take a dict"),
    (bare, "b", "b: str"),
    (unknown_name, "a", "imported or defined"),
    (unknown_type, "a", "dataclass"),
    (recursive_model, "a", "Use a list"),
    (recursive_dataclass, "a", "Use a list"),
    (field_default, "a", "Annotated"),
]


@pytest.mark.parametrize(
    ("function", "argument", "remedy"), PROBLEMS, ids=lambda each: getattr(each, "__name__", each)
)
def test_what_cannot_be_offered_is_named_with_its_remedy(
    function: Callable[..., Any], argument: str, remedy: str
) -> None:
    with pytest.raises(ToolLoadError) as caught:
        function_schema(function)
    message = caught.value.message
    assert f"the tool {function.__name__}: " in message
    assert f"argument {argument}" in message
    assert remedy in caught.value.hint
    line = int(message.removeprefix(f"{__file__}:").partition(":")[0])
    assert f"{argument}" in Path(__file__).read_text().splitlines()[line - 1]


def test_a_function_without_name_is_refused() -> None:
    with pytest.raises(ToolLoadError, match="no name"):
        function_schema(lambda: None)
