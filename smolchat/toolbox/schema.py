"""The JSON schema of a function, from its signature and its docstring.

Where `transformers.utils.get_json_schema` accepts a function the schema is the same to the byte,
because SmolLM2's prompts have that shape; where it gives up, this goes on.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from smolchat.errors import ToolLoadError
from smolchat.toolbox import docstrings, hints
from smolchat.toolbox.tool import Schema, Settings, Tool, settings_of

Function = Callable[..., Any]
Parameters = Mapping[str, inspect.Parameter]

_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)
_NOT_BY_NAME = {
    inspect.Parameter.VAR_POSITIONAL: ("collects further values", "Take a list instead of *{}."),
    inspect.Parameter.VAR_KEYWORD: ("collects further names", "Take a dict instead of **{}."),
    inspect.Parameter.POSITIONAL_ONLY: (
        "can only be passed by position",
        "Models pass arguments by name: remove the / after {} from the signature.",
    ),
}


def tool_of(function: Function, path: Path | None = None) -> Tool:
    """A function as a tool. Raises ToolLoadError with function, argument, line and remedy."""
    settings = settings_of(function) or Settings()
    schema = function_schema(function)
    return Tool(
        name=schema["function"]["name"],
        description=schema["function"]["description"],
        schema=schema,
        function=function,
        effect=settings.effect,
        timeout_seconds=settings.timeout_seconds,
        path=path,
    )


def function_schema(function: Function) -> Schema:
    """`{"type": "function", "function": {"name", "description", "parameters"}}`.

    Raises ToolLoadError.
    """
    _check_name(function)
    parameters = _parameters(function)
    resolved = _resolved(function, parameters)
    schema = _plain_schema(function, parameters) or _further_schema(function, parameters, resolved)
    return {"type": "function", "function": schema}


def argument_problems(function: Function) -> list[ToolLoadError]:
    """The first problem of each argument; none where it is the function itself that has one."""
    problems: list[ToolLoadError] = []
    try:
        parameters = _signature(function)
    except ToolLoadError:
        return problems
    for name, parameter in parameters.items():
        try:
            _check_parameter(function, name, parameter)
            _property(function, parameter, _one_hint(function, name), None)
        except ToolLoadError as problem:
            problems.append(problem)
    return problems


def hints_of(function: Function) -> dict[str, Any]:
    """The type hint of each argument, text annotations read. Raises ToolLoadError."""
    return _resolved(function, _parameters(function))


def _check_name(function: Function) -> None:
    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise _problem(function, "it has no name to call it by", "Define it with def.")


def _signature(function: Function) -> Parameters:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise _problem(
            function, "Python does not tell its arguments", "Wrap it in a function of your own."
        ) from None


def _parameters(function: Function) -> Parameters:
    parameters = _signature(function)
    for name, parameter in parameters.items():
        _check_parameter(function, name, parameter)
    return parameters


def _check_parameter(function: Function, name: str, parameter: inspect.Parameter) -> None:
    if parameter.kind in _NOT_BY_NAME:
        what, remedy = _NOT_BY_NAME[parameter.kind]
        raise _problem(function, f"argument {name} {what}", remedy.format(name), name)
    if parameter.annotation is inspect.Parameter.empty:
        remedy = f"Say what it takes, e.g. {name}: str."
        raise _problem(function, f"argument {name} has no type annotation", remedy, name)
    if type(parameter.default).__name__ == "FieldInfo":
        remedy = f"Write {name}: Annotated[TYPE, Field(...)], and the default after it."
        raise _problem(function, f"argument {name} has a Field as its default", remedy, name)


def _resolved(function: Function, parameters: Parameters) -> dict[str, Any]:
    try:
        resolved = typing.get_type_hints(function, include_extras=True)
        return {name: resolved[name] for name in parameters}
    except Exception:  # an annotation is any expression; read one by one they show which fails
        return {name: _one_hint(function, name) for name in parameters}


def _one_hint(function: Function, name: str) -> Any:
    scope = getattr(inspect.unwrap(function), "__globals__", None)
    try:
        holder = SimpleNamespace(__annotations__={name: function.__annotations__[name]})
        return typing.get_type_hints(holder, scope, include_extras=True)[name]
    except Exception as error:
        raise _problem(
            function,
            f"the annotation of argument {name} cannot be read ({error})",
            "Use a type that is imported or defined at the top of the file.",
            name,
        ) from None


def _plain_schema(function: Function, parameters: Parameters) -> Schema | None:
    """What `get_json_schema` makes of the function, or None where it gives up."""
    doc = (inspect.getdoc(function) or "").strip()
    said = docstrings.google(doc)
    if not doc or not parameters.keys() <= said.arguments.keys():
        return None
    try:
        resolved = typing.get_type_hints(function)
        properties = {
            name: _plain_property(resolved[name], said.arguments[name]) for name in parameters
        }
    except (hints.UnknownHint, json.JSONDecodeError, NameError, TypeError):
        return None
    schema = _assembled(function, said.description, properties, parameters)
    returned = hints.plain_schema(resolved["return"]) if "return" in resolved else None
    if returned is not None:
        text = {} if said.returns is None else {"description": said.returns}
        schema["return"] = returned | text
    return schema


def _plain_property(hint: Any, text: str) -> Schema:
    schema = hints.plain_schema(hint)
    if schema is None:
        raise hints.UnknownHint(str(hint))
    choices = _CHOICES.search(text)
    if choices:
        listed = json.loads(choices[1])
        schema["enum"] = [each.strip() if isinstance(each, str) else each for each in listed]
        text = text[: choices.start()].strip()
    return schema | {"description": text}


def _further_schema(
    function: Function, parameters: Parameters, resolved: Mapping[str, Any]
) -> Schema:
    said = docstrings.read((inspect.getdoc(function) or "").strip(), parameters)
    description = said.description or function.__name__.replace("_", " ").strip()
    properties = {}
    for name, parameter in parameters.items():
        text = hints.description_of(resolved[name]) or said.arguments.get(name)
        properties[name] = _property(function, parameter, resolved[name], text)
    return _assembled(function, description, properties, parameters)


def _property(
    function: Function, parameter: inspect.Parameter, hint: Any, text: str | None
) -> Schema:
    default = (parameter.default,) if parameter.default is not parameter.empty else ()
    try:
        return hints.described(hints.schema_of(hint), text, *default)
    except hints.UnknownHint as unknown:
        what, _, remedy = str(unknown).partition("; ")
        remedy = remedy[:1].upper() + remedy[1:] + "."
        name = parameter.name
        raise _problem(function, f"argument {name}: {what}", remedy, name) from None


def _assembled(
    function: Function, description: str, properties: Schema, parameters: Parameters
) -> Schema:
    required = [name for name, each in parameters.items() if each.default is each.empty]
    schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return {"name": function.__name__, "description": description, "parameters": schema}


def _problem(
    function: Function, what: str, remedy: str, argument: str | None = None
) -> ToolLoadError:
    name = getattr(function, "__name__", type(function).__name__)
    return ToolLoadError(f"{_place(function, argument)}the tool {name}: {what}", remedy)


def _place(function: Function, argument: str | None) -> str:
    """`file:line: ` of an argument, or of the function where the argument is not found."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return ""
    line = code.co_firstlineno
    try:
        lines, line = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError):
        return f"{code.co_filename}:{line}: "
    found = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.arg if argument else ast.FunctionDef | ast.AsyncFunctionDef)
        and argument in (None, getattr(node, "arg", None))
    ]
    return f"{code.co_filename}:{line + (found[0] - 1 if found else 0)}: "
