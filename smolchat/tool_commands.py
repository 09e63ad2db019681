"""The `smolchat tools` commands, and which tools the generating commands offer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smolchat.errors import ToolLoadError, UsageError, did_you_mean

if TYPE_CHECKING:
    from smolchat.toolbox import Tool

tools_app = typer.Typer(help="List, show, check and call tools.", rich_markup_mode=None)

FILE = Annotated[
    list[Path] | None,
    typer.Option("--tool-file", metavar="FILE", help="A Python file with more tools."),
]


def available_tools(files: Iterable[Path] = ()) -> dict[str, Tool]:
    """The shipped tools, then the user's own, then those of `files`; a later one wins.

    Raises ToolLoadError for the first function that cannot be offered.
    """
    from smolchat.paths import config_dir, shipped
    from smolchat.toolbox import load_tools

    folders = [path for path in (shipped("tools"), config_dir() / "tools") if path.is_dir()]
    loaded = load_tools(*folders, *files)
    return {tool.name: tool for tool in sorted(loaded, key=lambda tool: tool.name)}


def chosen_tools(names: Iterable[str], files: Iterable[Path] = ()) -> list[Tool]:
    """The tools to offer: those named, where `all` is every pure one, and all of `files`.

    Raises UsageError for an unknown name, ToolLoadError for a bad file.
    """
    names, files = list(names), [path.absolute() for path in files]
    if not names and not files:
        return []
    available = available_tools(files)
    wanted = {name for name, tool in available.items() if tool.path in files}
    for name in names:
        if name == "all":
            wanted |= {name for name, tool in available.items() if tool.effect == "pure"}
        else:
            wanted.add(_known(name, available).name)
    return [available[name] for name in sorted(wanted)]


def offered_schemas(path: Path) -> list[Tool]:
    """Tools without a function: a JSON list of OpenAI-style schemas, or of what is inside them.

    Raises UsageError naming what is wrong.
    """
    from smolchat.inputs import read_json
    from smolchat.toolbox import Tool

    entries = read_json(path, _SCHEMA_HINT)
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path} is not a list of function schemas", _SCHEMA_HINT)
    tools = []
    for number, entry in enumerate(entries, 1):
        function = entry.get("function", entry) if isinstance(entry, dict) else {}
        name, parameters = function.get("name"), function.get("parameters", {})
        if not isinstance(name, str) or not name or not isinstance(parameters, dict):
            raise UsageError(f"{path}, entry {number}: not a function schema", _SCHEMA_HINT)
        parameters = {"type": "object", "properties": {}, **parameters}
        description = str(function.get("description", ""))
        inner = {"name": name, "description": description, "parameters": parameters}
        tools.append(Tool(name, description, {"type": "function", "function": inner}, None))
    return tools


_SCHEMA_HINT = (
    'For example: [{"name": "f", "description": "Does f.", '
    '"parameters": {"type": "object", "properties": {}}}]'
)


@tools_app.command("list")
def list_tools(tool_file: FILE = None) -> None:
    """List the tools: name, effect, what it does."""
    for tool in available_tools(tool_file or ()).values():
        print(f"{tool.name:<16} {tool.effect:<6} {tool.description}")


@tools_app.command("show")
def show_tool(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tool's name.")],
    tool_file: FILE = None,
) -> None:
    """Print what the model is told of a tool."""
    tool = _known(name, available_tools(tool_file or ()))
    print(json.dumps(tool.schema, indent=2, ensure_ascii=False))


@tools_app.command("call")
def call_tool(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tool's name.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Its arguments, by name.")
    ] = None,
    tool_file: FILE = None,
) -> None:
    """Call a tool as the model would, and print its result."""
    from smolchat.messages import ToolCall, ToolResult
    from smolchat.toolbox import Toolbox

    tool = _known(name, available_tools(tool_file or ()))
    values = dict(_assignment(argument) for argument in arguments or [])
    with Toolbox([tool], approve="all") as toolbox:
        call = toolbox.check(ToolCall("call_1", name, values))
        if isinstance(call, ToolResult):
            raise UsageError(call.content, f"See smolchat tools show {name}.")
        result = toolbox.run(call)
    print(result.content)
    if result.status != "ok":
        raise typer.Exit(5)


@tools_app.command("check")
def check_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A Python file with tools.")],
) -> None:
    """Load a tool file; print every schema and every problem."""
    from smolchat.toolbox import check_tools

    problems: list[ToolLoadError] = []
    for checked in check_tools(file):
        for tool in checked.tools:
            print(json.dumps(tool.schema, indent=2, ensure_ascii=False))
        for note in checked.notes:
            typer.echo(f"note: {note}", err=True)
        problems += checked.problems
    for problem in problems[1:]:
        typer.echo(f"smolchat: {problem.message}\n{problem.hint}", err=True)
    if problems:
        raise problems[0]


def _known(name: str, available: dict[str, Tool]) -> Tool:
    if name in available:
        return available[name]
    raise UsageError(
        f"there is no tool {name!r}{did_you_mean(name, available)}",
        f"Tools are: {', '.join(available)}.",
    )


def _assignment(text: str) -> tuple[str, Any]:
    """`key=value`; a value that is JSON counts as what it says, any other as text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text}: not of the form key=value", "For example: min=1")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
