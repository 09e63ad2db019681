"""Tools from files. The files run in a child process only: nothing in them can end the program."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from smolchat.errors import ToolLoadError
from smolchat.toolbox.child import Child, Unanswered
from smolchat.toolbox.tool import Tool, checked_settings
from smolchat.toolbox.tool_file import ToolFile

LOAD_SECONDS = 60.0
"""How long a tool file may take to run, its imports included."""


def load_tools(*paths: Path | str) -> list[Tool]:
    """The tools in files, and in all files of folders, in the order of the paths.

    Raises ToolLoadError at the first problem; `check_tools` tells all of them.
    """
    checked = check_tools(*paths)
    for found in checked:
        if found.problems:
            raise found.problems[0]
    return [tool for found in checked for tool in found.tools]


def check_tools(*paths: Path | str) -> list[ToolFile]:
    """Every file with its tools, its problems and what was passed over."""
    child = Child({})
    try:
        return [_checked(child, path) for path in _files(paths)]
    finally:
        child.close()


def _files(paths: Iterable[Path | str]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += [each for each in sorted(path.glob("*.py")) if not each.name.startswith("_")]
        else:
            files.append(path)
    return [path.expanduser().absolute() for path in files]


def _checked(child: Child, path: Path) -> ToolFile:
    if not path.is_file():
        problem = ToolLoadError(f"{path}: there is no such file", "Check the path.")
        return ToolFile(path, problems=[problem])
    try:
        return _tool_file(path, child.ask({"load": str(path)}, LOAD_SECONDS).reply)
    except Unanswered as failure:
        return ToolFile(path, problems=[_unloadable(path, failure)])
    except (ToolLoadError, TypeError, ValueError, LookupError):
        # Only a file that writes to the worker's own pipe gets here, and may have written more.
        child.close()
        forged = Unanswered("ended", "it answered what nobody asked")
        return ToolFile(path, problems=[_unloadable(path, forged)])


def _tool_file(path: Path, reply: dict[str, Any]) -> ToolFile:
    return ToolFile(
        path,
        [_tool(path, *each) for each in reply["tools"]],
        [ToolLoadError(*map(str, each)) for each in reply["problems"]],
        [str(note) for note in reply["notes"]],
    )


def _unloadable(path: Path, failure: Unanswered) -> ToolLoadError:
    if failure.reason == "timeout":
        what = f"running the file took longer than {LOAD_SECONDS:.0f} seconds"
    else:
        what = f"the file could not be run: {failure}"
    hint = "Move work from the top of the file into its functions."
    return ToolLoadError(f"{path}: {what}", hint)


def _tool(path: Path, schema: dict[str, Any], effect: Any, timeout_seconds: Any) -> Tool:
    settings = checked_settings(effect, timeout_seconds)
    function = schema["function"]
    return Tool(
        name=str(function["name"]),
        description=str(function["description"]),
        schema=schema,
        function=None,
        effect=settings.effect,
        timeout_seconds=settings.timeout_seconds,
        path=path,
    )
