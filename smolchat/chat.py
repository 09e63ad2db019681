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

from smolchat.catalog import Located
from smolchat.errors import UsageError
from smolchat.loading import LoadedEngine, load_engine
from smolchat.messages import Event, Message
from smolchat.session import ChatSession, OnOverflow, ToolUse
from smolchat.settings import Setting, Settings

Locate = Callable[[str], Located]
"""Finds the checkpoint of a name, and fetches it first if need be."""

Load = Callable[[Path, str, str, int | None, str], LoadedEngine]

FIXED = frozenset({"model", "profile", "device", "dtype", "threads", "quantize", "approve"})
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
    ) -> None:
        self.settings = settings
        self.model_name = located.name
        self.locate = locate
        self.tool_use = tool_use
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
        return f"{engine.device}, {engine.dtype}" if engine else None

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
        yield from self._turn(session.send(sent))

    def regenerate(self) -> Iterator[Event]:
        """Answers the last message again. Raises as `send` does."""
        session = self._ready_session()
        yield from self._turn(session.regenerate())

    def extend(self) -> Iterator[Event]:
        """Goes on with the last reply. Raises as `send` does."""
        session = self._ready_session()
        yield from self._turn(session.extend())

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
        return self._typed.get(sent, sent)

    def clear(self) -> None:
        """Forgets the conversation; system prompt, settings and checkpoint stay."""
        self._transcript.clear()

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

    def _turn(self, events: Iterator[Event]) -> Iterator[Event]:
        self._is_cancelled = False
        before = list(self._transcript)
        try:
            for event in events:
                if self._is_cancelled:
                    self.cancel()  # again: the first time there may have been no generation yet
                yield event
        except (Exception, KeyboardInterrupt):
            self._transcript[:] = before
            raise

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
    session.sampling = settings.sampling()
    session.max_new_tokens = settings["max_new_tokens"]
    session.on_overflow = settings["on_overflow"] or on_overflow


class _Loading:
    """An engine being loaded by a thread of its own."""

    def __init__(self, located: Located, settings: Settings, load: Load) -> None:
        self.engine: LoadedEngine | None = None
        self.error: Exception | None = None
        names = ("device", "dtype", "threads", "quantize")
        arguments = (located.folder, *(settings[name] for name in names))
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
