"""No character of a reply or a file may steer the terminal or hide from whoever approves it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest

from smolchat.terminal.escape import escape_controls, escape_invisible

EVERYTHING = [chr(code) for code in range(0x110000)]


def unchanged(escape: Callable[[str], str], *categories: str) -> set[str]:
    named = [character for character in EVERYTHING if unicodedata.category(character) in categories]
    return {character for character in named if escape(character) == character}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain text, café 😀\n\tindented", "plain text, café 😀\n\tindented"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("over\rwritten\b\x7f", "over\\x0dwritten\\x08\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_controls_are_spelled_out(text: str, escaped: str) -> None:
    assert escape_controls(text) == escaped


def test_only_line_feed_and_tab_are_left_of_the_controls() -> None:
    assert unchanged(escape_controls, "Cc", "Zl", "Zp") == {"\n", "\t"}


def test_no_character_that_turns_the_direction_is_left() -> None:
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    steering = [c for c in EVERYTHING if unicodedata.bidirectional(c) in turning]
    assert not any(c in escape_controls(c) for c in steering)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("rm -rf café 😀", "rm -rf café 😀"),
        ("two\nlines\tmore", "two\\x0alines\\x09more"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("soft\u00adhyphen no\u00a0break", "soft\\xadhyphen no\\xa0break"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("filler\u3164selector\ufe0f\U000e0100", "filler\\u3164selector\\ufe0f\\U000e0100"),
        ("empty\u2800braille", "empty\\u2800braille"),
        ("half\ud83d", "half\\ud83d"),
        ("\x1b[8mhidden", "\\x1b[8mhidden"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text: str, escaped: str) -> None:
    assert escape_invisible(text) == escaped


def test_of_everything_that_shows_nothing_only_the_blank_is_left() -> None:
    assert unchanged(escape_invisible, "Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs") == {" "}
