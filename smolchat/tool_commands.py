"""The `smolchat tools` commands, and which tools the generating commands offer."""

from __future__ import annotations

import json
import sys
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
    """The shipped tools, the user's own instead of some, and those of `files` instead of others.

    Raises ToolLoadError for the first function that cannot be offered, and where two of `files`
    have a tool of the same name.
    """
    from smolchat.paths import config_dir, shipped
    from smolchat.toolbox import load_tools

    folders = [path for path in (shipped("tools"), config_dir() / "tools") if path.is_dir()]
    files = [path.expanduser().absolute() for path in files]
    found: dict[str, Tool] = {}
    for tool in load_tools(*folders, *dict.fromkeys(files)):
        other = found.get(tool.name)
        if other is not None and _is_from(other.path, files):
            raise ToolLoadError(
                f"two tools are named {tool.name}: in {other.path} and in {tool.path}",
                "Rename one, or leave one out.",
            )
        found[tool.name] = tool
    return dict(sorted(found.items()))


def _is_from(path: Path | None, files: list[Path]) -> bool:
    """Whether a tool's file is one of `files`, or in a folder that is one of them."""
    return path is not None and (path in files or path.parent in files)


def chosen_tools(names: Iterable[str], files: Iterable[Path] = ()) -> list[Tool]:
    """The tools to offer: those named, where `all` is every pure one, and all of `files`.

    Raises UsageError for an unknown name, ToolLoadError for a bad file.
    """
    names, files = list(names), [path.expanduser().absolute() for path in files]
    if not names and not files:
        return []
    available = available_tools(files)
    wanted = {name for name, tool in available.items() if _is_from(tool.path, files)}
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
    from smolchat.grammar_text import tool_grammar
    from smolchat.inputs import read_json
    from smolchat.json_schema import usable
    from smolchat.toolbox import Tool

    entries = read_json(path, _SCHEMA_HINT)
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path} is not a list of function schemas", _SCHEMA_HINT)
    tools: list[Tool] = []
    for number, entry in enumerate(entries, 1):
        where = f"{path}, entry {number}"
        function = entry.get("function", entry) if isinstance(entry, dict) else {}
        function = function if isinstance(function, dict) else {}
        name, parameters = function.get("name"), function.get("parameters") or {}
        if not isinstance(name, str) or not isinstance(parameters, dict):
            raise UsageError(f"{where}: not a function schema", _SCHEMA_HINT)
        if not name or name != name.strip():
            raise UsageError(f"{where}: {name!r} is no name for a function", _SCHEMA_HINT)
        if parameters.get("type", "object") != "object":
            raise UsageError(f"{where}: the parameters of {name} are no object", _SCHEMA_HINT)
        if name in (tool.name for tool in tools):
            raise UsageError(f"{where}: there are two functions named {name}", "Rename one.")
        parameters = usable({"type": "object", **_no_fields(parameters), **parameters}, where)
        description = str(function.get("description") or "")
        inner = {"name": name, "description": description, "parameters": parameters}
        tool_grammar([inner])  # complains of what no call could satisfy
        tools.append(Tool(name, description, {"type": "function", "function": inner}, None))
    return tools


def _no_fields(parameters: dict[str, Any]) -> dict[str, Any]:
    """No properties, where the schema does not say elsewhere what they are."""
    elsewhere = {"$ref", "anyOf", "oneOf", "allOf"} & parameters.keys()
    return {} if elsewhere else {"properties": {}}


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
    from smolchat.terminal.escape import escape_controls
    from smolchat.toolbox import Toolbox

    tool = _known(name, available_tools(tool_file or ()))
    values: dict[str, Any] = {}
    for argument in arguments or []:
        key, value = _assignment(argument, tool.parameters)
        if key in values:
            raise UsageError(f"{key} is given twice", "Give every argument once.")
        values[key] = value
    with Toolbox([tool], approve="all") as toolbox:
        call = toolbox.check(ToolCall("call_1", name, values))
        if isinstance(call, ToolResult):
            raise UsageError(call.content, f"See smolchat tools show {name}.")
        result = toolbox.run(call)
    print(escape_controls(result.content) if sys.stdout.isatty() else result.content)
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
    for problem in problems[:-1]:
        typer.echo(f"smolchat: {problem.message}\n{problem.hint}", err=True)
    if problems:
        raise problems[-1]


def _known(name: str, available: dict[str, Tool]) -> Tool:
    if name in available:
        return available[name]
    raise UsageError(
        f"there is no tool {name!r}{did_you_mean(name, available)}",
        f"Tools are: {', '.join(available)}.",
    )


def _assignment(text: str, parameters: dict[str, Any]) -> tuple[str, Any]:
    """`key=value`: what the value says as JSON if the argument can be that, else the text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text}: not of the form key=value", "For example: min=1")
    read = _as_json(value)
    schema = parameters.get("properties", {}).get(key)
    readings = [each for each in (read, value) if schema is None or _takes(schema, each)]
    return key, readings[0] if readings else read


def _as_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda name: name)
    except (ValueError, RecursionError):
        return text


def _takes(schema: Any, value: Any) -> bool:
    """Whether a value is what its schema wants, as it stands."""
    from smolchat.toolbox import ArgumentError, changes, coerce

    given = {"value": value}
    try:
        return not changes(given, coerce({"properties": {"value": schema}}, given))
    except ArgumentError:
        return False
