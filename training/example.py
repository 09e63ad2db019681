"""One training example, the contract between the generators and everything that uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

Split = Literal["train", "heldout"]
"""Held-out examples draw names, words and wordings that no training example contains."""


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation whose assistant messages are what the model should learn to say."""

    family: str
    """What is practised, as a path: `rewrite/friendly`, `tools/call`, `chat/identity`."""
    messages: tuple[dict[str, str], ...]
    """Dicts of `role` (system, user, assistant) and `content`; the last is the assistant's."""
    keep: tuple[str, ...] = ()
    """Names, numbers and dates of the source that the last message must contain verbatim."""


Generator = Callable[[Random, Split], Example]
"""Draws one example; the same generator state gives the same example."""
