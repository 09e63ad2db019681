"""Stored conversations as Markdown, JSON or JSON Lines. Knows no store and no screen."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from smolchat.messages import Message

if TYPE_CHECKING:
    from smolchat.store import Conversation, StoredTurn

Format = Literal["md", "json", "jsonl"]


def format_of(path: Path) -> Format:
    """The format that a file's name ends with; Markdown for any other ending."""
    endings: dict[str, Format] = {".json": "json", ".jsonl": "jsonl"}
    return endings.get(path.suffix.lower(), "md")


def exported(conversations: Iterable[Conversation], wanted: Format) -> str:
    """Conversations as one text: Markdown, a JSON list, or a JSON object per line.

    JSON holds all that is kept, the replies that were replaced as well; Markdown what goes on.
    """
    if wanted == "md":
        return "\n".join(as_markdown(each) for each in conversations)
    objects = [as_object(each) for each in conversations]
    if wanted == "json":
        return json.dumps(objects, ensure_ascii=False, indent=2) + "\n"
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects)


def as_markdown(conversation: Conversation, with_replaced: bool = False) -> str:
    """A conversation to be read."""
    heading = conversation.heading
    lines = [f"# {heading.title or 'Untitled'}", ""]
    for turn in conversation.turns:
        if turn.is_replaced and not with_replaced:
            continue
        lines += _turn_lines(turn)
    return "\n".join(lines)


def as_object(conversation: Conversation) -> dict[str, Any]:
    """Everything that is kept; times in ISO 8601."""
    heading = conversation.heading
    return {
        "id": heading.id,
        "kind": heading.kind,
        "title": heading.title,
        "created_at": _iso(heading.created_at),
        "updated_at": _iso(heading.updated_at),
        "turns": [_turn_object(turn) for turn in conversation.turns],
    }


def _turn_lines(turn: StoredTurn) -> list[str]:
    results = {run.call.id: run for run in turn.tool_runs if run.result is not None}
    lines: list[str] = []
    for message in turn.messages:
        if message.role in ("user", "system"):
            lines += [f"## {message.role.capitalize()}", "", message.content, ""]
        elif message.role == "assistant":
            replaced = ", replaced later" if turn.is_replaced else ""
            lines += [f"## Assistant ({turn.settings.checkpoint}{replaced})", ""]
            lines += [message.content, ""] if message.content else []
        for call in message.tool_calls:
            lines.append(f"- `{call.name}({json.dumps(call.arguments, ensure_ascii=False)})`")
            run = results.get(call.id)
            if run is not None and run.result is not None:
                lines += [f"  {run.result.status}:", "", _fenced(run.result.content)]
        lines += [""] if message.tool_calls else []
    lines += [f"*{notice}*\n" for notice in turn.notices]
    if _is_open(turn):
        lines += ["*The answer was broken off.*", ""]
    return lines


def _is_open(turn: StoredTurn) -> bool:
    return turn.id > 0 and turn.finished is None


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}\n"


def _turn_object(turn: StoredTurn) -> dict[str, Any]:
    settings = asdict(turn.settings)
    finished = turn.finished
    return {
        "id": turn.id,
        "started_at": _iso(turn.started_at),
        **settings,
        "messages": [_message_object(message) for message in turn.messages],
        "tool_runs": [asdict(run) for run in turn.tool_runs],
        "notices": list(turn.notices),
        "finish_reason": finished.reason if finished else None,
        "stats": asdict(finished.stats) if finished else None,
        "used_tokens": finished.used_tokens if finished else None,
        "context_tokens": finished.context_tokens if finished else None,
        "is_replaced": turn.is_replaced,
    }


def _message_object(message: Message) -> dict[str, Any]:
    given = asdict(message)
    return {"role": given.pop("role"), "content": given.pop("content")} | {
        name: value for name, value in given.items() if value
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
