"""A stored conversation answered again, turn by turn, with the seeds that it had.

Each turn follows the stored turns before it, so that one difference does not make the next.
No tool runs: a call that was made before has its stored result, any other is told of the replay.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from smolchat.catalog import chosen_draft
from smolchat.messages import Event, Message, MessageAdded, ToolCall, ToolResult
from smolchat.session import ChatSession, ToolUse
from smolchat.toolbox import Tool, Toolbox
from smolchat.writing import Writer

if TYPE_CHECKING:
    from smolchat.loading import LoadedEngine
    from smolchat.store import Conversation, StoredTurn


@dataclass(frozen=True, slots=True)
class ReplayedTurn:
    """What a turn was answered, then and now; calls and prose of all its replies."""

    number: int
    """From 1."""
    then: str
    now: str

    @property
    def is_same(self) -> bool:
        return self.then == self.now

    def report(self) -> str:
        """A line, and where the answers differ a unified diff."""
        if self.is_same:
            return f"turn {self.number}: the same\n"
        lines = difflib.unified_diff(
            self.then.splitlines(), self.now.splitlines(), "then", "now", lineterm=""
        )
        return f"turn {self.number}: differs\n" + "".join(f"{line}\n" for line in lines)


def replayed(conversation: Conversation) -> Iterator[ReplayedTurn]:
    """Answers every turn that goes on. Raises CheckpointError for a checkpoint not on disk."""
    from smolchat.loading import load_engine

    before: list[StoredTurn] = []
    engine: LoadedEngine | None = None
    loaded: tuple[str | None, ...] = ()
    for number, turn in enumerate(conversation.current_turns, 1):
        made_with = turn.settings
        draft = chosen_draft(made_with.draft, made_with.checkpoint)
        wanted = (made_with.checkpoint, made_with.device, made_with.dtype)
        others = (made_with.quantize, draft)
        if engine is None or loaded != (*wanted, *others):
            engine = None  # one at a time is in memory
            engine = load_engine(*wanted, quantize=made_with.quantize, draft=draft)
            loaded = (*wanted, *others)
        if made_with.is_first_here:  # sums differ in their last bits where a prefix was cached
            engine.generator.forget()
        earlier = replace(conversation, turns=tuple(before)).transcript(made_with.checkpoint)
        kind = conversation.heading.kind if number == 1 else "run"
        yield _replayed_turn(number, kind, turn, earlier, engine)
        before.append(turn)


def _replayed_turn(
    number: int, kind: str, turn: StoredTurn, earlier: list[Message], engine: LoadedEngine
) -> ReplayedTurn:
    questions = [
        message for message in _leading(turn.messages) if message.role in ("system", "user")
    ]
    stored = turn.messages[len(_leading(turn.messages)) :]
    was_cut = turn.finished is None or turn.finished.reason == "cancelled"
    with _RecordedToolbox(turn) as toolbox:
        session = _session(turn, engine, toolbox)
        if was_cut:  # only as far as it came then
            produced = sum(len(message.token_ids) for message in stored)
            session.max_new_tokens = max(1, produced) if produced else session.max_new_tokens
        session.transcript = [*earlier, *_leading(turn.messages)]
        events = session.answer()
        if kind in ("rewrite", "summarize"):
            events = _written_again(kind, turn, session)
        answered = [event.message for event in events if isinstance(event, MessageAdded)]
    then, now = _told(stored), _told(answered)
    if was_cut and questions and now.startswith(then):
        now = then
    return ReplayedTurn(number, then, now)


def _written_again(kind: str, turn: StoredTurn, session: ChatSession) -> Iterator[Event]:
    """The rewrite or summary of the text that the last message of the user was about."""
    before, _, after = turn.settings.user_template.partition("{text}")
    asked = _leading(turn.messages)[-1].content
    text = asked[len(before) : len(asked) - len(after)]
    writer = Writer(session, lambda part: turn.settings.user_template.replace("{text}", part))
    return writer.rewrite(text) if kind == "rewrite" else writer.summarize(text)


def _leading(messages: tuple[Message, ...]) -> list[Message]:
    """What was given to be answered: all up to the last message of the user."""
    last = max(number for number, message in enumerate(messages) if message.role == "user")
    return list(messages[: last + 1])


def _session(turn: StoredTurn, engine: LoadedEngine, toolbox: Toolbox) -> ChatSession:
    settings = turn.settings
    use = ToolUse(
        toolbox,
        settings.tool_choice,
        settings.max_rounds,
        settings.is_constrained,
        settings.runs_calls,
    )
    return ChatSession(
        engine.generator,
        engine.chat_format,
        engine.stop_ids,
        system=settings.system,
        sampling=settings.sampling,
        max_new_tokens=settings.max_new_tokens,
        tool_use=use if settings.tool_schemas else None,
        grammar=settings.grammar,
        on_overflow=settings.on_overflow,
    )


def _told(messages: list[Message] | tuple[Message, ...]) -> str:
    parts = []
    for message in messages:
        if message.role == "assistant":
            parts += [message.content] if message.content else []
            parts += [f"{call.name}({json.dumps(call.arguments)})" for call in message.tool_calls]
    return "\n\n".join(parts)


class _RecordedToolbox(Toolbox):
    """Offers what was offered then, and answers calls as they were answered then."""

    def __init__(self, turn: StoredTurn) -> None:
        functions = [schema["function"] for schema in turn.settings.tool_schemas]
        super().__init__(
            Tool(each["name"], each.get("description", ""), schema, None)
            for each, schema in zip(functions, turn.settings.tool_schemas, strict=True)
        )
        self._results = {_key(run.call): run.result for run in turn.tool_runs if run.result}

    def run(self, call: ToolCall) -> ToolResult:
        known = self._results.get(_key(call))
        if known is None:
            return ToolResult(call.id, "This call was not made then; no tool is run.", "error")
        return replace(known, call_id=call.id)


def _key(call: ToolCall) -> str:
    return f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"
