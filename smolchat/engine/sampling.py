"""Logits to a token id. The sampler is built once per request.

The order of the steps and the meaning of each parameter follow transformers' logits processors.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray

from smolchat.errors import SmolchatError
from smolchat.generation import Sampling

Vector = NDArray[np.float32]
Weights = NDArray[np.float64]
Kept = NDArray[np.bool_]


class Sampler:
    """Draws token ids; the same seed and logits give the same ids."""

    def __init__(self, sampling: Sampling, seen_ids: Iterable[int] = ()) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)
        self._seen_ids = set(seen_ids)

    def observe(self, token_id: int) -> None:
        """Counts `token_id` among the tokens that the repetition penalty weakens."""
        self._seen_ids.add(token_id)

    def draw(self, logits: Vector) -> int:
        """The next token id for `logits` [V]; minus infinity rules a token out.

        Raises SmolchatError when the computation of the logits has failed.
        """
        if not np.isfinite(logits.max()):
            raise SmolchatError(
                "the model's computation overflowed", "Try --dtype float32 or --dtype bfloat16."
            )
        if self._sampling.temperature == 0:
            return int(np.argmax(self._penalized(logits)))
        return self._race(self.probabilities(logits))

    def ahead(self) -> Sampler:
        """A copy that draws with the random numbers that this sampler will draw with next."""
        return deepcopy(self)

    def _race(self, probabilities: Weights) -> int:
        """Arrivals with these rates: each token comes first as often as it is likely.

        Two samplers that draw alike from similar distributions mostly draw the same token.
        """
        arrivals = np.full(len(probabilities), np.inf)
        waits = self._random.standard_exponential(len(probabilities))
        np.divide(waits, probabilities, out=arrivals, where=probabilities > 0)
        return int(arrivals.argmin())

    def probabilities(self, logits: Vector) -> Weights:
        """The distribution [V] after penalty, temperature, top-k, top-p, min-p, in this order."""
        scaled = self._penalized(logits).astype(np.float64) / self._sampling.temperature
        kept = np.exp(scaled - scaled.max())
        for keep in (self._keep_top_k, self._keep_top_p, self._keep_min_p):
            kept = np.where(keep(kept), kept, 0.0)
        share: Weights = kept / kept.sum()
        return share

    def _penalized(self, logits: Vector) -> Vector:
        """Keskar et al. 2019, https://arxiv.org/abs/1909.05858, section 4.1."""
        penalty = self._sampling.repetition_penalty
        seen = [token_id for token_id in self._seen_ids if token_id < len(logits)]
        if penalty == 1.0 or not seen:
            return logits
        logits = logits.copy()
        logits[seen] = np.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
        return logits

    def _keep_top_k(self, weights: Weights) -> Kept:
        k = self._sampling.top_k
        if k == 0 or k >= len(weights):
            return weights > 0
        smallest = np.partition(weights, -k)[-k]
        kept: Kept = weights >= smallest
        return kept

    def _keep_top_p(self, weights: Weights) -> Kept:
        """The fewest most likely tokens whose probabilities together reach top_p."""
        if self._sampling.top_p >= 1.0:
            return weights > 0
        total = weights.sum()
        # All tokens below this weight hold less than 1 - top_p: sorting the others is enough.
        likely = np.flatnonzero(weights >= (1 - self._sampling.top_p) * total / len(weights))
        descending = likely[np.argsort(-weights[likely], kind="stable")]
        before = np.cumsum(weights[descending]) - weights[descending]
        kept = np.zeros(len(weights), dtype=np.bool_)
        kept[descending[before < self._sampling.top_p * total]] = True
        kept[descending[0]] = True
        return kept

    def _keep_min_p(self, weights: Weights) -> Kept:
        kept: Kept = weights >= self._sampling.min_p * weights.max()
        return kept
