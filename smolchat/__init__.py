"""smolchat: SmolLM2 in the terminal. The public names are loaded when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smolchat.loading import load_engine as load_engine
    from smolchat.messages import TextDelta as TextDelta
    from smolchat.session import ChatSession as ChatSession
    from smolchat.session import ToolUse as ToolUse
    from smolchat.toolbox import Toolbox as Toolbox
    from smolchat.toolbox import tool as tool

__version__ = "0.1.0"

_PUBLIC = {
    "ChatSession": "smolchat.session",
    "TextDelta": "smolchat.messages",
    "ToolUse": "smolchat.session",
    "Toolbox": "smolchat.toolbox",
    "load_engine": "smolchat.loading",
    "tool": "smolchat.toolbox",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'smolchat' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
