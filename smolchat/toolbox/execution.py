"""A call from wish to result: check the arguments, ask for approval, run it in the child process.

Every failure is a `ToolResult` that the model can read. Knows no model and no screen.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, TypeAlias

from smolchat.errors import ToolLoadError
from smolchat.messages import ToolCall, ToolResult, ToolStatus
from smolchat.toolbox.arguments import ArgumentError, coerce
from smolchat.toolbox.child import MEMORY_BYTES, Child, Unanswered
from smolchat.toolbox.loading import LOAD_SECONDS
from smolchat.toolbox.schema import tool_of
from smolchat.toolbox.tool import Schema, Tool

Approval = Literal["none", "pure", "read", "all"]
"""Up to which effect calls run without asking."""

Approver: TypeAlias = Callable[[Tool, ToolCall], bool | ToolCall]
"""Asks whether a call may run. A call in answer runs instead, once its arguments are checked."""

_UNASKED = {
    "none": frozenset[str](),
    "pure": frozenset({"pure"}),
    "read": frozenset({"pure", "read"}),
    "all": frozenset({"pure", "read", "write"}),
}
_SHOWN_CHARACTERS = 2_000


class Toolbox:
    """The tools of a session and the one process that runs them. Close it when done.

    `approve` says up to which effect calls run unasked; beyond it `approver` decides, and without
    an approver the call is denied. Raises ToolLoadError for a function that cannot be offered.
    """

    def __init__(
        self,
        tools: Iterable[Tool | Callable[..., Any]],
        *,
        approve: Approval = "pure",
        approver: Approver | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.approve = approve
        self.approver = approver
        self._tools = _by_name(tools)
        self._disabled: set[str] = set()
        functions = {
            name: tool.function
            for name, tool in self._tools.items()
            if tool.function is not None and tool.path is None
        }
        self._child = Child(functions, memory_bytes)
        self._loaded: set[str] = set()

    @property
    def tools(self) -> list[Tool]:
        """The enabled tools in the order of their names, so that prompts stay the same."""
        return [tool for name, tool in self._tools.items() if name not in self._disabled]

    @property
    def all_tools(self) -> list[Tool]:
        """The tools in the order of their names, disabled ones too."""
        return list(self._tools.values())

    @property
    def schemas(self) -> list[Schema]:
        """What the model is shown."""
        return [tool.schema for tool in self.tools]

    def enable(self, name: str, is_enabled: bool = True) -> None:
        """Offer a tool, or no longer. Raises KeyError for a name that is not there."""
        if name not in self._tools:
            raise KeyError(name)
        if is_enabled:
            self._disabled.discard(name)
        else:
            self._disabled.add(name)

    def check(self, call: ToolCall) -> ToolCall | ToolResult:
        """The call with its arguments coerced, or the result that says what is wrong with it."""
        tool = self._enabled(call.name)
        if tool is None:
            return _failed(call, self._unknown(call.name))
        try:
            return replace(call, arguments=coerce(tool.parameters, call.arguments))
        except ArgumentError as error:
            return _failed(call, f"{tool.name} was not run: {error}. {_expected(tool)}")

    def run(self, call: ToolCall) -> ToolResult:
        """Check, approve and run one call. Never raises for anything a tool or a model does.

        The result tells the arguments where the approver edited them.
        """
        checked = self.check(call)
        if isinstance(checked, ToolResult):
            return checked
        approved = self._approved(self._tools[call.name], checked)
        if approved is None:
            return ToolResult(call.id, self._refusal(call.name), "denied")
        if approved is not checked:
            edited = self.check(approved)
            if isinstance(edited, ToolResult):
                return edited
            result = self._executed(self._tools[edited.name], edited)
            return replace(result, arguments=edited.arguments)
        return self._executed(self._tools[approved.name], approved)

    def cancel(self) -> None:
        """End the call that is running; it results in an error."""
        self._child.cancel()

    def close(self) -> None:
        """End the child process and all that it started."""
        self._child.close()

    def __enter__(self) -> Toolbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _enabled(self, name: str) -> Tool | None:
        return None if name in self._disabled else self._tools.get(name)

    def _unknown(self, name: str) -> str:
        names = [tool.name for tool in self.tools]
        near = difflib.get_close_matches(name, names, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        available = ", ".join(names) or "none"
        return f"There is no tool named {name[:80]}.{meant} Available: {available}."

    def _approved(self, tool: Tool, call: ToolCall) -> ToolCall | None:
        if tool.effect in _UNASKED[self.approve]:
            return call
        answer = self.approver(tool, call) if self.approver is not None else False
        if isinstance(answer, ToolCall):
            # An edit changes arguments, not what was asked about.
            return replace(call, arguments=answer.arguments)
        return call if answer else None

    def _refusal(self, name: str) -> str:
        if self.approver is None:
            return f"{name} was not run: it needs the user's approval, and nobody can be asked."
        return f"{name} was not run: the user did not allow it."

    def _executed(self, tool: Tool, call: ToolCall) -> ToolResult:
        path = None if tool.path is None else str(tool.path)
        if path is None and tool.function is None:
            return _failed(call, f"{tool.name} is only offered: there is no function to run.")
        try:
            if path is not None:
                self._ensure_loaded(path)
            request = {"call": tool.name, "path": path, "effect": tool.effect}
            answer = self._child.ask({**request, "arguments": call.arguments}, tool.timeout_seconds)
        except Unanswered as failure:
            return _unanswered(tool, call, failure)
        except (ValueError, RecursionError) as error:
            return _failed(call, f"{tool.name} was not run: its arguments are no JSON ({error}).")
        status: ToolStatus = "ok" if answer.reply.get("status") == "ok" else "error"
        content = answer.reply.get("content")
        said = content if isinstance(content, str) else None
        text = _with_printed(said, answer.printed, answer.dropped_bytes)
        return ToolResult(call.id, text, status)

    def _ensure_loaded(self, path: str) -> None:
        if not self._child.is_running:
            self._loaded.clear()
        if path not in self._loaded:
            self._child.ask({"load": path}, LOAD_SECONDS)
            self._loaded.add(path)


def _by_name(tools: Iterable[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    found: dict[str, Tool] = {}
    for each in tools:
        tool = each if isinstance(each, Tool) else tool_of(each)
        other = found.setdefault(tool.name, tool)
        if other is not tool:
            places = " and in ".join(str(each.path or "the program") for each in (other, tool))
            raise ToolLoadError(
                f"two tools are named {tool.name}: in {places}", "Rename one, or leave one out."
            )
    return dict(sorted(found.items()))


def _expected(tool: Tool) -> str:
    required = tool.parameters.get("required", [])
    wanted = [
        f"{name} ({_kind(schema)}{'' if name in required else ', optional'})"
        for name, schema in tool.parameters.get("properties", {}).items()
    ]
    return f"It takes {', '.join(wanted)}." if wanted else "It takes no arguments."


def _kind(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "any value"
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    declared = schema.get("type", "any value")
    return declared if isinstance(declared, str) else " or ".join(declared)


def _failed(call: ToolCall, content: str) -> ToolResult:
    return ToolResult(call.id, content, "error")


def _unanswered(tool: Tool, call: ToolCall, failure: Unanswered) -> ToolResult:
    if failure.reason == "timeout":
        what = f"{tool.name} was stopped: it took longer than {tool.timeout_seconds:g} seconds."
    else:
        what = f"{tool.name} gave no result: {failure}."
    status: ToolStatus = "timeout" if failure.reason == "timeout" else "error"
    text = _with_printed(what, failure.printed, failure.dropped_bytes)
    return ToolResult(call.id, text, status)


def _with_printed(content: str | None, printed: str, dropped_bytes: int) -> str:
    """A result with what its tool printed, which alone is the result where none was returned."""
    head = printed.strip()[:_SHOWN_CHARACTERS]
    left_out = len(printed.strip()) - len(head) + dropped_bytes
    if left_out:
        head += f"\n[{left_out} characters of printing left out]"
    if content is None:
        return _clean(head or "(no result)")
    return _clean(f"{content}\n[printed]\n{head}" if head else content)


def _clean(text: str) -> str:
    """Without lone surrogates, which no terminal and no file takes."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
