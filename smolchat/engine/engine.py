"""Prefix reuse, prefill and decode over any `Model`. Knows token ids only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from smolchat.engine.model import Logits, Model, Resumable
from smolchat.engine.prefix import PREFILL_TOKENS, Prefix, common_prefix
from smolchat.engine.sampling import Sampler
from smolchat.engine.speculate import (
    Drafter,
    DraftModel,
    SpanCosts,
    Speculation,
    prompt_lookups,
)
from smolchat.errors import ContextOverflow, SmolchatError
from smolchat.generation import FinishReason, GenerationRequest, GenerationStats

if TYPE_CHECKING:
    from smolchat.engine.grammar import Constraint
    from smolchat.engine.prefix_store import PrefixStore


ENDING_TOKENS = 256
"""So near to its limit a reply is watched, so that what its grammar demands still fits."""


class Engine:
    """Generates token ids and remembers which ids the model has keys and values for."""

    def __init__(
        self,
        model: Model,
        compile_grammar: Callable[[str], Constraint] | None = None,
        draft_model: Model | None = None,
        drafts: bool = True,
        store: PrefixStore | None = None,
    ) -> None:
        """`compile_grammar` reads the grammar of a request; without it no request may have one.

        `draft_model` has the same tokens as `model` and fewer weights. A `store` is for a model
        that is `Resumable`.
        """
        self.model = model
        self.prefix = Prefix(model)
        self.context_tokens = model.context_tokens
        self._compile_grammar = compile_grammar
        self._drafts = drafts
        self._store = store
        self._drafters: list[Drafter] = [DraftModel(draft_model)] if draft_model else []
        self._costs = SpanCosts()

    def on(self, model: Model) -> Engine:
        """An engine that goes on from the same prefix, on a model that has it cached, too.

        It does not draft: where several replies share a step, its positions are worth more.
        """
        engine = Engine(model, self._compile_grammar, drafts=False)
        engine.prefix.ids = list(self.prefix.ids)
        return engine

    def generate(self, request: GenerationRequest) -> EngineGeneration:
        """Continues `request.prompt_ids`.

        Raises ContextOverflow when no new token would fit, and SmolchatError for a grammar that
        cannot be used.
        """
        if len(request.prompt_ids) >= self.context_tokens:
            raise ContextOverflow(
                f"the prompt has {len(request.prompt_ids)} tokens and the context of this "
                f"checkpoint holds {self.context_tokens}",
                "Shorten the text, or choose a checkpoint with a longer context.",
            )
        return EngineGeneration(self, request, self._constraint(request.grammar))

    def _constraint(self, grammar: str | None) -> Constraint | None:
        if grammar is None:
            return None
        if self._compile_grammar is None:
            raise SmolchatError("this engine was set up without grammars")
        return self._compile_grammar(grammar)

    def reuse(self, prompt_ids: Sequence[int], stable: int) -> int:
        """How many of `prompt_ids` need not be computed; the first `stable` may be on disk."""
        length = self.prefix.reuse(prompt_ids)
        if self._store is None or not length < stable < len(prompt_ids):
            return length
        kept = self._store.load(prompt_ids[:stable])
        is_restored = kept is not None and self.prefix.restore(kept, prompt_ids[:stable])
        return stable if is_restored else length

    def keep(self, ids: Sequence[int]) -> None:
        """Leaves the keys and values of `ids` on disk for other processes."""
        if self._store is not None and self.prefix.ids[: len(ids)] == list(ids):
            self._store.save(ids, cast(Resumable, self.model).prefix(len(ids)))

    def forward(self, ids: Sequence[int], last: int = 1) -> Logits:
        """Appends `ids` to the cache and returns the logits [last, V] of the last positions."""
        started = time.perf_counter()
        logits = self.prefix.extend(ids, last)
        self._costs.note(len(ids), time.perf_counter() - started)
        return logits

    def forget(self) -> None:
        """Empties the cache in memory."""
        self.prefix.shorten(0)

    def speculation(self) -> Speculation:
        """Drafting for one reply."""
        drafters = [*prompt_lookups(), *self._drafters] if self._drafts else []
        return Speculation(drafters, self._costs)


class EngineGeneration:
    """One request under way; iterate it once."""

    def __init__(
        self, engine: Engine, request: GenerationRequest, constraint: Constraint | None = None
    ) -> None:
        self.finish_reason: FinishReason = "length"
        self.stats = GenerationStats(prompt_tokens=len(request.prompt_ids))
        self._engine = engine
        self._request = request
        self._constraint = constraint
        self._sampler = Sampler(request.sampling, request.prompt_ids)
        self._speculation = engine.speculation()
        self._ids = list(request.prompt_ids)
        self._is_prefix_new = False
        self._is_cut = False
        self._is_cancelled = False

    def cancel(self) -> None:
        """Ends the generation before its next token."""
        self._is_cancelled = True

    def __iter__(self) -> Iterator[int]:
        started = time.perf_counter()
        for span in self._spans():
            for token_id in span:
                if self._is_cancelled:
                    self.finish_reason = "cancelled"
                    return
                seconds = time.perf_counter() - started
                self._update(
                    new_tokens=self.stats.new_tokens + 1,
                    decode_seconds=seconds - self.stats.prefill_seconds,
                )
                yield token_id
        if self._is_prefix_new:
            self._engine.keep(self._request.prompt_ids[: self._request.stable_tokens])

    def _spans(self) -> Iterator[list[int]]:
        """The reply in pieces: a drawn token and those that are forced after it."""
        started = time.perf_counter()
        logits = self._prefill()
        self._update(prefill_seconds=time.perf_counter() - started)
        guesses: list[int] = []
        while self.stats.new_tokens < self._limit():
            if logits is None or self._is_cancelled:
                self.finish_reason = "cancelled"
                return
            span = self._next_span(logits[0], guesses)
            yield span
            if self._is_cut:
                return
            if not span or (self._constraint and self._constraint.is_complete):
                self.finish_reason = "stop"
                return
            if self.stats.new_tokens < self._limit():
                logits, guesses = self._advance(span, logits, guesses)

    def _advance(
        self, span: list[int], logits: Logits, guesses: list[int]
    ) -> tuple[Logits, list[int]]:
        """Logits [1 + G, V] after `span` and after each of the G guesses of what follows it.

        `logits` and `guesses` are those that `span` was drawn from; as far as it agrees with the
        guesses it is computed already.
        """
        agreed = common_prefix(span, guesses)
        self._speculation.learn(agreed, is_refuted=agreed < min(len(span), len(guesses)))
        if agreed == len(span):
            return logits[agreed:], guesses[agreed:]
        if guesses:
            self._engine.prefix.shorten(len(self._ids) - len(span) + agreed)
        rest = span[agreed:]
        guesses = self._guess(len(rest))
        return self._engine.forward(rest + guesses, last=1 + len(guesses)), guesses

    def _guess(self, known: int) -> list[int]:
        """Guesses of what follows; the last token of a reply needs none after it."""
        room = self._limit() - self.stats.new_tokens - 1
        guesses = self._speculation.guess(self._ids, known, room, self._sampler)
        stops = (at for at, token_id in enumerate(guesses) if token_id in self._request.stop_ids)
        guesses = guesses[: next(stops, None)]
        if self._constraint is not None:
            guesses = self._constraint.allowed(guesses)
        self._update(drafted_tokens=self.stats.drafted_tokens + len(guesses))
        return guesses

    def _next_span(self, logits: Logits, guesses: list[int]) -> list[int]:
        """The next token and those that are forced after it; nothing where the reply ends."""
        room = self._limit() - self.stats.new_tokens
        span = self._forced(room)
        if not span:
            token_id = self._draw(logits)
            ending = self._ending(token_id, room)
            if ending is not None:
                self._is_cut = True
                return ending
            if token_id in self._request.stop_ids:
                return []
            if self._constraint is not None:
                self._constraint.accept(token_id)
            if guesses[:1] == [token_id]:
                self._update(accepted_tokens=self.stats.accepted_tokens + 1)
            span = [token_id, *self._forced(room - 1)]
        for token_id in span:
            self._sampler.observe(token_id)
        self._ids += span
        return span

    def _draw(self, logits: Logits) -> int:
        if self._constraint is None:
            return self._sampler.draw(logits)
        return self._sampler.draw(self._constraint.mask(logits, self._request.stop_ids))

    def _ending(self, token_id: int, room: int) -> list[int] | None:
        """How to complete the reply without `token_id`, where with it there is no room for that.

        So a call or an answer in JSON is whole even where it is cut.
        """
        if self._constraint is None or room > ENDING_TOKENS or token_id in self._request.stop_ids:
            return None
        if self._constraint.ending(room - 1, after=[token_id]) is not None:
            return None
        return self._constraint.ending(room)

    def _forced(self, room: int) -> list[int]:
        if self._constraint is None:
            return []
        ids = self._constraint.forced(room)
        self._update(forced_tokens=self.stats.forced_tokens + len(ids))
        return ids

    def _prefill(self) -> Logits | None:
        """Computes what the cache lacks of the prompt; None when cancelled on the way."""
        prompt_ids = self._request.prompt_ids
        stable = min(self._request.stable_tokens, len(prompt_ids) - 1)
        cached = self._engine.reuse(prompt_ids, stable)
        self._update(cached_tokens=cached)
        logits = None
        # The stable part apart, so that a process that finds it on disk computes the same.
        for first, end in ((cached, stable), (max(cached, stable), len(prompt_ids))):
            for start in range(first, end, PREFILL_TOKENS):
                if self._is_cancelled:
                    return None
                logits = self._engine.forward(prompt_ids[start : min(end, start + PREFILL_TOKENS)])
        self._is_prefix_new = cached < stable
        return logits

    def _limit(self) -> int:
        room = self._engine.context_tokens - len(self._request.prompt_ids)
        return min(self._request.max_new_tokens, room)

    def _update(self, **changes: float) -> None:
        self.stats = replace(self.stats, **changes)  # type: ignore[arg-type]
