"""Counts over a text: words, characters, sentences."""

from __future__ import annotations

import re

from smolchat import tool


@tool(effect="pure")
def text_statistics(text: str) -> str:
    """Count the words, characters and sentences of a text.

    Args:
        text: The text to count
    """
    words = sum(map(_says_something, text.split()))
    sentences = sum(map(_says_something, re.split(r"[.!?\u2026]+(?=\W|$)", text)))
    counts = ((words, "word"), (len(text), "character"), (sentences, "sentence"))
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)


def _says_something(piece: str) -> bool:
    return any(character.isalnum() for character in piece)
