"""Logits to a token id. The sampler is built once per request.

The order of the steps and the meaning of each parameter follow transformers' logits processors.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from random import Random

import numpy as np
from numpy.typing import NDArray

from smolchat.errors import SmolchatError
from smolchat.generation import Sampling

Vector = NDArray[np.float32]
Weights = NDArray[np.float64]
Kept = NDArray[np.bool_]
Ids = NDArray[np.int64]

LEAST_TEMPERATURE = 1e-30
"""In single precision; below it only the likeliest tokens have any weight all the same."""


class Sampler:
    """Draws token ids; the same seed and logits give the same ids."""

    def __init__(self, sampling: Sampling, seen_ids: Iterable[int] = ()) -> None:
        self._sampling = sampling
        self._random = Random(sampling.seed)
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
        return self._race(*self.distribution(logits))

    def ahead(self) -> Sampler:
        """A copy that draws with the random numbers that this sampler will draw with next."""
        sampler = copy(self)
        sampler._random, sampler._seen_ids = copy(self._random), set(self._seen_ids)
        return sampler

    def _race(self, ids: Ids, shares: Weights) -> int:
        """Arrivals with these rates: each token comes first as often as it is likely.

        Two samplers that draw alike from similar distributions mostly draw the same token, for
        what a token waits for hangs on its id and not on the others.
        """
        waits = waiting_times(self._random.getrandbits(64), ids)
        with np.errstate(over="ignore", divide="ignore"):  # what is so unlikely never comes
            return int(ids[(waits / shares).argmin()])

    def distribution(self, logits: Vector) -> tuple[Ids, Weights]:
        """The tokens that may come and how likely each is.

        After penalty, temperature, top-k, top-p, min-p, in this order.
        """
        scores = self._penalized(logits)
        ids, rest = self._likely(scores)
        scaled = (scores[ids].astype(np.float64) - scores.max()) / self._sampling.temperature
        weights = np.exp(scaled)
        kept = self._keep_top_p(weights, rest)
        kept &= self._keep_min_p(weights)
        weights = weights[kept]
        return ids[kept], weights / weights.sum()

    def _penalized(self, logits: Vector) -> Vector:
        """Keskar et al. 2019, https://arxiv.org/abs/1909.05858, section 4.1."""
        penalty = self._sampling.repetition_penalty
        if penalty == 1.0:
            return logits
        seen = [token_id for token_id in self._seen_ids if token_id < len(logits)]
        logits = logits.copy()
        logits[seen] = np.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
        return logits

    def _likely(self, scores: Vector) -> tuple[Ids, float]:
        """Those that top-k keeps and top-p may keep, and the weight of what else top-k keeps.

        All tokens of less than a certain weight hold less than 1 - top_p. Which these are is found
        out in single precision, so that few exact weights have to be computed.
        """
        k, top_p = self._sampling.top_k, self._sampling.top_p
        lowest = np.partition(scores, -k)[-k] if 0 < k < len(scores) else -np.inf
        if top_p >= 1.0:
            return np.flatnonzero(scores >= lowest), 0.0
        temperature = np.float32(max(self._sampling.temperature, LEAST_TEMPERATURE))
        weights = np.exp((scores - scores.max()) / temperature)
        if lowest > -np.inf:
            weights[scores < lowest] = 0
        total = weights.sum(dtype=np.float64)
        likely = np.flatnonzero(weights >= 0.999 * (1 - top_p) * total / len(weights))
        return likely, float(total - weights[likely].sum(dtype=np.float64))

    def _keep_top_p(self, weights: Weights, rest: float) -> Kept:
        """The fewest most likely tokens whose probabilities together reach top_p."""
        if self._sampling.top_p >= 1.0:
            return weights > 0
        needed = self._sampling.top_p * (weights.sum() + rest)
        descending = np.argsort(-weights, kind="stable")
        before = np.cumsum(weights[descending]) - weights[descending]
        kept = np.zeros(len(weights), dtype=np.bool_)
        kept[descending[before < needed]] = True
        kept[descending[0]] = True
        return kept

    def _keep_min_p(self, weights: Weights) -> Kept:
        kept: Kept = weights >= self._sampling.min_p * weights.max()
        return kept


def waiting_times(seed: int, ids: Ids) -> Weights:
    """Waiting times with mean 1 for some ids, from the random numbers that a seed has for all.

    The number of an id is the output of SplitMix64 after so many steps (Steele, Lea and Flood 2014,
    https://doi.org/10.1145/2660193.2660195).
    """
    mixed = np.uint64(seed) + (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    waits: Weights = -np.log(((mixed >> np.uint64(11)) + 0.5) * 2.0**-53)
    return waits
