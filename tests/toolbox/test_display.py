"""Nothing in a shown text acts on the terminal or hides from the reader."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolchat.toolbox import visible

HIDDEN = {
    "escape": ("a\x1b[2Jb", "a\\u001b[2Jb"),
    "bell and delete": ("\x07\x7f", "\\u0007\\u007f"),
    "c1": ("\x9b31m", "\\u009b31m"),
    "newline": ("a\nb\tc\r", "a\\u000ab\\u0009c\\u000d"),
    "right to left": ("gpj\u202efdp", "gpj\\u202efdp"),
    "isolates": ("\u2066x\u2069", "\\u2066x\\u2069"),
    "zero width": ("a\u200bb\u200dc\ufeff", "a\\u200bb\\u200dc\\ufeff"),
    "soft hyphen": ("pass\u00adword", "pass\\u00adword"),
    "line separator": ("a\u2028b", "a\\u2028b"),
    "tags": ("\U000e0041", "\\udb40\\udc41"),
    "variation": ("\U000e0100", "\\udb40\\udd00"),
    "private use": ("\ue000", "\\ue000"),
    "fillers": ("\u3164\u2800\u115f", "\\u3164\\u2800\\u115f"),
    "surrogate": ("\ud800", "\\ud800"),
}


@pytest.mark.parametrize(("text", "expected"), HIDDEN.values(), ids=HIDDEN.keys())
def test_hidden_characters_are_spelt_out(text: str, expected: str) -> None:
    assert visible(text) == expected


@pytest.mark.parametrize("text", ["plain", "Grüße, 東京", "naïve — “ok” …", "👍🏽 ❤️", "שלום"])
def test_readable_text_stays(text: str) -> None:
    assert visible(text) == text


def test_newlines_can_be_kept() -> None:
    assert visible("a\n\tb\x1b", keep_newlines=True) == "a\n\tb\\u001b"


@given(st.text())
def test_json_keeps_its_meaning(text: str) -> None:
    shown = visible(json.dumps(text, ensure_ascii=False))
    assert json.loads(shown) == text
    assert visible(shown) == shown
