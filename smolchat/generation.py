"""The contract between a conversation and an engine: token ids in, token ids out.

Knows no text, no tools, no screen, and no particular model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. Temperature 0 is greedy: the most likely token, always."""

    temperature: float = 0.2
    top_p: float = 0.9
    top_k: int = 0
    """Keep the k most likely tokens; 0 keeps all."""
    min_p: float = 0.0
    """Drop tokens less likely than this share of the most likely one."""
    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens seen before; 1 is none."""
    seed: int | None = None
    """None draws a new seed at each request."""

    def seeded(self) -> Sampling:
        """The same with a seed, drawn if there is none, so that it can be repeated."""
        if self.seed is not None:
            return self
        return replace(self, seed=random.SystemRandom().getrandbits(31))


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What to continue, how far and how."""

    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    stop_ids: frozenset[int]
    """Generation ends before any of these; the stop token itself is not yielded."""
    sampling: Sampling = Sampling()
    grammar: str | None = None
    """Lark grammar that the new text must follow."""
    stable_tokens: int = 0
    """How many of the prompt's first ids other conversations begin with, too."""


@dataclass(frozen=True, slots=True)
class GenerationStats:
    """What a generation cost. Sums with `+`, field by field."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Tokens of the prompt whose keys and values were already held."""
    new_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    forced_tokens: int = 0
    prefill_seconds: float = 0.0
    """Computing the prompt, after which the first token is drawn."""
    decode_seconds: float = 0.0
    """From the first token to the last."""

    def __add__(self, other: GenerationStats) -> GenerationStats:
        sums = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(self)
        }
        return GenerationStats(**sums)


class Generation(Protocol):
    """A generation under way. Iterate the new ids; then `finish_reason` and `stats` are final."""

    finish_reason: FinishReason
    stats: GenerationStats

    def __iter__(self) -> Iterator[int]: ...

    def cancel(self) -> None:
        """Ask it to end early with reason `cancelled`; safe from any thread or signal handler."""


class TokenGenerator(Protocol):
    """What a session needs of an engine."""

    context_tokens: int
    """Prompt and new tokens together never exceed this."""

    def generate(self, request: GenerationRequest) -> Generation:
        """Continue `request.prompt_ids`. Raises ContextOverflow when they do not fit."""

    def forget(self) -> None:
        """Drop what is cached, so that the next prompt is computed as a whole."""
