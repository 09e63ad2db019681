"""What changed between two texts, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal


@dataclass(frozen=True, slots=True)
class Change:
    """A stretch that both texts share, or that one of them has alone."""

    kind: Literal["kept", "removed", "added"]
    text: str


def changes(before: str, after: str) -> list[Change]:
    """Kept and removed stretches make `before`, kept and added ones `after`."""
    return list(_joined(_changes(_words(before), _words(after))))


def marked(differences: list[Change]) -> str:
    """As plain text, in the notation of wdiff: [-removed-]{+added+}."""
    marks = {"kept": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}
    return "".join(marks[change.kind].format(change.text) for change in differences)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’]\w+)*|\s+|[^\w\s]", text)


def _changes(before: list[str], after: list[str]) -> Iterator[Change]:
    matcher = SequenceMatcher(lambda word: word.isspace(), before, after, autojunk=False)
    for operation, left, left_end, right, right_end in matcher.get_opcodes():
        if operation == "equal":
            yield Change("kept", "".join(before[left:left_end]))
        else:
            yield Change("removed", "".join(before[left:left_end]))
            yield Change("added", "".join(after[right:right_end]))


def _joined(found: Iterator[Change]) -> Iterator[Change]:
    """Removed and added words with nothing but a blank between them are one change."""
    removed = added = blank = ""
    for change in found:
        if change.kind == "kept" and change.text.isspace() and (removed or added):
            blank += change.text
        elif change.kind == "kept":
            yield from _replaced(removed, added)
            yield Change("kept", blank + change.text)
            removed = added = blank = ""
        else:
            removed += blank + (change.text if change.kind == "removed" else "")
            added += blank + (change.text if change.kind == "added" else "")
            blank = ""
    yield from _replaced(removed, added)
    if blank:
        yield Change("kept", blank)


def _replaced(removed: str, added: str) -> Iterator[Change]:
    if removed:
        yield Change("removed", removed)
    if added:
        yield Change("added", added)
