"""From a call to its result: checking, approval, running, and what the model is told."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from smolchat.errors import ToolLoadError
from smolchat.messages import ToolCall, ToolResult
from smolchat.toolbox import Tool, Toolbox, load_tools, tool


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclass
class Point:
    x: int
    y: int = 0


@tool(effect="pure")
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@tool(effect="pure")
def name_of(colour: Colour) -> str:
    """Name a colour."""
    return colour.name


@tool(effect="pure")
def swap(point: Point) -> Point:
    """Swap the coordinates."""
    return Point(point.y, point.x)


@tool(effect="pure")
async def later(text: str) -> str:
    """Answer later."""
    import asyncio

    await asyncio.sleep(0)
    return text.upper()


@tool(effect="pure")
def count(limit: int) -> Iterator[int]:
    """Count."""
    yield from range(limit)


@tool(effect="pure")
def mirror(value: Any) -> Any:
    """Give it back."""
    return value


@tool(effect="pure")
def odd_values() -> list[Any]:
    """Give values that JSON does not know."""
    mapping = {"colour": Colour.RED, "path": Path("a/b")}
    return [mapping, {datetime.date(2024, 2, 29)}, 1 + 2j]


@tool(effect="pure")
def fail(kind: Literal["value", "exit", "odd", "deep"]) -> None:
    """Fail."""
    if kind == "exit":
        raise SystemExit(3)
    if kind == "odd":
        raise Odd
    if kind == "deep":
        fail("deep")
    raise ValueError("no such city")


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@tool(effect="pure")
def say(text: str, result: str | None = None) -> str | None:
    """Print."""
    print(text)
    return result


@tool(effect="read")
def look(place: str) -> str:
    """Look."""
    return f"saw {place}"


@tool
def change(place: str) -> str:
    """Change."""
    return f"changed {place}"


TOOLS = [add, name_of, swap, later, count, mirror, odd_values, fail, say, look, change]


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall("id-1", name, arguments)


@pytest.fixture(scope="module")
def toolbox() -> Iterator[Toolbox]:
    with Toolbox(TOOLS, approve="all") as opened:
        yield opened


RESULTS: list[tuple[ToolCall, str]] = [
    (call("add", a=2, b=3), "5"),
    (call("add", b="3", a="2.0"), "5"),
    (call("add", a=2, b=None), "3"),
    (call("name_of", colour="Green"), "GREEN"),
    (call("swap", point={"x": 1}), '{"x": 0, "y": 1}'),
    (call("swap", point="{'x': 1, 'y': 2}"), '{"x": 2, "y": 1}'),
    (call("later", text="soon"), "SOON"),
    (call("count", limit=3), "[0, 1, 2]"),
    (call("mirror", value={"ä": [1, None, 2.5, True]}), '{"ä": [1, null, 2.5, true]}'),
    (call("mirror", value="text"), "text"),
    (call("odd_values"), '[{"colour": "red", "path": "a/b"}, ["2024-02-29"], "(1+2j)"]'),
    (call("mirror", value="\ud800"), "?"),
    (call("mirror", value=None), "(no result)"),
    (call("say", text="only printed"), "only printed"),
    (call("say", text="aside", result="main"), "main\n[printed]\naside"),
]


@pytest.mark.parametrize(("wish", "content"), RESULTS, ids=lambda each: str(each)[:60])
def test_results(toolbox: Toolbox, wish: ToolCall, content: str) -> None:
    assert toolbox.run(wish) == ToolResult("id-1", content, "ok")


FAILURES: list[tuple[ToolCall, str]] = [
    (call("ad", a=1), "There is no tool named ad. Did you mean add? Available: add, change,"),
    (call("add", a="two"), 'a must be a whole number, not "two". It takes a (integer), b (integer'),
    (call("add"), "the argument a is missing"),
    (call("add", a=1, c=2), "there is no argument c"),
    (call("name_of", colour="blue"), "colour must be one of"),
    (call("fail", kind="value"), "ValueError: no such city"),
    (call("fail", kind="exit"), "SystemExit: 3"),
    (call("fail", kind="odd"), "Odd"),
    (call("fail", kind="deep"), "RecursionError"),
]


@pytest.mark.parametrize(("wish", "content"), FAILURES, ids=lambda each: str(each)[:60])
def test_failures_are_results(toolbox: Toolbox, wish: ToolCall, content: str) -> None:
    result = toolbox.run(wish)
    assert result.status == "error"
    assert content in result.content


def test_a_number_that_cannot_be_written_is_an_error(toolbox: Toolbox) -> None:
    result = toolbox.run(call("mirror", value=10**5_000))
    assert result.status == "error"
    assert "its arguments are no JSON" in result.content


def test_the_tool_still_works_after_failures(toolbox: Toolbox) -> None:
    toolbox.run(call("fail", kind="exit"))
    assert toolbox.run(call("add", a=1)).content == "2"


def test_check_gives_the_call_as_it_will_run(toolbox: Toolbox) -> None:
    assert toolbox.check(call("add", a="2")) == call("add", a=2)
    refused = toolbox.check(call("nothing"))
    assert isinstance(refused, ToolResult)


@pytest.mark.parametrize(
    ("approve", "ran"),
    [("none", ""), ("pure", "add"), ("read", "add look"), ("all", "add look change")],
)
def test_approval_levels_without_anyone_to_ask(approve: Any, ran: str) -> None:
    with Toolbox([add, look, change], approve=approve) as toolbox:
        results = {
            "add": toolbox.run(call("add", a=1)),
            "look": toolbox.run(call("look", place="x")),
            "change": toolbox.run(call("change", place="x")),
        }
    assert " ".join(name for name, result in results.items() if result.status == "ok") == ran
    denied = [result for result in results.values() if result.status == "denied"]
    assert all("nobody can be asked" in result.content for result in denied)
    assert len(denied) == 3 - len(ran.split())


def test_the_approver_sees_the_tool_and_the_coerced_call() -> None:
    asked: list[tuple[str, ToolCall]] = []

    def refuse(tool: Tool, wish: ToolCall) -> bool:
        asked.append((tool.effect, wish))
        return False

    with Toolbox([add, look], approve="none", approver=refuse) as toolbox:
        result = toolbox.run(call("add", a="1"))
        toolbox.run(call("add", a="one"))
    assert result == ToolResult("id-1", "add was not run: the user did not allow it.", "denied")
    assert asked == [("pure", call("add", a=1))], "invalid calls are not asked about"


def test_an_edited_call_is_checked_and_runs_with_its_new_arguments() -> None:
    edits = iter([{"a": "5"}, {"a": "x"}])

    def edit(tool: Tool, wish: ToolCall) -> ToolCall:
        return call("change", **next(edits))

    with Toolbox([add, change], approve="none", approver=edit) as toolbox:
        assert toolbox.run(call("add", a=1)).content == "6", "the name cannot be edited"
        assert toolbox.run(call("add", a=1)).status == "error"


def test_tools_can_be_disabled_and_stand_in_the_order_of_their_names() -> None:
    toolbox = Toolbox([look, add, change])
    assert [each.name for each in toolbox.tools] == ["add", "change", "look"]
    toolbox.enable("change", False)
    assert [each["function"]["name"] for each in toolbox.schemas] == ["add", "look"]
    result = toolbox.run(call("change", place="x"))
    assert result.status == "error"
    assert "Available: add, look." in result.content
    toolbox.enable("change")
    assert len(toolbox.tools) == len(toolbox.all_tools) == 3
    with pytest.raises(KeyError):
        toolbox.enable("nothing")


def test_two_tools_of_one_name_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "other.py"
    path.write_text('def add(a: int) -> int:\n    """Add."""\n')
    with pytest.raises(ToolLoadError, match="two tools are named add: in the program and in"):
        Toolbox([add, *load_tools(path)])


def test_a_function_that_cannot_be_offered_is_refused_at_once() -> None:
    def bad(*words: str) -> None: ...

    with pytest.raises(ToolLoadError, match="argument words"):
        Toolbox([bad])


def test_tools_from_files_and_from_the_program_work_together(tmp_path: Path) -> None:
    path = tmp_path / "more.py"
    path.write_text('def double(n: int) -> int:\n    """Double."""\n    return 2 * n\n')
    factor = 7

    def times(n: int) -> int:
        """Multiply by what this test knows."""
        return n * factor

    with Toolbox([times, *load_tools(path)], approve="all") as toolbox:
        assert toolbox.run(call("times", n=6)).content == "42"
        assert toolbox.run(call("double", n=21)).content == "42"


@pytest.mark.parametrize(
    "changed",
    [
        'def two(n: int) -> int:\n    """Two."""\n',
        'from smolchat import tool\n@tool(effect="write")\ndef one(n: int): ...\n',
        "not Python",
    ],
)
def test_a_file_that_changed_runs_nothing_unasked(tmp_path: Path, changed: str) -> None:
    path = tmp_path / "tools.py"
    path.write_text('from smolchat import tool\n@tool(effect="pure")\ndef one(n: int): ...\n')
    tools = load_tools(path)
    path.write_text(changed)
    with Toolbox(tools) as toolbox:
        result = toolbox.run(call("one", n=1))
    assert result.status == "error"
    assert "has changed, and one is not the tool it was" in result.content


def test_a_tool_without_function_is_not_run() -> None:
    schema = {"type": "function", "function": {"name": "far", "parameters": {"type": "object"}}}
    toolbox = Toolbox([Tool("far", "Far away.", schema, None)], approve="all")
    assert "there is no function to run" in toolbox.run(call("far")).content


def test_shipped_tools_run() -> None:
    shipped = load_tools(Path(__file__).parents[2] / "tools")
    assert all(each.function is None for each in shipped)
    with Toolbox(shipped) as toolbox:
        result = toolbox.run(call("calculate", expression="17% of 2340"))
    assert result.status == "ok"
    assert "397.8" in result.content
