"""The interactive screen: reads prompts, obeys commands and shows turns as they come.

Knows a chat by its methods only: no engine, no store.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session, get_app, run_in_terminal
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.output.plain_text import PlainTextOutput
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import is_dumb_terminal

from smolchat.errors import ContextOverflow, SmolchatError
from smolchat.messages import Event, TurnFinished
from smolchat.terminal.commands import CommandCompleter, Leave, is_command, obey, show_reopened
from smolchat.terminal.history import InputHistory
from smolchat.terminal.keys import (
    Interrupts,
    is_in_block,
    is_typing_command,
    is_vi_navigating,
    key_bindings,
    keys_kept,
    pastes_kept_whole,
    unquoted,
)
from smolchat.terminal.renderer import Renderer, decode_rate

if TYPE_CHECKING:
    from smolchat.chat import Chat

STYLE = Style.from_dict(
    {
        "prompt": "bold ansicyan",
        "prompt-continuation": "ansicyan",
        "bottom-toolbar": "noreverse ansibrightblack",
    }
)
EDITING_MODES = {"emacs": EditingMode.EMACS, "vi": EditingMode.VI}
LOADING_POLL_SECONDS = 0.1


class Repl:
    """Call `run` once, in the main thread and with a terminal on standard input and output."""

    def __init__(
        self,
        chat: Chat,
        renderer: Renderer,
        history_path: Path,
        model_names: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """`model_names` says what /model may be followed by."""
        self.chat = chat
        self.renderer = renderer
        self.model_names = model_names
        self.draft = ""
        """What the next prompt begins with."""
        self.last_turn: TurnFinished | None = None
        self.attached: dict[str, str] = {}
        """Texts that go with the next message, by the names of their files."""
        self.interrupts = Interrupts()
        self._history = InputHistory(history_path)
        self._reported: Exception | None = None
        """The failure that was last told."""
        self._prompt = self._prompt_session()

    def run(self, first_message: str = "") -> int:
        """Chats until the user leaves, about `first_message` to begin with; returns exit code."""
        name = self.chat.model_name
        self.renderer.aside(f"smolchat {name} · /help for commands · Ctrl-D leaves")
        show_reopened(self)
        with keys_kept(), self.interrupts.caught():
            try:
                if first_message:
                    self.renderer.aside(f"> {len(first_message.splitlines())} lines, piped in")
                    self._go_through_with(_typed(first_message), self._send_typed)
                while True:
                    self._take_turn()
            except Leave:
                return 0

    def answer(self, events: Iterator[Event]) -> None:
        """Shows a turn, after waiting for the checkpoint. Ctrl-C ends the turn in good order."""
        if self.chat.is_loading:
            with self.renderer.waiting(f"loading {self.chat.model_name}"):
                self.chat.wait()
        with self.interrupts.calling(self.chat.cancel):
            self._show(events)

    def follow_settings(self) -> None:
        """Lets the renderer do as the chat's settings say."""
        settings = self.chat.settings
        self.renderer.is_streaming = not settings["no_stream"]
        self.renderer.is_quiet = settings["quiet"]
        self.renderer.is_verbose = settings["verbose"]
        self.renderer.is_raw = settings["raw"]
        self._prompt.editing_mode = EDITING_MODES[settings["keys"]]

    def propose(self, message: str) -> None:
        """Lets the next prompt begin with `message`."""
        self.draft = _typed(message)

    def _status(self) -> str:
        """The line below the prompt."""
        parts = [self.chat.model_name]
        if self.chat.is_loading:
            parts.append("loading")
        elif turn := self.last_turn:
            parts.append(f"context {turn.used_tokens}/{turn.context_tokens}")
            parts.append(f"{decode_rate(turn.stats)} tok/s")
        parts += [f"+ {name}" for name in self.attached]
        if is_vi_navigating():
            parts.append("vi: i inserts")
        return " · ".join(parts)

    def _prompt_session(self) -> PromptSession[str]:
        output = PlainTextOutput(sys.stdout) if is_dumb_terminal() else None
        with create_app_session(output=output):
            return PromptSession(
                [("class:prompt", "> ")],
                multiline=is_in_block,
                prompt_continuation=_continuation,
                history=self._history,
                key_bindings=key_bindings(),
                completer=CommandCompleter(self),
                complete_while_typing=is_typing_command,
                bottom_toolbar=self._status,
                style=STYLE,
                editing_mode=EDITING_MODES[self.chat.settings["keys"]],
                enable_suspend=True,
                enable_open_in_editor=True,
            )

    def _take_turn(self) -> None:
        try:
            text = self._ask()
        except KeyboardInterrupt:
            self.renderer.aside("Ctrl-D or /exit leaves.")
            return
        except EOFError:
            raise Leave from None
        self._go_through_with(text, self._obey if is_command(text) else self._send_typed)

    def _go_through_with(self, text: str, act: Callable[[str], None]) -> None:
        """Whatever becomes of `act`, the chat goes on, and a message that failed is given back."""
        try:
            with pastes_kept_whole(self._prompt.output), self.interrupts.breaking_off():
                act(text)
        except KeyboardInterrupt:
            self.draft = text
        except Leave:
            raise
        except Exception as error:  # a model may fail in any way; the conversation outlives it
            self.draft = "" if is_command(text) else text
            self._report(error)

    def _ask(self) -> str:
        # A dumb terminal would not show the draft.
        draft, self.draft = "" if is_dumb_terminal() else self.draft, ""
        text = self._prompt.prompt(default=draft, pre_run=self._watch_loading)
        if problem := self._history.take_problem():
            self.renderer.notice(problem)
        # What is no UTF-8 arrives as lone surrogates, which no tokenizer takes.
        return text.encode("utf-8", "replace").decode("utf-8")

    def _obey(self, text: str) -> None:
        obey(self, text)

    def _send_typed(self, text: str) -> None:
        message = unquoted(text.removeprefix("/") if text.startswith("//") else text)
        if message.strip():
            self._send(message)

    def _send(self, message: str) -> None:
        self.answer(self.chat.send("\n\n".join([message, *self.attached.values()])))
        self.attached.clear()

    def _show(self, events: Iterator[Event]) -> None:
        with ExitStack() as waiting:
            waiting.enter_context(self.renderer.waiting("working"))
            for event in events:
                if self.renderer.is_visible(event):
                    waiting.close()
                self.renderer.show(event)
                if isinstance(event, TurnFinished):
                    self.last_turn = event
        if self.last_turn and self.last_turn.reason == "cancelled":
            self.renderer.aside("Stopped; what was said so far is kept.")

    def _watch_loading(self) -> None:
        if self.chat.is_loading or self.chat.loading_error:
            get_app().create_background_task(self._report_failed_loading())

    async def _report_failed_loading(self) -> None:
        while self.chat.is_loading:
            await asyncio.sleep(LOADING_POLL_SECONDS)
        error = self.chat.loading_error
        if error is not None and error is not self._reported:
            await run_in_terminal(lambda: self._report(error))

    def _report(self, error: Exception) -> None:
        self._reported = error
        self.renderer.problem(_explained(error))


def _typed(message: str) -> str:
    """What one types to send `message`."""
    return f"/{message}" if message.startswith("/") else message


def _continuation(width: int, line: int, wrap_count: int) -> StyleAndTextTuples:
    """Dots mark a line of its own, not the rest of a wrapped one."""
    return [("class:prompt-continuation", " " * width if wrap_count else "… ")]


def _explained(error: Exception) -> SmolchatError:
    if isinstance(error, ContextOverflow):
        return SmolchatError(error.message, "Shorten it, or make room with /undo or /clear.")
    if isinstance(error, SmolchatError):
        return error
    said = str(error).strip().partition("\n")[0]
    return SmolchatError(
        f"the model failed: {type(error).__name__}: {said}",
        "The conversation is kept. Send it again, or try another /model.",
    )
