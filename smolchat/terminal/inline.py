"""The inline part of Markdown: emphasis, code, links. One line of it, also while it grows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.style import Style
from rich.text import Text

from smolchat.terminal.escape import escape_controls

HELD_CHARACTERS = 240
"""So far a mark may wait for its partner; a longer span is shown as it is written."""

_STYLES = {
    "strong": Style(bold=True),
    "em": Style(italic=True),
    "s": Style(strike=True),
    "link": Style(underline=True),
}
_CODE = Style(color="cyan")
_PLAIN = Style.null()

_OPEN = re.compile(
    r"`"
    r"|\*(?=\S)"
    r"|(?<![^\W_])_(?=\S)"
    r"|~~(?=\S)"
    r"|\[[^\]]*$"
    r"|\]\([^)]*$"
)
"""What, left over in a text, may be the start of a span that its end is still to come of."""


def styled(source: str) -> Text:
    """`source` with its marks turned into styles. A link is followed by where it leads."""
    text = Text()
    styles: list[Style] = []
    links: list[tuple[str, int]] = []
    for token in _tokens(source):
        kind = token.type.rpartition("_")[0]
        if token.nesting > 0:
            styles.append(_STYLES[kind])
            links.append((str(token.attrs.get("href", "")), len(text)))
        elif token.nesting < 0:
            styles.pop()
            address, start = links.pop()
            if address and text.plain[start:] != escape_controls(address):
                text.append(escape_controls(f" ({address})"))
        else:
            # Escaped here too: an entity such as &#x202e; is a character by now.
            code = [_CODE] if token.type == "code_inline" else []
            text.append(escape_controls(_said(token)), Style.combine([_PLAIN, *styles, *code]))
    return text


def is_settled(source: str) -> bool:
    """Whether `source`, which ends where a row may end, means the same whatever follows."""
    return len(source) > HELD_CHARACTERS or not _OPEN.search(_left_over(source))


def _left_over(source: str) -> str:
    """The plain text in which a mark may still find its partner."""
    return "".join(_unpaired(token) for token in _tokens(source))


def _unpaired(token: Token) -> str:
    if token.type == "text":
        return token.content
    return "x" if token.nesting == 0 else ""


def _said(token: Token) -> str:
    if token.type == "image":
        return f"{token.content} ({token.attrs.get('src', '')})"
    return token.content


def _tokens(source: str) -> Iterator[Token]:
    for block in _parser().parseInline(source):
        yield from block.children or ()


@cache
def _parser() -> MarkdownIt:
    # HTML stays text. Without text_join an escaped mark is a token of its own.
    parser = MarkdownIt("commonmark", {"html": False})
    return parser.enable("strikethrough").disable("text_join")
