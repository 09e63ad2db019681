"""The contract between the engine and whatever computes logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


class Model(Protocol):
    """A causal language model with a cache of keys and values.

    The cache is addressed by position: a caller says where a span starts and never holds a
    handle.
    """

    context_tokens: int
    vocab_size: int

    def forward(self, ids: Sequence[int], start: int, last: int = 1) -> Logits:
        """Appends `ids` at position `start` and returns the logits of the `last` positions.

        `start` equals the number of cached positions. Returns float32 `[last, V]`.
        """

    def truncate(self, length: int) -> None:
        """Forgets every cached position from `length` on."""
