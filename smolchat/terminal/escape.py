"""Makes text from a model or a file safe to print on a terminal."""

from __future__ import annotations

import re

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

# Unicode's Default_Ignorable_Code_Point as far as Python calls it printable, and the empty Braille.
_BLANKS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def escape_controls(text: str) -> str:
    """Spells out control and bidi characters, except line feed and tab: `\\x1b`, `\\u202e`."""
    return _CONTROLS.sub(lambda match: _spelled(match[0]), text)


def escape_invisible(text: str) -> str:
    """Spells out every character that a reader could not see, for text to be approved.

    Of the blanks only the ordinary one stays.
    """
    return "".join(
        character if _is_visible(character) else _spelled(character) for character in text
    )


def _is_visible(character: str) -> bool:
    return character.isprintable() and not _BLANKS.match(character)


def _spelled(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
