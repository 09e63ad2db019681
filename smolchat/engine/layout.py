"""What a step of the kernels reads and writes: arrays, and how they lie in memory.

Knows neither Numba nor what is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SPAN = 32
"""Positions that one step takes at most."""
BLOCK = 128
"""Positions in one block of the cache; one unit of work in attention."""
TOGETHER = 4
"""Queries that read the keys and values of a block together, at most."""
LARGEST = 127 * 256
"""Of a rounded position's numbers. So its upper and lower eight bits, with a sign each, are two
numbers of eight bits, which `prefill` multiplies by themselves."""
MANY_ROWS = 64
"""Rows that a thread takes at a time where two matrices take turns: each turn, the processor has to
begin anew to fetch ahead; and in the head, which has many."""

Q, K, V, OUTPUT, GATE, UP, DOWN = range(7)
"""The matrices of a layer, in `Weights.places`."""

COUNT, ABORTED, TICKETS = 0, 8, 16
"""Places in `Buffers.sync`, each in a cache line of its own."""
LINE = 8

ENTRY, TEAM_ENTRY = "smolchat_step", "smolchat_team"
"""The names of the compiled step in its object file: for one thread, and for a team of OpenMP."""


class Weights(NamedTuple):
    """What a checkpoint knows. L layers, C hidden, V tokens."""

    codes: Any
    """Every matrix of the layers, row by row, in one of `FORMATS`."""
    scales: Any
    """What a code is multiplied by: float32, or bfloat16 as uint16 with int4."""
    head: Any
    """The embedding, then the head if it is another: float32, uint16 (bfloat16) or int8."""
    head_scales: Any
    places: Any
    """int64 [L + 1, 7, 4]: of each matrix the first code, codes in a row, the first scale, scales
    in a row; last are head and embedding."""
    norms: Any
    """float32 [2 L + 1, C]: before attention, before the MLP, ..., at the end."""
    cosines: Any
    sines: Any
    """float32 [context, D / 2]: the rotation of each position."""
    epsilon: Any


class Buffers(NamedTuple):
    """Where a step works. H heads, G key-value heads, D head size, I intermediate, T threads."""

    sync: Any
    """int64: see COUNT, ABORTED, TICKETS."""
    cache: Any
    """Keys [D, BLOCK] and values [BLOCK, D] in [blocks, L, G, 2, BLOCK * D]."""
    stream: Any
    """float32 [SPAN, C]: the residual stream."""
    queries: Any
    """float32 [SPAN, H, D]"""
    partial: Any
    """float32 [blocks, SPAN, H, D + 2]: attention to one block; its sum of weights; its maximum."""
    activated: Any
    """float32 [SPAN, I]"""
    states: Any
    """float32 [T, SPAN, C]: of each thread, or with several positions all in the first; so are the
    next down to `steps`."""
    attended: Any
    """float32 [T, SPAN, H D]"""
    rounded_states: Any
    """int16 [T, SPAN, C]: the same in steps."""
    rounded_attended: Any
    rounded_activated: Any
    steps: Any
    """float32 [T, SPAN]"""
    sums: Any
    """float32 [T, 2, MANY_ROWS, SPAN]"""
    scores: Any
    """float32 [T, TOGETHER, BLOCK]"""
    logits: Any
    """float32 [SPAN, V]"""


def counters(layers: int, threads: int) -> int:
    """How many numbers `Buffers.sync` has."""
    return TICKETS + LINE * threads * (5 * layers + 1)


class Job:
    """What `kernels.step` is given after the number of the thread, where compiled code finds it."""

    def __init__(self, threads: int, weights: Weights, buffers: Buffers) -> None:
        self.weights, self.buffers = weights, buffers
        self._asked: tuple[NDArray[np.int64], ...] = ()
        given = [threads, 0, *words_of(weights), *words_of(buffers)]
        self._words = np.array(given + [0] * ASKED, np.int64)
        self.address: int = self._words.ctypes.data

    def ask(
        self,
        met: int,
        ids: NDArray[np.int64],
        places_of: NDArray[np.int64],
        firsts: NDArray[np.int64],
        last: int,
    ) -> None:
        """Sets the arguments that change from step to step."""
        self._asked = ids, places_of, firsts  # so that they are still there when they are read
        assert all(each.dtype == np.int64 for each in self._asked)
        self._words[1] = met
        self._words[-ASKED:] = [*words_of(self._asked), last]


ASKED = 3 * 7 + 1
"""Words of three arrays of one dimension, and of a number."""


def words_of(value: Any) -> Iterator[int]:
    """A number, an array or a tuple of these in words of eight bytes, as Numba lays them out.

    Of an array: twice nothing (it is not Numba's to free), how many numbers, bytes of each,
    address, shape, strides. It must stay where it is as long as the words are used.
    """
    if isinstance(value, tuple):
        for each in value:
            yield from words_of(each)
    elif isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        yield from (0, 0, value.size, value.itemsize, value.ctypes.data)
        yield from (*value.shape, *value.strides)
    elif isinstance(value, np.float32):
        yield int(value.view(np.uint32))
    else:
        yield int(value)
