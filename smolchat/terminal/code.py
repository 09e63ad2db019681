"""Colours for code, line by line, in those of the terminal's own palette."""

from __future__ import annotations

from rich.syntax import Syntax
from rich.text import Text

SEEN_LINES = 100
"""So many lines before the last one decide its colours; to read them all each time is quadratic."""


def highlighted(lines: list[str], language: str) -> Text:
    """The last of `lines`, as it is to be coloured after those before it."""
    if not language:
        return Text(lines[-1])
    syntax = Syntax("", language, theme="ansi_dark")
    block = syntax.highlight("\n".join(lines[-SEEN_LINES:]))
    last = block.split("\n", allow_blank=True)[len(lines[-SEEN_LINES:]) - 1]
    return last if last.plain == lines[-1] else Text(lines[-1])
