"""A model and the ids whose keys and values it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from numpy.typing import NDArray

from smolchat.engine.model import Logits, Model, Resumable

PREFILL_TOKENS = 256
"""Prompt tokens per forward; between two of them a generation can be cancelled."""


class Prefix:
    """Keeps the list of cached ids in step with the model's cache.

    Prefix reuse is comparing two lists; rejecting a draft is shortening one.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.ids: list[int] = []

    def reuse(self, ids: Sequence[int]) -> int:
        """Keeps what is shared with `ids`, forgets the rest; returns the length.

        The last of `ids` is always computed anew: its logits are wanted.
        """
        length = min(common_prefix(self.ids, ids), len(ids) - 1)
        self.shorten(length)
        return length

    def restore(self, prefix: NDArray[Any], ids: Sequence[int]) -> bool:
        """Puts back keys and values of `ids`; False, and nothing changes, if they do not fit."""
        try:
            cast(Resumable, self.model).restore(prefix, len(ids))
        except ValueError:
            return False
        self.ids = list(ids)
        return True

    def shorten(self, length: int) -> None:
        """Forgets every id from position `length` on."""
        del self.ids[length:]
        self.model.truncate(length)

    def extend(self, ids: Sequence[int], last: int = 1) -> Logits:
        """Appends `ids` and returns the logits [last, V] of the last positions."""
        logits = self.model.forward(ids, len(self.ids), last)
        self.ids += ids
        return logits


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids two sequences share from the start."""
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length
