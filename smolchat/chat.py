"""A chat that goes on while its checkpoint loads, and whose checkpoint and settings may change.

What the interactive screen works with; it knows no screen itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from smolchat.catalog import Located
from smolchat.errors import SmolchatError
from smolchat.loading import LoadedEngine, load_engine
from smolchat.messages import Event, Message
from smolchat.session import ChatSession
from smolchat.settings import Settings

Locate = Callable[[str], Located]
"""Finds the checkpoint of a name, and fetches it first if need be."""


class Chat:
    """One conversation on one checkpoint at a time.

    Loading starts at once in the background; whatever needs the engine waits for it.
    """

    def __init__(self, settings: Settings, located: Located, locate: Locate) -> None:
        self.settings = settings
        self.model_name = located.name
        self._locate = locate
        self._session: ChatSession | None = None
        self._system: str | None = settings["system"]
        self._transcript: list[Message] = []
        self._is_cancelled = False
        self._loading = _Loading(located, settings)

    @property
    def is_loading(self) -> bool:
        return self._loading.is_running

    @property
    def system(self) -> str | None:
        """The system prompt; None leaves it to the checkpoint's template."""
        return self._system

    @property
    def transcript(self) -> list[Message]:
        return self._session.transcript if self._session else self._transcript

    def send(self, text: str) -> Iterator[Event]:
        """Answers `text`, written into the profile's template. Raises SmolchatError."""
        session = self._ready_session()
        yield from session.send(self.settings.profile.user_text(text))

    def regenerate(self) -> Iterator[Event]:
        """Answers the last message again. Raises SmolchatError."""
        yield from self._ready_session().regenerate()

    def cancel(self) -> None:
        """Ends the reply under way; safe to call from a signal handler."""
        if self._session is not None:
            self._session.cancel()

    def undo(self) -> str | None:
        """Removes the last turn; returns what the user had sent, or None."""
        return self._session.undo() if self._session else None

    def clear(self) -> None:
        """Forgets the conversation; system prompt, settings and checkpoint stay."""
        self.transcript.clear()

    def set_system(self, text: str | None) -> None:
        """Takes effect from the next message on."""
        self._system = text
        if self._session is not None:
            self._session.system = text

    def switch_model(self, name: str) -> None:
        """Goes on with another checkpoint. Raises SmolchatError and keeps the old one."""
        located = self._locate(name)
        loading = _Loading(located, self.settings)
        loading.wait()
        # Another tokenizer may have produced the ids, so the text is what counts from here on.
        self._transcript = [replace(message, token_ids=()) for message in self.transcript]
        self._session = None
        self._loading, self.model_name = loading, located.name

    def set_option(self, name: str, text: str) -> None:
        """Changes one setting for this chat. Raises UsageError."""
        if name in {"model", "device", "dtype", "threads", "profile"}:
            raise SmolchatError(
                f"{name} is fixed while a chat runs",
                "Use /model NAME." if name == "model" else f"Start anew with --{name} {text}.",
            )
        self.settings = self.settings.with_option(name, text)
        if name == "system":
            self.set_system(self.settings["system"])
        if self._session is not None:
            self._configure(self._session)

    def _ready_session(self) -> ChatSession:
        if self._session is None:
            engine = self._loading.wait()
            self._session = ChatSession(
                engine.generator, engine.chat_format, engine.stop_ids, system=self._system
            )
            self._session.transcript = self._transcript
            self._configure(self._session)
        return self._session

    def _configure(self, session: ChatSession) -> None:
        session.sampling = self.settings.sampling()
        session.max_new_tokens = self.settings["max_new_tokens"]


class _Loading:
    """An engine being loaded by a thread of its own."""

    def __init__(self, located: Located, settings: Settings) -> None:
        self._arguments: tuple[Any, ...] = (
            located.folder,
            settings["device"],
            settings["dtype"],
            settings["threads"],
        )
        self._engine: LoadedEngine | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._load, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def wait(self) -> LoadedEngine:
        """The engine, or the error that loading it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._engine is not None
        return self._engine

    def _load(self) -> None:
        try:
            self._engine = load_engine(*self._arguments)
        except Exception as error:  # carried to whoever waits for the engine
            self._error = error
