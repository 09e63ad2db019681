"""What is said in a conversation, and the events by which the world hears of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from smolchat.generation import FinishReason, GenerationStats

Role = Literal["system", "user", "assistant", "tool"]
ToolStatus = Literal["ok", "error", "denied", "timeout", "repeated"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model's wish to have a function called, arguments by name."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call. A failure is a value too: the model reads it."""

    call_id: str
    content: str
    status: ToolStatus = "ok"
    arguments: dict[str, Any] | None = None
    """What it ran with where the user had edited the arguments."""


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a transcript."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    token_ids: tuple[int, ...] = ()
    """What the model really produced; decoded text may encode differently."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the reply's prose."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A call is about to run, with its arguments as the schema wants them."""

    call: ToolCall
    changes: tuple[str, ...] = ()
    """What was changed of the arguments, a line each."""


@dataclass(frozen=True, slots=True)
class ToolFinished:
    result: ToolResult
    seconds: float
    changes: tuple[str, ...] = ()
    """What the user changed of the arguments before it ran, a line each."""


@dataclass(frozen=True, slots=True)
class MessageAdded:
    """A message joined the transcript."""

    message: Message
    replaces_last: bool = False
    """It takes the place of the one before it, which it goes on with."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know that is not part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The last event of every turn."""

    reason: FinishReason
    stats: GenerationStats
    """Of all rounds together."""
    used_tokens: int
    """How much of the context prompt and reply of the last round took."""
    context_tokens: int
    """How many tokens the checkpoint's context holds."""
    unread: str = ""
    """Why the last reply's calls are none: they could not be read, or were cut."""


Event: TypeAlias = TextDelta | ToolStarted | ToolFinished | MessageAdded | Notice | TurnFinished
