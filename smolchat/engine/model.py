"""The contract between the engine and whatever computes logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

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


class Resumable(Model, Protocol):
    """A model whose keys and values can be taken out and put back, as a plain array.

    The array is good for the same checkpoint, the same `dtype` of the model and the same version
    of smolchat only; whoever keeps it on disk sees to that. Its first axis is blocks of
    positions, so it may be longer than what was asked for; what is beyond is zero.
    """

    dtype: str
    """What the weights are computed from: bfloat16, float32, int8 or int4."""

    def prefix(self, length: int) -> NDArray[Any]:
        """A copy of the keys and values of the first `length` positions; all must be cached."""

    def restore(self, prefix: NDArray[Any], length: int) -> None:
        """Makes the first `length` positions of `prefix` the whole cache.

        Raises ValueError and changes nothing when the array is of another model or too short.
        """
