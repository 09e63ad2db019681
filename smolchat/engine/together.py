"""Several sequences on one model: steps asked for at the same time read the weights once.

Each sequence is a `Model` of its own and gives the same logits as the model alone. They are to
be used by threads of their own; the model itself is not to be used meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smolchat.engine.cpu import CpuModel
from smolchat.engine.model import Logits
from smolchat.engine.speculate import SPAN_TOKENS

PATIENCE_SECONDS = 0.004
"""How long a step waits for a sequence whose owner is busy with something else; then the others
go on without it, until it asks again."""


@dataclass(slots=True, eq=False)
class Asked:
    """A few ids that a sequence wants appended."""

    ids: Sequence[int]
    start: int
    first: int
    """The block of the cache where the sequence begins."""
    logits: Logits | None = None
    error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.logits is not None or self.error is not None


class Together:
    """A model's weights with a cache for several sequences; each begins as the model's own."""

    def __init__(self, model: CpuModel, count: int) -> None:
        self.model = model
        self.sequences = [TogetherModel(self, index * model.blocks) for index in range(count)]
        self._buffers = model.buffers_for(count)
        self._active: set[int] = set()
        self._waiting: list[Asked] = []
        self._is_busy = False
        self._changed = threading.Condition()

    def forward(self, ids: Sequence[int], start: int, last: int, first: int) -> Logits:
        """Appends to the sequence at block `first`; what is longer than a draft goes alone.

        In a step of several the head is computed for every id.
        """
        if len(ids) > SPAN_TOKENS:
            with self._alone(first):
                return self.model.compute(ids, start, last, self._buffers, first)
        asked = Asked(ids, start, first)
        with self._changed:
            self._active.add(first)
            self._waiting.append(asked)
            self._changed.notify_all()
            is_late = False
            while not asked.is_done:
                if self._is_busy:
                    self._changed.wait()
                    is_late = False
                elif self._is_full():
                    self._step()
                elif is_late:
                    self._active = {each.first for each in self._waiting}
                else:
                    is_late = not self._changed.wait(PATIENCE_SECONDS)
        if asked.error is not None:
            raise asked.error
        assert asked.logits is not None
        return asked.logits[-last:]

    @contextmanager
    def _alone(self, first: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_busy)
            self._is_busy = True
        try:
            yield
        finally:
            with self._changed:
                self._is_busy = False
                self._active.add(first)
                self._changed.notify_all()

    def _is_full(self) -> bool:
        """Everybody who is expected to has asked, or no more would fit into a step."""
        count = sum(len(asked.ids) for asked in self._waiting)
        return count >= self.model.span or len(self._waiting) >= len(self._active)

    def _step(self) -> None:
        """Takes as many as fit, in the order of asking, and lets go of the lock meanwhile."""
        taken = self._take()
        self._is_busy = True
        self._changed.release()
        try:
            self._compute(taken)
        except BaseException as error:
            for asked in taken:
                asked.error = error
        finally:
            self._changed.acquire()
            self._is_busy = False
            self._changed.notify_all()

    def _take(self) -> list[Asked]:
        taken, room = [], self.model.span
        while self._waiting and len(self._waiting[0].ids) <= room:
            taken.append(self._waiting.pop(0))
            room -= len(taken[-1].ids)
        return taken

    def _compute(self, taken: list[Asked]) -> None:
        ids = np.concatenate([np.array(asked.ids, np.int64) for asked in taken])
        places = np.concatenate([asked.start + np.arange(len(asked.ids)) for asked in taken])
        firsts: NDArray[np.int64] = np.repeat(
            [asked.first for asked in taken], [len(asked.ids) for asked in taken]
        )
        self.model.step(ids, places, firsts, ids.size, self._buffers)
        end = 0
        for asked in taken:
            begin, end = end, end + len(asked.ids)
            asked.logits = self._buffers.logits[begin:end].copy()


class TogetherModel:
    """One of the sequences. Implements `Model`."""

    def __init__(self, together: Together, first: int) -> None:
        self.context_tokens = together.model.context_tokens
        self.vocab_size = together.model.vocab_size
        self._together = together
        self._first = first

    def forward(self, ids: Sequence[int], start: int, last: int = 1) -> Logits:
        return self._together.forward(ids, start, last, self._first)

    def truncate(self, length: int) -> None:
        """Nothing to do: later positions are written over before they are read."""
