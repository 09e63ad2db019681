"""Asks on the terminal whether a call may run."""

from __future__ import annotations

import json
import sys
import termios
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.output import create_output

from smolchat.messages import ToolCall
from smolchat.terminal.escape import escape_invisible

if TYPE_CHECKING:
    from smolchat.terminal.renderer import Renderer
    from smolchat.toolbox import Tool


class ApprovalQuestion:
    """Asks for every call, until the answer for its tool was `a`. Anything but a yes is a no."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._always: set[str] = set()

    def __call__(self, tool: Tool, call: ToolCall) -> bool | ToolCall:
        if tool.name in self._always:
            return True
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        while True:
            self._renderer.ask(
                f"May {tool.name} run? It can {EFFECTS[tool.effect]}.",
                escape_invisible(f"{tool.name}({arguments})"),
            )
            answer = _typed("y yes · n no · a always, this session · e edit  [n] ").strip().lower()
            if answer in {"a", "always"}:
                self._always.add(tool.name)
            if answer not in {"e", "edit"}:
                return answer in {"y", "yes", "a", "always"}
            # What cannot be seen is typed as an escape, so that nothing hides in the line.
            is_plain = escape_invisible(arguments) == arguments
            edited = _typed("arguments: ", arguments if is_plain else json.dumps(call.arguments))
            if (values := _object(edited)) is not None:
                return ToolCall(call.id, call.name, values)
            self._renderer.ask("That is not a JSON object.", "")


EFFECTS = {
    "pure": "compute",
    "read": "read what you can read",
    "write": "change what you can change",
}


def _typed(question: str, default: str = "") -> str:
    """A line from the terminal; Ctrl-C and Ctrl-D are an empty one."""
    # A key pressed before the question was there cannot be an answer to it.
    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    try:
        screen = create_output(sys.stderr)
        return PromptSession[str](output=screen).prompt(question, default=default)
    except (EOFError, KeyboardInterrupt):
        return ""


def _object(text: str) -> dict[str, object] | None:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
