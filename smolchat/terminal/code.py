"""Colours for code, line by line, in those of the terminal's own palette."""

from __future__ import annotations

from functools import lru_cache

from rich.syntax import Syntax
from rich.text import Text

SEEN_LINES = 100
"""So many lines before the last one decide its colours; to read them all each time is quadratic."""


def highlighted(lines: list[str], language: str) -> Text:
    """The last of `lines`, as it is to be coloured after those before it."""
    if not language:
        return Text(lines[-1])
    seen = lines[-SEEN_LINES:]
    block = _syntax(language).highlight("\n".join(seen)).split("\n", allow_blank=True)
    last = block[len(seen) - 1] if len(block) >= len(seen) else Text()
    # A lexer may drop or add a character: what the model wrote comes before its colours.
    return last if last.plain == seen[-1] else Text(seen[-1])


@lru_cache(maxsize=16)
def _syntax(language: str) -> Syntax:
    """With the lexer itself: to find it by its name takes long."""
    return Syntax("", Syntax("", language).lexer or "text", theme="ansi_dark")
