"""Splitting and joining: nothing is lost, and every part fits."""

from __future__ import annotations

import pytest
from conftest import byte_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from smolchat.documents import Coverage, join, split

TOKENIZER = byte_tokenizer()


def count_bytes(text: str) -> int:
    return len(TOKENIZER.encode(text, add_special_tokens=False).ids)


def count_words(text: str) -> int:
    return len(text.split())


def texts(text: str, limit: int) -> list[str]:
    return [part.text for part in split(text, limit, count_bytes)]


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("short", 8, ["short"]),
        ("", 8, []),
        ("one one.\n\ntwo two.", 9, ["one one.", "two two."]),
        ("one one.\n\ntwo two.", 40, ["one one.\n\ntwo two."]),
        ("- apples\n- pears", 10, ["- apples", "- pears"]),
        ("I came. I saw! You? Yes.", 16, ["I came. I saw!", "You? Yes."]),
        ("He said “No.” She left.", 20, ["He said “No.”", "She left."]),
        ("alpha beta gamma delta", 12, ["alpha beta", "gamma delta"]),
        ("0123456789abcdef", 8, ["01234567", "89abcdef"]),
        ("一二。三四。", 9, ["一二。", "三四。"]),
        ("a\n\nLong paragraph here. It goes on.", 22, ["a\n\nLong paragraph here.", "It goes on."]),
    ],
)
def test_a_text_is_cut_at_its_best_bounds(text: str, limit: int, parts: list[str]) -> None:
    if text.startswith("a\n"):  # the piece before a long paragraph may take its first sentence
        assert texts(text, limit) in (parts, ["a", "Long paragraph here.", "It goes on."])
    else:
        assert texts(text, limit) == parts


blanks = st.sampled_from([" ", "\n", "\n\n", ". ", "! ", "\n \n", "\t", "  ", "。", ""])
words = st.text(st.sampled_from("ab1é漢😀"), max_size=12)
writings = st.lists(st.tuples(words, blanks), max_size=30).map(
    lambda pairs: "".join(word + blank for word, blank in pairs)
)


@settings(max_examples=150, deadline=None)
@given(writings, st.integers(8, 60))
def test_the_parts_are_the_text_and_each_of_them_fits(text: str, limit: int) -> None:
    parts = split(text, limit, count_bytes)
    assert "".join(part.text + part.gap for part in parts) == text.lstrip()
    assert join([part.text for part in parts], parts) == text.strip() or not text.strip()
    for part in parts:
        assert part.text.strip() or not text.strip()
        assert count_bytes(part.text) <= limit


def test_parts_are_as_large_as_the_limit_allows() -> None:
    text = "\n\n".join(f"Paragraph number {number} has some words." for number in range(108))
    parts = split(text, 62, count_words)  # a blank line counts as one
    assert len(parts) == 12
    assert sum(len(part.text.split()) for part in parts) == 648


def test_joined_results_keep_the_blanks_of_the_source() -> None:
    parts = split("Dear all,\n\nfirst.\n\n\nsecond.\n", 11, count_bytes)
    assert [part.text for part in parts] == ["Dear all,", "first.", "second."]
    assert join(["Hi,", "1.", "2."], parts) == "Hi,\n\n1.\n\n\n2."
    assert join([], []) == ""


def test_coverage_says_what_is_missing() -> None:
    coverage = Coverage(parts=4, parts_done=4, source_tokens=200)
    assert (coverage.is_complete, coverage.share) == (True, 1.0)
    coverage.parts_done, coverage.skipped_tokens = 3, 50
    assert (coverage.is_complete, coverage.share) == (False, 0.75)
    assert coverage.as_json() == {
        "parts": 4,
        "parts_done": 3,
        "source_tokens": 200,
        "skipped_tokens": 50,
    }
