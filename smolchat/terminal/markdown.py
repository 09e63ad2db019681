"""Markdown to a terminal while it is being written. What was printed is never touched again.

Lines are finished one by one, and of the last one the words that no later mark can change. A
line break of the reply is one on the screen. Knows text only: no events, no session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from smolchat.terminal.code import highlighted
from smolchat.terminal.escape import escape_controls
from smolchat.terminal.inline import is_settled, styled
from smolchat.terminal.wrapping import Rows, cell_count, wide_points

DIM = Style(dim=True)
HEADING = Style(bold=True)
MAIN_HEADING = Style(bold=True, underline=True)

COLUMN_CELLS = 6
"""A table that leaves each of its columns less is shown as it is written."""

RULE_CELLS = 40

_HEAD = re.compile(
    r"(?P<indent>[ \t]*)(?P<quotes>(?:>[ \t]?)*)(?P<inner>[ \t]*)"
    r"(?P<marker>(?:[-*+]|\d{1,9}[.)])[ \t]+(?P<task>\[[ xX]\][ \t]+)?)?"
)
_UNDECIDED = re.compile(
    r"(?:[-*_]+[ \t]*)*$|\d{1,9}[.)]?$|\+$|\[[ xX]?\]?$|#{1,6}$|`{1,2}$|~{1,2}$"
)
_WHOLE = re.compile(r"#{1,6}[ \t]|`{3}|~{3}|\|")
_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
_RULE = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")
_FENCE = re.compile(r"(?P<marks>`{3,}(?!.*`)|~{3,})[ \t]*(?P<language>[^\s`{]*)")
_INDENTED = re.compile(r" {4}|\t")
_BAR = re.compile(r"(?<!\\)\|")
_DASHES = re.compile(r"\s*:?-+:?\s*$")


@dataclass(frozen=True, slots=True)
class _Head:
    """The start of a line: how deep it stands, in which quotes, behind which marker."""

    quotes: int
    indent: str
    marker: str
    rest: str
    """What follows."""

    @property
    def first(self) -> Text:
        """What the line begins with on the screen."""
        return Text.assemble(("▌ " * self.quotes, DIM), self.indent, self.marker)

    @property
    def below(self) -> Text:
        """What its further rows begin with."""
        hanging = " " * cell_count(self.indent + self.marker)
        return Text.assemble(("▌ " * self.quotes, DIM), hanging)


@dataclass(slots=True)
class _Fence:
    """A block of code that is open."""

    head: _Head
    marks: str
    language: str
    lines: list[str] = field(default_factory=list)

    def inside(self, line: str) -> str | None:
        """The line without the quotes and the indent of its block; None when it has left them."""
        for _ in range(self.head.quotes):
            line, marker, rest = line.partition(">")
            if not marker or line.strip():
                return None
            line = rest.removeprefix(" ")
        depth = len(self.head.indent + self.head.marker)
        return line[min(depth, len(line) - len(line.lstrip())) :]

    def is_closed_by(self, line: str) -> bool:
        marks = line.strip()
        return len(marks) >= len(self.marks) and not marks.strip(self.marks[0])


class MarkdownStream:
    """Prints one reply after another; `console` writes to a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows = Rows(console)
        self._restart()

    def _restart(self) -> None:
        self._line = ""
        """Of the line under way what is not written yet."""
        self._flows = False
        """Whether the line under way has begun on the screen."""
        self._tested = 0
        self._fence: _Fence | None = None
        self._table: list[_Head] = []
        self._is_in_list = False
        self._has_begun = False
        self._owes_blank = False

    def feed(self, text: str) -> None:
        """Prints what `text` completes."""
        self._rows.measure()
        for part in re.split("(\n)", escape_controls(text)):
            if part == "\n":
                self._end_line()
            elif part:
                self._line += part
                self._grow()

    def go_on_after(self, text: str) -> None:
        """Takes up a reply of which `text` is printed already: code that is open stays open."""
        printed = MarkdownStream(Console(quiet=True, width=self._rows.width))
        printed.feed(f"{text}\n")
        self._fence, self._is_in_list = printed._fence, printed._is_in_list

    def finish(self) -> None:
        """Prints what was held back; the reply is complete, and the next one starts afresh."""
        if self._line or self._flows:
            self._end_line()
        self._end_table()
        self._restart()

    def _grow(self) -> None:
        if self._fence and (self._flows or self._rows.exceeds_row(self._line)):
            self._grow_code(self._fence)
            return
        if not self._flows:
            head = _head(self._line)
            if self._fence or self._is_held(head):
                return
            self._end_table()
            self._begin(head)
            self._line, self._flows = head.rest, True
        self._flow()

    def _grow_code(self, fence: _Fence) -> None:
        """Prints what there is of a line of code that is longer than a row."""
        if self._flows:
            self._rows.whole(Text(self._line), is_part=True)
        elif (code := fence.inside(self._line)) is not None:
            self._print_code(fence, code, is_part=True)
        else:
            return
        self._line, self._flows = "", True

    def _is_held(self, head: _Head) -> bool:
        """Whether the line is to be read as a whole, or may yet turn out to be such a one."""
        is_open = _UNDECIDED.match(head.rest) or _WHOLE.match(head.rest)
        return bool(is_open) or self._is_code(self._line)

    def _is_code(self, line: str) -> bool:
        return bool(_INDENTED.match(line)) and not self._is_in_list

    def _begin(self, head: _Head) -> None:
        self._separate()
        self._is_in_list = bool(head.marker) or (self._is_in_list and bool(head.indent))
        self._rows.start(head.first, head.below)

    def _flow(self) -> None:
        """Prints the words that mean the same whatever follows."""
        start = 0
        for point in _points(self._line, self._tested):
            self._tested = point
            if is_settled(self._line[start:point]):
                self._rows.write(styled(self._line[start:point]))
                start = point
        self._line = self._line[start:]
        self._tested -= start
        if self._rows.exceeds_row(self._line) and is_settled(self._line):
            self._rows.write(styled(self._line), is_part=True)
            self._line, self._tested = "", 0

    def _end_line(self) -> None:
        line, self._line, self._tested = self._line, "", 0
        if self._flows:
            self._flows = False
            self._rows.write(styled(line))
            self._rows.end()
        elif self._fence is None or not self._add_code(self._fence, line):
            self._whole_line(line)

    def _whole_line(self, line: str) -> None:
        head = _head(line)
        if head.rest.startswith("|"):
            self._table.append(head)
            return
        self._end_table()
        if not line.strip():
            self._owes_blank = self._has_begun
        elif _RULE.match(line):
            self._print(Text("─" * min(RULE_CELLS, self._rows.width), DIM))
        elif self._is_code(line):
            self._print(Text(line.expandtabs(4)))
        elif fence := _FENCE.match(head.rest):
            self._fence = _Fence(head, fence["marks"], fence["language"])
            self._print(Text.assemble(head.first, (head.rest, DIM)))
        elif heading := _HEADING.match(head.rest):
            text = styled(heading[2])
            text.stylize_before(MAIN_HEADING if len(heading[1]) == 1 else HEADING)
            self._print_wrapped(head, text)
        else:
            self._print_wrapped(head, styled(head.rest))

    def _add_code(self, fence: _Fence, line: str) -> bool:
        """Prints a line of code, or the end of it; False when the line is none."""
        code = fence.inside(line)
        if code is None:
            self._fence = None
            return False
        if fence.is_closed_by(code):
            self._fence = None
            self._print(Text.assemble(fence.head.below, (code.strip(), DIM)))
        else:
            self._print_code(fence, code)
        return True

    def _print_code(self, fence: _Fence, code: str, is_part: bool = False) -> None:
        fence.lines.append(code.expandtabs(4))
        self._separate()
        line = fence.head.below + highlighted(fence.lines, fence.language)
        self._rows.whole(line, is_part)

    def _end_table(self) -> None:
        """Prints the table when all of it is here: its widths depend on every row."""
        heads, self._table = self._table, []
        if not heads:
            return
        rows = [_cells(head.rest) for head in heads]
        is_table = (
            len(rows) > 1 and all(map(_DASHES.match, rows[1])) and len(rows[0]) == len(rows[1])
        )
        indent = cell_count(heads[0].below.plain)
        if not is_table or indent + COLUMN_CELLS * len(rows[0]) > self._rows.width:
            for head in heads:
                self._print_wrapped(head, styled(head.rest))
            return
        self._separate()
        self._console.print(Padding(_table(rows), (0, 0, 0, indent), expand=False), soft_wrap=False)

    def _print(self, line: Text) -> None:
        self._separate()
        self._rows.whole(line)

    def _print_wrapped(self, head: _Head, text: Text) -> None:
        self._begin(head)
        self._rows.write(text)
        self._rows.end()

    def _separate(self) -> None:
        if self._owes_blank:
            self._console.print()
        self._owes_blank, self._has_begun = False, True


def _head(line: str) -> _Head:
    match = _HEAD.match(line)
    assert match is not None  # every part of it may be missing
    marker = match["marker"] or ""
    if match["task"]:
        marker = "☐ " if match["task"][1] == " " else "☑ "
    elif marker and marker[0] in "-*+":
        marker = "• "
    elif marker:
        marker = f"{marker.strip()} "
    indent = (match["inner"] if match["quotes"] else match["indent"]).expandtabs(4)
    return _Head(match["quotes"].count(">"), indent, marker, line[match.end() :])


def _points(line: str, tested: int) -> list[int]:
    """Where, beyond `tested`, a row may end in a line that may go on."""
    blanks = [match.end() for match in re.finditer(r"\s", line[tested:])]
    return sorted(
        {*(tested + end for end in blanks), *(each for each in wide_points(line) if each > tested)}
    )


def _cells(row: str) -> list[str]:
    cells = [cell.replace(r"\|", "|").strip() for cell in _BAR.split(row.strip())]
    return cells[1 : None if cells[-1] else -1]


def _table(rows: list[list[str]]) -> Table:
    header, dashes, *body = rows
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for cell, mark in zip(header, dashes, strict=True):
        table.add_column(styled(cell), justify=_alignment(mark), overflow="fold")
    for row in body:
        surplus = row[len(header) :]
        kept = [*row[: len(header) - 1], " | ".join(row[len(header) - 1 :])] if surplus else row
        table.add_row(*map(styled, kept))
    return table


def _alignment(dashes: str) -> Literal["left", "center", "right"]:
    if not dashes.endswith(":"):
        return "left"
    return "center" if dashes.startswith(":") else "right"
