"""The `@tool` mark and the `Tool` that is offered to a model. Runs nothing and builds no schema."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args, overload

from smolchat.errors import ToolLoadError

if TYPE_CHECKING:
    from pathlib import Path

Effect = Literal["pure", "read", "write"]
Schema = dict[str, Any]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Settings:
    """What `@tool` notes on a function. A function without the mark may do anything: `write`."""

    effect: Effect = "write"
    timeout_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Tool:
    """What a model is offered, and what is needed to run it."""

    name: str
    description: str
    schema: Schema
    """`{"type": "function", "function": {...}}`, as it stands in the prompt."""
    function: Callable[..., Any] | None
    """None for a tool from a file: only the child process loads those."""
    effect: Effect = "write"
    timeout_seconds: float = 30.0
    path: Path | None = None

    @property
    def parameters(self) -> Schema:
        """The schema that arguments satisfy."""
        found: Schema = self.schema["function"]["parameters"]
        return found


@overload
def tool(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def tool(
    *, effect: Effect = "write", timeout_seconds: float = 30.0
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    effect: Effect = "write",
    timeout_seconds: float = 30.0,
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function as a tool; the function itself comes back, with `tool_settings` on it.

    `effect` says what a call can do at most: `pure` computes, `read` looks at the world,
    `write` changes it. A call that takes longer than `timeout_seconds` is killed.
    """
    if function is not None and not callable(function):
        raise ToolLoadError(
            f"@tool got {function!r} in the place of a function", 'Write @tool(effect="pure").'
        )
    settings = checked_settings(effect, timeout_seconds)

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        function.tool_settings = settings  # type: ignore[attr-defined]
        return function

    return mark if function is None else mark(function)


def checked_settings(effect: Effect, timeout_seconds: float) -> Settings:
    """Raises ToolLoadError for values that mean nothing."""
    if effect not in get_args(Effect):
        raise ToolLoadError(
            f"@tool got the effect {effect!r}", 'Use effect="pure", "read" or "write".'
        )
    is_number = isinstance(timeout_seconds, (int, float))
    if not (is_number and math.isfinite(timeout_seconds) and timeout_seconds > 0):
        raise ToolLoadError(
            f"@tool got timeout_seconds={timeout_seconds!r}", "Use a number of seconds above 0."
        )
    return Settings(effect, float(timeout_seconds))


def settings_of(function: Callable[..., Any]) -> Settings | None:
    """The settings that `@tool` left on a function, or None for one without the mark."""
    found = getattr(function, "tool_settings", None)
    return found if isinstance(found, Settings) else None
