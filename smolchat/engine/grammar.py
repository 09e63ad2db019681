"""Grammar text and a tokenizer to token masks and forced tokens.

Knows grammars and token ids: no tools, no model and no sampling.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from smolchat.engine.model import Logits
from smolchat.errors import SmolchatError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from tokenizers import Tokenizer


_CLOSERS = 'q"0123456789tn,"]}'
"""What completes JSON, the best last: a letter that only a text may hold, and a quote; what the
plainest values begin with; what goes on to the next member, opens a text, ends a list, an object.
"""


class GrammarCompiler:
    """Compiles grammars in llguidance's dialect of Lark for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._compiled: dict[str, LLMatcher] = {}

    def compile(self, text: str) -> Constraint:
        """A constraint before its first token. Raises SmolchatError with what is wrong in `text`.

        Each text is compiled once, in 4 to 8 ms for up to 20 functions. The first one also reads
        the vocabulary: 0.3 s for 49,152 tokens.
        """
        if text not in self._compiled:
            self._compiled[text] = self._matcher(text)
        return Constraint(self._compiled[text].deep_copy(), self._vocabulary, self._closers)

    def _matcher(self, text: str) -> LLMatcher:
        from llguidance import LLMatcher

        matcher = LLMatcher(self._vocabulary, text, log_level=0)
        if matcher.is_error():
            raise SmolchatError(
                f"the reply cannot be constrained: {_reason(matcher.get_error())}",
                "Check the schema of the tool or of the answer.",
            )
        return matcher

    @cached_property
    def _closers(self) -> list[int]:
        ids = map(self._tokenizer.token_to_id, _CLOSERS)
        return [-1 if token_id is None else token_id for token_id in ids]

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        from llguidance import LLTokenizer

        described = json.loads(self._tokenizer.to_str())
        control_tokens = [token for token in described["added_tokens"] if token["special"]]
        # Text that a grammar forces is split into tokens: the name of a control token in it must
        # not become that token, so their names are taken out of reach.
        vocabulary = described["model"]["vocab"]
        for token in control_tokens:
            name, token["content"] = token["content"], f"\ufffe{token['id']}"
            if name in vocabulary:
                vocabulary[token["content"]] = vocabulary.pop(name)
        end_id = control_tokens[0]["id"] if control_tokens else None
        return LLTokenizer(json.dumps(described), eos_token=end_id)


class Constraint:
    """How far one reply has come in its grammar.

    It has to see every token of the reply from the first one on, because tokens do not end where
    the parts of a grammar do.
    """

    def __init__(self, matcher: LLMatcher, vocabulary: LLTokenizer, closers: Sequence[int]) -> None:
        """`closers` are the ids of `_CLOSERS`, -1 where the tokenizer has none."""
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._closers = closers

    @property
    def is_complete(self) -> bool:
        """Whether the reply satisfies the grammar and nothing can follow."""
        return self._matcher.is_stopped() and self._matcher.is_accepting()

    def mask(self, logits: Logits, stop_ids: Iterable[int]) -> Logits:
        """`logits` [V] with minus infinity for each token that the grammar does not allow next.

        Stop tokens are allowed exactly where the reply may end.
        """
        allowed = np.zeros(len(logits), dtype=np.bool_)
        bias = np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)
        self._check()
        allowed[: len(bias)] = bias > 0
        allowed[self._vocabulary.eos_token] = False
        stops = [token_id for token_id in stop_ids if token_id < len(logits)]
        allowed[stops] = self._matcher.is_accepting()
        return np.where(allowed, logits, np.float32(-np.inf))

    def accept(self, token_id: int) -> None:
        """Moves on by a token that the mask allowed."""
        self._consume([token_id])

    def allowed(self, ids: list[int]) -> list[int]:
        """`ids` as far as the grammar could take them from here; it does not move on."""
        return ids[: self._matcher.validate_tokens(ids)]

    def forced(self, limit: int) -> list[int]:
        """Moves on by the tokens that follow without a choice, and returns them.

        They are split as the tokenizer splits text.
        """
        ids = self._matcher.compute_ff_tokens()[:limit]
        self._consume(ids)
        return ids

    def ending(self, most: int, after: Sequence[int] = ()) -> list[int] | None:
        """A short way to complete the reply, `after` tokens that the mask allowed.

        Texts and lists are closed, members that must be there get the plainest value. None where
        that takes more than `most` tokens. It does not move on.
        """
        # 9 satisfies most minimums, and 0 every multipleOf.
        quotes, digits, others = self._closers[:2], self._closers[2:12], self._closers[12:]
        orders = (self._closers, [*quotes, *reversed(digits), *others])
        found = (self._ending(most, after, closers) for closers in orders)
        return next((ids for ids in found if ids is not None), None)

    def _ending(self, most: int, after: Sequence[int], closers: Sequence[int]) -> list[int] | None:
        ahead = Constraint(self._matcher.deep_copy(), self._vocabulary, closers)
        ahead._consume(list(after))
        ids: list[int] = []
        while not ahead._matcher.is_accepting():
            forced = ahead.forced(most - len(ids) + 1)
            if not forced:
                forced = [ahead._closer()]
                ahead._consume(forced)
            ids += forced
            if len(ids) > most:
                return None
        return ids

    def _closer(self) -> int:
        """The token that leads out of where the reply is."""
        bias = np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)
        self._check()
        allowed = [token_id for token_id in self._closers if token_id >= 0 and bias[token_id]]
        letter, quote, *_ = self._closers
        if letter in allowed and quote in allowed:  # inside a text, where brackets close nothing
            return quote
        return allowed[-1] if allowed else int(bias.argmax())

    def _consume(self, ids: list[int]) -> None:
        self._matcher.consume_tokens(ids)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise SmolchatError(
                f"the grammar cannot go on: {_reason(self._matcher.get_error())}",
                "Offer fewer tools, or a simpler schema.",
            )


def _reason(error: str) -> str:
    """What llguidance complains of and the beginning of the line of the grammar that it means."""
    lines = error.strip().splitlines()
    said = [lines[0].rstrip(":"), *(line for line in lines[1:] if line.startswith("error: "))]
    meant = [
        line.partition("|")[2].strip()[:80]
        for line, mark in pairwise(lines)
        if "|" in line and mark.strip() == "^"
    ]
    return " in ".join([", ".join(said), *meant])
