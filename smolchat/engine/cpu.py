"""A Llama on the CPU: short spans by the compiled kernels, long ones by torch once that pays.

Knows token ids and positions; what they mean is the engine's affair.
"""

from __future__ import annotations

import hashlib
import platform
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smolchat.engine.checkpoint import Checkpoint
from smolchat.engine.layout import (
    BLOCK,
    MANY_ROWS,
    SPAN,
    TOGETHER,
    Buffers,
    Weights,
    counters,
)
from smolchat.engine.machine_code import Notice, load_step
from smolchat.engine.model import Logits
from smolchat.engine.pace import GUESS, Choice, Pace
from smolchat.engine.team import Team
from smolchat.engine.weights import PackedWeights, Shape, llama_shape, load_weights
from smolchat.errors import CheckpointError
from smolchat.paths import cache_dir

if TYPE_CHECKING:
    from smolchat.engine.prefill import Prefill

LONG = 32
"""Positions from which on torch is thought of."""
PACE_VERSION = 3
"""Raised when kernels or torch's products become faster: then their pace is measured anew."""


def say(text: str) -> None:
    """A notice where nobody else takes it."""
    print(f"smolchat: {text}", file=sys.stderr)


def can_run(checkpoint: Checkpoint) -> bool:
    """Whether the kernels compute this architecture."""
    return llama_shape(checkpoint.config) is not None


class CpuModel:
    """A checkpoint run by the kernels. Implements `Resumable`."""

    device = "cpu"

    def __init__(
        self,
        checkpoint: Checkpoint,
        quantize: str = "int8",
        threads: int | None = None,
        notice: Notice = say,
    ) -> None:
        """`quantize` is none, int8 or int4; `none` computes in float32 with weights as stored.

        Raises CheckpointError, and ImportError where Numba cannot be imported.
        """
        from smolchat.engine.device import available_threads

        shape = llama_shape(checkpoint.config)
        if shape is None:
            raise CheckpointError(f"{checkpoint.folder} is not a plain Llama")
        self.context_tokens = shape.context
        self.vocab_size = shape.vocabulary
        packed = load_weights(checkpoint, shape, quantize, notice)
        self.dtype = packed.format
        self._shape = shape
        self._length = 0
        self._team = Team(threads or available_threads())
        weakref.finalize(self, self._team.dismiss)
        self._packed = packed
        self._weights = self._readable(packed)
        self._choice = Choice(_pace_path(shape, packed.format, self._team.threads))
        self._prefill: Prefill | None = None
        self._buffers = self._fresh_buffers()
        self._step = load_step(self._weights, self._buffers, notice)

    @property
    def weight_bytes(self) -> int:
        """What computing a token reads of the weights: of an embedding of its own but a row."""
        packed, shape = self._packed, self._shape
        arrays = (packed.codes, packed.scales, packed.head, packed.head_scales)
        total = sum({each.ctypes.data: each.nbytes for each in arrays if each.size}.values())
        apart = 0 if shape.is_tied else shape.vocabulary * shape.hidden * packed.head.itemsize
        return total - apart

    def forward(self, ids: Sequence[int], start: int, last: int = 1) -> Logits:
        self.truncate(start)
        logits = self.compute(ids, start, last, self._buffers)
        self._length = start + len(ids)
        return logits

    def compute(
        self, ids: Sequence[int], start: int, last: int, buffers: Buffers, first: int = 0
    ) -> Logits:
        """Appends `ids` to the sequence whose cache begins at block `first` of `buffers.cache`."""
        if (long := len(ids) - last) >= LONG and self._choice.is_for_torch(long):
            self._fill(ids[:long], start, buffers.cache[first : first + self.blocks])
            ids, start = ids[long:], start + long
        logits = np.empty((last, self.vocab_size), np.float32)
        for done in range(0, len(ids), SPAN):
            part = np.array(ids[done : done + SPAN], np.int64)
            left = len(ids) - done - part.size
            wanted = min(part.size, max(0, last - left))
            places = start + done + np.arange(part.size)
            self.step(part, places, np.full(part.size, first), wanted, buffers)
            logits[last - left - wanted : last - left] = buffers.logits[:wanted]
        return logits

    def step(
        self,
        ids: NDArray[np.int64],
        places: NDArray[np.int64],
        firsts: NDArray[np.int64],
        last: int,
        buffers: Buffers,
    ) -> None:
        """One step of the kernels; the logits of the `last` ids are in `buffers.logits` then."""
        self._team.run(self._step, self._weights, buffers, ids, places, firsts, last)

    def truncate(self, length: int) -> None:
        self._length = min(self._length, length)

    def prefix(self, length: int) -> NDArray[Any]:
        held = np.array(self._buffers.cache[: -(-length // BLOCK)])
        if slot := length % BLOCK:
            tiles = held[-1]  # [L, G, 2, BLOCK * D]: keys lie [D, BLOCK] and values [BLOCK, D]
            size = self._shape.size
            tiles[:, :, 0].reshape(*tiles.shape[:2], size, BLOCK)[..., slot:] = 0
            tiles[:, :, 1].reshape(*tiles.shape[:2], BLOCK, size)[..., slot:, :] = 0
        return held

    def restore(self, prefix: NDArray[Any], length: int) -> None:
        cache = self._buffers.cache
        if prefix.dtype != cache.dtype or prefix.shape[1:] != cache.shape[1:]:
            raise ValueError("the prefix is of another model")
        if len(prefix) > len(cache) or length > len(prefix) * BLOCK:
            raise ValueError(f"the prefix does not hold {length} positions")
        cache[: len(prefix)] = prefix
        self._length = length

    def buffers_for(self, sequences: int) -> Buffers:
        """The same buffers with a cache for several sequences, `blocks` for each.

        Each begins with what is cached now.
        """
        cache, held = self._buffers.cache, self.prefix(self._length)
        many = np.zeros((sequences * self.blocks, *cache.shape[1:]), cache.dtype)
        for first in range(0, len(many), self.blocks):
            many[first : first + len(held)] = held
        return self._buffers._replace(cache=many)

    @property
    def blocks(self) -> int:
        """Blocks of the cache that a sequence may fill."""
        return len(self._buffers.cache)

    @property
    def span(self) -> int:
        """Ids that one step takes at most."""
        return SPAN

    def _fill(self, ids: Sequence[int], start: int, cache: NDArray[Any]) -> None:
        """A long span by torch; the first time on a machine it measures what that saves."""
        if self._prefill is not None and self._choice.pace is not None:
            self._prefill.fill(ids, start, self._weights, cache)
        else:
            began = time.perf_counter()
            from smolchat.engine.prefill import Prefill

            imported = time.perf_counter() - began
            self._prefill = Prefill(self._shape, self._packed, self._team.threads)
            self._prefill.fill(ids, start, self._weights, cache)
            if self._choice.pace is None:
                self._choice.remember(self._measured(self._prefill, ids, start, imported, cache))

    def _measured(
        self,
        prefill: Prefill,
        ids: Sequence[int],
        start: int,
        imported: float,
        cache: NDArray[Any],
    ) -> Pace:
        """Times both ways over positions that are filled again afterwards."""

        def seconds(run: Callable[[], None]) -> float:
            began = time.perf_counter()
            run()
            return time.perf_counter() - began

        weights, buffers = self._weights, self._buffers._replace(cache=cache)
        part = np.array(ids[: self.span], np.int64)
        places, firsts = start + np.arange(part.size), np.zeros(part.size, np.int64)
        kernels = min(
            seconds(lambda: self.step(part, places, firsts, 0, buffers)) for _ in range(3)
        )
        short = seconds(lambda: prefill.fill(ids[:LONG], start, weights, cache))
        long = seconds(lambda: prefill.fill(ids, start, weights, cache))
        token = max(0.0, (long - short) / max(1, len(ids) - LONG))
        return Pace(
            kernel_token=kernels / part.size,
            torch_span=max(0.0, short - LONG * token),
            torch_token=token,
            torch_import=imported if imported > 0.1 else GUESS.torch_import,
        )

    def _readable(self, packed: PackedWeights) -> Weights:
        shape = self._shape
        powers = np.arange(0, shape.size, 2, dtype=np.int64).astype(np.float32) / shape.size
        frequencies = np.float32(1) / np.float32(shape.theta) ** powers
        angles = np.arange(shape.context, dtype=np.float32)[:, None] * frequencies
        return Weights(
            packed.codes,
            packed.scales,
            packed.head,
            packed.head_scales,
            packed.places,
            packed.norms,
            np.cos(angles),
            np.sin(angles),
            np.float32(shape.epsilon),
        )

    def _fresh_buffers(self) -> Buffers:
        shape, threads = self._shape, self._team.threads
        blocks = -(-shape.context // BLOCK)
        cached = np.float32 if self.dtype in ("float32", "bfloat16") else np.uint16
        queries = shape.heads * shape.size
        return Buffers(
            sync=np.zeros(counters(shape.layers, threads), np.int64),
            cache=np.zeros((blocks, shape.layers, shape.groups, 2, BLOCK * shape.size), cached),
            stream=np.zeros((SPAN, shape.hidden), np.float32),
            queries=np.zeros((SPAN, shape.heads, shape.size), np.float32),
            partial=np.zeros((blocks, SPAN, shape.heads, shape.size + 2), np.float32),
            activated=np.zeros((SPAN, shape.inner), np.float32),
            states=np.zeros((threads, SPAN, shape.hidden), np.float32),
            attended=np.zeros((threads, SPAN, queries), np.float32),
            rounded_states=np.zeros((threads, SPAN, shape.hidden), np.int16),
            rounded_attended=np.zeros((threads, SPAN, queries), np.int16),
            rounded_activated=np.zeros((threads, SPAN, shape.inner), np.int16),
            steps=np.zeros((threads, SPAN), np.float32),
            sums=np.zeros((threads, 2, MANY_ROWS, SPAN), np.float32),
            scores=np.zeros((threads, TOGETHER, BLOCK), np.float32),
            logits=np.zeros((SPAN, shape.vocabulary), np.float32),
        )


def _pace_path(shape: Shape, form: str, threads: int) -> Path:
    machine = f"{PACE_VERSION} {platform.node()} {platform.machine()} {threads} {shape} {form}"
    return cache_dir() / "pace" / f"{hashlib.sha256(machine.encode()).hexdigest()[:24]}.json"
