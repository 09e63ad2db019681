"""What a one-shot command reports about its turn as JSON, gathered from the turn's events."""

from __future__ import annotations

import time
from typing import Any

from smolchat.messages import (
    Event,
    MessageAdded,
    TextDelta,
    ToolCall,
    ToolFinished,
    ToolStarted,
    TurnFinished,
)

COUNTS = (
    "prompt_tokens",
    "cached_tokens",
    "new_tokens",
    "drafted_tokens",
    "accepted_tokens",
    "forced_tokens",
)
"""The fields of GenerationStats that are reported as usage."""


class Outcome:
    """Record every event of a turn, then take `as_json`."""

    def __init__(self, model: str, started: float, load_seconds: float) -> None:
        """`started` is the `time.perf_counter()` of the command's start."""
        self.finish_reason = "cancelled"
        self.model = model
        self._started = started
        self._load_seconds = load_seconds
        self.text = ""
        self.tool_calls: list[dict[str, Any]] = []
        self.wished_calls: tuple[ToolCall, ...] = ()
        """The calls of the last message, which were not run."""
        self.unread = ""
        """Why there are no such calls although some were begun."""
        self._first_token: float | None = None
        self._usage = dict.fromkeys(COUNTS, 0)
        self._timings = {"prefill_seconds": 0.0, "decode_seconds": 0.0}

    def record(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._first_token = self._first_token or time.perf_counter()
            self.text += event.text
        elif isinstance(event, ToolStarted):
            call = event.call
            changes = list(event.changes)
            entry = {"name": call.name, "arguments": call.arguments, "changes": changes}
            self.tool_calls.append(entry)
        elif isinstance(event, ToolFinished):
            result = event.result
            self.tool_calls[-1] |= {
                "status": result.status,
                "result": result.content,
                "seconds": round(event.seconds, 4),
            }
            if result.arguments is not None:
                self.tool_calls[-1]["arguments"] = result.arguments
                self.tool_calls[-1]["changes"] += event.changes
        elif isinstance(event, MessageAdded) and event.message.role == "assistant":
            self.wished_calls = event.message.tool_calls
        elif isinstance(event, TurnFinished):
            self.finish_reason = event.reason
            self.unread = event.unread
            self._usage = {name: getattr(event.stats, name) for name in self._usage}
            self._timings = {name: getattr(event.stats, name) for name in self._timings}

    def as_json(self) -> dict[str, Any]:
        """Times in seconds; `first_token_seconds` and `total_seconds` since the command began.

        `first_token_seconds` is null for a reply without text.
        """
        now = time.perf_counter()
        first = self._first_token
        timings = {
            "load_seconds": self._load_seconds,
            "first_token_seconds": None if first is None else first - self._started,
            **self._timings,
            "total_seconds": now - self._started,
        }
        return {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "model": self.model,
            "usage": self._usage,
            "timings": {
                name: seconds if seconds is None else round(seconds, 4)
                for name, seconds in timings.items()
            },
            "tool_calls": self.tool_calls,
        }
