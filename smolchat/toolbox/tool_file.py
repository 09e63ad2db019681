"""Tool files: Python files run by their path, and the functions in them that become tools.

Running a file runs foreign code, so only the child process does this.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from smolchat.errors import ToolLoadError
from smolchat.toolbox.schema import argument_problems, tool_of
from smolchat.toolbox.tool import Tool, settings_of


@dataclass(frozen=True)
class ToolFile:
    """What a file offers. One bad function leaves the others usable."""

    path: Path
    tools: list[Tool] = field(default_factory=list)
    problems: list[ToolLoadError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_tool_file(path: Path) -> ToolFile:
    """Runs the file and gathers its tools: the functions marked with `@tool`.

    In a file without any mark, every public function with a docstring is a tool.
    """
    found = ToolFile(path)
    try:
        module = _module(path)
    except BaseException as error:  # foreign code fails in any way, SystemExit included
        found.problems.append(_failure(path, error))
        return found
    found.problems.extend(_unusable(path, module))
    for function in _offered(module, found.notes):
        try:
            found.tools.append(tool_of(function, path))
        except ToolLoadError as problem:
            found.problems.extend(argument_problems(function) or [problem])
    if not found.tools and not found.problems:
        found.problems.append(
            ToolLoadError(f"{path}: no tool in this file", "Mark a function with @tool.")
        )
    return found


def _module(path: Path) -> ModuleType:
    # Two files of the same name in different folders are two modules.
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"tool_file_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Files beside it can be imported, but never instead of an installed module.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec.loader.exec_module(module)
    return module


def _offered(module: ModuleType, notes: list[str]) -> list[Callable[..., Any]]:
    own: list[Callable[..., Any]] = [
        function
        for function in vars(module).values()
        if inspect.isfunction(function) and function.__module__ == module.__name__
    ]
    own = list(dict.fromkeys(own))
    notes += _imported(module)
    marked = [function for function in own if settings_of(function)]
    documented = [
        function
        for function in own
        if inspect.getdoc(function) and not function.__name__.startswith("_")
    ]
    if not marked:
        return documented
    passed_over = [function.__name__ for function in documented if function not in marked]
    notes += [f"{name} is not offered: it is not marked with @tool" for name in passed_over]
    return marked


def _imported(module: ModuleType) -> list[str]:
    """Notes on tools of other files."""
    return [
        f"{name} is not offered: it is a tool of {value.__module__}"
        for name, value in vars(module).items()
        if inspect.isfunction(value) and settings_of(value) and value.__module__ != module.__name__
    ]


def _unusable(path: Path, module: ModuleType) -> list[ToolLoadError]:
    """What is marked with `@tool` and is no function: a method, a class, a wrapper of some kind."""
    return [
        ToolLoadError(
            f"{path}: {name} is marked with @tool and is no plain function",
            "Mark a function, and let it call what you have.",
        )
        for name, value in vars(module).items()
        if callable(value) and not inspect.isfunction(value) and _is_marked(value)
    ]


def _is_marked(value: Any) -> bool:
    try:
        return settings_of(value) is not None
    except Exception:  # whatever foreign attributes do
        return False


def _failure(path: Path, error: BaseException) -> ToolLoadError:
    if isinstance(error, ToolLoadError):
        return ToolLoadError(f"{path}: {error.message}", error.hint)
    if isinstance(error, SyntaxError):
        where = f"{error.filename or path}:{error.lineno or 1}"
        return ToolLoadError(f"{where}: {error.msg}", "Correct the file.")
    where = f"{path}:{line_in(path, error) or 1}"
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    hint = "Correct the file."
    if isinstance(error, ModuleNotFoundError):
        hint = f"Install {error.name} in the environment that smolchat runs in."
    return ToolLoadError(f"{where}: the file could not be run ({what})", hint)


def line_in(path: Path | str, error: BaseException) -> int | None:
    """The last line of the file that an exception came through."""
    lines = []
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            lines.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    return lines[-1] if lines else None
