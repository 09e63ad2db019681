"""Functions receive what their type hints promise."""

from __future__ import annotations

import datetime
import enum
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import pytest
from pydantic import BaseModel, Field, ValidationError

from smolchat.toolbox import ArgumentError
from smolchat.toolbox.values import value_of


class Colour(enum.Enum):
    RED = "red"
    ORIGIN = (0, 0)


class Size(enum.IntEnum):
    SMALL = 1


class Unit(enum.Enum):
    KELVIN = "kelvin"


@dataclass
class Point:
    x: float
    size: Size = Size.SMALL


class Pair(NamedTuple):
    left: Path
    right: int = 3


class Place(TypedDict):
    where: Point


class Person(BaseModel):
    age: int = Field(ge=0)


CASES: list[tuple[Any, Any, Any]] = [
    (float, 2, 2.0),
    (Unit, "kelvin", Unit.KELVIN),
    (Size, 1, Size.SMALL),
    (Colour, "RED", Colour.RED),
    (Unit | None, None, None),
    (Unit | int, 3, 3),
    (Unit | int, "kelvin", Unit.KELVIN),
    (list[Unit], ["kelvin"], [Unit.KELVIN]),
    (dict[str, Path], {"a": "b"}, {"a": Path("b")}),
    (set[int], [1, 2], {1, 2}),
    (tuple[int, Path], [1, "x"], (1, Path("x"))),
    (tuple[int, ...], [1, 2], (1, 2)),
    (list, [1], [1]),
    (Literal[Unit.KELVIN, "other"], "kelvin", Unit.KELVIN),
    (datetime.date, "2024-02-29", datetime.date(2024, 2, 29)),
    (
        datetime.datetime,
        "2024-02-29T10:00:00Z",
        datetime.datetime(2024, 2, 29, 10, tzinfo=datetime.timezone.utc),
    ),
    (Path, "a/b", Path("a/b")),
    (Point, {"x": 1, "size": 1}, Point(1.0, Size.SMALL)),
    (list[Point], [{"x": 1}], [Point(1.0)]),
    (Point | None, {"x": 1}, Point(1.0)),
    (Pair, {"left": "a"}, Pair(Path("a"), 3)),
    (Place, {"where": {"x": 1}}, {"where": Point(1.0)}),
    (Person, {"age": 3}, Person(age=3)),
    (Annotated[int, Field(ge=1)], 1, 1),
    (Any, [1, {"a": None}], [1, {"a": None}]),
]


@pytest.mark.parametrize(("hint", "value", "expected"), CASES, ids=lambda each: str(each)[:40])
def test_values(hint: Any, value: Any, expected: Any) -> None:
    found = value_of(hint, value)
    assert found == expected
    assert type(found) is type(expected)


def test_bounds_in_annotations_hold_even_where_the_schema_does_not_show_them() -> None:
    with pytest.raises(ArgumentError, match="at least 1"):
        value_of(Annotated[int, Field(ge=1)], 0)
    with pytest.raises(ValidationError):
        value_of(Person, {"age": -1})


def test_members_of_a_literal_keep_their_type() -> None:
    assert value_of(Literal[1, "1"], "1") == "1"
    assert value_of(typing.Literal[True, 1], 1) is not True


def test_keys_are_what_their_hints_say() -> None:
    assert value_of(dict[Unit, int], {"kelvin": 1}) == {Unit.KELVIN: 1}
    assert value_of(dict[int, str], {"1": "a"}) == {1: "a"}
    with pytest.raises(ArgumentError):
        value_of(dict[Unit, int], {"celsius": 1})
