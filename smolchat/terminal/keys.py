"""What the keyboard means beyond prompt-toolkit's defaults, at the prompt and between prompts."""

from __future__ import annotations

import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from prompt_toolkit.application import get_app
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, is_searching, vi_navigation_mode
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output

QUOTES = '"""'


def key_bindings() -> KeyBindings:
    """Alt-Enter breaks the line; Ctrl-C clears it, or interrupts the empty prompt."""
    bindings = KeyBindings()

    # Typed ahead of the prompt, the terminal has already turned Enter into a line feed.
    @bindings.add("escape", "enter")
    @bindings.add("escape", "c-j")
    def break_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @bindings.add("c-c", filter=~is_searching)
    @bindings.add(Keys.SIGINT)
    def clear(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return bindings


def is_open_block(text: str) -> bool:
    """Whether `text` began with three quotes that are not closed yet."""
    return text.lstrip().startswith(QUOTES) and text.count(QUOTES) % 2 == 1


def unquoted(text: str) -> str:
    """What stands between the quotes of a block; any other text, such as code, as it is."""
    block = text.strip()
    is_one = is_open_block(block.partition("\n")[0]) or block.count(QUOTES) == 2
    is_block = is_one and block.startswith(QUOTES) and block.endswith(QUOTES)
    return block[3:-3].strip("\n") if is_block else text


@Condition
def is_in_block() -> bool:
    return is_open_block(get_app().current_buffer.text)


@Condition
def is_typing_command() -> bool:
    text = get_app().current_buffer.text
    return text.startswith("/") and "\n" not in text


@Condition
def is_vi_navigating() -> bool:
    return get_app().editing_mode == EditingMode.VI and vi_navigation_mode()


@contextmanager
def keys_kept() -> Iterator[None]:
    """Between prompts nothing typed is echoed; it waits for the next prompt.

    Ctrl-C still signals, and leaves what was typed before it in place.
    """
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    kept = termios.tcgetattr(keyboard)
    # Without ICANON too: the terminal cuts canonical lines at 4096 characters.
    kept[3] = (kept[3] & ~(termios.ECHO | termios.ICANON)) | termios.ISIG | termios.NOFLSH

    def apply() -> None:
        termios.tcsetattr(keyboard, termios.TCSANOW, kept)

    apply()
    try:
        with _on_signal(signal.SIGCONT, apply):  # the shell has set its own mode meanwhile
            yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)


@contextmanager
def keys_released() -> Iterator[None]:
    """Inside `keys_kept`: gives the keyboard to another program, in the mode that it expects."""
    keyboard = sys.stdin.fileno()
    kept = termios.tcgetattr(keyboard)
    usual = termios.tcgetattr(keyboard)
    usual[3] = (usual[3] | termios.ECHO | termios.ICANON) & ~termios.NOFLSH
    termios.tcsetattr(keyboard, termios.TCSADRAIN, usual)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, kept)


@contextmanager
def pastes_kept_whole(output: Output) -> Iterator[None]:
    """Between prompts too, the terminal marks a paste, so that it will be one message."""
    output.enable_bracketed_paste()
    output.flush()
    try:
        yield
    finally:
        output.disable_bracketed_paste()
        output.flush()


class Interrupts:
    """What Ctrl-C does between prompts: nothing unless told, so that it never ends the program."""

    def __init__(self) -> None:
        self._respond = _ignore

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Takes the place of Python's own KeyboardInterrupt."""
        with _on_signal(signal.SIGINT, lambda: self._respond()):
            yield

    @contextmanager
    def calling(self, function: Callable[[], None]) -> Iterator[None]:
        before, self._respond = self._respond, function
        try:
            yield
        finally:
            self._respond = before

    def ignored(self) -> AbstractContextManager[None]:
        """Ctrl-C is meant for another program."""
        return self.calling(_ignore)

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """Ctrl-C raises KeyboardInterrupt, at most once."""
        with self.calling(self._break_off):
            yield

    def _break_off(self) -> None:
        self._respond = _ignore
        raise KeyboardInterrupt


@contextmanager
def _on_signal(number: signal.Signals, function: Callable[[], None]) -> Iterator[None]:
    before = signal.signal(number, lambda signum, frame: function())
    try:
        yield
    finally:
        signal.signal(number, before)


def _ignore() -> None:
    pass
