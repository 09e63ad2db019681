"""Styled text to rows of a terminal, word by word. What is written is never touched again.

Moves no cursor: a resize or a terminal that counts cells otherwise can do no damage.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

from rich.cells import split_graphemes
from rich.console import Console
from rich.text import Text
from wcwidth import wcwidth

_WORD = re.compile(r"(\s*)(\S*)")


class Rows:
    """Breaks lines between words, at the width that the terminal had when last measured.

    A word longer than a row is written whole and left to the terminal, so that selecting it, say
    an address, gives it back in one piece.
    """

    def __init__(self, console: Console) -> None:
        self.width = console.width
        self._console = console
        self._rest = Text()
        self._column = 0
        self._gap = Text()
        self._is_in_word = False

    def measure(self) -> None:
        """Asks the terminal for its width; a row that has begun may then end elsewhere."""
        self.width = self._console.width

    def start(self, first: Text, rest: Text) -> None:
        """Begins a line behind `first`; the rows that follow are to begin with `rest`."""
        self._rest = rest
        self._column, self._gap, self._is_in_word = 0, Text(), False
        row = Text()
        self._put(row, first)
        self._print(row)

    def write(self, text: Text, is_part: bool = False) -> None:
        """Goes on with the line. `text` ends where a row may end, or in a word that is too long."""
        rows, start = Text(), cell_count(self._rest.plain)
        for blanks, word in _words(text):
            self._gap.append_text(blanks)
            if not word.plain:
                continue
            self._is_in_word = self._is_in_word and not self._gap.plain
            end = self._column + cell_count(self._gap.plain) + cell_count(word.plain)
            if end > self.width and self._column > start and not self._is_in_word:
                rows.append("\n")
                self._column, self._gap = 0, Text()
                self._put(rows, self._rest)
            self._put(rows, self._gap)
            self._put(rows, word)
            self._gap, self._is_in_word = Text(), False
        self._is_in_word = is_part
        self._print(rows)

    def end(self) -> None:
        """Ends the line."""
        self._console.print(soft_wrap=True)
        self._gap = Text()

    def whole(self, text: Text, is_part: bool = False) -> None:
        """A line, or a part of one, that must not be broken, such as code."""
        self._console.print(text, end="" if is_part else "\n", soft_wrap=True)

    def exceeds_row(self, text: str) -> bool:
        """Whether `text` takes more than a row by itself."""
        return cell_count(text) > self.width

    def _put(self, rows: Text, text: Text) -> None:
        rows.append_text(text)
        cells = self._column + cell_count(text.plain)
        self._column = cells if cells <= self.width else cells % self.width or self.width

    def _print(self, rows: Text) -> None:
        if rows.plain:
            self._console.print(rows, end="", soft_wrap=True)


def cell_count(text: str) -> int:
    """The most cells that any terminal takes for `text`.

    Terminals differ where several code points make one glyph, such as a family of emoji.
    """
    if text.isascii():
        return len(text)
    return sum(
        max(cells, sum(max(0, wcwidth(each)) for each in text[start:end]))
        for start, end, cells in split_graphemes(text)[0]
    )


def break_points(text: str) -> list[int]:
    """Where a row may end in a text without blanks: between wide glyphs, not before a comma."""
    if text.isascii():
        return []
    spans = split_graphemes(text)[0]
    return [
        after[0]
        for before, after in pairwise(spans)
        if before[2] == after[2] == 2 and not _must_follow(text[after[0]])
    ]


def wide_points(text: str) -> list[int]:
    """The `break_points` of a text that may go on: the glyph behind each is complete."""
    points = break_points(text)
    last = split_graphemes(text)[0][-1][0] if points else 0
    return [point for point in points if point < last]


def _must_follow(character: str) -> bool:
    return unicodedata.category(character) in {"Pe", "Pf", "Po", "Lm"}


def _words(text: Text) -> Iterator[tuple[Text, Text]]:
    """The pieces between which a row may end, each with the blanks before it."""
    for match in _WORD.finditer(text.plain):
        blanks, start = text[match.start(1) : match.end(1)], match.start(2)
        for point in [*break_points(match[2]), len(match[2])]:
            yield blanks, text[start : match.start(2) + point]
            blanks, start = Text(), match.start(2) + point
