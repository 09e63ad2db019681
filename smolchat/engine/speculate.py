"""Guesses the next tokens, so that one forward may confirm several of them.

Knows ids and models: no grammar and no text. A guess never changes a reply: each token is drawn
from the model's own logits as always, and a guess counts where the draw agrees with it. Against
a guess that is certain this accepts as often as the rule of Leviathan et al. 2023
(https://arxiv.org/abs/2211.17192), min(1, p/q) with the residual drawn after a rejection. A draft
model guesses with the random numbers that will be drawn with (Daliri et al. 2024,
https://arxiv.org/abs/2408.07978): no residual is needed, and a seed gives the same reply with and
without drafts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from smolchat.engine.model import Logits, Model
from smolchat.engine.prefix import PREFILL_TOKENS, Prefix
from smolchat.engine.sampling import Sampler

SPAN_TOKENS = 8
"""A drafted span with the tokens before it; the CPU kernels read each weight once for them."""

TAILS = {6: 0.9, 3: 0.85, 2: 0.75, 1: 0.35}
"""So many of the newest tokens are looked up, the longest tail that is found first, and how likely
what followed it follows again, as held-out rewrites and summaries of `training` had it."""

SLOPE = 0.25
"""A token more in a span, as a share of the cost of a single one, until it is measured."""

TRIES = 3
"""Measurements of a length that are believed; fewer may have met a busy moment."""


class SpanCosts:
    """What a forward costs by the length of its span, measured while running."""

    def __init__(self) -> None:
        self._seconds: dict[int, deque[float]] = {}
        self._curve: list[float] | None = None

    @property
    def is_known(self) -> bool:
        return bool(self._seconds)

    def note(self, length: int, seconds: float) -> None:
        """A forward over `length` tokens took `seconds`; longer spans than drafts do not count."""
        if length <= SPAN_TOKENS:
            self._seconds.setdefault(length, deque(maxlen=5)).append(seconds)
            self._curve = None

    def seconds(self, length: int) -> float:
        """The cost of a span, 0 while nothing is known.

        It is the best of the last five. Where there are few or none the guess is that a token
        more costs a quarter of a single one, so that a length is tried before it is given up. No
        span costs more than a longer one.
        """
        if self._curve is None:
            self._curve = self._estimates()
        return self._curve[length]

    def _estimates(self) -> list[float]:
        """By length, from 0 on."""
        best = {length: min(seconds) for length, seconds in self._seconds.items()}
        if not best:
            return [0.0] * (SPAN_TOKENS + 1)
        shortest = min(best)
        more = SLOPE * best[shortest] / (1 + SLOPE * (shortest - 1))
        curve = [0.0, more / SLOPE]
        for length in range(2, SPAN_TOKENS + 1):
            guess = curve[-1] + more
            is_sure = len(self._seconds.get(length, ())) >= TRIES
            curve.append(best[length] if is_sure else min(guess, best.get(length, guess)))
        for length in range(SPAN_TOKENS - 1, 0, -1):
            curve[length] = min(curve[length], curve[length + 1])
        return curve


class Drafter(Protocol):
    """Guesses how a sequence of ids goes on."""

    @property
    def trust(self) -> float:
        """How likely a guess is to come true, as long as nothing is known."""

    def draft(self, ids: Sequence[int], count: int, sampler: Sampler) -> list[int]:
        """At most `count` guesses of what follows `ids`; `sampler` is the reply's, left as it is.

        `ids` grow from call to call; nothing is taken back.
        """

    def seconds(self, count: int) -> float:
        """What `count` guesses cost."""


class PromptLookup:
    """Guesses what followed when the newest tokens last stood in the prompt or the reply.

    Source: Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding
    """

    def __init__(self, tail: int, trust: float) -> None:
        """It looks for the newest `tail` tokens."""
        self.trust = trust
        self._tail = tail
        self._after: dict[tuple[int, ...], int] = {}
        """A tail to the position after its latest occurrence that something follows."""
        self._indexed = tail

    def draft(self, ids: Sequence[int], count: int, sampler: Sampler) -> list[int]:
        if len(ids) > self._indexed:
            first = self._indexed - self._tail
            tails = zip(
                *(ids[first + i : len(ids) - self._tail + i] for i in range(self._tail)),
                strict=True,
            )
            self._after.update(zip(tails, range(self._indexed, len(ids)), strict=True))
            self._indexed = len(ids)
        start = self._after.get(tuple(ids[-self._tail :]), len(ids))
        return list(ids[start : start + count])

    def seconds(self, count: int) -> float:
        return 0.0


def prompt_lookups() -> list[Drafter]:
    """Lookups of every length in `TAILS`, for one reply."""
    return [PromptLookup(tail, trust) for tail, trust in TAILS.items()]


class DraftModel:
    """Guesses with a smaller model of the same tokenizer."""

    trust = 0.7

    def __init__(self, model: Model) -> None:
        self._prefix = Prefix(model)
        self._costs = SpanCosts()

    def draft(self, ids: Sequence[int], count: int, sampler: Sampler) -> list[int]:
        if len(ids) + count > self._prefix.model.context_tokens:
            return []
        ahead = sampler.ahead()
        start = self._prefix.reuse(ids)
        for piece in range(start, len(ids), PREFILL_TOKENS):
            logits = self._extend(ids[piece : piece + PREFILL_TOKENS])
        guesses = [ahead.draw(logits[-1])]
        while len(guesses) < count:
            ahead.observe(guesses[-1])
            guesses.append(ahead.draw(self._extend(guesses[-1:])[-1]))
        return guesses

    def seconds(self, count: int) -> float:
        return count * self._costs.seconds(1)

    def _extend(self, ids: Sequence[int]) -> Logits:
        started = time.perf_counter()
        logits = self._prefix.extend(ids)
        self._costs.note(len(ids), time.perf_counter() - started)
        return logits


LEARNING = 0.125
"""The weight of one guess in its drafter's trust."""

RECOVERY = 0.004
"""The weight of a token that was not drafted for: in a long reply a drafter is tried again."""


class _Source:
    """A drafter and how likely its guesses are to come true."""

    def __init__(self, drafter: Drafter) -> None:
        self.drafter = drafter
        self.trust = drafter.trust

    def move_trust(self, towards: float, weight: float) -> None:
        self.trust += weight * (towards - self.trust)


class Speculation:
    """How far one reply is drafted: as far as it promises the most tokens per second."""

    def __init__(self, drafters: Iterable[Drafter], costs: SpanCosts) -> None:
        """The surest drafter is asked first; `costs` are those of the model that they draft for."""
        by_trust = sorted(drafters, key=lambda drafter: -drafter.trust)
        self._sources = [_Source(drafter) for drafter in by_trust]
        self._asked: _Source | None = None
        self._costs = costs

    def guess(self, ids: Sequence[int], known: int, limit: int, sampler: Sampler) -> list[int]:
        """At most `limit` guesses of what follows `ids`, whose last `known` are to be computed."""
        limit = min(limit, SPAN_TOKENS - known)
        if limit < 1 or not self._costs.is_known:
            return []
        for source in self._sources:
            count = self._best_count(source, known, limit)
            if count == 0:
                source.move_trust(source.drafter.trust, RECOVERY)
            elif guesses := source.drafter.draft(ids, count, sampler):
                self._asked = source
                return guesses
        return []

    def learn(self, confirmed: int, is_refuted: bool) -> None:
        """Of the latest guesses `confirmed` more came true, and the one after them did not."""
        if self._asked is None:
            return
        for _ in range(confirmed):
            self._asked.move_trust(1.0, LEARNING)
        if is_refuted:
            self._asked.move_trust(0.0, LEARNING)

    def _best_count(self, source: _Source, known: int, limit: int) -> int:
        """Of n guesses, each right with probability a, 1 + a + ... + a^n tokens come."""
        best_count, best_rate, tokens = 0, 0.0, 0.0
        for count in range(limit + 1):
            tokens += source.trust**count
            seconds = self._costs.seconds(known + count) + source.drafter.seconds(count)
            if tokens > best_rate * seconds:
                best_count, best_rate = count, tokens / seconds
        return best_count
