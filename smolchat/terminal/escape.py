"""Makes text from a model or a file safe to print on a terminal."""

from __future__ import annotations

import re

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_INVISIBLE = re.compile("[\t\n\u00ad\u061c\u180e\u200b-\u200f\u2060-\u2064\ufeff]")


def escape_controls(text: str) -> str:
    """Spells out control and bidi characters, except line feed and tab: `\\x1b`, `\\u202e`."""
    return _CONTROLS.sub(_spelled, text)


def escape_invisible(text: str) -> str:
    """Spells out every character that a reader could not see, for text to be approved."""
    return _INVISIBLE.sub(_spelled, escape_controls(text))


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
