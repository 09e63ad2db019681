"""Text that shows what it holds: characters that act on a terminal or hide are spelt out."""

from __future__ import annotations

import unicodedata

# Letters and marks by category, but blank on the screen.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def visible(text: str, keep_newlines: bool = False) -> str:
    """`text` with control, bidirectional, zero-width and other unseen characters as `\\u202e`.

    JSON text stays JSON of the same meaning.
    """
    kept = "\n\t" if keep_newlines else ""
    return "".join(
        each if each in kept or not _is_hidden(each) else _escaped(each) for each in text
    )


def _is_hidden(character: str) -> bool:
    if " " <= character <= "~":
        return False
    if character in _BLANK or 0xE0100 <= ord(character) <= 0xE01EF:
        return True
    return unicodedata.category(character) in _HIDDEN_CATEGORIES


def _escaped(character: str) -> str:
    """As JSON writes it: characters beyond 16 bits become a pair."""
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
