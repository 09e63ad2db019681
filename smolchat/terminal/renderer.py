"""Events to the screen; plain text where standard output is no terminal.

The answer goes to standard output, everything else to standard error. Rich is imported when there
is something to draw: text in a pipe does not wait for it.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from smolchat.difference import Change, marked
from smolchat.errors import SmolchatError
from smolchat.generation import GenerationStats
from smolchat.messages import (
    Event,
    MessageAdded,
    Notice,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
)
from smolchat.terminal.escape import escape_controls, escape_invisible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

    from smolchat.terminal.markdown import MarkdownStream

RESULT_CHARACTERS = 300
"""What is shown of a tool's result; the model reads more."""


class Renderer:
    """Shows turns. In a pipe the output is the reply, byte for byte, and nothing else."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        is_streaming: bool = True,
        is_quiet: bool = False,
        is_verbose: bool = False,
        is_raw: bool = False,
    ) -> None:
        """`is_raw`: Markdown stays as it is written, on a terminal too."""
        self._out_file, self._err_file = out, err
        self.writes_to_terminal = out.isatty()
        self.is_streaming = is_streaming
        self.is_quiet = is_quiet
        self.is_verbose = is_verbose
        self.is_raw = is_raw
        self._markdown: MarkdownStream | None = None
        """What draws the reply under way."""
        self._column_text = ""
        self._unshown = ""
        self._bar: Progress | None = None

    @functools.cached_property
    def _out(self) -> Console:
        return _console(self._out_file)

    @functools.cached_property
    def _err(self) -> Console:
        return _console(self._err_file)

    def show(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._unshown += event.text
        if self.is_streaming or not isinstance(event, TextDelta):
            self._show_text()
        if isinstance(event, MessageAdded) and event.message.role == "assistant":
            self._end_line()
        elif isinstance(event, Notice):
            self.notice(event.text)
        elif isinstance(event, ToolStarted):
            self.aside(_call_line(event))
        elif isinstance(event, ToolFinished):
            self.aside(_result_line(event))
        elif isinstance(event, TurnFinished):
            self._end_line()
            if self.is_verbose:
                self._line(_summary(event), style="dim", is_wrapped=False)

    def go_on_after(self, text: str) -> None:
        """The next reply goes on with one of which `text` is on the screen already."""
        if self._draws_markdown:
            self._markdown = self._new_markdown()
            self._markdown.go_on_after(text)

    def is_visible(self, event: Event) -> bool:
        """Whether `show` has anything to print for it."""
        if isinstance(event, TextDelta):
            return self.is_streaming
        return not (isinstance(event, MessageAdded) and event.message.role == "user")

    def write(self, text: str) -> None:
        """Text of the answer, to standard output."""
        self._clear_bar()
        if self.writes_to_terminal:
            text = escape_controls(text)
            if not self._column_text:  # the line is new already
                text = text.lstrip("\n")
            self._column_text = text or self._column_text
        self._out_file.write(text)
        self._out_file.flush()

    def notice(self, text: str) -> None:
        """One line the user should know, unless quiet was asked for."""
        self.aside(f"smolchat: {text}")

    def aside(self, text: str) -> None:
        """A notice where it is plain who speaks."""
        if not self.is_quiet:
            self._line(text, style="dim")

    def detail(self, text: str) -> None:
        """A line for those who asked for speeds and counts."""
        if self.is_verbose:
            self._line(text, style="dim", is_wrapped=False)

    def changes(self, differences: list[Change]) -> None:
        """What changed, as the answer: in colour, or where there is none in wdiff's notation."""
        if not (self.writes_to_terminal and self._out.color_system):
            self.write(marked(differences))
        else:
            from rich.text import Text

            styles = {"kept": "", "removed": "red strike", "added": "green"}
            for change in differences:
                self._column_text = change.text
                styled = Text(escape_controls(change.text), style=styles[change.kind])
                self._out.print(styled, end="")
        self._end_line()

    def ask(self, question: str, subject: str) -> None:
        """What the user is about to decide, and about what; also when quiet."""
        self._line(question, style="bold")
        self._line(subject)

    def table(self, rows: Iterable[tuple[str, str]]) -> None:
        """What the user asked to see, in two columns."""
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for row in rows:
            grid.add_row(*(Text(escape_controls(cell)) for cell in row))
        self._err.print(grid, soft_wrap=False)

    def problem(self, error: SmolchatError) -> None:
        """What went wrong and what to do, a line each."""
        self._line(f"smolchat: {error.message}", style="bold red")
        if error.hint:
            self._line(error.hint)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """A spinner while something takes its time; on a terminal that is not to stay plain."""
        if self.is_quiet or os.environ.get("NO_COLOR") or not has_cursor(self._err_file):
            yield
            return
        with self._err.status(text):
            yield

    @contextmanager
    def progress(self, text: str) -> Iterator[Callable[[int, int], None]]:
        """A bar to be told (bytes here, bytes in all); without a terminal one line at the start."""
        if self.is_quiet or not has_cursor(self._err_file):
            say_once = functools.cache(lambda: self.notice(text))
            yield lambda here, total: say_once()
            return
        from rich.progress import DownloadColumn, TransferSpeedColumn

        bar = self._new_bar(DownloadColumn(), TransferSpeedColumn())
        task = bar.add_task(text, total=None)

        def show(here: int, total: int) -> None:
            bar.start()  # not before there is something to show
            bar.update(task, completed=here, total=total)

        try:
            yield show
        finally:
            bar.stop()

    @contextmanager
    def steps(self, text: str) -> Iterator[Callable[[int, int], None]]:
        """A bar to be told (steps done, steps in all); on a terminal only.

        Where the answer goes to a terminal as well, its first text takes the place of the bar.
        """
        if self.is_quiet or not has_cursor(self._err_file):
            yield lambda done, total: None
            return
        from rich.progress import MofNCompleteColumn

        bar = self._new_bar(MofNCompleteColumn(), transient=True)
        task = bar.add_task(text, total=None)

        def show(done: int, total: int) -> None:
            if self._bar is bar:
                bar.update(task, completed=done, total=total)
                bar.start()
                bar.refresh()

        self._bar = bar
        try:
            yield show
        finally:
            self._bar = None
            bar.stop()

    def _new_bar(self, *columns: ProgressColumn, transient: bool = False) -> Progress:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        name, bar, left = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
        return Progress(name, bar, *columns, left, console=self._err, transient=transient)

    def _clear_bar(self) -> None:
        """The unfinished line of an answer and a bar cannot share a row."""
        if self._bar is not None and self.writes_to_terminal:
            self._bar.stop()
            self._bar = None

    def _line(self, text: str, style: str = "", is_wrapped: bool = True) -> None:
        self._end_line()  # of a reply that a failure broke off
        text = escape_controls(text)
        if not self._err_file.isatty():
            with suppress(BrokenPipeError):  # who does not listen may still want the answer
                print(text, file=self._err_file, flush=True)
            return
        from rich.text import Text

        self._err.print(Text(text, style=style), soft_wrap=not is_wrapped)

    @property
    def _draws_markdown(self) -> bool:
        return not self.is_raw and not os.environ.get("NO_COLOR") and has_cursor(self._out_file)

    def _show_text(self) -> None:
        text, self._unshown = self._unshown, ""
        if text and self._draws_markdown:
            self._clear_bar()
            self._markdown = self._markdown or self._new_markdown()
            self._markdown.feed(text)
        elif text:
            self.write(text)

    def _new_markdown(self) -> MarkdownStream:
        from smolchat.terminal.markdown import MarkdownStream

        return MarkdownStream(self._out)

    def _end_line(self) -> None:
        """A reply on a terminal ends with a line break; a piped one ends where it ends."""
        if self._markdown is not None:
            self._markdown.finish()
            self._markdown = None
        if self._column_text and not self._column_text.endswith("\n"):
            self._out_file.write("\n")
            self._out_file.flush()
        self._column_text = ""


def _console(file: TextIO) -> Console:
    """Left to itself, Rich colours pipes under FORCE_COLOR, and under NO_COLOR prints bold."""
    from rich.console import Console

    return Console(
        file=file,
        force_terminal=file.isatty(),
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        no_color=False,
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def has_cursor(file: TextIO) -> bool:
    """Whether it is a terminal where lines may be redrawn."""
    return file.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def _call_line(event: ToolStarted) -> str:
    call = event.call
    arguments = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items()
    )
    changed = f"  (changed: {'; '.join(event.changes)})" if event.changes else ""
    return escape_invisible(f"→ {call.name}({arguments}){changed}")


def _result_line(event: ToolFinished) -> str:
    text = escape_invisible(event.result.content[:RESULT_CHARACTERS])
    more = "…" if len(event.result.content) > RESULT_CHARACTERS else ""
    status = "" if event.result.status == "ok" else f"{event.result.status}: "
    edits = escape_invisible(f"[edited: {'; '.join(event.changes)}] ") if event.changes else ""
    return f"← {edits}{status}{text}{more}"


def _summary(event: TurnFinished) -> str:
    stats = event.stats
    prefilled = stats.prompt_tokens - stats.cached_tokens
    return " · ".join(
        [
            f"first token {stats.prefill_seconds:.2f} s",
            f"prefill {_rate(prefilled, stats.prefill_seconds)}",
            f"decode {decode_rate(stats)} tok/s",
            f"drafts {stats.accepted_tokens}/{stats.drafted_tokens}",
            f"cached {stats.cached_tokens}/{stats.prompt_tokens}",
            f"context {event.used_tokens}/{event.context_tokens}",
        ]
    )


def decode_rate(stats: GenerationStats) -> str:
    """Tokens per second after the first one."""
    return _rate(stats.new_tokens - 1, stats.decode_seconds)


def _rate(tokens: int, seconds: float) -> str:
    return f"{tokens / seconds:.0f}" if tokens > 0 and seconds > 0 else "-"
