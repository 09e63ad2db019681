"""A long text in parts that a context can hold, cut where a reader would pause.

Knows no model: how many tokens a text has is asked of a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

CountTokens = Callable[[str], int]

PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
LINE = re.compile(r"\n\s*")
SENTENCE = re.compile(r"(?<=[.!?…])[\"')\]’”]*\s+|(?<=[。！？])")
WORD = re.compile(r"\s+")
BOUNDS = (PARAGRAPH, LINE, SENTENCE, WORD)
"""Where a text may be cut, the best places first; a line break ends items of a list and verses."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a text. All `text + gap` of the parts in order are the text."""

    text: str
    gap: str
    """The blanks between this part and the next."""
    tokens: int
    """At least as many as `text` has."""


@dataclass(slots=True)
class Coverage:
    """How much of a source has come into a result."""

    parts: int = 0
    parts_done: int = 0
    source_tokens: int = 0
    skipped_tokens: int = 0

    @property
    def is_complete(self) -> bool:
        return self.parts_done == self.parts and self.skipped_tokens == 0

    @property
    def share(self) -> float:
        """From 0 to 1, by tokens."""
        return 1 - self.skipped_tokens / self.source_tokens if self.source_tokens else 1.0

    def as_json(self) -> dict[str, int]:
        return {
            "parts": self.parts,
            "parts_done": self.parts_done,
            "source_tokens": self.source_tokens,
            "skipped_tokens": self.skipped_tokens,
        }


def split(text: str, limit_tokens: int, count_tokens: CountTokens) -> list[Part]:
    """`text` in parts of at most `limit_tokens`, as few as cutting at good bounds allows.

    Paragraphs are kept whole where they fit, else lines, else sentences, else words; a word that
    is longer still is cut between characters. Nothing is left out. `limit_tokens` is at least 8.
    """
    lead = text[: len(text) - len(text.lstrip())]
    parts: list[Part] = []
    for piece in _pieces(text[len(lead) :], limit_tokens, count_tokens):
        if parts:
            last = parts[-1]
            # Several blanks may be cut into more tokens where a word follows them.
            between = count_tokens(last.gap) + (len(last.gap) > 1)
            tokens = last.tokens + between + piece.tokens
            if tokens <= limit_tokens:
                parts[-1] = Part(last.text + last.gap + piece.text, piece.gap, tokens)
                continue
        parts.append(piece)
    return parts


def join(texts: Iterable[str], parts: Iterable[Part]) -> str:
    """Texts that took the place of the parts, with the blanks that stood between those."""
    pairs = list(zip(texts, parts, strict=True))
    return "".join(text + part.gap for text, part in pairs[:-1]) + "".join(
        text for text, _ in pairs[-1:]
    )


def _pieces(text: str, limit: int, count: CountTokens, level: int = 0) -> Iterator[Part]:
    """The largest pieces within the limit that the bounds from `level` on leave whole."""
    for body, gap in _cut(text, BOUNDS[level]):
        tokens = count(body)
        if tokens <= limit:
            yield Part(body, gap, tokens)
            continue
        inner = list(
            _pieces(body, limit, count, level + 1)
            if level + 1 < len(BOUNDS)
            else _characters(body, limit, count)
        )
        yield from inner[:-1]
        yield Part(inner[-1].text, inner[-1].gap + gap, inner[-1].tokens)


def _cut(text: str, bound: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    start = 0
    for match in bound.finditer(text):
        body, gap = text[start : match.end()].rstrip(), text[start : match.end()]
        if body:
            yield body, gap[len(body) :]
            start = match.end()
    if start < len(text):
        body = text[start:].rstrip() or text[start:]
        yield body, text[start + len(body) :]


def _characters(word: str, limit: int, count: CountTokens) -> Iterator[Part]:
    """A word without blanks in halves, until they fit."""
    tokens = count(word)
    if tokens <= limit or len(word) == 1:
        yield Part(word, "", tokens)
        return
    half = len(word) // 2
    yield from _characters(word[:half], limit, count)
    yield from _characters(word[half:], limit, count)
