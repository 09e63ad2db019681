"""Tools: from a Python function to a schema, and from a call to a result of a child process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smolchat.toolbox.tool import tool as tool

if TYPE_CHECKING:
    from smolchat.toolbox.arguments import ArgumentError as ArgumentError
    from smolchat.toolbox.arguments import changes as changes
    from smolchat.toolbox.arguments import coerce as coerce
    from smolchat.toolbox.execution import Approval as Approval
    from smolchat.toolbox.execution import Approver as Approver
    from smolchat.toolbox.execution import Toolbox as Toolbox
    from smolchat.toolbox.loading import check_tools as check_tools
    from smolchat.toolbox.loading import load_tools as load_tools
    from smolchat.toolbox.tool import Effect as Effect
    from smolchat.toolbox.tool import Tool as Tool

_PUBLIC = {
    "Approval": "execution",
    "Approver": "execution",
    "ArgumentError": "arguments",
    "Effect": "tool",
    "Tool": "tool",
    "Toolbox": "execution",
    "changes": "arguments",
    "check_tools": "loading",
    "coerce": "arguments",
    "load_tools": "loading",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'smolchat.toolbox' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"smolchat.toolbox.{_PUBLIC[name]}"), name)
