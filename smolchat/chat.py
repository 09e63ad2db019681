"""A chat that goes on while its checkpoint loads, and whose checkpoint and settings may change.

What the interactive screen works with; it knows no screen itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from smolchat.catalog import Located, chosen_draft
from smolchat.errors import StoreError, UsageError
from smolchat.export import exported, format_of
from smolchat.loading import LoadedEngine, load_engine
from smolchat.messages import Event, Message
from smolchat.session import ChatSession, OnOverflow, ToolUse
from smolchat.settings import Setting, Settings
from smolchat.store import Conversation, Recorder, TurnSettings, unstored

Locate = Callable[[str], Located]
"""Finds the checkpoint of a name, and fetches it first if need be."""

Load = Callable[[Path, str, str, int | None, str, str | None], LoadedEngine]

FIXED = frozenset(
    {"model", "profile", "device", "dtype", "threads", "quantize", "draft", "approve"}
)
"""Settings that a running chat cannot change."""

ON_OVERFLOW: OnOverflow = "trim"
"""A chat goes on: unless it is told otherwise, its oldest turns make room."""


class Chat:
    """One conversation on one checkpoint at a time.

    Loading starts at once in the background; whatever needs the engine waits for it.
    """

    def __init__(
        self,
        settings: Settings,
        located: Located,
        locate: Locate,
        load: Load = load_engine,
        tool_use: ToolUse | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Without a `recorder` nothing is kept."""
        self.settings = settings
        self.model_name = located.name
        self.locate = locate
        self.tool_use = tool_use
        self.recorder = recorder
        self.reopened: Conversation | None = None
        """What was gone on with last."""
        self._load = load
        self._session: ChatSession | None = None
        self._initial = settings.table
        self._typed: dict[str, str] = {}
        self._transcript: list[Message] = []
        self._is_cancelled = False
        self._loading = _Loading(located, settings, load)

    @property
    def is_loading(self) -> bool:
        return self._loading.is_running

    @property
    def loading_error(self) -> Exception | None:
        """Why the checkpoint could not be loaded, once that is known."""
        return self._loading.error

    @property
    def device(self) -> str | None:
        """Where the checkpoint runs and in which precision; None until it is loaded."""
        engine = self._loading.engine
        return engine.place if engine else None

    @property
    def system(self) -> str | None:
        """The system prompt; None leaves it to the checkpoint's template."""
        system: str | None = self.settings["system"]
        return system

    @property
    def transcript(self) -> list[Message]:
        return self._transcript

    @property
    def summary(self) -> str:
        """What stands for the oldest turns, which are no longer sent; empty if nothing does."""
        window = self._session.window if self._session else None
        return window.summary if window and window.hidden_turns(self._transcript) else ""

    def wait(self) -> None:
        """Returns when the checkpoint is loaded. Raises what loading it raised."""
        self._loading.wait()

    def send(self, text: str) -> Iterator[Event]:
        """Answers `text`, written into the profile's template.

        Raises SmolchatError, or what the model raised; the transcript is then as it was.
        """
        session = self._ready_session()
        sent = self.settings.profile.user_text(text)
        self._typed[sent] = text
        yield from self._turn(session.send(sent), title=text)

    def regenerate(self) -> Iterator[Event]:
        """Answers the last message again. Raises as `send` does."""
        session = self._ready_session()
        yield from self._turn(session.regenerate(), replaces_last=True)

    def extend(self) -> Iterator[Event]:
        """Goes on with the last reply. Raises as `send` does."""
        session = self._ready_session()
        yield from self._turn(session.extend(), is_extended=True)

    def cancel(self) -> None:
        """Ends the reply under way; safe to call from a signal handler."""
        self._is_cancelled = True
        if self._session is not None:
            self._session.cancel()

    def undo(self) -> str | None:
        """Removes the last turn; returns what the user had typed, or None."""
        sent = self._session.undo() if self._session else None
        if sent is None:
            return None
        if self.recorder is not None:
            self.recorder.undo()
        return self._typed.get(sent, sent)

    def clear(self) -> None:
        """Begins a new conversation; system prompt, settings and checkpoint stay."""
        self._transcript.clear()
        if self.recorder is not None:
            self.recorder.leave()

    def reopen(self, conversation: Conversation) -> None:
        """Goes on with a stored conversation in place of this one."""
        self._transcript[:] = conversation.transcript(self.model_name)
        self.reopened = conversation
        if self.recorder is not None:
            self.recorder.resume(conversation)

    def load(self, conversation_id: int) -> None:
        """Reopens a conversation by its number. Raises StoreError."""
        if self.recorder is None:
            raise StoreError("there are no stored conversations here")
        self.reopen(self.recorder.read(conversation_id))

    def entitle(self, title: str) -> None:
        """Names the conversation. Raises StoreError while nothing of it is stored."""
        if self.recorder is None:
            raise StoreError("this conversation is not stored")
        self.recorder.set_title(title)

    def save(self, path: Path) -> None:
        """Writes the conversation to a new file, in the format that its name ends with.

        Raises UsageError for a file that exists, OSError for one that cannot be written.
        """
        text = exported([self._conversation()], format_of(path))
        try:
            with path.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
        except FileExistsError:
            raise UsageError(f"{path} exists", "Choose another name.") from None

    def _conversation(self) -> Conversation:
        """What is stored, with times and counts; else what is said so far."""
        recorder = self.recorder
        if recorder is not None and recorder.has_all:
            return recorder.read(recorder.conversation_id)
        if not self._transcript:
            raise UsageError("there is nothing to save yet", "Send a message first.")
        settings = turn_settings(self._ready_session(), self.settings, self.model_name, self.device)
        return unstored(self._transcript, settings)

    def switch_model(self, located: Located) -> None:
        """Goes on with another checkpoint. Raises SmolchatError and keeps the old one."""
        loading = _Loading(located, self.settings, self._load)
        loading.wait()
        # Another tokenizer may have produced the ids, so the text is what counts from here on.
        self._transcript[:] = [replace(message, token_ids=()) for message in self._transcript]
        self._loading, self.model_name = loading, located.name
        self._session = self._new_session(loading.wait())

    def options(self) -> dict[str, Setting]:
        """The settings that may be changed, by name."""
        table = self.settings.table
        return {name: setting for name, setting in table.items() if name not in FIXED}

    def set_option(self, name: str, text: str) -> None:
        """Changes one setting for this chat; `default` takes back what it was at the start.

        Raises UsageError.
        """
        if name in FIXED:
            remedy = "Use /model NAME." if name == "model" else f"Start anew with --{name} {text}."
            raise UsageError(f"{name} is fixed while a chat runs", remedy)
        if text == "default" and name in self._initial:
            table = {**self.settings.table, name: self._initial[name]}
            self.settings = replace(self.settings, table=table)
        else:
            self.settings = self.settings.with_option(name, text)
        if self._session is not None:
            _configure(self._session, self.settings, ON_OVERFLOW)

    @contextmanager
    def changed(self, assignments: Mapping[str, str]) -> Iterator[None]:
        """Within it other settings hold. Raises UsageError as `set_option` does."""
        before = self.settings
        try:
            for name, text in assignments.items():
                self.set_option(name, text)
            yield
        finally:
            self.settings = before
            if self._session is not None:
                _configure(self._session, before, ON_OVERFLOW)

    def _turn(
        self,
        events: Iterator[Event],
        title: str = "",
        replaces_last: bool = False,
        is_extended: bool = False,
    ) -> Iterator[Event]:
        self._is_cancelled = False
        before = list(self._transcript)
        recorder = self._begun(title, replaces_last, is_extended)
        try:
            for event in recorder.follow(events) if recorder else events:
                if self._is_cancelled:
                    self.cancel()  # again: the first time there may have been no generation yet
                yield event
        except (Exception, KeyboardInterrupt):
            self._transcript[:] = before
            if recorder is not None:
                recorder.drop_turn()
            raise

    def _begun(self, title: str, replaces_last: bool, is_extended: bool) -> Recorder | None:
        """The recorder, told what the turn is made with; None if nothing is to be kept."""
        session, recorder = self._ready_session(), self.recorder
        session.sampling = self.settings.sampling().seeded()
        if recorder is None or self.settings["no_history"]:
            if recorder is not None:
                recorder.leave()  # what is kept later must not look as if nothing were missing
            return None
        if is_extended:
            recorder.extend()
            return recorder
        asked = [message for message in self._transcript if message.role == "user"]
        given = asked[-1:] if replaces_last else []
        settings = turn_settings(session, self.settings, self.model_name, self.device)
        recorder.begin(settings, title, given, replaces_last)
        return recorder

    def _ready_session(self) -> ChatSession:
        if self._session is None:
            self._session = self._new_session(self._loading.wait())
        return self._session

    def _new_session(self, engine: LoadedEngine) -> ChatSession:
        session = new_session(engine, self.settings, self.tool_use, on_overflow=ON_OVERFLOW)
        session.transcript = self._transcript
        return session


def new_session(
    engine: LoadedEngine,
    settings: Settings,
    tool_use: ToolUse | None = None,
    grammar: str | None = None,
    on_overflow: OnOverflow = "refuse",
) -> ChatSession:
    """A session on `engine` that does as `settings` say; `on_overflow` where they do not."""
    session = ChatSession(
        engine.generator,
        engine.chat_format,
        engine.stop_ids,
        tool_use=tool_use,
        grammar=grammar,
    )
    _configure(session, settings, on_overflow)
    return session


def _configure(session: ChatSession, settings: Settings, on_overflow: OnOverflow) -> None:
    session.system = settings["system"]
    session.keeps_prefix = not settings["no_history"]
    session.sampling = settings.sampling().seeded()
    session.max_new_tokens = settings["max_new_tokens"]
    session.on_overflow = settings["on_overflow"] or on_overflow


def turn_settings(
    session: ChatSession, settings: Settings, checkpoint: str, ran_on: str | None
) -> TurnSettings:
    """What is kept of how `session` will answer its next turn."""
    tools = session.tool_use
    chosen = TurnSettings(
        checkpoint,
        settings.profile.name,
        session.system,
        session.sampling,
        session.max_new_tokens,
        settings.profile.user_template,
        ran_on or "",
        settings["device"],
        settings["dtype"],
        settings["quantize"],
        settings["draft"],
        on_overflow=session.on_overflow,
        grammar=session.grammar,
    )
    if tools is None:
        return chosen
    return replace(
        chosen,
        tool_schemas=tuple(tools.toolbox.schemas),
        tool_choice=tools.choice,
        max_rounds=tools.max_rounds,
        is_constrained=tools.is_constrained,
        runs_calls=tools.runs_calls,
    )


class _Loading:
    """An engine being loaded by a thread of its own."""

    def __init__(self, located: Located, settings: Settings, load: Load) -> None:
        self.engine: LoadedEngine | None = None
        self.error: Exception | None = None
        names = ("device", "dtype", "threads", "quantize")
        draft = chosen_draft(settings["draft"], located.name)
        arguments = (located.folder, *(settings[name] for name in names), draft)
        # Not the thread is waited for: a Ctrl-C in `Thread.join` can make it count as ended.
        self._has_ended = threading.Event()
        threading.Thread(target=self._run, args=(load, *arguments), daemon=True).start()

    @property
    def is_running(self) -> bool:
        return not self._has_ended.is_set()

    def wait(self) -> LoadedEngine:
        """The engine, or the error that loading it raised."""
        self._has_ended.wait()
        if self.error is not None:
            raise self.error
        assert self.engine is not None
        return self.engine

    def _run(self, load: Load, *arguments: Any) -> None:
        try:
            self.engine = load(*arguments)
        except Exception as error:  # carried to whoever waits for the engine
            self.error = error
        finally:
            self._has_ended.set()
